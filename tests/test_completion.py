"""Completion, by a real bash; zsh and fish read theirs where they are installed."""

import shutil
import subprocess

import pytest

from esl_voicemail.cli import run

# What bash does when somebody presses Tab behind the last word.
_TAB = """
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
read -r _ _ _ _ function _ <<<"$(complete -p esl-voicemail)"
"$function" && printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> str:
    assert run(["completion", request.param]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("script", ["bash"], indirect=True)
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        (["mess"], ["messages"]),
        (["messages", "sh"], ["show"]),
        (["messages", "list", "--fo"], ["--follow"]),
        (["messages", "list", "--state", "exp"], ["expired"]),
        (["messages", "retry", "--all", "b"], ["bounced"]),
        (["check", "--config", "/etc/passw"], ["/etc/passwd"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
    ],
    ids=" ".join,
)
def test_bash_completes(script: str, line: list[str], completed: list[str]) -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", script + _TAB, "bash", "esl-voicemail", *line],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    found = [one for one in done.stdout.splitlines() if not one.endswith("-")]
    assert found == completed


@pytest.mark.parametrize("script", ["bash", "zsh", "fish"], indirect=True)
def test_a_shell_can_read_it(script: str, request: pytest.FixtureRequest) -> None:
    shell = request.node.callspec.params["script"]
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    read = subprocess.run(
        [shell, "--no-execute" if shell == "fish" else "-n"],
        input=script,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (read.returncode, read.stderr) == (0, "")


@pytest.mark.parametrize("script", ["zsh", "fish"], indirect=True)
def test_every_verb_is_in_it(script: str) -> None:
    for verb in ("serve", "check", "messages", "mailbox", "greeting", "erase", "completion"):
        assert verb in script

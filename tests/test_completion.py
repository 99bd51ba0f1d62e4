"""Completion, by a real bash; by zsh and fish where they are installed."""

import os
import pty
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from esl_voicemail.cli import run

# What bash does when somebody presses Tab behind the last word.
_TAB = """
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
read -r _ _ _ _ function _ <<<"$(complete -p esl-voicemail)"
"$function" && printf '%s\\n' "${COMPREPLY[@]}"
"""

# The same in a zsh of its own, which writes what it finds into a file and ends.
_ZSHRC = """
fpath=($ZDOTDIR $fpath)
autoload -U compinit; compinit -u -D
compadd() {
  if (( ! $@[(I)-[OAD]] )); then
    local -a found; builtin compadd -O found "$@"; print -rl -- $found >>$ZDOTDIR/found
  fi
  builtin compadd "$@"
}
comppostfuncs=(exit)
"""


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> str:
    assert run(["completion", request.param]) == 0
    return capsys.readouterr().out


# What is typed before Tab, and what it may become.
LINES = pytest.mark.parametrize(
    ("line", "completed"),
    [
        (["mess"], ["messages"]),
        (["messages", "sh"], ["show"]),
        (["messages", "list", "--fo"], ["--follow"]),
        (["messages", "list", "--state", "exp"], ["expired"]),
        (["messages", "retry", "--all", "b"], ["bounced"]),
        (["check", "--config", "/etc/passw"], ["/etc/passwd"]),
        (["greeting", "import", "/etc/hosts", "/etc/passw"], ["/etc/passwd"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
    ],
    ids=" ".join,
)


@pytest.mark.parametrize("script", ["bash"], indirect=True)
@LINES
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


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
@pytest.mark.parametrize("script", ["fish"], indirect=True)
@LINES
def test_fish_completes(script: str, line: list[str], completed: list[str]) -> None:
    typed = shlex.join(["esl-voicemail", *line[:-1]]) + f" {line[-1]}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"{script}\ncomplete --do-complete {shlex.quote(typed)}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    found = [one.partition("\t")[0] for one in done.stdout.splitlines()]
    assert [one for one in found if not one.endswith("-")] == completed


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
@pytest.mark.parametrize("script", ["zsh"], indirect=True)
@LINES
def test_zsh_completes(script: str, line: list[str], completed: list[str], tmp_path: Path) -> None:
    (tmp_path / "_esl-voicemail").write_text(script)
    (tmp_path / ".zshrc").write_text(_ZSHRC)
    (tmp_path / "found").touch()
    ours, theirs = pty.openpty()
    environment = {**os.environ, "ZDOTDIR": str(tmp_path), "TERM": "dumb"}
    # A session of its own: it takes the terminal that it is given.
    shell = subprocess.Popen(
        ["zsh", "-d", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    try:
        os.write(ours, f"esl-voicemail {' '.join(line)}\t".encode())
        shell.wait(30)
    finally:
        shell.kill()
        os.close(ours)
        os.close(theirs)

    found = [one for one in (tmp_path / "found").read_text().splitlines() if one and not one.endswith("-")]
    # Of a path it finds the last part.
    assert found == [Path(one).name for one in completed]


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

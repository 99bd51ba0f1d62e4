"""`completion`: what a shell needs to complete this command line, printed for it to read."""

import argparse
from collections.abc import Callable
from typing import Any

import shtab

_SHELLS = ("bash", "zsh", "fish")


def add(verbs: Any, common: argparse.ArgumentParser, whole: Callable[[], argparse.ArgumentParser]) -> None:
    """Add the verb; `whole` makes the parser of all verbs."""
    del common  # it reads no configuration
    verb = verbs.add_parser(
        "completion",
        help="print a shell's completion",
        description="Print what makes a shell complete verbs, options and files: "
        '`eval "$(esl-voicemail completion bash)"` in ~/.bashrc; '
        "`esl-voicemail completion zsh >~/.zfunc/_esl-voicemail` in a folder of $fpath (not by `source`); "
        "`esl-voicemail completion fish >~/.config/fish/completions/esl-voicemail.fish`.",
    )
    verb.add_argument("shell", choices=_SHELLS)
    verb.set_defaults(run=lambda asked: _print(asked.shell, whole()))


def _print(shell: str, whole: argparse.ArgumentParser) -> int:
    _mark_files(whole)
    script = shtab.complete(whole, shell)
    if shell == "zsh":
        # What may be named more than once it would complete once only: _arguments wants a star in front.
        script = script.replace('"(*):', '"*:')
    print(script)
    return 0


def _mark_files(parser: argparse.ArgumentParser) -> None:
    """Tell the shell which arguments are files: those that the help calls so."""
    for action in parser._actions:
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _mark_files(verb)

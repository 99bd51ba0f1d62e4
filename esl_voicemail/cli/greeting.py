"""`greeting import`, `say`, `list` and `check`: a company's own greetings."""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esl_voicemail.audio import greeting
from esl_voicemail.audio.graph import RATE
from esl_voicemail.cli.progress import shown
from esl_voicemail.config import Config, load
from esl_voicemail.config.load import find
from esl_voicemail.config.mailbox import DEFAULT, mailbox_of
from esl_voicemail.errors import GreetingError
from esl_voicemail.greeting_folder import NAME, closed_to_others, free_for, kept, name_for, place, write
from esl_voicemail.speech import LANGUAGES, MOST_LETTERS, speak

_AUDIBLE_SECONDS = 0.01
_STANDARD_INPUT = "-"


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs."""
    group = verbs.add_parser("greeting", help="greetings of your own: from a sound file or a text")
    group_verbs = group.add_subparsers(
        dest="greeting_verb", metavar="VERB", required=True, parser_class=type(group)
    )
    written = argparse.ArgumentParser(add_help=False)
    written.add_argument("--force", action="store_true", help="replace the greeting of that name")
    bring = group_verbs.add_parser(
        "import", parents=[common, written], help="make a greeting of any sound file, or a video's sound"
    )
    bring.add_argument("files", metavar="FILE", type=Path, nargs="+")
    bring.add_argument(
        "--name", type=_name, help="the greeting's name, of a-z, 0-9, _ and -; else the file's, made so"
    )
    bring.set_defaults(run=_import, refuse=bring.error)
    say = group_verbs.add_parser("say", parents=[common, written], help="make a greeting by speaking a text")
    say.add_argument("text", metavar="TEXT", help=f"at most {MOST_LETTERS} letters; - reads standard input")
    say.add_argument("--language", choices=LANGUAGES, help="else that of the mailbox default")
    say.add_argument("--name", type=_name, required=True, help="its name, of a-z, 0-9, _ and -")
    say.set_defaults(run=_say)
    listing = group_verbs.add_parser("list", parents=[common], help="every greeting, and who uses it")
    listing.set_defaults(run=_list)
    check = group_verbs.add_parser(
        "check", parents=[common], help="what a caller hears of a file as it is, and what is wrong with it"
    )
    check.add_argument("file", metavar="FILE", help="a sound file, or the name of a greeting")
    check.set_defaults(run=_check)


def _name(text: str) -> str:
    name = text.removesuffix(".wav")
    if not NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"must hold a-z, 0-9, _ and - only, and begin with a letter or digit, not {text!r}"
        )
    return name


def _import(asked: argparse.Namespace) -> int:
    if len(asked.files) > 1:
        if asked.name:
            asked.refuse("--name is for one FILE; import this one by itself")
        return _import_all(asked.config, asked.files, force=asked.force)
    config = load(find(asked.config))
    [file] = asked.files
    path = _place(config, file, asked.name)
    made = _imported(file, path, force=asked.force)
    print(f"{file}: {made.was.form}, {made.was.seconds:.1f} s, {made.loudness_before.lufs:.1f} LUFS")
    _tell(asked.config, path, made)
    return 0


def _import_all(named: str | None, files: Sequence[Path], *, force: bool) -> int:
    """Make a greeting of each file that can be one, whatever is wrong with another."""
    config = load(find(named))
    made: dict[Path, tuple[Path, greeting.Greeting]] = {}
    refused: list[GreetingError] = []
    try:
        for file in shown(files, "files"):
            try:
                path = _place(config, file)
                if path in made:
                    raise GreetingError(
                        f"{file}: {path} was made of {made[path][0]} just now; "
                        "import it by itself with another --name"
                    )
                made[path] = file, _imported(file, path, force=force)
            except GreetingError as error:
                refused.append(error)
    finally:
        # Afterwards, below the bar; and whatever happened, what was done.
        _tell_all(named, made)
        print(*refused, sep="\n", end="\n" if refused else "", file=sys.stderr)
    return 1 if refused else 0


def _place(config: Config, file: Path, name: str | None = None) -> Path:
    name = name or name_for(file.stem)
    if not name:
        raise GreetingError(f"{file}: no letter of its name can be kept; give --name")
    return place(config.greetings, name)


def _imported(file: Path, path: Path, *, force: bool) -> greeting.Greeting:
    free_for(path, file, force=force)
    made = greeting.make(file)
    write(path, made.content, file, force=force)
    return made


def _say(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    path = place(config.greetings, asked.name)
    free_for(path, force=asked.force)
    text = asked.text
    if text == _STANDARD_INPUT:
        text = sys.stdin.read(MOST_LETTERS + 1)
    language = asked.language or mailbox_of(config.mailboxes, DEFAULT).language
    with tempfile.TemporaryDirectory() as folder:
        spoken = speak(text, language, Path(folder))
        try:
            made = greeting.make(spoken)
        except GreetingError as error:
            raise GreetingError(str(error).replace(str(spoken), "the spoken text")) from error
    write(path, made.content, force=asked.force)
    print(f"spoken in {LANGUAGES[language]}, {made.was.seconds:.1f} s, {made.loudness_before.lufs:.1f} LUFS")
    _tell(asked.config, path, made)
    return 0


def _tell(named: str | None, path: Path, made: greeting.Greeting) -> None:
    """Say what was done, where it is and what is left to do."""
    cuts = [
        f"{seconds:.1f} s of silence at the {end}"
        for seconds, end in ((made.cut_front, "beginning"), (made.cut_back, "end"))
        if seconds > _AUDIBLE_SECONDS
    ]
    print(f"cut {' and '.join(cuts)}" if cuts else "cut nothing")
    gain = made.loudness.lufs - made.loudness_before.lufs
    print(
        f"{'raised' if gain > 0 else 'lowered'} by {abs(gain):.1f} dB to {made.loudness.lufs:.1f} LUFS, "
        f"peak {made.loudness.peak_db:.1f} dBFS"
    )
    print(f"{made.was.form} -> 16-bit PCM, {RATE} Hz mono, {made.seconds:.1f} s")
    print(path)
    for fault in greeting.judge(path).wrong:
        print(f"note: {fault}")
    _tell_of_rights(path)
    used = _uses(named).get(path)
    if used:
        print(f"used by {used}: send the service SIGHUP, as it knows how long its greetings are")
    else:
        print(f"for a mailbox:  greetings: {{default: {path.name}}}")


def _tell_all(named: str | None, made: Mapping[Path, tuple[Path, greeting.Greeting]]) -> None:
    """Say of each what it has become, and what is still wrong with it."""
    uses = _uses(named)
    for path, (file, one) in made.items():
        used = f", used by {uses[path]}" if path in uses else ""
        print(f"{file} -> {path}: {one.seconds:.1f} s{used}")
        for fault in greeting.judge(path).wrong:
            print(f"note: {fault}")
    for path in list(made)[:1]:
        _tell_of_rights(path)
    if uses.keys() & made.keys():
        print("send the service SIGHUP, as it knows how long its greetings are")


def _uses(named: str | None) -> dict[Path, str]:
    """Return who uses which greeting now that there is a new one: a mailbox may have named it before."""
    return {one.path: "; ".join(one.uses) for one in kept(load(find(named))) if one.uses}


def _list(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    greetings = kept(config)
    width = max(32, *(len(one.shown) for one in greetings if one.shown.startswith("shipped ")))
    print(f"{'GREETING':{width}}  {'SECONDS':>7}  {'LUFS':>6}  USED BY")
    for one in greetings:
        uses = "; ".join(one.uses) or "nobody"
        try:
            verdict = greeting.judge(one.path)
        except GreetingError as error:
            print(f"{one.shown:{width}}  {'':7}  {'':6}  {uses}")
            print(f"    {str(error).removeprefix(f'{one.path}: ')}")
            continue
        print(f"{one.shown:{width}}  {verdict.sound.seconds:7.1f}  {verdict.loudness.lufs:6.1f}  {uses}")
        for fault in verdict.wrong:
            print(f"    {fault}")
    return 0


def _check(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    path = _found(config, asked.file)
    verdict = greeting.judge(path)
    sound, extent, loudness = verdict.sound, verdict.extent, verdict.loudness
    print(path)
    print(f"{sound.form}, {sound.seconds:.1f} s")
    print(f"silent for {extent.before:.2f} s before and {extent.after:.2f} s after")
    print(f"loudness {loudness.lufs:.1f} LUFS, peak {loudness.peak_db:.1f} dBFS")
    print(f"clipped: {sound.clipped:.1%} of it" if sound.clipped else "not clipped")
    _tell_of_rights(path)
    if not verdict.wrong:
        how = "as it is" if sound.rate == RATE else f"converted to {RATE} Hz in each call"
        print(f"good: the switch plays it {how}")
        return 0
    for fault in verdict.wrong:
        print(f"{path}: {fault}", file=sys.stderr)
    if not verdict.refusal:
        print(f"put right by: esl-voicemail greeting import {path} --name NAME", file=sys.stderr)
    return 1


def _tell_of_rights(path: Path) -> None:
    closed = closed_to_others(path)
    if closed is not None:
        print(f"note: {closed} is closed to users outside its group: FreeSWITCH's must be in it")


def _found(config: Config, file: str) -> Path:
    places = (Path(file), config.greetings / file, config.greetings / f"{file}.wav")
    return next((path for path in places if path.exists()), places[0])

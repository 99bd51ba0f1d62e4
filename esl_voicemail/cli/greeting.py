"""`greeting import`, `say`, `list` and `check`: a company's own greetings."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from esl_voicemail.audio import greeting
from esl_voicemail.audio.graph import RATE
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
    bring.add_argument("file", metavar="FILE", type=Path)
    bring.add_argument(
        "--name", type=_name, help="the greeting's name, of a-z, 0-9, _ and -; else the file's, made so"
    )
    bring.set_defaults(run=_import)
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
    config = load(find(asked.config))
    file: Path = asked.file
    name = asked.name or name_for(file.stem)
    if not name:
        raise GreetingError(f"{file}: no letter of its name can be kept; give --name")
    path = place(config.greetings, name)
    free_for(path, file, force=asked.force)
    made = greeting.make(file)
    write(path, made.content, file, force=asked.force)
    print(f"{file}: {made.was.form}, {made.was.seconds:.1f} s, {made.loudness_before.lufs:.1f} LUFS")
    _tell(config, path, made)
    return 0


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
    _tell(config, path, made)
    return 0


def _tell(config: Config, path: Path, made: greeting.Greeting) -> None:
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
    uses = next((one.uses for one in kept(config) if one.path == path), ())
    if uses:
        print(f"used by {'; '.join(uses)}: send the service SIGHUP, as it knows how long its greetings are")
    else:
        print(f"for a mailbox:  greetings: {{default: {path.name}}}")


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

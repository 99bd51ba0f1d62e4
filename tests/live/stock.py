"""A stock FreeSWITCH with files of ours dropped into its dialplan.

Dialplan, directory, phrases and settings of the applications are the installed ones; what would reach beyond
127.0.0.1 is not: addresses asked of the network, SIP profiles, modules other than those named here.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

from tests.live import speech
from tests.live.console import HOST
from tests.live.switch import More

DIALPLANS = Path(__file__).parent.parent.parent / "dialplans"
PLACES = ("etc/freeswitch", "conf", "conf-vanilla", "share/freeswitch/conf/vanilla")
MODULES = (
    "mod_loopback mod_db mod_expr mod_hash mod_fifo mod_voicemail mod_callcenter mod_say_en mod_local_stream"
)
SETTINGS = ("voicemail", "fifo", "db", "hash", "local_stream", "timezones")
MUSIC = "tone_stream://%(1000,0,300);loops=-1"
ACCEPT, NOBODY = "ivr/ivr-accept_reject.wav", "voicemail/vm-not_available_no_voicemail.wav"

# Whatever matches is replaced, in a file of ours.
Changes = Mapping[str, str]


def configuration(prefix: Path) -> Path | None:
    """Return where the stock configuration is installed, if it is."""
    return next(
        (prefix / place for place in PLACES if (prefix / place / "dialplan/default.xml").is_file()), None
    )


def drop_in(folder: Path, name: str, changes: Changes) -> None:
    """Put a dialplan of ours into a switch's, with changes that an administrator would make."""
    text = (DIALPLANS / name).read_text()
    for old, new in changes.items():
        text, count = re.subn(old, new.replace("\\", r"\\"), text)
        assert count, f"{name} has nothing like {old!r}"
    (folder / "conf" / "dialplan" / "default" / name).write_text(text)


def _sounds_of(phrases: Path) -> set[str]:
    """The sound files that phrases name; they are installed apart, and stand-ins of them do."""
    named = re.findall(r'function="play-file" data="([\w/-]+\.wav)"', phrases.read_text())
    return {*named, *(f"digits/{digit}.wav" for digit in range(10))}


def prepare(stock: Path, folder: Path, mobile_port: int, callcenter: str) -> More:
    """Copy the stock configuration into a switch's folder, and return what leads there."""
    conf = folder / "conf"
    for part in ("dialplan", "directory", "lang"):
        shutil.copytree(stock / part, conf / part)
    sounds = folder / "sounds" / "en" / "us" / "callie"
    for name in (ACCEPT, NOBODY, *_sounds_of(stock / "lang" / "en" / "vm" / "sounds.xml")):
        (sounds / name).parent.mkdir(parents=True, exist_ok=True)
        speech.write(sounds / name, speech.words(0.3, seed=77))
    ours = {
        "default_password": "not-the-stock-one",
        "domain": HOST,
        "sound_prefix": str(sounds),
        "hold_music": MUSIC,
        "default_provider": "provider",
    }
    kept = [
        line
        for line in (stock / "vars.xml").read_text().splitlines()
        if re.search(rf'<X-PRE-PROCESS cmd="set" data="(?!(?:{"|".join(ours)})=)', line)
    ]
    variables = [
        f'<X-PRE-PROCESS cmd="set" data={quoteattr(f"{name}={value}")}/>' for name, value in ours.items()
    ]

    def include(path: object) -> str:
        return f'<X-PRE-PROCESS cmd="include" data="{path}"/>\n'

    gateway = (
        f'<param name="proxy" value="{HOST}:{mobile_port}"/><param name="username" value="joeuser"/>'
        '<param name="password" value="password"/><param name="register" value="false"/>'
    )
    registration = {
        "accept-blind-reg": "true",
        "force-register-domain": HOST,
        "force-register-db-domain": HOST,
    }
    return More(
        before="\n".join([*variables, *kept]),
        modules="".join(f'<load module="{name}"/>' for name in MODULES.split()),
        configurations=callcenter
        + "\n"
        + "".join(include(stock / "autoload_configs" / f"{name}.conf.xml") for name in SETTINGS),
        profile="".join(f'<param name="{name}" value="{value}"/>' for name, value in registration.items()),
        gateways=f'<gateways><gateway name="provider">{gateway}</gateway></gateways>',
        contexts=include("dialplan/default.xml"),
        sections='<section name="directory">\n'
        + include("directory/default.xml")
        + '</section>\n<section name="languages">\n'
        + include("lang/en/en.xml")
        + "</section>",
    )

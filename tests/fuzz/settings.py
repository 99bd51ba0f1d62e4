"""What may stand in a configuration: spoiled YAML, nasty values in good places, bombs."""

# ruff: noqa: E501 - tables read better whole

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import yaml

from esl_voicemail.config import Config, load
from esl_voicemail.errors import ConfigError
from tests.fuzz.mutation import UNICODE, spoil

_ROOT = Path(__file__).parents[2]
_PLACE = re.compile(r"[^\n]+?:(\d+: .+|  ?(cannot be read|larger than)[^\n]*)")
_LONGEST_LINE = 2000
# The YAML reader is slow, not square: about 10 µs a byte, and a file is at most 1 MiB.
_SECONDS = 2.0
_SECONDS_PER_BYTE = 60e-6
_ALARM_SECONDS = 120

_LONG = """\
listen: "[::1]:8084"
switch: {allowed: [10.0.0.0/8, "::1/128"], max_calls: 10, drain_seconds: 0}
storage: {directory: ./var, recordings: ./rec, retention_days: 3, min_free_mb: 0}
mail:
  from: "Jan Łoś <jan@przykład.pl>"
  smtp: {host: smtp.example.com, port: 465, security: tls, username: u, password_file: ./p, ca_file: ca.pem}
  max_connections: 2
  retry_days: 1
http: {listen: "localhost:0"}
log: {format: json, mask_numbers: false}
defaults: {language: en, timezone: Europe/London, region: GB, attachment: opus, max_seconds: 60, min_seconds: 0, min_speech_seconds: 1.5, silence_seconds: 3, hours: {mon: "8:00-9:00"}, holidays: DE, closed: [12-24, 2026-12-31], promise: true, keep_digits: false, review: true, ask_number: true, transcriber: w, caller_in_from: true, thread_callers: true, show_recipients: true, important: true}
transcribers: {w: {command: [./w, "--file={audio}", "{language}", "{}"], seconds: 5, at_once: 2}, v: {command: [v]}}
mailboxes:
  sales:
    name: &n Sprzedaż
    numbers: ["48221234567", "+4822*#"]
    recipients: &who [anna@example.com, 'Jan <jan@example.com>']
    reply_to: |-
      a@example.com
    greetings: {default: a.wav, after-hours: b.wav}
    hours: {mon-fri: "08:00-16:00, 17:00-18:00", sat-sun: ""}
    holidays: PL
    closed: ["2026-12-24..2026-12-31", "12-24..01-01"]
    promises: {today: t.wav, next-working-day: n.wav, mon: m.wav}
    operator: "1000 XML default"
    transcriber: none
  second: {name: *n, recipients: *who, timezone: UTC}
mailboxes_dir: ./more
greetings_dir: ./sounds
"""
_SMALL = "recipients: [anna@example.com]\nname: Anna\nhours:\n  mon: 08:00-16:00\n"

_NASTY: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, float("inf"), float("nan"), 1 << 70, 10**400, "", " ", "~", "null", "1:20:30", "2026-13-45",
    "2026-01-01", [], {}, [[]], [None], {"": ""}, {"a": {"b": {}}}, [{}], "x" * 5000, "a@" + "b." * 200 + "c", "@", "a@b@c",
    "<>", "a <b@c>", "<a@b.pl", '"x" <a@b.pl>', "a@[1.2.3.4]", "a@xn--a", "a@xn--", "ä@ö", "../../../etc/passwd",
    "/dev/zero", "/proc/self/mem", "/", "Europe", "Europe/", "../Warsaw", "localtime", "MON", "PUBLIC", "HolidayBase",
    "country_holidays", "date", "0/0", "10.0.0.0/99", "::/0", "[::]:1", "a:b", ":1", "1:", "127.0.0.1:65536", "mon-mon", "mon-xyz",
    "24:00-24:00", "00:00-00:00", "99:99-00:00", "８:00-9:00", "%s%d{}", "\udc80", "\ud800",
)  # fmt: skip
TRAPS = (
    "[" * 600, "{a: " * 600, "- " * 600 + "x", "\n".join(" " * n + "a:" for n in range(600)),
    "a: &a [*a]", "a: &a {b: *a, c: *a}", "? [a]\n: b", "? {a: b}\n: c", "<<: {a: b}", "&a <<: x", "*a : b", "a: *b",
    "a: !!python/object/apply:os.system [ls]", "a: !!binary AAAA", "a: !!set {a, b}", "a: !!omap [a: b]", "a: !x y", "!!map [a]",
    "a: !!int x", "a: !!float x", "a: !!bool x", "a: !!null x", "a: !!timestamp x", "!!str a: b", "a: !!str [b]", "a: !!seq {}",
    "a: !!int ''", "a: !!float ''", "a: !!float '.'", "a: !!int '-'", "a: !!int '0b'", "a: !!int '0x'", "a: !!int ':'", "a: !!float ':'",
    "%YAML 9.9\n---\na: b", "%YAML 1.1\n%YAML 1.1\n---\n", "%TAG ! tag:x,\n---\n!y a", "--- a\n--- b", "...\n", "---\n...\n---\n",
    "a: \"\\ud800\"", "\"\\0\": a", "a: \"\\U00110000\"", "a: \"\\x\"", "a: '", "a: |9\n x", "a: >-+\n", "\t- a", "a:\tb", "a: b: c",
    "a: 1e999999999", "a: 0x" + "f" * 5000, "a: 0b" + "1" * 90000, "a: 0" + "7" * 9000, "a: " + "9" * 5000,
    "a: 1" + ":1" * 300, "a: 1" + ":1" * 300 + ".5", "a: 1" + ":59" * 100_000, "a: 9999-12-31t23:59:59-23:59", "a: 0001-01-01 00:00:00 +99:99",
    "a: 2026-01-01 00:00:00.9999999999999 +25:00", "a: .inf", "a: -.INF", "a: .nan", "a: 1_000", "a: +_", "a: -0x_", "a: =", "= : a", "@a", "`a",
)  # fmt: skip


@cache
def good() -> tuple[bytes, ...]:
    """Return good configurations."""
    return ((_ROOT / "voicemail.yaml").read_bytes(), _LONG.encode(), _SMALL.encode(), b"")


def case(chance: Random) -> bytes:
    """Return a file to read."""
    match chance.randrange(10):
        case 0:
            return _bomb(chance)
        case 1:
            return chance.choice(TRAPS).encode("utf-8", "surrogatepass")
        case 2:
            text = chance.choice(TRAPS).removeprefix("a:").encode("utf-8", "surrogatepass")
            return _with_value(chance, text)
        case 3 | 4 | 5:
            return _nasty(chance)
        case 6:
            text = chance.choice(good()).decode()
            coding = chance.choice(["utf-16", "utf-8-sig", "utf-32", "latin-1", "cp037", "utf-7"])
            return text.encode(coding, "replace")
        case _:
            return spoil(chance, good())


def _bomb(chance: Random) -> bytes:
    """A little text that means billions of values, or a lot of text that means little."""
    match chance.randrange(6):
        case 0:
            lines = ["a0: &a0 [x, x]"] + [
                f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 60)
            ]
            return "\n".join(lines).encode()
        case 1:
            lines = ["a0: &a0 {k: v}"] + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 60)]
            return "\n".join(lines).encode()
        case 2:
            key = chance.choice(["mailboxes", "unknown"])
            return f"{key}:\n".encode() + b"".join(
                b"  k%d: {recipients: [a@b.pl]}\n" % n for n in range(1500)
            )
        case 3:
            return b"x: [" + b"a," * chance.randrange(20_000) + b"]"
        case 4:
            return (
                b"x: "
                + chance.choice([b'"', b"'", b"#", b"&", b"!", b"|\n ", b""])
                + b"y" * chance.randrange(1 << 20)
            )
        case _:
            return _with_value(chance, b"&x [" + b"*x," * 40 + b"]")


def _with_value(chance: Random, value: bytes) -> bytes:
    """Return a good file in which a value is another."""
    lines = chance.choice(good()[:3]).split(b"\n")
    at = chance.randrange(len(lines))
    key, colon, _ = lines[at].partition(b": ")
    lines[at] = key + (colon or b": ") + value.strip()
    return b"\n".join(lines)


def _nasty(chance: Random) -> bytes:
    """Return a good file in which some values are not what they should be."""
    values = yaml.safe_load(chance.choice(good()[:3]))
    for _ in range(chance.choice([1, 1, 2, 5])):
        _spoil_value(chance, values)
    written = yaml.safe_dump(values, allow_unicode=True, default_flow_style=chance.choice([True, False]))
    return str(written).encode("utf-8", "surrogatepass")


def _spoil_value(chance: Random, inside: Any) -> None:
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        if not keys:
            return
        key = chance.choice(keys)
        deeper = inside[key]
        if not isinstance(deeper, dict | list) or not deeper or chance.random() < 0.2:
            break
        inside = deeper
    nasty = chance.choice(_NASTY)
    match chance.randrange(6):
        case 0 if isinstance(inside, dict):
            inside[nasty if isinstance(nasty, str | int | float | None) else "k"] = inside.pop(key)
        case 1 if isinstance(inside[key], str):
            text = inside[key]
            at = chance.randrange(len(text) + 1)
            inside[key] = text[:at] + chance.choice(UNICODE) * chance.choice([1, 300]) + text[at:]
        case _:
            inside[key] = nasty


def check(content: bytes, chance: Random, folder: Path) -> Config | None:
    """Load a file, in some cases as one of a folder of mailboxes; AssertionError for what must not be."""
    path = folder / "voicemail.yaml"
    if chance.random() < 0.2:
        more = folder / "more"
        more.mkdir(exist_ok=True)
        for old in more.iterdir():
            old.unlink()
        name = chance.choice(["sales", "sales", "Ä", "a b", "-x", "x\n1", ".hidden", "x" * 60])
        (more / f"{name}.yaml").write_bytes(content)
        path.write_bytes(_LONG.encode())
    else:
        path.write_bytes(content)
    began = time.thread_time()
    config, problems = None, [""]
    try:
        with _limit(_ALARM_SECONDS):
            config = load(path)
    except ConfigError as error:
        problems = error.problems
    took = time.thread_time() - began
    assert took < _SECONDS + _SECONDS_PER_BYTE * len(content), f"{len(content)} bytes took {took:.1f} s"
    assert problems, "refused without a word"
    if config is None:
        for line in problems:
            _check_line(line)
    else:
        for key, mailbox in config.mailboxes.items():
            f"{config.at('mailboxes', key)} {mailbox}".encode()
    return config


def _check_line(line: str) -> None:
    line.encode()
    shown = line[:300]
    assert line.isprintable(), f"not one printable line: {shown!r}"
    assert len(line) <= _LONGEST_LINE, f"a line of {len(line)} characters: {shown}"
    assert _PLACE.fullmatch(line), f"says no place: {shown}"


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    """Break off what takes far too long, so that a run finds it rather than hangs."""

    def over(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

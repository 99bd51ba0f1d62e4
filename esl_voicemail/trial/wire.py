"""The text FreeSWITCH puts on the event socket: frames, replies, events, and what a command says.

Owns bytes and header order, with no socket and no clock of its own; what happens when is left to `switch`.
The variables of a channel are in `channel.txt`, percent-encoded, with `$placeholders`.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from urllib.parse import unquote

from esl_voicemail.trial.caller import RATE, Mishap, TrialCaller

Header = tuple[str, str]

MY_EVENTS = frozenset(
    [f"CHANNEL_{name}" for name in (
        "ANSWER", "APPLICATION", "BRIDGE", "CREATE", "DATA", "DESTROY", "EXECUTE", "EXECUTE_COMPLETE",
        "HANGUP", "HANGUP_COMPLETE", "ORIGINATE", "UUID", "OUTGOING", "PARK", "PROGRESS", "PROGRESS_MEDIA",
        "STATE", "UNBRIDGE", "UNPARK",
    )] + ["DETECTED_SPEECH", "DTMF", "NOTALK", "TALK"]
)  # fmt: skip
"""What `myevents` subscribes to (FreeSWITCH mod_event_socket.c:2104)."""

MAX_BODY_BYTES = 16 * 1024 * 1024
"""A command with a longer body ends the connection."""

_WITHOUT_VARIABLES = frozenset({"DTMF", "CHANNEL_STATE"})
_ORIGIN = {  # where in FreeSWITCH an event is made: file, function, line
    "CHANNEL_DATA": "mod_event_socket.c parse_command 2029",
    "CHANNEL_PARK": "switch_ivr.c switch_ivr_park 1002",
    "CHANNEL_UNPARK": "switch_ivr.c switch_ivr_park 1213",
    "CHANNEL_EXECUTE": "switch_core_session.c switch_core_session_exec 2949",
    "CHANNEL_EXECUTE_COMPLETE": "switch_core_session.c switch_core_session_exec 2972",
    "CHANNEL_ANSWER": "switch_channel.c switch_channel_perform_mark_answered 3848",
    "CHANNEL_PROGRESS_MEDIA": "switch_channel.c switch_channel_perform_mark_pre_answered 3562",
    "CHANNEL_HANGUP": "switch_channel.c switch_channel_perform_hangup 3447",
    "CHANNEL_STATE": "switch_channel.c switch_channel_perform_set_running_state 2409",
    "CHANNEL_HANGUP_COMPLETE": "switch_core_state_machine.c switch_core_session_reporting_state 943",
    "DTMF": "switch_channel.c switch_channel_dequeue_dtmf 678",
    "RECORD_START": "switch_ivr_play_say.c switch_ivr_record_file 770",
    "RECORD_STOP": "switch_ivr_play_say.c switch_ivr_record_file 1033",
    "PLAYBACK_START": "switch_ivr_play_say.c switch_ivr_play_file 1649",
    "PLAYBACK_STOP": "switch_ivr_play_say.c switch_ivr_play_file 2023",
}
_Q850 = {"NORMAL_CLEARING": "16", "USER_BUSY": "17", "NO_ANSWER": "19", "CALL_REJECTED": "21",
         "DESTINATION_OUT_OF_ORDER": "27"}  # fmt: skip
_UNSAFE = re.compile(rb'[\x00-\x20\x7f-\xff"#&+:;<=>?@\[\\\]^`{|}]|%(?![0-9A-F]{2})')
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_ARGUMENT = re.compile(r"'((?:[^'\\]|\\.)*)'|((?:[^\s\\]|\\.)+)")
_SCOPE = re.compile(r"%\[([^]]*)\]")
_VARIABLE = re.compile(r"(\\?)\$\{([^{}]*)\}")
_ESCAPED = re.compile(r"\\(.)")


def encode(value: str) -> str:
    """Percent-encode as FreeSWITCH does, which leaves `%` before two uppercase hex digits as it is."""
    raw = value.encode("utf-8", "surrogateescape")
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], raw).decode("ascii") or "_undef_"


def _lines(headers: Iterable[Header]) -> str:
    return "".join(f"{name}: {encode(value)}\n" for name, value in headers) + "\n"


def event_frame(headers: Iterable[Header]) -> bytes:
    """Build an event's frame: `Content-Length` comes before `Content-Type`, and counts the blank line."""
    body = _lines(headers)
    return f"Content-Length: {len(body)}\nContent-Type: text/event-plain\n\n{body}".encode("ascii")


def connect_reply(headers: Iterable[Header]) -> bytes:
    """Build the reply to `connect`: headers without a length, and a Reply-Text that is encoded for once."""
    mode = (
        ("Content-Type", "command/reply"),
        ("Reply-Text", "+OK\n"),
        ("Socket-Mode", "async"),
        ("Control", "full"),
    )
    return _lines([*headers, *mode]).encode("ascii")


def command_reply(text: str) -> bytes:
    """Build the reply to a command: raw text, cut at 511 bytes."""
    return (
        b"Content-Type: command/reply\nReply-Text: " + text.encode("utf-8", "surrogateescape")[:511] + b"\n\n"
    )


def api_reply(text: str) -> bytes:
    """Build the reply to `api`."""
    body = text.encode()
    return b"Content-Type: api/response\nContent-Length: %d\n\n" % len(body) + body


def linger_notice(call_id: str, channel_name: str, seconds: int) -> bytes:
    """Build the notice that the channel is down and the socket stays; its values are not encoded."""
    return (
        f"Content-Type: text/disconnect-notice\nControlled-Session-UUID: {call_id}\n"
        f"Content-Disposition: linger\nChannel-Name: {channel_name}\n"
        f"Linger-Time: {seconds}\nContent-Length: 0\n\n"
    ).encode("utf-8", "surrogateescape")


def final_notice(call_id: str) -> bytes:
    """Build the last frame of every orderly end."""
    body = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
    return (
        f"Content-Type: text/disconnect-notice\nControlled-Session-UUID: {call_id}\n"
        f"Content-Disposition: disconnect\nContent-Length: {len(body)}\n\n{body}"
    ).encode("ascii")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the service: its first line, its headers (names in lower case) and its body."""

    raw: str
    line: str
    headers: Mapping[str, str]
    body: str


def take_command(data: bytes) -> tuple[Command | None, bytes]:
    """Cut the first whole command off; ValueError for a length that makes FreeSWITCH close the socket."""
    data = data.lstrip(b"\r\n")
    found = _BLANK_LINE.search(data)
    if found is None:
        return None, data
    raw = data[: found.start()].decode("utf-8", "surrogateescape")
    line, *rest = raw.replace("\r\n", "\n").split("\n")
    pairs = (header.partition(":") for header in rest)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= MAX_BODY_BYTES:
        raise ValueError(f"a body of {length} bytes")
    end = found.end() + length
    if len(data) < end:
        return None, data
    body = data[found.end() : end].decode("utf-8", "surrogateescape")
    return Command(raw, line.strip(), headers, body), data[end:]


def split_arguments(text: str) -> list[str]:
    """Split an argument at spaces: single quotes group, a backslash takes the next character."""
    return [_ESCAPED.sub(r"\1", quoted or bare) for quoted, bare in _ARGUMENT.findall(text)]


def whole_number(text: str) -> int:
    """Read a number as FreeSWITCH does: a leading plus is no matter, anything else is 0."""
    digits = text.lstrip("+")
    return int(digits) if digits.isdecimal() else 0


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Put variables in for `${name}`, as FreeSWITCH does in every argument, unless after a backslash."""
    return _VARIABLE.sub(lambda found: found[0][1:] if found[1] else variables.get(found[2], ""), text)


def scope(argument: str) -> tuple[dict[str, str], str]:
    """Split off the variables that `%[name=value]` in front sets for one execution."""
    found = _SCOPE.match(argument)
    if not found:
        return {}, argument
    pairs = (pair.partition("=") for pair in found[1].split(","))
    return {name: value for name, _, value in pairs}, argument[found.end() :]


def tone_seconds(tones: str) -> float:
    """Return how long `tone_stream://%(on,off,...)` lasts."""
    return sum(int(on) + int(off) for on, off in re.findall(r"%\(\s*(\d+)\s*,\s*(\d+)", tones)) / 1000


def disturbance(mishap: Mishap, channel: "Channel") -> bytes:
    """Build what a mishap that the call survives puts between the frames."""
    match mishap:
        case Mishap.GARBAGE:
            return b"\x00\xff\x16\x03\x01 no frame \r\n at all\n\n"
        case Mishap.NO_CONTENT_TYPE:
            body = _lines(channel.event("CHANNEL_EXECUTE_COMPLETE")).encode("ascii")
            return b"Content-Length: %d\n\n" % len(body) + body
        case Mishap.BAD_LENGTH:
            kind = b"Content-Type: text/event-plain\n\n"
            return b"Content-Length: -5\n" + kind + b"Content-Length: many\n" + kind
        case Mishap.SURPLUS_REPLY:
            return command_reply("+OK")
        case Mishap.FOREIGN_EVENT:
            return b"".join(_foreign_events(channel))
        case _:
            raise ValueError(f"{mishap} puts no bytes on the wire")


def _foreign_events(channel: "Channel") -> Iterable[bytes]:
    stranger = str(uuid.uuid5(uuid.NAMESPACE_OID, f"not {channel.call_id}"))
    about = [("Application", "record"), ("Application-Response", "_none_"), ("Application-UUID", stranger)]
    for name, extra in (("CHANNEL_HANGUP", []), ("CHANNEL_EXECUTE_COMPLETE", about)):
        headers = [*channel.event(name, first=[("Hangup-Cause", "NORMAL_CLEARING")]), *extra]
        yield event_frame((key, value.replace(channel.call_id, stranger)) for key, value in headers)


def _sections() -> dict[str, list[Header]]:
    sections: dict[str, list[Header]] = {}
    for line in Path(__file__).with_name("channel.txt").read_text("ascii").splitlines():
        if line.startswith("["):
            section = sections[line.strip("[]")] = []
        else:
            name, _, value = line.partition(": ")
            section.append((name, unquote(value)))
    return sections


_SECTIONS = _sections()


class Channel:
    """A channel as its events describe it; `now` is in virtual seconds since the call came in."""

    def __init__(
        self,
        call_id: str,
        caller: TrialCaller,
        *,
        dialled: str,
        variables: Mapping[str, str],
        service: str,
        began: float,
    ) -> None:
        self.call_id = call_id
        self.name = f"sofia/lo/{caller.number}@127.0.0.1"
        self.socket = f"{service} async full"
        self.now = 0.0
        self.variables: dict[str, str] = {}
        self.state = "CS_EXECUTE"
        self.state_number = 4
        self.call_state = "RINGING"
        self.answer_state = "ringing"
        self.read_codec = "PCMA"
        self.hangup_cause: str | None = None
        self.answered_us = 0
        self.progress_us = 0
        self.hangup_us = 0
        self._caller = caller
        self._caller_name = "Anonymous" if caller.withheld else caller.name
        self._dialled = dialled
        self._began = began
        self._created_us = self.microseconds()
        self._sequence = 0
        self._facts = {
            "call_id": call_id,
            "sip_call_id": str(uuid.uuid5(uuid.NAMESPACE_OID, call_id)),
            "number": caller.number,
            "stripped": caller.number.lstrip("+"),
            "name": self._caller_name,
            "dialled": dialled,
            "screen": "no" if caller.withheld else "yes",
            "privacy": "full" if caller.withheld else "off",
            "start_us": str(self._created_us),
        }
        self.learn("incoming")
        self.set("call_uuid", call_id)
        for name, value in variables.items():
            self.set(name, value)
        self.set("current_application_data", self.socket)
        self.set("current_application", "socket")
        self.set("socket_host", service.rpartition(":")[0])

    def microseconds(self) -> int:
        """Return the moment as FreeSWITCH writes it in headers."""
        return int((self._began + self.now) * 1_000_000)

    def set(self, name: str, value: str) -> None:
        """Set a variable, which moves it to the end of the headers; an empty value takes it away."""
        self.variables.pop(name, None)
        if value:
            self.variables[name] = value

    def read_with(self, codec: str) -> None:
        """Read the caller's audio with another codec: FreeSWITCH records linear samples."""
        self.read_codec = codec
        self.set("read_codec", codec)
        self.set("read_rate", str(RATE))

    def learn(self, section: str, facts: Mapping[str, str] | None = None) -> None:
        """Set the variables of a section of channel.txt."""
        known = self._facts | dict(facts or {})
        for name, value in _SECTIONS[section]:
            self.set(name, Template(value).substitute(known))

    def report(self, digits: str, last: Header) -> None:
        """Set what CHANNEL_HANGUP_COMPLETE tells of the whole call."""
        cause = self.hangup_cause or "NORMAL_CLEARING"
        end, answer, start = self.hangup_us, self.answered_us, self._created_us
        billed = end - answer if answer else 0
        waited = answer - start if answer else 0
        facts = {"cause": cause, "q850": _Q850.get(cause, "16"), "digits": digits or "none"}
        facts |= {"last_app": last[0], "last_arg": last[1]}
        for name, stamp in (
            ("start", start),
            ("answer", answer),
            ("progress", self.progress_us),
            ("end", end),
        ):
            facts |= {f"{name}_s": str(stamp // 1_000_000), f"{name}_us": str(stamp)}
            facts[f"{name}_stamp"] = _date(stamp, "%Y-%m-%d %H:%M:%S") if stamp else ""
        for name, span in (("duration", end - start), ("bill", billed), ("wait", waited)):
            facts |= {
                f"{name}_s": str(span // 1_000_000),
                f"{name}_ms": str(span // 1000),
                f"{name}_us": str(span),
            }
        self.learn("reported", facts)
        if "sip_hangup_disposition" not in self.variables:
            self.set("sip_hangup_disposition", "send_bye" if answer else "send_refuse")
        if answer:
            self.learn("measured")

    def event(self, name: str, extra: Iterable[Header] = (), first: Iterable[Header] = ()) -> list[Header]:
        """Return an event's headers: `extra` ends them, `first` comes before the state of the channel."""
        self._sequence += 1
        stamp = self.microseconds()
        file, function, line = _ORIGIN[name].split()
        headers = [
            ("Event-Name", name),
            ("Core-UUID", "0639c735-7ad9-4512-a3e5-2f00fd9dbdd5"),
            ("FreeSWITCH-Hostname", "trial"),
            ("FreeSWITCH-Switchname", "trial"),
            ("FreeSWITCH-IPv4", "192.0.2.2"),
            ("FreeSWITCH-IPv6", "2001:db8::2"),
            ("Event-Date-Local", _date(stamp, "%Y-%m-%d %H:%M:%S")),
            ("Event-Date-GMT", _date(stamp, "%a, %d %b %Y %H:%M:%S GMT")),
            ("Event-Date-Timestamp", str(stamp)),
            ("Event-Calling-File", file),
            ("Event-Calling-Function", function),
            ("Event-Calling-Line-Number", line),
            ("Event-Sequence", str(self._sequence)),
            *first,
            *(self._profile("Channel") if name == "CHANNEL_DATA" else ()),
            ("Channel-State", self.state),
            ("Channel-Call-State", self.call_state),
            ("Channel-State-Number", str(self.state_number)),
            ("Channel-Name", self.name),
            ("Unique-ID", self.call_id),
            ("Call-Direction", "inbound"),
            ("Presence-Call-Direction", "inbound"),
            ("Channel-HIT-Dialplan", "true"),
            ("Channel-Call-UUID", self.call_id),
            ("Answer-State", self.answer_state),
            *((("Hangup-Cause", self.hangup_cause),) if self.hangup_cause else ()),
            *_codec("Read", self.read_codec),
            *_codec("Write", "PCMA"),
            *self._profile("Caller"),
        ]
        if name not in _WITHOUT_VARIABLES:
            headers.extend((f"variable_{key}", value) for key, value in self.variables.items())
        return [*headers, *extra]

    def _profile(self, prefix: str) -> list[Header]:
        caller, created = self._caller, str(self._created_us)
        hidden, screened = str(caller.withheld).lower(), str(not caller.withheld).lower()
        number, name = caller.number, self._caller_name
        rows = (
            ("Direction", "inbound"), ("Logical-Direction", "inbound"), ("Username", number),
            ("Dialplan", "XML"),
            ("Caller-ID-Name", name), ("Caller-ID-Number", number), ("Orig-Caller-ID-Name", name),
            ("Orig-Caller-ID-Number", number), ("Network-Addr", "127.0.0.1"), ("ANI", number),
            ("Destination-Number", self._dialled), ("Unique-ID", self.call_id), ("Source", "mod_sofia"),
            ("Context", "public"), ("Channel-Name", self.name), ("Profile-Index", "1"),
            ("Profile-Created-Time", created), ("Channel-Created-Time", created),
            ("Channel-Answered-Time", str(self.answered_us)), ("Channel-Progress-Time", "0"),
            ("Channel-Progress-Media-Time", str(self.progress_us)),
            ("Channel-Hangup-Time", str(self.hangup_us)),
            ("Channel-Transfer-Time", "0"), ("Channel-Resurrect-Time", "0"), ("Channel-Bridged-Time", "0"),
            ("Channel-Last-Hold", "0"), ("Channel-Hold-Accum", "0"), ("Screen-Bit", screened),
            ("Privacy-Hide-Name", hidden), ("Privacy-Hide-Number", hidden),
        )  # fmt: skip
        return [(f"{prefix}-{key}", value) for key, value in rows if value]


def _codec(side: str, name: str) -> tuple[Header, ...]:
    bits = "128000" if name == "L16" else "64000"
    channel = f"Channel-{side}-Codec"
    return (f"{channel}-Name", name), (f"{channel}-Rate", "8000"), (f"{channel}-Bit-Rate", bits)


def _date(microseconds: int, form: str) -> str:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).strftime(form)

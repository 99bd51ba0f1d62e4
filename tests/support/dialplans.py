"""Dialplan XML as FreeSWITCH reads it: what a file promises its callers, and when its office is closed."""

import re
from collections.abc import Iterator
from datetime import datetime, time
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

Action = tuple[str, str]

# Applications from which an unanswered call goes on, and an answered one must not.
ANSWERED = ("bridge", "callcenter", "fifo")


def parse(text: str) -> Element:
    """Read a file, strictly."""
    return ElementTree.fromstring(text)


def actions(condition: Element) -> list[Action]:
    """Return the applications that a condition executes."""
    return [(action.get("application", ""), action.get("data", "")) for action in condition.iter("action")]


def variables(executed: list[Action]) -> dict[str, str]:
    """Return what is set by applications."""
    return dict(data.split("=", 1) for application, data in executed if application == "set" and "=" in data)


def hand_overs(root: Element) -> list[list[Action]]:
    """Return what each condition executes that hands over to the service."""
    found = [actions(condition) for condition in root.iter("condition")]
    return [executed for executed in found if any(application == "socket" for application, _ in executed)]


def problems(root: Element) -> list[str]:
    """Return what would leave a caller alone, cut off, or led to voicemail after an answered call."""
    return [
        f"{condition.get('expression')}: {problem}"
        for condition in root.iter("condition")
        for problem in _problems(root, actions(condition))
    ]


def _problems(root: Element, executed: list[Action]) -> Iterator[str]:
    names = [application for application, _ in executed]
    for at, (application, data) in enumerate(executed):
        before = variables(executed[:at])
        if application in ANSWERED and not data.endswith("out nowait"):
            if before.get("hangup_after_bridge") != "true":
                yield f"{application}: an answered call would go on to voicemail"
            if application == "bridge" and "continue_on_fail" not in before:
                yield "bridge: without continue_on_fail a busy line hangs the caller up"
            if not {"bridge", "socket", "transfer"} & set(names[at + 1 :]):
                yield f"{application}: leads nowhere when nobody answers"
        if application == "socket":
            if before.get("socket_resume") != "true":
                yield "socket: socket_resume is not set before it"
            if not re.fullmatch(r"\S+:[0-9]+ async full", data):
                yield f"socket: {data!r} is not host:port async full"
            if not {"answer", "hangup"} & set(names[at + 1 :]) or not {"playback", "voicemail"} & set(
                names[at + 1 :]
            ):
                yield "socket: no fallback that is heard follows it"
            if not _told(before) and not _led_to(root, executed):
                yield "socket: neither mailbox nor reason is set before it"
        if application == "transfer" and not _told(before):
            yield "transfer: neither mailbox nor reason is set before it"


def _told(before: dict[str, str]) -> bool:
    return bool(before.get("voicemail_mailbox") and before.get("voicemail_reason"))


def _led_to(root: Element, executed: list[Action]) -> bool:
    """Whether transfers of the file lead to where this is executed, and to nowhere else."""
    (where,) = (one.get("expression", "") for one in root.iter("condition") if actions(one) == executed)
    targets = {
        data.split()[0]
        for condition in root.iter("condition")
        for application, data in actions(condition)
        if application == "transfer"
    }
    return bool(targets) and all(re.search(where, target) for target in targets)


def shown(text: str, element: str) -> list[str]:
    """Return the settings of other files that a dialplan's comment shows."""
    found = re.findall(rf"^ *<{element} [^<>]*(?:/>|(?<!/)>.*?</{element}>)", text, re.MULTILINE | re.DOTALL)
    assert found
    return found


def closed(extension: Element, moment: datetime) -> bool:
    """Tell what an extension that says whether the office is closed says of a local moment."""
    said = ""
    for condition in extension.iter("condition"):
        if condition.get("field") or _matches(condition, moment):
            for name, value in variables(actions(condition)).items():
                said = value if name.endswith("_closed") else said
        assert condition.get("field") or condition.get("break") == "never"
    assert said in {"true", "false"}
    return said == "true"


def _matches(condition: Element, moment: datetime) -> bool:
    now = {
        "year": moment.year,
        "mon": moment.month,
        "mday": moment.day,
        "wday": moment.isoweekday() % 7 + 1,
    }
    for name, value in condition.attrib.items():
        if name == "time-of-day":
            first, last = (time.fromisoformat(part) for part in value.split("-"))
            assert first <= last, "a span past midnight takes a second condition"
            if not first <= moment.time().replace(microsecond=0) <= last:
                return False
        elif name != "break" and now[name] not in set(_numbers(value)):
            return False
    return True


def _numbers(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)

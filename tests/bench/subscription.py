"""Which events a client of the event socket gets, by the rules of mod_event_socket.

Only a client that asked for an event is sent it. Here there is one call, so `myevents` and `event`
differ in the names they bring, not in whose events they are.
"""

import re
from collections.abc import Callable, Mapping

from tests.bench.recording import Event

# The names that `myevents` brings (mod_event_socket.c, parse_command).
_MY_EVENTS = (
    "CHANNEL_ANSWER CHANNEL_APPLICATION CHANNEL_BRIDGE CHANNEL_CREATE CHANNEL_DATA CHANNEL_DESTROY "
    "CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP CHANNEL_HANGUP_COMPLETE CHANNEL_ORIGINATE "
    "CHANNEL_UUID CHANNEL_OUTGOING CHANNEL_PARK CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_STATE "
    "CHANNEL_UNBRIDGE CHANNEL_UNPARK DETECTED_SPEECH DTMF NOTALK TALK"
)
MY_EVENTS = frozenset(_MY_EVENTS.split())
_FORMATS = {"PLAIN", "JSON", "XML"}
# Calls that say the same share one subscription; more are not remembered.
_REMEMBERED = 100


class Subscription:
    """What has been asked for so far; never changed, each command leads to another one."""

    def __init__(
        self,
        names: frozenset[str] = frozenset(),
        *,
        all_but: frozenset[str] | None = None,
        mine: bool = False,
        filters: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._names = names
        self._all_but = all_but
        self._mine = mine
        self._filters = filters
        self._after: dict[bytes, tuple[Subscription, bytes]] = {}

    def after(self, command: bytes) -> "tuple[Subscription, bytes] | None":
        """Return what holds after a command and the reply to it; None when it is not about events."""
        known = self._after.get(command)
        if known is not None:
            return known
        verb, _, words = command.decode("utf-8", "replace").strip().partition(" ")
        understand = _VERBS.get(verb.lower())
        if understand is None:
            return None
        found, reply = understand(self, words.split())
        if len(self._after) < _REMEMBERED:
            self._after[command] = found, reply.encode()
        return found, reply.encode()

    def wants(self, event: Event, call_id: bytes, application_id: bytes) -> bool:
        """Whether the client is sent an event."""
        listed = event.name in self._names if self._all_but is None else event.name not in self._all_but
        return listed and (not self._filters or self._passes(event, call_id, application_id))

    def _passes(self, event: Event, call_id: bytes, application_id: bytes) -> bool:
        """With any filter nothing passes but what one names, and of that nothing a `-` names."""
        own = {b"Unique-ID": call_id, b"Application-UUID": application_id}
        headers: Mapping[bytes, bytes] = {**event.headers, **{k: own[k] for k in own if k in event.headers}}
        passes = False
        for name, wanted in self._filters:
            found = headers.get(name.encode())
            if found is None:
                continue
            value = wanted.lstrip("+- ")
            keeps = "-" not in wanted[: len(wanted) - len(value)]
            if (passes and keeps) or not _alike(found.decode("utf-8", "replace"), value):
                continue
            if not keeps:
                return False
            passes = True
        return passes

    def _asked(self, **changes: object) -> "Subscription":
        held: dict[str, object] = {
            "names": self._names,
            "all_but": self._all_but,
            "mine": self._mine,
            "filters": self._filters,
        }
        return Subscription(**{**held, **changes})  # type: ignore[arg-type]

    def _my_events(self, words: list[str]) -> "tuple[Subscription, str]":
        if self._mine:
            return self, "-ERR aready enabled."
        return self._asked(names=self._names | MY_EVENTS, mine=True), "+OK Events Enabled"

    def _events(self, words: list[str]) -> "tuple[Subscription, str]":
        if words and words[0].upper() in _FORMATS:
            words = words[1:]
        names = frozenset(word.upper() for word in words)
        if not names:
            return self, "-ERR no keywords supplied"
        reply = "+OK event listener enabled plain"
        if "ALL" in names:
            return self._asked(all_but=frozenset()), reply
        excepted = None if self._all_but is None else self._all_but - names
        return self._asked(names=self._names | names, all_but=excepted), reply

    def _nix(self, words: list[str]) -> "tuple[Subscription, str]":
        names = frozenset(word.upper() for word in words)
        if not names:
            return self, "-ERR no keywords supplied"
        if "ALL" in names:
            return self._asked(names=frozenset(), all_but=None), "+OK events nixed"
        excepted = None if self._all_but is None else self._all_but | names
        return self._asked(names=self._names - names, all_but=excepted), "+OK events nixed"

    def _none(self, words: list[str]) -> "tuple[Subscription, str]":
        return self._asked(names=frozenset(), all_but=None), "+OK no longer listening for events"

    def _filter(self, words: list[str]) -> "tuple[Subscription, str]":
        match words:
            case ["delete", "all"]:
                return self._asked(filters=()), "+OK filter deleted. [all]"
            case ["delete", name, *value]:
                gone = " ".join(value)
                left = tuple(one for one in self._filters if one[0] != name or (gone and one[1] != gone))
                return self._asked(filters=left), f"+OK filter deleted. [{name}][{gone}]"
            case [name, *value] if value and name != "delete":
                text = " ".join(value)
                added = (*self._filters, (name, text))
                return self._asked(filters=added), f"+OK filter added. [{name}]=[{text}]"
        return self, "-ERR invalid syntax"


_VERBS: dict[str, Callable[[Subscription, list[str]], tuple[Subscription, str]]] = {
    "myevents": Subscription._my_events,
    "event": Subscription._events,
    "nixevent": Subscription._nix,
    "noevents": Subscription._none,
    "filter": Subscription._filter,
}


def _alike(found: str, wanted: str) -> bool:
    """Compare as the switch does: between slashes stands a pattern, all else is the same but for case."""
    if wanted.startswith("/"):
        return re.search(wanted[1:].removesuffix("/"), found) is not None
    return found.lower() == wanted.lower()

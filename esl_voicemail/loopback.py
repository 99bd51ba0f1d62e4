"""A trial call through a real switch: a loopback channel whose far end the service has, directed by commands.

Knows what a switch is told, not what a probe wants; the times are real ones.
"""

import uuid
from collections.abc import Mapping
from pathlib import Path

from esl_voicemail.config.values import Address
from esl_voicemail.errors import VoicemailError
from esl_voicemail.esl.console import Console

_HINTS = {
    "CHAN_NOT_IMPLEMENTED": "load mod_loopback",
    "NO_ROUTE_DESTINATION": "its dialplan has no such extension",
    "NORMAL_CLEARING": "nobody answered; can it reach the service, and does the service take calls?",
}


def destination(listen: Address, dial: str | None) -> str:
    """Return what a loopback channel dials: `EXTENSION [XML CONTEXT]`, else the service itself."""
    if dial is None:
        return f"app=socket:{listen} async full"
    extension, _, where = dial.partition(" XML ")
    return f"{extension}/{where or 'default'}/XML"


def reachable(listen: Address) -> Address:
    """Return where a switch of this machine finds who listens everywhere."""
    return Address("127.0.0.1", listen.port) if listen.host in {"0.0.0.0", "::"} else listen  # noqa: S104


class LoopbackCall:
    """A call that is answered; VoicemailError when the switch cannot place it or nobody answers."""

    def __init__(self, console: Console, to: str, variables: Mapping[str, str], seconds: int) -> None:
        self._console = console
        self._near = str(uuid.uuid4())
        given = {
            "origination_uuid": self._near,
            "originate_timeout": str(seconds),
            "ignore_early_media": "true",
            # Bowing out, the two ends would become one, with nobody left to speak.
            "loopback_bowout": "false",
            "loopback_bowout_on_execute": "false",
            **variables,
        }
        listed = ",".join(f"{name}={value}" for name, value in given.items())
        said = console.api(f"originate '{{{listed}}}loopback/{to}' &park()", seconds + 5)
        if not said.startswith("+OK"):
            cause = said.removeprefix("-ERR").strip()
            hint = _HINTS.get(cause, "see its log")
            raise VoicemailError(f"the switch at {console.address} cannot place a call: {cause}: {hint}")
        self.call_id = console.api(f"uuid_getvar {self._near} other_loopback_leg_uuid")

    @property
    def is_up(self) -> bool:
        """Whether the service's end is still there."""
        return self._console.api(f"uuid_exists {self.call_id}") == "true"

    def speak(self, sound: Path) -> None:
        """Begin to play a sound to the service."""
        said = self._console.api(f"uuid_broadcast {self._near} {sound} aleg")
        if not said.startswith("+OK"):
            raise VoicemailError(f"the switch at {self._console.address} cannot play {sound}: {said}")

    def hang_up(self) -> None:
        """End the call, if it has not ended."""
        self._console.api(f"uuid_kill {self._near}")

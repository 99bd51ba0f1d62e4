"""Trial calls that stand still in a stage until a test lets them go on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from gevent.event import Event

from esl_voicemail.trial.caller import Stage
from esl_voicemail.trial.session import Session


@contextmanager
def held(*stages: Stage) -> Iterator[Event]:
    """Hold the first call placed in the block at the first stage, the next one at the next, and no others.

    They go on when the event is set, at the latest at the end of the block.
    """
    ahead = iter(stages)
    released = Event()

    class HeldSession(Session):
        """Takes its stage when it is made, which is when its call has reached the service."""

        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            self._held_at = next(ahead, None)

        def _live(
            self,
            stage: Stage | None,
            seconds: float,
            ends: str = "",
            reach: Callable[[float], bool] | None = None,
        ) -> str | None:
            if stage is not None and stage is self._held_at:
                released.wait()
            return super()._live(stage, seconds, ends, reach)

    with patch("esl_voicemail.trial.switch.Session", HeldSession):
        try:
            yield released
        finally:
            released.set()

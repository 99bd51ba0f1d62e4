"""What is attached of a recording: the wanted format, a smaller one where there is no room, or none.

Keeps the last ones it made, as one message often goes to several people. Meant for worker threads.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from gevent.monkey import get_original

from esl_voicemail.audio.convert import FORMATS, LADDERS, Converted, Tags, convert, most_bytes, whole
from esl_voicemail.digests import Digests
from esl_voicemail.errors import RecordingError
from esl_voicemail.mail.message import Attachment
from esl_voicemail.model import Recording

_KEPT_BYTES = 16 << 20
# All recipients of a message are served within moments; who is erased later is in no cache.
_KEPT_SECONDS = 300.0

# Real locks: gevent's patch made the others greenlets' locks.
_allocate_lock = get_original("_thread", "allocate_lock")

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Enclosed:
    """What is attached, None for no audio; `step` is how far down that is, `words` say what it is.

    `trouble` is why the codec refused it, empty if it did not.
    """

    audio: Attachment | None
    step: int
    words: str
    trouble: str = ""


class Encloser:
    """Makes attachments of recordings; what it keeps is bounded in bytes and time.

    `digests` are of recordings that need not be digested again to tell that they are what was kept.
    """

    def __init__(self, kept_bytes: int = _KEPT_BYTES, digests: Digests | None = None) -> None:
        self._most = kept_bytes
        self._digests = digests or Digests()
        self._kept: OrderedDict[_Key, tuple[float, Converted]] = OrderedDict()
        self._making: dict[_Key, object] = {}
        self._lock = _allocate_lock()

    def enclose(
        self, recording: Recording, wanted: str, tags: Callable[[], Tags], step: int, room: int | None
    ) -> Enclosed:
        """Return the first, from a step on, of the formats in place of `wanted` that has room in bytes.

        `tags` is asked by formats that have some. What a codec refuses is attached as it was recorded, if
        there is room for that. RecordingError when
        the recording is not what was kept, OSError when the disk fails.
        """
        as_kept = self._as_kept(recording)
        ladder, trouble = LADDERS[wanted], ""
        for at in range(step, len(ladder)):
            name = ladder[at]
            if FORMATS[name].codec and not _fits(most_bytes(name, recording.duration_ms), room):
                continue
            made: Converted | None = as_kept
            if FORMATS[name].codec:
                try:
                    made = self._converted(recording, as_kept, name, tags())
                except RecordingError as error:
                    trouble = trouble or str(error)
                    # Where nobody says how much room there is, the recording itself has been refused before.
                    name, made = "wav", as_kept if at == 0 or room is not None else None
            if made is not None and _fits(len(made.content), room):
                form = FORMATS[name]
                audio = Attachment(made.content, form.suffix, form.subtype, made.duration_ms, form.codecs)
                return Enclosed(audio, at, form.words, trouble)
        return Enclosed(None, len(ladder), f"no audio, which is kept in {recording.path}", trouble)

    def _as_kept(self, recording: Recording) -> Converted:
        content, stands = whole(recording.path)
        known = self._digests.of(stands) if len(content) == recording.size else None
        if recording.sha256 and recording.sha256 != (known or sha256(content).hexdigest()):
            raise RecordingError(
                f"{recording.path.name}: has changed since it was kept, {len(content)} bytes now"
            )
        return Converted(content, recording.duration_ms)

    def _converted(self, recording: Recording, as_kept: Converted, name: str, tags: Tags) -> Converted:
        """Return a recording in a format, made once for all who ask for it meanwhile; RecordingError."""
        said = "\n".join((tags.title, tags.artist, tags.album, tags.date))
        key = (
            recording.sha256 or sha256(as_kept.content).hexdigest(),
            name,
            sha256(said.encode()).hexdigest(),
        )
        with self._lock:
            mine = self._making.setdefault(key, _allocate_lock())
        try:
            with mine:  # type: ignore[attr-defined]
                found = self._found(key)
                return found or self._keep(key, convert(recording.path, name, tags))
        finally:
            with self._lock:
                self._making.pop(key, None)

    def _found(self, key: _Key) -> Converted | None:
        with self._lock:
            self._let_go()
            found = self._kept.get(key)
        return found and found[1]

    def _keep(self, key: _Key, made: Converted) -> Converted:
        with self._lock:
            self._kept[key] = time.monotonic(), made
            self._let_go()
        return made

    def _let_go(self) -> None:
        """Forget what is old, and the oldest of what is too much."""
        limit = time.monotonic() - _KEPT_SECONDS
        while self._kept:
            made_at, _ = next(iter(self._kept.values()))
            size = sum(len(one.content) for _, one in self._kept.values())
            if made_at > limit and size <= self._most:
                return
            self._kept.popitem(last=False)


def _fits(size: int, room: int | None) -> bool:
    return room is None or size <= room

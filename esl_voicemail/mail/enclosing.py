"""What is attached of a recording: the wanted format, a smaller one where there is no room, or none.

Keeps the last ones it made, as one message often goes to several people. Meant for worker threads.
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256

from gevent.monkey import get_original

from esl_voicemail.audio.convert import FORMATS, LADDERS, Tags, attachment, most_bytes
from esl_voicemail.errors import RecordingError
from esl_voicemail.mail.message import Attachment
from esl_voicemail.model import Recording

_KEPT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Enclosed:
    """What is attached, None for no audio; `step` is how far down that is, `words` say what it is."""

    audio: Attachment | None
    step: int
    words: str


class Encloser:
    """Makes attachments of recordings; what it keeps is bounded in bytes."""

    def __init__(self, kept_bytes: int = _KEPT_BYTES) -> None:
        self._most = kept_bytes
        self._kept: OrderedDict[tuple[str, str, Tags], bytes] = OrderedDict()
        # A real lock: gevent's patch made the others greenlets' locks.
        self._lock = get_original("_thread", "allocate_lock")()

    def enclose(self, recording: Recording, wanted: str, tags: Tags, step: int, room: int | None) -> Enclosed:
        """Return the first, from a step on, of the formats in place of `wanted` that has room in bytes.

        What a codec refuses is attached as it was recorded, if there is room for that. RecordingError when
        the recording is not what was kept, OSError when the disk fails.
        """
        as_kept = _as_kept(recording)
        ladder = LADDERS[wanted]
        for at in range(step, len(ladder)):
            name = ladder[at]
            if FORMATS[name].codec and not _fits(most_bytes(name, recording.duration_ms), room):
                continue
            content = self._converted(recording, as_kept, name, tags)
            # Where nobody says how much room there is, the recording itself has been refused before.
            if content is None and (at == 0 or room is not None):
                name, content = "wav", as_kept
            if content is not None and _fits(len(content), room):
                form = FORMATS[name]
                return Enclosed(
                    Attachment(content, form.suffix, form.subtype, form.parameter), at, form.words
                )
        return Enclosed(None, len(ladder), f"no audio, which is kept in {recording.path}")

    def _converted(self, recording: Recording, as_kept: bytes, name: str, tags: Tags) -> bytes | None:
        """Return a recording in a format, or None when the codec refuses it."""
        if not FORMATS[name].codec:
            return as_kept
        key = (recording.sha256 or sha256(as_kept).hexdigest(), name, tags)
        with self._lock:
            found = self._kept.get(key)
        if found is not None:
            return found
        try:
            content = attachment(recording.path, name, tags)
        except RecordingError:
            return None
        with self._lock:
            self._kept[key] = content
            while sum(map(len, self._kept.values())) > self._most:
                self._kept.popitem(last=False)
        return content


def _as_kept(recording: Recording) -> bytes:
    as_kept = attachment(recording.path, "wav")
    if recording.sha256 and sha256(as_kept).hexdigest() != recording.sha256:
        raise RecordingError(
            f"{recording.path.name}: has changed since it was kept, {len(as_kept)} bytes now"
        )
    return as_kept


def _fits(size: int, room: int | None) -> bool:
    return room is None or size <= room

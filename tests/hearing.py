"""Measures what `esl_voicemail/audio/hearing.py` misses and mistakes: `python -m tests.hearing FOLDER...`.

Every sound file in the folders holds somebody who speaks: as it is, low, through a telephone's codecs and in
noise. `--other FOLDER` holds what is no speech; tones and noise made here come on top. Prints tables.
"""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import chain, pairwise
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from esl_voicemail.audio.hearing import judge
from esl_voicemail.model import Content, Hearing
from tests.support.noises import BUSY, FAX, NOISE, RATE, pieces

Samples = NDArray[np.int16]

SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 3600.0)
LEVEL_DB, QUIET_SECONDS = -26.0, 1.0
# Within so much of a recording's loudest 20 ms somebody speaks: a measure that owes ours nothing.
SPOKEN_DB = 30.0
LEVELS_DB = (-40.0, -30.0, -20.0, -12.0)
LENGTHS = (2.5, 6.0, 15.0)


def samples_of(path: Path) -> Samples:
    """Read any sound file as a telephone has it."""
    resampler, parts = av.AudioResampler("s16", "mono", RATE), [np.zeros(0, np.int16)]
    with av.open(str(path)) as source:
        for frame in source.decode(audio=0):
            parts += [ready.to_ndarray()[0] for ready in resampler.resample(frame)]
        parts += [ready.to_ndarray()[0] for ready in resampler.resample(None)]
    return np.concatenate(parts)


def files_of(folders: list[Path]) -> Iterator[tuple[Path, Samples]]:
    """Read all sound files below folders; what is none is said and left out."""
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            try:
                samples = samples_of(path)
            except (av.FFmpegError, IndexError) as error:
                print(f"left out: {path}: {error}")
                continue
            if len(samples) >= RATE // 10:
                yield path, samples


def spoken_seconds(samples: Samples) -> float:
    """Return for how long somebody speaks in a clean recording."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160).astype(np.float64)
    power = (frames**2).mean(axis=1)
    return float((power > power.max() * 10 ** (-SPOKEN_DB / 10)).sum()) / 50


def at_level(samples: Samples, level_db: float) -> NDArray[np.float64]:
    """Return a voice at a level, in dB below full scale: the RMS of what is not silence."""
    sound = samples.astype(np.float64) / 32768
    loud = np.abs(sound) > np.abs(sound).max() * 0.05
    return sound / np.sqrt(np.mean(sound[loud] ** 2)) * 10 ** (level_db / 20)


def sampled(sound: NDArray[np.float64]) -> Samples:
    """Return a sound as 16 bits, cut off at full scale."""
    return np.round(np.clip(sound, -1, 1 - 2**-15) * 32768).astype(np.int16)


def coded(samples: Samples, codec: str) -> Samples:
    """Return samples as they come out of a codec, `pcm_alaw` or `pcm_mulaw`."""
    frame = av.AudioFrame.from_ndarray(samples[None, :], "s16", "mono")
    frame.sample_rate = RATE
    writer = av.CodecContext.create(codec, "w")
    writer.sample_rate, writer.layout, writer.format = RATE, "mono", "s16"  # type: ignore[attr-defined]
    reader = av.CodecContext.create(codec, "r")
    reader.sample_rate, reader.layout = RATE, "mono"  # type: ignore[attr-defined]
    packets = [*writer.encode(frame), *writer.encode(None)]  # type: ignore[attr-defined]
    return np.concatenate([out.to_ndarray()[0] for packet in packets for out in reader.decode(packet)])  # type: ignore[attr-defined]


def in_noise(name: str, ratio_db: float) -> Callable[[Samples], Samples]:
    """Return what puts a voice into noise that goes on before and after it."""
    noise = next(pieces(NOISE[name], 30.0, (LEVEL_DB - ratio_db,)))
    quiet = np.zeros(round(QUIET_SECONDS * RATE))

    def put(samples: Samples) -> Samples:
        whole = np.concatenate((quiet, at_level(samples, LEVEL_DB), quiet))
        return sampled(whole + np.resize(noise, len(whole)))

    return put


CONDITIONS: dict[str, Callable[[Samples], Samples]] = {
    "as recorded": lambda voice: voice,
    "at -45 dB": lambda voice: sampled(at_level(voice, -45)),
    "at -38 dB, A-law": lambda voice: coded(sampled(at_level(voice, -38)), "pcm_alaw"),
    "at -3 dB, u-law": lambda voice: coded(sampled(at_level(voice, -3)), "pcm_mulaw"),
    **{
        f"{name}, {ratio_db:g} dB": in_noise(name, ratio_db)
        for name in ("white noise", "a car", "comfort noise", "wind")
        for ratio_db in (20.0, 10.0, 5.0)
    },
}


def misses(voices: list[tuple[Path, Samples]], least_ms: int, *, telling: bool) -> None:
    """Print how many voices are taken for none, by how long they speak."""
    seconds = [spoken_seconds(samples) for _, samples in voices]
    spans = list(pairwise(SECONDS))
    of = [[n for n, spoken in enumerate(seconds) if low <= spoken < high] for low, high in spans]
    titles = [f"{low:g} to {high:g} s" if high < 3600 else f"{low:g} s and more" for low, high in spans]
    print("\n| speech, missed of all | " + " | ".join(titles) + " |\n|---|" + "---|" * len(titles))
    for condition, put in CONDITIONS.items():
        heard = [judge([put(samples)]) for _, samples in voices]
        missed = [[n for n in some if heard[n].speech_ms < least_ms] for some in of]
        counts = (f"{len(one)} of {len(some)}" for one, some in zip(missed, of, strict=True))
        print(f"| {condition} | {' | '.join(counts)} |")
        if telling:
            for n in chain.from_iterable(missed):
                print(f"    {voices[n][0]}: {seconds[n]:.2f} s, heard {heard[n].speech_ms / 1000:.2f} s")


def mistaken(others: dict[str, list[Samples]], least_ms: int) -> None:
    """Print what is taken for speech that is none, and what it is taken for otherwise."""
    print("\n| no speech | taken for speech | taken for |\n|---|---|---|")
    for name, sounds in others.items():
        heard: list[Hearing] = [judge([samples]) for samples in sounds]
        speech = sum(one.speech_ms >= least_ms for one in heard)
        kinds = Counter(one.content.value for one in heard if one.content is not Content.SPEECH)
        said = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        print(f"| {name} | {speech} of {len(heard)} | {said} |")


def main() -> None:
    """Measure."""
    asked = argparse.ArgumentParser(prog="python -m tests.hearing")
    asked.add_argument(
        "folders", metavar="FOLDER", type=Path, nargs="*", help="recordings of people who speak"
    )
    asked.add_argument("--other", metavar="FOLDER", type=Path, action="append", default=[], help="no speech")
    asked.add_argument("--least", metavar="S", type=float, default=0.1, help="as min_speech_seconds")
    asked.add_argument("--tell", action="store_true", help="name what was missed")
    given = asked.parse_args()
    least_ms = round(given.least * 1000)
    voices = list(files_of(given.folders))
    if voices:
        started, seconds = time.process_time(), sum(len(samples) for _, samples in voices) / RATE
        for _, samples in voices:
            judge([samples])
        cost = (time.process_time() - started) * 1e4 / seconds
        print(f"{len(voices)} recordings, {seconds:.0f} s, {cost:.1f} ms of processor for 10 s")
        misses(voices, least_ms, telling=given.tell)
    others: dict[str, list[Samples]] = defaultdict(list)
    for name, sound in (BUSY | FAX | NOISE).items():
        for length in LENGTHS:
            plain = [sampled(piece) for piece in pieces(sound, length, LEVELS_DB)]
            others[name] += [
                *plain,
                *(coded(one, codec) for one in plain for codec in ("pcm_alaw", "pcm_mulaw")),
            ]
    for path, samples in files_of(given.other):
        others[path.parent.name] += [samples[at : at + 10 * RATE] for at in range(0, len(samples), 10 * RATE)]
    mistaken(others, least_ms)


if __name__ == "__main__":
    main()

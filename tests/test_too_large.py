"""A mail larger than the server takes: less of its audio, then none and word of where that is kept."""

import io
import wave
from collections.abc import Callable
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path

import gevent
import pytest

from esl_voicemail.audio.convert import (
    FORMATS,
    LADDERS,
    Converted,
    Tags,
    attachment,
    convert,
    most_bytes,
    pcm,
)
from esl_voicemail.mail import enclosing
from esl_voicemail.mail.enclosing import Encloser
from esl_voicemail.model import Recording
from esl_voicemail.trial.demo import SAMPLE
from esl_voicemail.trial.likeness import likeness
from esl_voicemail.workers import Workers
from tests.support.post import ANNA, Post, mailbox, parsed, smtp_transport
from tests.support.smtp import ScriptedSmtp, scripted_smtp
from tests.test_delivery import odd_sound

RECORDED = SAMPLE.read_bytes()
WAV, MP3, OPUS = "audio/wav", "audio/mpeg", "audio/ogg"
MOST_STEPS = max(map(len, LADDERS.values())) + 1


@pytest.fixture(scope="module")
def said() -> bytes:
    with wave.open(io.BytesIO(RECORDED)) as sample:
        return sample.readframes(sample.getnframes())


@pytest.fixture(scope="module")
def lasting(said: bytes) -> int:
    return len(said) // 16


def audio_of(mail: EmailMessage) -> tuple[str, bytes] | None:
    found = [(part.get_content_type(), part.get_content()) for part in mail.iter_attachments()]
    assert len(found) <= 1
    return found[0] if found else None


def texts(mail: EmailMessage) -> list[str]:
    return [mail.get_body((kind,)).get_content() for kind in ("plain", "html")]


@pytest.mark.parametrize(
    ("wanted", "most", "kind", "words"),
    [
        ("wav", 300_000, WAV, ""),
        ("wav", 100_000, MP3, "MP3 of 32 kbit/s"),
        ("wav", 45_000, MP3, "MP3 of 16 kbit/s"),
        ("wav", 35_000, OPUS, "Opus of 12 kbit/s"),
        ("wav", 24_000, OPUS, "Opus of 6 kbit/s"),
        ("wav", 12_000, None, "no audio"),
        ("mp3", 100_000, MP3, ""),
        ("mp3", 45_000, MP3, "MP3 of 16 kbit/s"),
        ("mp3", 35_000, OPUS, "Opus of 12 kbit/s"),
        ("mp3", 12_000, None, "no audio"),
        ("opus", 100_000, OPUS, ""),
        ("opus", 35_000, OPUS, "Opus of 12 kbit/s"),
        ("opus", 24_000, OPUS, "Opus of 6 kbit/s"),
        ("opus", 12_000, None, "no audio"),
    ],
)
def test_as_much_of_the_audio_is_sent_as_the_server_takes(
    posts: Callable[..., Post],
    tmp_path: Path,
    said: bytes,
    lasting: int,
    wanted: str,
    most: int,
    kind: str | None,
    words: str,
) -> None:
    with scripted_smtp(size=most) as server:
        post = posts(smtp_transport(server), box=mailbox(attachment=wanted))
        message_id = post.keep(ANNA, audio=RECORDED, duration_ms=lasting)
        post.run()
        [accepted] = server.accepted
        offers = server.commands("MAIL")
        assert server.connections == 1
    [path] = post.folder.glob(f"*{message_id}.wav")
    mail = parsed(accepted)
    assert len(accepted.content) <= most
    # The limit is known before anything is offered.
    assert len(offers) == 1
    found = audio_of(mail)
    assert (found and found[0]) == kind
    if found:
        heard = tmp_path / "heard"
        heard.write_bytes(found[1])
        assert likeness(said, pcm(heard)) > 0.7
        assert not any(str(path) in text for text in texts(mail))
    else:
        assert all(str(path) in text for text in texts(mail))
    assert path.read_bytes() == RECORDED
    to = post.to(message_id)[ANNA]
    [line] = post.lines()
    assert (to.state, line["result"], len(to.attempts)) == ("delivered", "delivered", 1)
    assert line["level"] == ("warning" if words else "info")
    why = line.get("why", "")
    assert (why.startswith(f"sent with {words}") and f"takes at most {most}" in why) if words else not why
    assert why in to.attempts[0].reply
    assert line["reply"] in to.attempts[0].reply


@pytest.mark.parametrize("step", ["MAIL", "FINAL"])
@pytest.mark.parametrize("wanted", LADDERS)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_where_nobody_says_how_much_is_too_much_the_next_smaller_is_tried(
    posts: Callable[..., Post], server: ScriptedSmtp, lasting: int, wanted: str, step: str, times: int
) -> None:
    server.say(step, "552 5.3.4 too big", times=times)
    post = posts(smtp_transport(server), box=mailbox(attachment=wanted))
    message_id = post.keep(ANNA, audio=RECORDED, duration_ms=lasting)
    post.run()
    assert post.states(message_id) == {ANNA: "delivered"}
    [accepted] = server.accepted
    rungs = [*LADDERS[wanted], None]
    name = rungs[times]
    found = audio_of(parsed(accepted))
    assert (found and found[0]) == (name and f"audio/{FORMATS[name].subtype}")
    [line] = post.lines()
    words = FORMATS[name].words if name else "no audio"
    assert line["why"].startswith(f"sent with {words}")
    assert "5.3.4 too big" in line["why"]


@pytest.mark.parametrize("wanted", LADDERS)
def test_a_server_that_finds_everything_too_large_is_asked_a_few_times_and_bounces(
    posts: Callable[..., Post], server: ScriptedSmtp, lasting: int, wanted: str
) -> None:
    server.say("FINAL", "552 5.3.4 too big")
    post = posts(smtp_transport(server), box=mailbox(attachment=wanted))
    message_id = post.keep(ANNA, audio=RECORDED, duration_ms=lasting)
    post.run()
    to = post.to(message_id)[ANNA]
    assert (to.state, to.code, len(to.attempts)) == ("bounced", 552, 1)
    assert server.connections <= MOST_STEPS


def test_a_limit_that_the_server_forgets_is_asked_for_again(
    posts: Callable[..., Post], server: ScriptedSmtp, lasting: int
) -> None:
    server.say("EHLO", "250-test.invalid\r\n250 SIZE 45000", times=1)
    server.say("FINAL", "552 5.3.4 too big", times=1)
    post = posts(smtp_transport(server), box=mailbox(attachment="wav"))
    message_id = post.keep(ANNA, audio=RECORDED, duration_ms=lasting)
    post.run()
    assert post.states(message_id) == {ANNA: "delivered"}
    [accepted] = server.accepted
    assert len(accepted.content) < 45000
    found = audio_of(parsed(accepted))
    assert found
    assert found[0] == OPUS


def test_another_refusal_of_the_smaller_mail_counts_as_ever(
    posts: Callable[..., Post], server: ScriptedSmtp, lasting: int
) -> None:
    server.say("FINAL", "552 5.3.4 too big", times=1)
    server.say("FINAL", "450 4.7.1 later", times=1)
    post = posts(smtp_transport(server), box=mailbox(attachment="mp3"))
    message_id = post.keep(ANNA, audio=RECORDED, duration_ms=lasting)
    post.run()
    to = post.to(message_id)[ANNA]
    assert (to.state, to.code) == ("queued", 450)


@pytest.mark.parametrize(("most", "kind"), [(60_000, WAV), (30_000, None)])
def test_what_a_codec_refuses_goes_out_as_it_was_recorded_or_not_at_all(
    posts: Callable[..., Post], most: int, kind: str | None
) -> None:
    audio = odd_sound(20)
    with scripted_smtp(size=most) as server:
        post = posts(smtp_transport(server), box=mailbox(attachment="mp3"))
        message_id = post.keep(ANNA, audio=audio)
        post.run()
        [accepted] = server.accepted
    assert post.states(message_id) == {ANNA: "delivered"}
    found = audio_of(parsed(accepted))
    assert found == ((kind, audio) if kind else None)
    if not kind:
        assert all(f"{message_id}.wav" in text for text in texts(parsed(accepted)))


def test_a_notice_without_audio_that_is_too_large_bounces_at_once(posts: Callable[..., Post]) -> None:
    with scripted_smtp(size=300) as server:
        post = posts(smtp_transport(server))
        message_id = post.keep(ANNA, audio=RECORDED)
        post.run()
        to = post.to(message_id)[ANNA]
        assert (to.state, to.code) == ("bounced", 552)
        assert server.connections == 1
        assert server.commands("MAIL") == []


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].codec])
@pytest.mark.parametrize("seconds", [1, 10, 120])
def test_no_format_becomes_larger_than_is_computed(tmp_path: Path, name: str, seconds: int) -> None:
    whole = RECORDED[44:] * (seconds // 10 + 1)
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(whole[: seconds * 16000])
    size = len(attachment(path, name))
    most = most_bytes(name, seconds * 1000)
    assert size <= most
    assert seconds < 10 or size > most / 2


def test_what_goes_to_several_people_at_once_is_converted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def counted(path: Path, name: str, tags: Tags) -> Converted:
        made.append(name)
        return convert(path, name, tags)

    monkeypatch.setattr(enclosing, "convert", counted)
    path = tmp_path / "sales.wav"
    path.write_bytes(RECORDED)
    recording = Recording(path, len(RECORDED) // 16, len(RECORDED), sha256(RECORDED).hexdigest())
    encloser, workers = Encloser(), Workers(4)
    several = [
        gevent.spawn(workers.run, encloser.enclose, recording, "mp3", lambda: Tags("Jan"), 0, None)
        for _ in range(8)
    ]
    done = [one.get(timeout=60) for one in gevent.joinall(several, timeout=60, raise_error=True)]
    workers.close()
    assert made == ["mp3"]
    assert len({one.audio.content for one in done}) == 1
    # Another's name in it makes it another's.
    encloser.enclose(recording, "mp3", lambda: Tags("Ewa"), 0, None)
    assert made == ["mp3", "mp3"]


def test_what_was_converted_is_kept_for_a_while_and_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sales.wav"
    path.write_bytes(RECORDED)
    recording = Recording(path, len(RECORDED) // 16, len(RECORDED), "")
    small, usual = Encloser(kept_bytes=1000), Encloser()
    for encloser in (small, usual):
        assert encloser.enclose(recording, "mp3", Tags, 0, None).audio is not None
    assert (len(small._kept), len(usual._kept)) == (0, 1)
    monkeypatch.setattr(enclosing, "_KEPT_SECONDS", 0.0)
    usual._let_go()
    assert len(usual._kept) == 0

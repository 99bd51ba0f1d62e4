"""Parts are encoded, and a mail written, as the standard library would: the same octets, for less."""

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.mail import parts
from esl_voicemail.mail.message import POLICY
from esl_voicemail.mail.writing import written

FOLDER = POLICY.clone(linesep="\n")
PIECE = 57 * 4096
SIZES = [0, 1, 56, 57, 58, PIECE - 1, PIECE, PIECE + 1, PIECE * 3, 400_000]


def whole(said: str = "Dzień dobry.\n", content: bytes = b"RIFF", name: str = "message.wav") -> EmailMessage:
    """A mail with text, HTML and audio."""
    message = EmailMessage(policy=POLICY)
    message.set_raw("Subject", "=?utf-8?q?d=C5=82ugi?=\r\n =?utf-8?q?_temat?=")
    message.set_raw("MIME-Version", "1.0")
    texts = parts.text(POLICY, "plain", said), parts.text(POLICY, "html", f"<p>{said}</p>\n")
    attached = parts.audio(POLICY, "audio/wav", name, content, 3)
    return parts.join(
        "mixed", message, parts.join("alternative", EmailMessage(policy=POLICY), *texts), attached
    )


@pytest.mark.parametrize("size", SIZES)
def test_audio_is_encoded_in_the_library_s_lines(size: int) -> None:
    content = bytes(n * 7 % 256 for n in range(size))
    theirs = EmailMessage(policy=POLICY)
    theirs.set_content(content, maintype="audio", subtype="wav")
    assert parts.base64_lines(content) == theirs.get_payload()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_is_encoded_as_the_library_does(said: str) -> None:
    theirs = EmailMessage(policy=POLICY)
    theirs.set_content(said, subtype="html", cte="quoted-printable")
    ours = parts.text(POLICY, "html", said)
    assert ours.get_payload() == theirs.get_payload()
    assert [(name, ours[name]) for name in ours] == [
        (name, theirs[name]) for name in theirs if name != "MIME-Version"
    ]


@pytest.mark.parametrize("length", range(20, 57))
def test_a_file_name_stands_on_the_line_the_library_gives_it(length: int) -> None:
    name = "x" * (length - 4) + ".wav"
    theirs = EmailMessage(policy=POLICY)
    theirs.add_attachment(b"RIFF", maintype="audio", subtype="wav", filename=name)
    [attached] = theirs.iter_attachments()
    lines = written(attached, POLICY).split(b"Content-Disposition")[1].split(b"\r\nMIME-Version")[0]
    assert lines in written(whole(name=name), POLICY)


@pytest.mark.parametrize("way", [POLICY, FOLDER], ids=["SMTP", "Maildir"])
@pytest.mark.parametrize("said", ["Dzień dobry.\n", ".\n..\n.", "", "\n\n", "no line end", "a\r\nb\rc\n"])
def test_a_mail_is_written_as_the_library_s_generator_does(way: "policy.EmailPolicy", said: str) -> None:
    message = whole(said, bytes(300))
    assert written(message, way) == message.as_bytes(policy=way)


def test_a_mail_that_the_library_put_together_is_written_so_too() -> None:
    message = EmailMessage(policy=POLICY)
    message["Subject"] = "Zażółć"
    message.set_content("Good morning.\n.\n")
    message.add_alternative("<p>Good morning.</p>\n", subtype="html")
    message.add_attachment(bytes(200), maintype="audio", subtype="wav", filename="message.wav")
    raw = written(message, POLICY)
    assert raw == message.as_bytes(policy=POLICY)
    assert [one.get_content_type() for one in message_from_bytes(raw).walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "audio/wav",
    ]


def test_no_two_parts_share_a_boundary() -> None:
    message = whole()
    boundaries = [one.get_boundary() for one in message.walk() if one.is_multipart()]
    assert len({*boundaries, parts.new_boundary()}) == 3

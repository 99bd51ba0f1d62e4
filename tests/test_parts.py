"""Parts are encoded as a mail has them: as the standard library would, or as well, for less."""

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.mail import parts
from esl_voicemail.mail.parts import Entity
from tests.support.mails import POLICY, as_it_stands

PIECE = 57 * 16384
SIZES = [0, 1, 56, 57, 58, 113, 114, PIECE - 1, PIECE, PIECE + 1, PIECE * 2, 400_000]
KINDS = ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "audio/wav"]


def whole(said: str = "Dzień dobry.\n", content: bytes = b"RIFF", name: str = "message.wav") -> Entity:
    """A mail with text, HTML and audio."""
    headers = [("Subject", "=?utf-8?q?d=C5=82ugi?=\r\n =?utf-8?q?_temat?="), ("MIME-Version", "1.0")]
    texts = parts.text("plain", said), parts.text("html", f"<p>{said}</p>\n")
    attached = parts.audio("audio/wav", name, content, 3)
    return parts.join("mixed", headers, parts.join("alternative", (), *texts), attached)


@pytest.mark.parametrize("size", SIZES)
def test_audio_is_encoded_in_the_library_s_lines(size: int) -> None:
    content = bytes(n * 7 % 256 for n in range(size))
    theirs = EmailMessage(policy=POLICY)
    theirs.set_content(content, maintype="audio", subtype="wav")
    ours = b"".join(parts.base64_lines(content))
    assert ours == theirs.get_payload().replace("\n", "\r\n").encode()


@given(
    st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" \t.=\r\n")), max_size=400)
)
def test_a_text_is_encoded_so_that_it_is_read_as_the_library_s(said: str) -> None:
    theirs = EmailMessage(policy=POLICY)
    theirs.set_content(said, subtype="html", cte="quoted-printable")
    raw = bytes(parts.text("html", said))
    ours = as_it_stands(raw)
    assert ours.get_content() == as_it_stands(theirs.as_bytes()).get_content()
    assert ours.items() == [one for one in theirs.items() if one[0] != "MIME-Version"]


@given(st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" \t.=\n"))))
@pytest.mark.parametrize("length", [0, 73, 74, 75, 76, 77])
def test_a_text_is_in_lines_of_76_that_end_in_no_blank(length: int, said: str) -> None:
    content = bytes(parts.text("plain", "x" * length + said)).partition(b"\r\n\r\n")[2]
    assert content.endswith(b"\r\n")
    for line in content.split(b"\r\n"):
        assert len(line) <= 76
        assert line == line.strip(b"\r\n").rstrip(b" \t")
        assert all(byte == 9 or 32 <= byte < 127 for byte in line)


@pytest.mark.parametrize("length", range(20, 57))
def test_a_file_name_stands_on_the_line_the_library_gives_it(length: int) -> None:
    name = "x" * (length - 4) + ".wav"
    theirs = EmailMessage(policy=POLICY)
    theirs.add_attachment(b"RIFF", maintype="audio", subtype="wav", filename=name)
    [attached] = theirs.iter_attachments()
    lines = attached.as_bytes().split(b"Content-Disposition")[1].split(b"\r\nMIME-Version")[0]
    assert lines in bytes(whole(name=name))


@pytest.mark.parametrize("said", ["Dzień dobry.\n", ".\n..\n.", "", "\n\n", "no line end", "a\r\nb\rc\n"])
@pytest.mark.parametrize("content", [b"", bytes(300), bytes(PIECE + 1)], ids=len)
def test_a_mail_is_written_as_the_library_s_generator_does(said: str, content: bytes) -> None:
    raw = bytes(whole(said, content))
    message = message_from_bytes(raw, policy=policy.SMTP)
    assert message.as_bytes(policy=POLICY) == raw
    assert [one.get_content_type() for one in message.walk()] == KINDS
    assert [one.defects for one in message.walk()] == [[]] * len(KINDS)
    assert message.get_payload()[1].get_content() == content


@pytest.mark.parametrize("said", ["", "no line end", "."])
def test_every_piece_begins_a_line_and_ends_one(said: str) -> None:
    mail = whole(said, bytes(PIECE + 100))
    assert all(piece.endswith(b"\r\n") for piece in mail.pieces)
    assert len(mail) == len(bytes(mail))


def test_no_two_parts_share_a_boundary() -> None:
    message = as_it_stands(bytes(whole()))
    boundaries = [one.get_boundary() for one in message.walk() if one.is_multipart()]
    assert len({*boundaries, parts.new_boundary()}) == 3

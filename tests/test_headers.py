"""Headers of any letters are encoded as the standard library does, for less."""

from email.header import Header, decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.mail import headers

NAMES = ["To", "From", "Subject", "X-Voicemail-Reference"]
TEXTS = [
    "Wiadomość głosowa: Jan Kowalski, 9 s (Sprzedaż)",
    "ż" * 200,
    "ż" + "a" * 200,
    "日本語 " * 40,
    "👩\u200d👩\u200d👧 " * 20,
    "a_b=c?d =?utf-8?q?x?= é",
    '"Łoś, Jan" <jan@example.com>',
    "é" + "_ " * 80,
]
words = st.text(
    st.one_of(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), st.sampled_from("aż_ 日"))
)


def encoded_by_the_library(name: str, text: str) -> str:
    return Header(text, "utf-8", maxlinelen=75, header_name=name).encode(linesep="\r\n")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_becomes_the_words_that_the_library_makes_of_it(name: str, text: str) -> None:
    assert headers.text(name, text) == encoded_by_the_library(name, text)


@given(st.sampled_from(NAMES), words, st.integers(1, 8))
def test_so_does_any_other(name: str, text: str, times: int) -> None:
    text = f"ł{text * times}ł"
    found = headers.text(name, text)
    assert found == encoded_by_the_library(name, text)
    assert str(make_header(decode_header(found))) == text
    assert all(len(line) <= 76 for line in f"{name}: {found}".split("\r\n"))

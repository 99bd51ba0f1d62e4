"""Frames: cut first, decode after, bounded whoever speaks."""

import json
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esl_voicemail.errors import FrameError
from esl_voicemail.esl.frames import LARGEST_BODY, LARGEST_HEAD, Frame, FrameReader, Headers, Room

CAPTURES = sorted((Path(__file__).parent / "captures").glob("*.jsonl"))

EVENT = b"Event-Name: CHANNEL_HANGUP\nUnique-ID: u-1\n\n"
FRAME = b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(EVENT), EVENT)
REPLY = b"Content-Type: command/reply\nReply-Text: +OK\n\n"

names = st.text(st.sampled_from("abcXYZ-_0"), min_size=1, max_size=12)
values = st.text(max_size=80)


def read(*parts: bytes) -> list[Frame]:
    reader = FrameReader()
    return [frame for part in parts for frame in reader.feed(part)]


def encoded(value: str) -> str:
    """As FreeSWITCH encodes: a % already followed by two hex digits is left as it is."""
    return quote(value, safe="/,()*'!$~-._")


@given(st.dictionaries(names, values, max_size=8), st.data())
def test_values_come_back_as_they_were_wherever_the_stream_is_cut(
    fields: dict[str, str], data: st.DataObject
) -> None:
    block = "".join(f"{name}: {encoded(value)}\n" for name, value in fields.items()).encode() + b"\n"
    stream = b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b%b" % (len(block), block, REPLY)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    event, reply = read(*parts)
    assert {name: event.event().get(name) for name in fields} == fields
    assert reply.headers.get("Reply-Text") == "+OK"


@given(values)
def test_no_value_can_make_a_header_of_its_own(value: str) -> None:
    line = f"Caller-Caller-ID-Name: {encoded(value)}\n%0AUnique-ID: no\nUnique-ID: ours\n\n".encode()
    headers = Headers(line)
    assert headers.get("Unique-ID") == "ours"
    assert headers.get("Caller-Caller-ID-Name") == value


def test_an_encoded_line_break_in_a_callers_name_plants_no_variable() -> None:
    row = json.loads((Path(__file__).parent / "captures/hostile_caller.jsonl").read_text().splitlines()[1])
    (frame,) = read(row["text"].encode())
    assert frame.headers.variable("injected") == ""
    assert frame.headers.variable("xhdr") == ""
    assert frame.headers.get("Caller-Caller-ID-Name") == "Evil\nvariable_injected: yes <b>x</b> {{7*7}}"
    assert frame.headers.get("Unique-ID") == "6379d788-6fa4-4b4b-86de-71cd9a39adc8"


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
def test_every_recorded_call_is_read_whole_in_pieces_of_any_size(path: Path, size: int) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    said = [row["text"] for row in rows if row["from"] == "switch" and "text" in row]
    stream = "".join(said).encode("utf-8", "surrogateescape")
    if size < 1000:
        stream = stream[:20_000]
    reader = FrameReader()
    frames = [frame for at in range(0, len(stream), size) for frame in reader.feed(stream[at : at + size])]
    assert reader.refused == 0
    if size >= 1000:
        assert len(frames) == len(said)


def test_bytes_that_are_no_utf8_are_read_as_latin1() -> None:
    assert Headers(b"Name: J%F6rg\n").get("Name") == "Jörg"
    assert Headers(b"Name: J\xf6rg\n").get("Name") == "Jörg"


def test_of_a_header_that_stands_twice_the_first_counts() -> None:
    assert Headers(b"Hangup-Cause: A\nHangup-Cause: B\n").get("Hangup-Cause") == "A"


def test_headers_since_one_are_those_from_its_last_line_on() -> None:
    headers = Headers(b"A: 1\nB: 2\nA: 3\nC: 4\n")
    since = headers.since("A")
    assert (since.get("A"), since.get("B"), since.get("C")) == ("3", "", "4")
    assert headers.since("D").get("A") == "1"


def test_an_events_own_body_cannot_overwrite_its_headers() -> None:
    body = b"Event-Name: BACKGROUND_JOB\nContent-Length: 14\n\nUnique-ID: x\n\n"
    (frame,) = read(b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(body), body))
    assert frame.event().get("Unique-ID") == ""


@pytest.mark.parametrize(
    ("raw", "number"),
    [("12", 12), ("0", 0), ("-5", None), ("", None), ("1e3", None), ("9" * 19, None), ("²", None)],
)
def test_a_number_is_digits_and_nothing_else(raw: str, number: int | None) -> None:
    assert Headers(f"N: {encoded(raw)}\n".encode()).number("N") == number


def test_a_frame_without_content_type_is_counted_and_the_next_is_read() -> None:
    reader = FrameReader()
    frames = list(reader.feed(b"X-What: ever\n\n" + b"Content-Length: 3\n\nabc" + REPLY))
    assert [frame.kind for frame in frames] == ["command/reply"]
    assert reader.refused == 2


@pytest.mark.parametrize(
    "length", [b"-5", b"many", b"", b"1.5", b"99999999999999", str(LARGEST_BODY + 1).encode()]
)
def test_a_bad_length_is_refused_and_what_came_before_it_counts(length: bytes) -> None:
    reader = FrameReader()
    frames = reader.feed(FRAME + b"Content-Length: " + length + b"\nContent-Type: text/event-plain\n\n")
    assert next(frames).kind == "text/event-plain"
    with pytest.raises(FrameError):
        next(frames)
    assert reader.refused == 1


@pytest.mark.parametrize("step", [1, LARGEST_HEAD + 2])
@pytest.mark.parametrize("size", [LARGEST_HEAD, LARGEST_HEAD + 1])
def test_the_largest_head_is_the_same_wherever_the_stream_is_cut(step: int, size: int) -> None:
    head = b"Content-Type: x\n".ljust(size, b"a") + b"\n\n"
    start = size - 5
    parts = [head[:start], *(head[at : at + step] for at in range(start, len(head), step))]
    if size > LARGEST_HEAD:
        with pytest.raises(FrameError):
            read(*parts)
    else:
        assert [frame.kind for frame in read(*parts)] == ["x"]


def test_blank_lines_between_many_frames_cost_no_more_than_their_bytes() -> None:
    began = time.thread_time()
    assert len(read(b"\nContent-Type: x\n\n" * 100_000)) == 100_000
    assert time.thread_time() - began < 5


@pytest.mark.parametrize("endless", [b"x" * 4096, b"Name: value\n" * 300])
def test_an_endless_head_costs_bounded_memory(endless: bytes) -> None:
    reader = FrameReader()
    fed = 0

    def feed_for_ever() -> None:
        nonlocal fed
        for _ in range(1000):
            fed += len(endless)
            list(reader.feed(endless))

    with pytest.raises(FrameError):
        feed_for_ever()
    assert fed <= LARGEST_HEAD + 2 * len(endless)


def test_readers_that_share_room_hold_no_more_than_that_together() -> None:
    room = Room(3_000_000)
    readers = [FrameReader(room) for _ in range(3)]
    for reader in readers:
        assert list(reader.feed(b"x" * 990_000)) == []
    with pytest.raises(FrameError, match="all connections"):
        list(FrameReader(room).feed(b"x" * 990_000))
    (frame,) = FrameReader(room).feed(FRAME)
    assert frame.kind == "text/event-plain"


def test_what_a_reader_held_is_room_again_when_it_is_closed() -> None:
    room = Room(1_000_000)
    for _ in range(10):
        reader = FrameReader(room)
        list(reader.feed(b"Content-Length: 4000000\n" + b"y" * 500_000 + b"\n\n" + b"x" * 400_000))
        assert 900_000 < room.held < 1_000_000
        reader.close()
        assert room.held == 0


def test_a_frame_that_is_whole_takes_no_room() -> None:
    room = Room(1_000_000)
    reader = FrameReader(room)
    for _ in range(10):
        assert len([*reader.feed(FRAME[:-1] * 1), *reader.feed(FRAME[-1:])]) == 1
    assert room.held == 0


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=200) | st.sampled_from([FRAME, REPLY, b"\n\n", b"Content-Length: 9\n\n"])))
def test_whatever_comes_the_reader_yields_frames_or_refuses(parts: list[bytes]) -> None:
    reader = FrameReader()
    try:
        for part in parts:
            for frame in reader.feed(part):
                assert frame.kind
                frame.event().get("Unique-ID")
    except FrameError:
        assert reader.refused

"""Every call recorded from a real FreeSWITCH 1.11, played against the running service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.replay import Replay, Replayed
from tests.support.service import Service, running, until
from tests.support.speech import tone

CAPTURES = Path(__file__).parent / "captures"
SPEECH = tone(20.0)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    mailboxes = {
        "sales": {
            "recipients": ["anna@example.com"],
            "max_seconds": 60,
            "silence_seconds": 5,
            "min_seconds": 0,
        }
    }
    with running(tmp_path_factory.mktemp("service"), {"mailboxes": mailboxes}) as started:
        yield started


def play(service: Service, name: str) -> tuple[Replayed, dict[str, str]]:
    """Play a recorded call under an id of its own; return it with its canonical line."""
    call_id = f"{name[:20].replace('_', '-')}-0000-000000000001"
    replayed = Replay(CAPTURES / f"{name}.jsonl", service.address, call_id, SPEECH).play()
    return replayed, service.line_of(call_id)


@pytest.mark.parametrize(
    ("name", "result", "ended_by", "recording_ms"),
    [
        ("left_with_key", "recorded", "key", "8600"),
        ("left_with_key_nixed", "recorded", "key", "8600"),
        ("hangup_in_record", "recorded", "hang-up", "8600"),
        ("silence_ends", "recorded", "silence", "2940"),
        ("hash_skips_greeting", "recorded", "cut", "3620"),
        ("digits_in_record", "recorded", "key", "13280"),
        ("no_linger", "recorded", "hang-up", "8600"),
        ("no_rtp", "no_audio", None, None),
        ("review_menu", "no_audio", None, None),
        ("hangup_in_greeting", "hangup_in_greeting", None, None),
        ("hangup_before_answer", "hangup_before_answer", None, None),
        ("record_unwritable", "record_failed", None, None),
        ("switch_killed", "salvaged", None, None),
        ("switch_shutdown", "salvaged", None, None),
    ],
)
def test_a_recorded_call_meets_the_fate_it_deserves(
    serving: Service, name: str, result: str, ended_by: str | None, recording_ms: str | None
) -> None:
    _, line = play(serving, name)
    assert (line["result"], line.get("ended_by"), line.get("recording_ms")) == (
        result,
        ended_by,
        recording_ms,
    )


# Those scripts did what the service does not (early media, `exit` at once, no pause): how far the service
# came along with each is what it must say.
@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("anonymous", "salvaged"),
        ("bad_commands", "control_lost"),
        ("early_media", "hangup_in_greeting"),
        ("exit_no_resume", "control_lost"),
        ("exit_resume", "control_lost"),
        ("greeting_missing", "recorded"),
        ("hostile_caller", "control_lost"),
        ("max_length", "recorded"),
        ("service_gone", "control_lost"),
    ],
)
def test_a_call_recorded_with_another_script_ends_all_the_same(
    serving: Service, name: str, result: str
) -> None:
    replayed, line = play(serving, name)
    assert line["result"] == result
    assert replayed.commands[0] == "connect"


def test_every_recorded_call_is_played_here() -> None:
    marks = [
        mark.args[1]
        for test in (
            test_a_recorded_call_meets_the_fate_it_deserves,
            test_a_call_recorded_with_another_script_ends_all_the_same,
        )
        for mark in test.pytestmark  # type: ignore[attr-defined]
    ]
    played = {case if isinstance(case, str) else case[0] for cases in marks for case in cases}
    assert played == {path.stem for path in CAPTURES.glob("*.jsonl")}


def test_after_all_of_them_no_call_is_left_and_nothing_crashed(serving: Service) -> None:
    until(lambda: serving.in_progress() == 0, "no call in progress")
    assert serving.process.poll() is None
    assert not [line for line in serving.log.splitlines() if "crashed" in line]

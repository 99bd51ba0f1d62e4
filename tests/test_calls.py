"""Whole calls: the stand-in switch against a running server, and the mails that come of them."""

import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from shutil import copyfile

import gevent
import pytest

from esl_voicemail.trial.caller import Fault, KeyPress, Mishap, Moment, Notice, Stage, TrialCaller
from tests.support.held import held
from tests.support.service import Service, command, running, start, until
from tests.support.speech import attached, save, tone

SPEECH = tone(3.0)
MAILBOXES = {
    "default": {"recipients": ["desk@example.com"], "silence_seconds": 2},
    "sales": {
        "name": "Sprzedaż",
        "recipients": ["Anna Łoś <anna@example.com>", "jan@example.com"],
        "reply_to": "sales@example.com",
        "max_seconds": 5,
        "silence_seconds": 2,
        "numbers": ["48221112233"],
    },
}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    greeting = save(folder / "greeting.wav", tone(2.0, 300))
    mailboxes = {
        **MAILBOXES,
        "greeted": {"recipients": ["g@example.com"], "greetings": {"default": str(greeting)}},
    }
    with running(folder, {"mailboxes": mailboxes}) as started:
        yield started


def mails_of(service: Service, call_id: str, count: int) -> list[EmailMessage]:
    """Wait for the deliveries of one call and return its mails."""
    until(
        lambda: [line["call"] for line in service.lines("delivery")].count(call_id) >= count,
        f"{count} deliveries of {call_id}",
    )
    return [mail for mail in service.mails() if call_id in mail.get_body(("plain",)).get_content()]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("caller", "ended_by", "seconds"),
    [
        (TrialCaller(speech=SPEECH), "hang-up", 3.0),
        (
            TrialCaller(speech=SPEECH, then="stay", keys=(KeyPress("#", Moment(Stage.RECORDING, 2.5)),)),
            "key",
            2.5,
        ),
        (TrialCaller(speech=SPEECH, then="stay"), "silence", 5.0),
        (TrialCaller(speech=tone(9.0)), "limit", 5.0),
        (TrialCaller(speech=SPEECH, notice=Notice.BEFORE_HANGUP), "hang-up", 3.0),
        (TrialCaller(speech=SPEECH, notice=Notice.BEFORE_RECORD_DONE), "hang-up", 3.0),
        (TrialCaller(speech=SPEECH, fault=Fault(Mishap.DISK_FULL, Moment(Stage.RECORDING, 2.0))), "cut", 2.0),
    ],
    ids=["hang-up", "key", "silence", "limit", "notice-first", "notice-before-the-file", "disk-full"],
)
def test_a_message_reaches_every_recipient_however_it_ends(
    serving: Service, caller: TrialCaller, ended_by: str, seconds: float
) -> None:
    ended = serving.call(caller, "sales", pace=math.inf)
    line = serving.line_of(ended.call_id)
    assert (line["result"], line["ended_by"], line["recording_ms"]) == (
        "recorded",
        ended_by,
        f"{seconds * 1000:.0f}",
    )
    said = caller.speech.ljust(round(seconds * 16000), b"\0")[: round(seconds * 16000)]
    mails = mails_of(serving, ended.call_id, 2)
    assert [attached(mail) for mail in mails] == [said, said]
    assert {mail["To"] for mail in mails} == {"Anna Łoś <anna@example.com>", "jan@example.com"}
    assert {mail["Reply-To"] for mail in mails} == {"sales@example.com"}


def test_the_mail_says_who_called_whom_when_and_why_and_holds_the_audio(service: Service) -> None:
    before = time.time()
    ended = service.call(TrialCaller(speech=SPEECH, name="Żaneta Kowalska"), voicemail_reason="busy")
    (mail,) = service.mails()
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert attached(mail) == SPEECH
    assert text.startswith("Linia była zajęta\n\nŻaneta Kowalska\n")
    assert "+48 601 234 567" in text
    assert "linia była zajęta" in text
    assert "+48 22 123 45 67" in text
    assert ended.call_id in text
    assert "Żaneta Kowalska" in mail["Subject"]
    assert abs(mail["Date"].datetime.timestamp() - before) < 10


def test_the_hash_key_in_the_greeting_leads_straight_to_the_beep(serving: Service) -> None:
    caller = TrialCaller(speech=SPEECH, keys=(KeyPress("#", Moment(Stage.GREETING, 0.5)),))
    ended = serving.call(caller, "greeted", pace=math.inf)
    assert not ended.greeting_played
    assert serving.line_of(ended.call_id)["result"] == "recorded"


# Who leaves in the very moment the call is taken may do so before the switch was asked to linger.
AT_ONCE = ("hangup_before_answer", "control_lost")


@pytest.mark.parametrize(
    ("stage", "results"),
    [
        (Stage.RINGING, AT_ONCE),
        (Stage.PAUSE, ("hangup_in_greeting",)),
        (Stage.GREETING, ("hangup_in_greeting",)),
        (Stage.BEEP, ("hangup_in_greeting",)),
    ],
)
def test_who_leaves_before_the_beep_is_over_leaves_a_counted_trace(
    serving: Service, stage: Stage, results: tuple[str, ...]
) -> None:
    def counted() -> dict[str, float]:
        return {
            series: value
            for series, value in serving.metrics().items()
            if series.startswith("voicemail_calls_total{")
        }

    before = counted()
    caller = TrialCaller(speech=SPEECH, hang_up=Moment(stage, 0.02))
    ended = serving.call(caller, "greeted", pace=20.0, voicemail_reason="busy")
    result = serving.line_of(ended.call_id)["result"]
    assert result in results
    [grown] = [series for series, value in counted().items() if value == before[series] + 1]
    assert f'result="{result}"' in grown


@pytest.mark.parametrize(
    ("speech", "result"), [(tone(0.4), "too_short"), (b"", "too_short"), (None, "no_audio")]
)
def test_who_says_nothing_sends_no_mail_and_is_counted(
    serving: Service, speech: bytes | None, result: str
) -> None:
    left = Moment(Stage.RECORDING, 0.5)
    caller = TrialCaller(speech=speech or b"", rtp=speech is not None, then="stay", hang_up=left)
    ended = serving.call(caller, "greeted", pace=20.0)
    assert serving.line_of(ended.call_id)["result"] == result


def test_keys_pressed_again_and_again_in_the_greeting_do_not_end_the_message(serving: Service) -> None:
    keys = tuple(KeyPress("#", Moment(stage, at)) for stage, at in ((Stage.GREETING, 0.5), (Stage.BEEP, 0.1)))
    ended = serving.call(TrialCaller(speech=SPEECH, keys=keys), "greeted", pace=math.inf)
    assert serving.line_of(ended.call_id)["recording_ms"] == "3000"


def test_the_caller_hears_the_language_that_the_dialplan_names(serving: Service) -> None:
    ended = serving.call(TrialCaller(speech=SPEECH), "default", pace=math.inf, voicemail_language="en")
    played = [argument for application, argument in ended.applications if application == "playback"]
    assert played[0].endswith("/en/default.wav")


def test_a_callers_name_of_ten_thousand_letters_costs_no_message(serving: Service) -> None:
    ended = serving.call(TrialCaller(speech=SPEECH, name="ż" * 10_000), "default", pace=math.inf)
    (mail,) = mails_of(serving, ended.call_id, 1)
    assert "żżżż" in mail["Subject"]


def test_a_greeting_that_disappeared_costs_no_message(serving: Service) -> None:
    greeting = serving.folder / "greeting.wav"
    greeting.rename(greeting.with_suffix(".gone"))
    try:
        ended = serving.call(TrialCaller(speech=SPEECH), "greeted", pace=math.inf)
    finally:
        greeting.with_suffix(".gone").rename(greeting)
    assert serving.line_of(ended.call_id)["result"] == "recorded"
    assert serving.lines("sound_missing")[-1]["mailbox"] == "greeted"


def test_a_mailbox_is_found_by_the_dialled_number(serving: Service) -> None:
    ended = serving.call(TrialCaller(speech=SPEECH), "", pace=math.inf, sip_req_user="48221112233")
    assert serving.line_of(ended.call_id)["mailbox"] == "sales"


def test_an_unknown_mailbox_falls_back_to_the_default_one(serving: Service) -> None:
    ended = serving.call(TrialCaller(speech=SPEECH), "../../nobody", pace=math.inf)
    assert serving.line_of(ended.call_id)["mailbox"] == "default"
    assert "nobody" in serving.lines("unknown_mailbox")[-1]["why"]


@pytest.mark.parametrize(
    "mishap",
    [
        Mishap.NO_CONTENT_TYPE,
        Mishap.SURPLUS_REPLY,
        Mishap.FOREIGN_EVENT,
    ],
)
@pytest.mark.parametrize("stage", [Stage.GREETING, Stage.RECORDING])
def test_a_switch_that_says_too_much_costs_no_message(serving: Service, mishap: Mishap, stage: Stage) -> None:
    caller = TrialCaller(speech=SPEECH, fault=Fault(mishap, Moment(stage, 1.0)))
    ended = serving.call(caller, "greeted", pace=50.0)
    line = serving.line_of(ended.call_id)
    assert (line["result"], line["recording_ms"]) == ("recorded", "3000")


BREAKING = [
    Mishap.VANISH,
    Mishap.RESET,
    Mishap.TRUNCATE,
    Mishap.GARBAGE,
    Mishap.BAD_LENGTH,
    Mishap.ENDLESS_HEADER,
]


@pytest.mark.parametrize("mishap", BREAKING)
def test_a_switch_that_breaks_off_in_a_recording_leaves_it_to_recovery(
    tmp_path: Path, mishap: Mishap
) -> None:
    service = start(tmp_path, {"mailboxes": {"default": {"recipients": ["a@example.com"]}}})
    try:
        caller = TrialCaller(speech=tone(6.0), fault=Fault(mishap, Moment(Stage.RECORDING, 3.0)))
        ended = service.call(caller, pace=50.0)
        assert service.line_of(ended.call_id)["result"] in {"salvaged", "recorded"}
        assert service.stop() == 0
    finally:
        service.process.kill()
    for path in service.recordings.glob("*.wav"):
        os.utime(path, (time.time() - 60,) * 2)
    with running(tmp_path, {"mailboxes": {"default": {"recipients": ["a@example.com"]}}}) as again:
        (mail,) = again.mails()
        heard = attached(mail)
        assert len(heard) >= 2.9 * 16000
        assert tone(6.0).startswith(heard)


def test_a_frozen_switch_holds_no_call_for_ever(tmp_path: Path) -> None:
    mailbox = {"recipients": ["a@example.com"], "max_seconds": 2, "min_seconds": 0}
    settings = {"mailboxes": {"default": mailbox}}
    with running(tmp_path, settings) as service:
        caller = TrialCaller(speech=SPEECH, fault=Fault(Mishap.FREEZE, Moment(Stage.PAUSE, 0.1)))
        ended = service.call(caller, pace=20.0)
        assert service.line_of(ended.call_id)["result"] == "switch_stalled"
        until(lambda: service.in_progress() == 0, "no call in progress")


def test_without_a_mailbox_to_take_it_the_call_goes_back_to_the_dialplan(tmp_path: Path) -> None:
    with running(tmp_path, {"mailboxes": {"sales": {"recipients": ["a@example.com"]}}}) as service:
        ended = service.call(TrialCaller(speech=SPEECH), "nobody")
        assert (ended.handed_back, ended.answered) == (True, False)
        assert ended.variables["voicemail_result"] == "refused"
        line = service.line_of(ended.call_id)
        assert (line["result"], line["mailbox"]) == ("unknown_mailbox", "nobody")
        assert (
            service.metric(
                'voicemail_calls_total{mailbox="unknown",reason="unknown",result="unknown_mailbox"}'
            )
            == 1
        )
        assert service.call(TrialCaller(speech=SPEECH), "sales").recorded_ms == 3000


def test_a_call_over_the_limit_goes_back_to_the_dialplan_and_the_others_go_on(tmp_path: Path) -> None:
    settings = {"switch": {"max_calls": 1}, "mailboxes": {"default": {"recipients": ["a@example.com"]}}}
    with running(tmp_path, settings) as service:
        with held(Stage.RECORDING):
            first = gevent.spawn(service.call, TrialCaller(speech=tone(4.0)))
            until(lambda: service.in_progress() == 1, "the first call")
            second = service.call(TrialCaller(speech=SPEECH))
            assert (second.handed_back, second.answered) == (True, False)
            assert second.variables["voicemail_result"] == "refused"
        assert first.get(timeout=30).recorded_ms == 4000
        assert service.metric('voicemail_peers_refused_total{why="at_capacity"}') == 1


def test_a_peer_from_elsewhere_is_not_spoken_to(tmp_path: Path) -> None:
    with running(tmp_path, {"switch": {"allowed": ["192.0.2.0/24"]}}) as service:
        ended = service.call(TrialCaller(speech=SPEECH))
        assert ended.commands == ()
        assert service.metric('voicemail_peers_refused_total{why="not_allowed"}') == 1


@pytest.mark.parametrize("spoil", ["no-folder", "shadow"])
def test_a_folder_that_cannot_be_recorded_into_sends_calls_back_before_the_answer(
    tmp_path: Path, spoil: str
) -> None:
    with running(tmp_path) as service:
        if spoil == "no-folder":
            service.recordings.rename(tmp_path / "elsewhere")
        else:
            (service.recordings / "8000").mkdir()
        ended = service.call(TrialCaller(speech=SPEECH))
        assert (ended.handed_back, ended.answered) == (True, False)
        assert ended.variables["voicemail_result"] == "failed"
        _, why = until(
            lambda: answer if (answer := service.get("/readyz"))[0] == 503 else None, "readyz says so"
        )
        assert str(service.recordings) in why
        if spoil == "no-folder":
            (tmp_path / "elsewhere").rename(service.recordings)
        else:
            (service.recordings / "8000").rmdir()
        assert service.call(TrialCaller(speech=SPEECH)).recorded_ms == 3000
        until(lambda: service.get("/readyz")[0] == 200, "ready again")


def test_a_restart_on_a_disk_that_is_full_sends_what_waits_and_takes_no_call(tmp_path: Path) -> None:
    down = {"host": "127.0.0.1", "port": 9, "security": "none"}
    with running(tmp_path, {"mail": {"smtp": down}}) as service:
        assert service.call(TrialCaller(speech=SPEECH)).recorded_ms == 3000
        service.stop()
    with running(tmp_path, {"storage": {"min_free_mb": 10**9}}) as service:
        assert len(service.mails()) == 1
        ended = service.call(TrialCaller(speech=SPEECH))
        assert (ended.handed_back, ended.answered) == (True, False)
        assert "less than storage.min_free_mb" in service.get("/readyz")[1]


def test_a_restart_without_the_recordings_disk_holds_no_mail_and_sends_all_once_it_is_back(
    tmp_path: Path,
) -> None:
    down = {"host": "127.0.0.1", "port": 9, "security": "none"}
    with running(tmp_path, {"mail": {"smtp": down}}) as service:
        assert service.call(TrialCaller(speech=SPEECH)).recorded_ms == 3000
        service.stop()
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "var" / "recordings").rename(elsewhere)
    (tmp_path / "var" / "recordings").mkdir()
    with running(tmp_path) as service:
        until(lambda: service.lines("recordings_gone"), "it is said")
        assert "is not the folder used before" in service.get("/readyz")[1]
        service.recordings.rmdir()
        elsewhere.rename(service.recordings)
        (mail,) = service.mails(1)
        assert attached(mail) == SPEECH
        assert service.metric('voicemail_queue_messages{state="held"}') == 0


def test_a_journal_that_is_replaced_under_the_service_sends_calls_back(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        assert service.call(TrialCaller(speech=SPEECH)).recorded_ms == 3000
        journal = tmp_path / "var" / "journal.sqlite"
        journal.rename(tmp_path / "older")
        copyfile(tmp_path / "older", journal)
        ended = service.call(TrialCaller(speech=SPEECH))
        assert (ended.handed_back, ended.answered) == (True, False)
        until(lambda: "removed or replaced" in service.get("/readyz")[1], "/readyz says so")


@pytest.mark.timeout(400)
def test_two_hundred_calls_at_once_are_all_delivered_exactly_once(service: Service) -> None:
    speeches = [tone(1.0 + n / 100, 200 + 5 * n) for n in range(200)]
    calls = [gevent.spawn(service.call, TrialCaller(speech=speech), pace=math.inf) for speech in speeches]
    gevent.joinall(calls, timeout=180, raise_error=True)
    assert all(call.get(block=False).error is None for call in calls)
    heard = Counter(attached(mail) for mail in service.mails(200, 180))
    assert heard == Counter(speeches)
    assert len({mail["Message-ID"] for mail in service.mails(200)}) == 200


def test_a_message_of_five_minutes_arrives_whole(service: Service) -> None:
    speech = tone(299.0)
    service.call(TrialCaller(speech=speech), pace=math.inf)
    (mail,) = service.mails()
    assert attached(mail) == speech
    assert "4 min 59 s" in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_a_stopped_server_lets_its_calls_finish_and_takes_no_new_ones(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        with held(Stage.RECORDING):
            call = gevent.spawn(service.call, TrialCaller(speech=tone(3.0)))
            until(lambda: service.stages() == {"recording": 1}, "the recording")
            service.process.terminate()
            until(service.refuses, "it takes no new ones")
        assert call.get(timeout=30).recorded_ms == 3000
        assert service.process.wait(30) == 0
        assert len(service.mails()) == 1


def test_a_call_that_outlives_the_drain_is_mailed_by_the_next_server(tmp_path: Path) -> None:
    settings = {"switch": {"drain_seconds": 0}, "mailboxes": {"default": {"recipients": ["a@example.com"]}}}
    service = start(tmp_path, settings)
    try:
        with held(Stage.RECORDING):
            call = gevent.spawn(service.call, TrialCaller(speech=tone(3.0)))
            until(lambda: service.stages() == {"recording": 1}, "the recording")
            assert service.stop() == 0
        assert call.get(timeout=30).handed_back is False
        assert service.line_of(call.get().call_id)["result"] == "salvaged"
    finally:
        service.process.kill()
    (path,) = service.recordings.glob("*.wav")
    os.utime(path, (time.time() - 60,) * 2)
    with running(tmp_path, settings) as again:
        (mail,) = again.mails()
        assert attached(mail) == tone(3.0)


def test_the_journal_tells_the_story_of_a_call(service: Service) -> None:
    ended = service.call(TrialCaller(speech=SPEECH))
    until(lambda: service.lines("delivery"), "it is delivered and noted")
    shown = command("messages", "show", ended.call_id, "--json", folder=service.folder)
    story = json.loads(shown.stdout)
    assert (story["state"], story["duration_ms"], story["caller"]["name"]) == ("kept", 3000, "Jan Kowalski")
    assert story["deliveries"][0]["attempts"][0]["reply"].startswith("stored as")


def test_after_all_of_them_no_call_is_left_and_nothing_crashed(serving: Service) -> None:
    until(lambda: serving.in_progress() == 0, "no call in progress")
    assert not [line for line in serving.log.splitlines() if "crashed" in line]
    assert serving.stop() == 0

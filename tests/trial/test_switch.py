"""What the stand-in switch does with a call, beyond the recorded ones."""

import math
import time
import wave
from contextlib import nullcontext
from urllib.parse import quote

import pytest
from gevent import socket

from esl_voicemail.trial.caller import Fault, KeyPress, Mishap, Moment, Notice, Stage, TrialCaller
from esl_voicemail.trial.switch import place_call


def key(digit, stage, seconds=0.0):
    return KeyPress(digit, Moment(stage, seconds))


def taking_a_message(folder, *, limit=60, hang_up=True, record="", events=()):
    """Build a service that greets, records and hangs up, and then waits for the end."""

    def service(line):
        line.begin(*events)
        line.run("multiset", "^^;playback_terminators=#;enable_file_write_buffering=false")
        line.run("answer")
        line.run("playback", f"{folder}/sales.wav")
        line.run("playback", "tone_stream://%(500,0,1000)")
        done = line.run("record", record or f"{folder}/message.wav {limit} 200 5")
        if done.headers["Answer-State"] != "hangup" and hang_up:
            line.run("playback", f"{folder}/thanks.wav")
            line.run("hangup")
        if "linger" not in str([frame.outer.get("Content-Disposition") for frame in line.frames]):
            line.until(lambda frame: frame.outer.get("Content-Disposition") == "linger")
        line.ask("exit")
        line.rest()

    return service


def events(line):
    """Name what came, replies left out."""
    return [frame.event or frame.outer["Content-Disposition"] for frame in line.frames if not frame.is_reply]


def samples(path):
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


def test_a_caller_who_hangs_up_after_his_speech_leaves_exactly_the_speech(sounds, speech, place):
    said = speech(3.21) + b"\1\0" * 33
    outcome = place(taking_a_message(sounds), TrialCaller(speech=said))
    assert samples(sounds / "message.wav") == said
    assert (outcome.answered, outcome.greeting_played, outcome.handed_back) == (True, True, False)
    assert (outcome.recorded_ms, outcome.hangup_cause, outcome.error) == (3214, "NORMAL_CLEARING", None)
    assert outcome.recording == f"{sounds}/message.wav"
    assert [name for name, _ in outcome.applications] == [
        "multiset",
        "answer",
        "playback",
        "playback",
        "record",
    ]
    assert outcome.variables == {"playback_terminators": "#", "enable_file_write_buffering": "false"}
    assert outcome.commands[:3] == ("connect", "linger 10", "myevents")
    assert outcome.events_bytes > 90_000


def test_a_caller_who_stays_is_cut_off_by_silence_which_stays_in_the_file(sounds, speech, place):
    outcome = place(taking_a_message(sounds), TrialCaller(speech=speech(2), then="stay"))
    assert outcome.recorded_ms == 7000
    assert samples(sounds / "message.wav") == speech(2) + bytes(5 * 16000)


@pytest.mark.parametrize(
    ("caller", "milliseconds"),
    [
        ({"keys": (key("5", Stage.RECORDING, 1), key("#", Stage.RECORDING, 2.5))}, 2500),
        ({"keys": (key("#", Stage.GREETING, 1),)}, 4000),
        ({"keys": (key("#", Stage.BEEP, 0.1), key("#", Stage.RECORDING, 0))}, 0),
        ({"hang_up": Moment(Stage.RECORDING, 1.5)}, 1500),
        ({"fault": Fault(Mishap.DISK_FULL, Moment(Stage.RECORDING, 2))}, 2000),
        ({"fault": Fault(Mishap.SHUTDOWN, Moment(Stage.RECORDING, 1))}, 1000),
    ],
)
def test_a_recording_ends_with_what_comes_first(sounds, speech, place, caller, milliseconds):
    outcome = place(taking_a_message(sounds, limit=4), TrialCaller(speech=speech(9), **caller))
    assert outcome.recorded_ms == milliseconds
    assert len(samples(sounds / "message.wav")) == milliseconds * 16


@pytest.mark.parametrize("real", [False, True], ids=["told", "real"])
def test_a_full_disk_looks_like_success_without_a_flag(sounds, speech, place, files_up_to, real):
    seen = {}
    fault = None if real else Fault(Mishap.DISK_FULL, Moment(Stage.RECORDING, 2))

    def service(line):
        line.begin()
        line.run("answer")
        seen.update(line.run("record", f"{sounds}/message.wav 60 200 5").headers)
        line.run("hangup")

    with files_up_to(44 + 2 * 16_000) if real else nullcontext():
        outcome = place(service, TrialCaller(speech=speech(9), fault=fault))
    assert outcome.recorded_ms == 2000
    assert len(samples(sounds / "message.wav")) == 2000 * 16
    assert seen["Answer-State"] == "answered"
    assert (seen["variable_record_ms"], seen["variable_silence_hits_exhausted"]) == ("2000", "false")
    assert "variable_playback_terminator_used" not in seen


def test_a_full_disk_is_no_matter_while_nothing_is_recorded(sounds, speech, place):
    fault = Fault(Mishap.DISK_FULL, Moment(Stage.GREETING, 1))

    def service(line):
        line.begin()
        line.run("answer")
        assert line.run("playback", f"{sounds}/sales.wav").headers["variable_playback_samples"] == "35518"

    place(service, TrialCaller(fault=fault))


@pytest.mark.parametrize(
    ("stage", "application", "cause"),
    [
        (Stage.RINGING, "answer", "ORIGINATOR_CANCEL"),
        (Stage.PAUSE, "sleep", "NORMAL_CLEARING"),
        (Stage.GREETING, "playback", "NORMAL_CLEARING"),
        (Stage.BEEP, "playback", "NORMAL_CLEARING"),
        (Stage.RECORDING, "record", "NORMAL_CLEARING"),
        (Stage.THANKS, "playback", "NORMAL_CLEARING"),
    ],
)
def test_a_caller_can_hang_up_in_every_stage(sounds, speech, place, stage, application, cause):
    last = {}

    def service(line):
        line.begin()
        steps = [
            ("answer", ""),
            ("sleep", "400"),
            ("playback", f"{sounds}/sales.wav"),
            ("playback", "tone_stream://%(500,0,1000)"),
            ("record", f"{sounds}/message.wav 3 200 5"),
            ("playback", f"{sounds}/thanks.wav"),
        ]
        for name, argument in steps:
            last.update(line.run(name, argument).headers)
            if last["Answer-State"] == "hangup":
                return

    at = Moment(stage, 0.025 if stage is Stage.RINGING else 0.1)
    outcome = place(service, TrialCaller(speech=speech(9), hang_up=at))
    assert (last["Application"], last["Hangup-Cause"], outcome.hangup_cause) == (application, cause, cause)
    assert not outcome.handed_back


@pytest.mark.parametrize(("pace", "seconds"), [(math.inf, 0.0), (20.0, 0.5)])
def test_a_caller_can_ring_off_while_the_service_only_thinks(place, pace, seconds):
    def service(line):
        line.ask("connect")
        line.rest()

    outcome = place(service, TrialCaller(hang_up=Moment(Stage.RINGING, seconds)), pace=pace)
    assert (outcome.answered, outcome.hangup_cause) == (False, "ORIGINATOR_CANCEL")


def test_a_second_connect_gets_the_channel_as_it_is_now(place):
    def service(line):
        line.begin()
        line.run("answer")
        again = (line.send("connect"), line.read())[1]
        assert (again.event, again.headers["Answer-State"]) == ("CHANNEL_DATA", "answered")

    place(service)


@pytest.mark.parametrize("length", ["-5", "16777217", "many"])
def test_a_command_with_a_bad_length_ends_the_connection(place, length):
    def service(line):
        line.begin()
        line.send(f"sendmsg\nContent-Length: {length}")
        assert line.rest() == []

    assert place(service).handed_back


@pytest.mark.parametrize(
    ("notice", "order"),
    [
        (Notice.LAST, ["CHANNEL_HANGUP", "RECORD_STOP", "COMPLETE", "CHANNEL_HANGUP_COMPLETE", "linger"]),
        (
            Notice.BEFORE_HANGUP,
            ["linger", "CHANNEL_HANGUP", "RECORD_STOP", "COMPLETE", "CHANNEL_HANGUP_COMPLETE"],
        ),
        (
            Notice.BEFORE_RECORD_DONE,
            ["CHANNEL_HANGUP", "linger", "RECORD_STOP", "COMPLETE", "CHANNEL_HANGUP_COMPLETE"],
        ),
    ],
)
def test_the_linger_notice_comes_where_it_is_asked_for(sounds, speech, place, notice, order):
    names = []

    def service(line):
        line.begin("event plain RECORD_STOP")
        line.run("answer")
        line.queue("record", f"{sounds}/message.wav 60 200 5")
        line.until(lambda frame: frame.event == "CHANNEL_HANGUP_COMPLETE")
        if "linger" not in events(line):
            line.read()
        names.extend(events(line))

    place(service, TrialCaller(speech=speech(1), notice=notice))
    wanted = [name.replace("CHANNEL_EXECUTE_COMPLETE", "COMPLETE") for name in names]
    wanted = wanted[wanted.index("COMPLETE", wanted.index("CHANNEL_ANSWER")) + 2 :]
    left_out = {"CHANNEL_UNPARK", "CHANNEL_STATE"}
    wanted = [name for n, name in enumerate(wanted) if name not in left_out and name not in wanted[:n]]
    assert wanted == order


@pytest.mark.parametrize("notice", [Notice.BEFORE_HANGUP, Notice.BEFORE_RECORD_DONE])
def test_without_linger_an_early_notice_is_the_end_and_the_completion_never_comes(
    sounds, speech, place, notice
):
    names = []

    def service(line):
        line.ask("connect")
        line.ask("myevents")
        line.run("answer")
        line.queue("record", f"{sounds}/message.wav 60 200 5")
        line.rest()
        names.extend(events(line))

    outcome = place(service, TrialCaller(speech=speech(1), notice=notice))
    assert names[-1] == "disconnect"
    assert names.count("CHANNEL_EXECUTE_COMPLETE") == 1
    assert len(samples(sounds / "message.wav")) == 16000
    assert not outcome.handed_back


def test_the_linger_time_ends_with_the_final_notice_and_the_socket_closed(sounds, speech, place):
    def service(line):
        line.begin()
        line.run("hangup", "USER_BUSY")
        rest = [frame.outer.get("Content-Disposition") for frame in line.rest()]
        assert rest[-2:] == ["linger", "disconnect"]

    assert place(service, patience_seconds=0.2).hangup_cause == "USER_BUSY"


def test_a_linger_time_set_after_the_notice_closes_the_socket_at_once(place):
    def service(line):
        line.begin()
        line.run("hangup")
        line.until(lambda frame: frame.outer.get("Content-Disposition") == "linger")
        assert line.ask("linger 60") == "+OK will linger 60 seconds"
        assert [frame.outer["Content-Disposition"] for frame in line.rest()] == ["disconnect"]

    began = time.monotonic()
    place(service, patience_seconds=60.0)
    assert time.monotonic() - began < 5


def test_a_sendmsg_after_the_hang_up_gets_an_ok_and_nothing_else(place):
    def service(line):
        line.begin()
        line.run("hangup")
        line.until(lambda frame: frame.outer.get("Content-Disposition") == "linger")
        line.queue("playback", "tone_stream://%(500,0,1000)")
        assert line.ask("exit") == "+OK bye"
        assert [frame.outer["Content-Disposition"] for frame in line.rest()] == ["disconnect"]

    assert [name for name, _ in place(service).applications] == ["hangup"]


def test_a_sendmsg_can_hang_up_without_an_application(place):
    def service(line):
        line.begin()
        assert line.ask("sendmsg\ncall-command: hangup\nhangup-cause: CALL_REJECTED") == "+OK"
        line.until(lambda frame: frame.event == "CHANNEL_HANGUP_COMPLETE")

    outcome = place(service)
    assert (outcome.hangup_cause, outcome.applications) == ("CALL_REJECTED", ())


@pytest.mark.parametrize("how", ["exit", "close"])
def test_a_service_that_leaves_hands_the_call_back(place, how):
    def service(line):
        line.begin()
        line.run("answer")
        if how == "exit":
            assert line.ask("exit") == "+OK bye"
            assert [frame.outer["Content-Disposition"] for frame in line.rest()] == ["disconnect"]

    outcome = place(service)
    assert (outcome.handed_back, outcome.hangup_cause, outcome.error) == (True, None, None)


def test_a_recording_runs_to_its_end_when_the_service_is_gone(sounds, speech, place):
    def service(line):
        line.begin()
        line.run("answer")
        line.start("record", f"{sounds}/message.wav 2 200 5")

    outcome = place(service, TrialCaller(speech=speech(9)), pace=20.0)
    assert (outcome.recorded_ms, outcome.handed_back) == (2000, True)
    assert len(samples(sounds / "message.wav")) == 32000


def test_socket_resume_left_set_cuts_a_recording_and_the_caller_off(sounds, speech, place):
    def service(line):
        line.begin()
        line.run("answer")
        line.start("record", f"{sounds}/message.wav 60 200 5")

    caller = TrialCaller(speech=speech(60))
    outcome = place(service, caller, pace=20.0, variables={"socket_resume": "true"})
    assert outcome.hangup_cause == "DESTINATION_OUT_OF_ORDER"
    assert outcome.recorded_ms < 60_000
    assert not outcome.handed_back


@pytest.mark.parametrize(("resume", "handed_back"), [("true", True), ("", False)])
def test_a_service_that_closes_before_connect_leaves_the_caller_parked_unless_resumed(
    place, resume, handed_back
):
    outcome = place(lambda line: None, variables={"socket_resume": resume})
    assert outcome.handed_back is handed_back
    assert outcome.error == "the service closed the connection before it sent connect"


def test_a_service_that_sends_nothing_gets_the_final_notice(place):
    def service(line):
        assert [frame.outer["Content-Disposition"] for frame in line.rest()] == ["disconnect"]

    assert place(service, patience_seconds=0.05).error == "the service sent nothing for 25 s"


def test_a_call_never_lasts_for_ever(place):
    outcome = place(lambda line: (line.begin(), line.rest()), limit_seconds=0.1)
    assert outcome.error == "the call did not end within 0.1 s"


def test_a_service_that_is_not_there_is_an_os_error():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = unused.getsockname()
    with pytest.raises(OSError, match=r"refused"):
        place_call(address, TrialCaller())


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("myevents", "-ERR aready enabled."),
        ("event plain RECORD_STOP", "+OK event listener enabled plain"),
        ("event plain", "-ERR no keywords supplied"),
        ("nixevent DTMF", "+OK events nixed"),
        ("noevents", "+OK no longer listening for events"),
        ("filter Event-Name DTMF", "+OK filter added. [Event-Name]=[DTMF]"),
        ("filter delete Event-Name", "+OK filter deleted. [Event-Name][]"),
        ("filter", "-ERR command not found"),
        ("linger", "+OK will linger"),
        ("nolinger", "+OK will not linger"),
        ("resume", "+OK"),
        ("getvar voicemail_mailbox", "sales"),
        ("getvar nothing", "-ERR command not found"),
        ("nonsense", "-ERR command not found"),
        ("sendmsg", "+OK"),
        ("sendmsg 1234", "-ERR invalid session id [1234]"),
        ("api uuid_exists 1234", "false"),
        ("api uuid_break 1234", "-ERR No such channel!\n"),
        ("api nosuchapi", "-ERR nosuchapi Command not found!\n"),
    ],
)
def test_commands_get_the_replies_of_freeswitch(place, command, reply):
    def service(line):
        line.begin()
        assert line.ask(command) == reply

    place(service, variables={"voicemail_mailbox": "sales"})


def test_the_reply_to_a_first_command_other_than_connect_is_thrown_away(place):
    def service(line):
        line.send("linger 7")
        assert "Event-Name: CHANNEL_DATA" in (line.send("connect"), line.read())[1].text
        line.ask("myevents")
        line.run("hangup")
        notice = line.until(lambda frame: frame.outer.get("Content-Disposition") == "linger")
        assert notice.outer["Linger-Time"] == "7"

    place(service)


def test_filters_drop_all_other_events(place):
    def service(line):
        line.begin("filter Application answer")
        line.run("answer")
        line.queue("sleep", "20")
        line.run("answer")
        assert {
            frame.headers["Application"] for frame in line.frames if frame.event not in {None, "CHANNEL_DATA"}
        } == {"answer"}

    place(service)


def test_events_not_subscribed_to_are_not_sent(place):
    def service(line):
        line.ask("connect")
        line.ask("event plain CHANNEL_EXECUTE_COMPLETE")
        line.run("answer")
        assert events(line) == ["CHANNEL_EXECUTE_COMPLETE"]

    place(service)


def test_uuid_break_ends_the_running_application_only(sounds, speech, place):
    def service(line):
        unique_id = (line.send("connect"), line.read())[1].headers["Unique-ID"]
        line.ask("myevents")
        line.run("answer")
        record = line.start("record", f"{sounds}/message.wav 60 200 5")
        assert line.ask(f"api uuid_break {unique_id}") == "+OK\n"
        assert line.done(record).headers["Answer-State"] == "answered"
        assert line.run("sleep", "100").headers["Application-Response"] == "_none_"
        line.run("hangup")

    outcome = place(service, TrialCaller(speech=speech(60)), pace=10.0)
    assert outcome.recorded_ms < 60_000
    assert len(samples(sounds / "message.wav")) == outcome.recorded_ms * 16


def test_variables_show_in_later_events_until_they_are_unset(place):
    def service(line):
        line.begin()
        assert line.run("set", "greeting=a b").headers["variable_greeting"] == "a b"
        assert line.run("multiset", "one=1 two=2").headers["variable_two"] == "2"
        assert "variable_greeting" not in line.run("unset", "greeting").headers
        line.run("hangup")

    assert place(service).variables == {"one": "1", "two": "2"}


def test_an_argument_can_be_the_body_of_the_message(place):
    def service(line):
        line.begin()
        line.socket.sendall(
            b"sendmsg\ncall-command: execute\nexecute-app-name: set\nEvent-UUID: x\n"
            b"content-type: text/plain\ncontent-length: 9\n\nnote=a\nb:"
        )
        assert line.done("x").headers["variable_note"] == "a\nb:"

    place(service)


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("no/such/message.wav", "DESTINATION_OUT_OF_ORDER"),
        ("message.nosuchformat", "DESTINATION_OUT_OF_ORDER"),
    ],
)
def test_a_file_that_cannot_be_opened_hangs_the_caller_up_without_record_events(sounds, place, path, cause):
    names = []

    def service(line):
        line.begin("event plain RECORD_START RECORD_STOP")
        line.run("answer")
        line.run("record", f"{sounds}/{path} 60 200 5")
        names.extend(events(line))

    outcome = place(service)
    assert (outcome.hangup_cause, outcome.recording) == (cause, None)
    assert not {"RECORD_START", "RECORD_STOP"} & set(names)


def test_a_path_with_a_space_is_quoted(sounds, speech, place):
    place(taking_a_message(sounds, record=f"'{sounds}/a b.wav' 60 200 5"), TrialCaller(speech=speech(1)))
    assert (sounds / "a b.wav").exists()


def test_any_digit_ends_a_sleep_unless_told_to_eat_it(place):
    def service(line):
        line.begin()
        line.run("answer")
        first = line.run("sleep", "5000").headers
        line.run("set", "sleep_eat_digits=true")
        last = line.run("sleep", "5000").headers
        times = [int(event["Event-Date-Timestamp"]) / 1e6 for event in (first, last)]
        assert 5 < times[1] - times[0] < 5.2

    place(service, TrialCaller(keys=(key("1", Stage.PAUSE, 1), key("2", Stage.PAUSE, 2))))


@pytest.mark.parametrize(
    ("terminators", "used"),
    [("", "*"), ("playback_terminators=any", "5"), ("playback_terminators=none", None)],
)
def test_a_star_ends_a_greeting_unless_terminators_are_set(sounds, place, terminators, used):
    def service(line):
        line.begin()
        line.run("answer")
        line.run("set", terminators)
        done = line.run("playback", f"{sounds}/sales.wav").headers
        assert done.get("variable_playback_terminator_used") == used
        assert done["Application-Response"] == "FILE PLAYED"

    place(service, TrialCaller(keys=(key("5", Stage.GREETING, 1), key("*", Stage.GREETING, 2))))


@pytest.mark.parametrize(
    ("keys", "typed"),
    [("12#", "12"), ("1234", "123"), ("1#", None), ("#", None), ("", None), ("9*#", "9*")],
)
def test_digits_are_asked_for_and_what_does_not_fit_is_none(sounds, place, keys, typed):
    def service(line):
        line.begin()
        line.run("answer")
        asked = f"2 3 1 2000 # '{sounds}/sales.wav' silence_stream://10 digits [0-9]+ 1000"
        done = line.run("play_and_get_digits", asked).headers
        assert done.get("variable_digits") == typed
        assert done["Application-Response"] == "_none_"

    pressed = tuple(key(digit, Stage.MENU, 0.5 + n / 2) for n, digit in enumerate(keys))
    place(service, TrialCaller(keys=pressed))


def test_several_files_are_played_as_one_and_one_that_is_missing_is_passed_over(sounds, place):
    def service(line):
        line.begin()
        line.run("answer")
        whole = line.run("playback", f"file_string://{sounds}/sales.wav!{sounds}/thanks.wav").headers
        part = line.run("playback", f"file_string://{sounds}/nobody.wav!{sounds}/thanks.wav").headers
        assert {whole["Application-Response"], part["Application-Response"]} == {"FILE PLAYED"}
        assert int(whole["variable_playback_ms"]) > int(part["variable_playback_ms"]) > 0

    place(service, TrialCaller())


def test_a_call_that_is_transferred_is_neither_handed_back_nor_hung_up(sounds, place):
    def service(line):
        line.begin()
        line.run("answer")
        line.run("transfer", "1000 XML default")
        line.ask("exit")
        line.rest()

    outcome = place(service, TrialCaller())
    assert (outcome.transferred, outcome.handed_back, outcome.hangup_cause) == (
        "1000 XML default",
        False,
        None,
    )


def test_a_folder_named_like_the_rate_shadows_a_sound(sounds, place):
    (sounds / "8000").mkdir()
    (sounds / "thanks.wav").rename(sounds / "8000" / "sales.wav")

    def service(line):
        line.begin()
        line.run("answer")
        assert line.run("playback", f"{sounds}/sales.wav").headers["variable_playback_samples"] == "19020"

    place(service)


def test_a_hostile_name_arrives_with_its_line_break(place):
    name = "Evil%0Avariable_injected: yes"

    def service(line):
        reply = (line.send("connect"), line.read())[1]
        assert f"\nCaller-Caller-ID-Name: {quote(name, safe='%')}\n" in reply.text
        assert reply.headers["Caller-Caller-ID-Name"] == "Evil\nvariable_injected: yes"

    place(service, TrialCaller(name=name))


@pytest.mark.parametrize(
    "mishap", [Mishap.VANISH, Mishap.RESET, Mishap.TRUNCATE, Mishap.ENDLESS_HEADER, Mishap.FREEZE]
)
def test_a_switch_that_dies_leaves_the_recording_with_sizes_of_zero_and_sends_no_notice(
    sounds, speech, place, mishap
):
    ends = []

    def service(line):
        line.begin()
        line.run("set", "enable_file_write_buffering=false")
        line.run("answer")
        line.queue("record", f"{sounds}/message.wav 60 200 5")
        line.socket.settimeout(0.3)
        try:
            while data := line.bytes():
                ends.append(data)
            ends.append("eof")
        except TimeoutError:
            ends.append("silence")
        except ConnectionResetError:
            ends.append("reset")

    fault = Fault(mishap, Moment(Stage.RECORDING, 3))
    outcome = place(service, TrialCaller(speech=speech(9), fault=fault))
    assert ends[-1] == {Mishap.RESET: "reset", Mishap.FREEZE: "silence"}.get(mishap, "eof")
    assert not any(b"disconnect-notice" in data for data in ends[:-1])
    data = (sounds / "message.wav").read_bytes()
    assert (len(data), data[40:44]) == (44 + 48000, bytes(4))
    assert (outcome.handed_back, outcome.hangup_cause, outcome.recorded_ms) == (False, None, 3000)


@pytest.mark.parametrize("mishap", [Mishap.SURPLUS_REPLY, Mishap.FOREIGN_EVENT])
def test_a_call_goes_on_after_frames_that_do_not_belong_to_it(sounds, speech, place, mishap):
    fault = Fault(mishap, Moment(Stage.RECORDING, 1))
    outcome = place(taking_a_message(sounds), TrialCaller(speech=speech(2), fault=fault))
    assert (outcome.recorded_ms, outcome.hangup_cause, outcome.error) == (2000, "NORMAL_CLEARING", None)


@pytest.mark.parametrize(
    ("mishap", "seen"),
    [
        (Mishap.GARBAGE, b"\x00\xff\x16\x03\x01"),
        (Mishap.NO_CONTENT_TYPE, b"\n\nContent-Length: "),
        (Mishap.BAD_LENGTH, b"Content-Length: -5\nContent-Type: text/event-plain\n\nContent-Length: many\n"),
    ],
)
def test_a_call_goes_on_after_bytes_that_are_no_frame(sounds, speech, place, mishap, seen):
    got = []

    def service(line):
        line.begin()
        line.run("answer")
        line.queue("record", f"{sounds}/message.wav 60 200 5")
        while b"CHANNEL_HANGUP_COMPLETE" not in b"".join(got):
            got.append(line.bytes())

    place(service, TrialCaller(speech=speech(2), fault=Fault(mishap, Moment(Stage.RECORDING, 1))))
    assert seen in b"".join(got)
    assert len(samples(sounds / "message.wav")) == 32000


def test_a_shutdown_hangs_up_and_gives_notice_before_the_recording_is_done(sounds, speech, place):
    def service(line):
        line.begin()
        line.run("answer")
        line.run("record", f"{sounds}/message.wav 60 200 5")
        names = events(line)
        assert names[-3:] == ["CHANNEL_HANGUP", "linger", "CHANNEL_EXECUTE_COMPLETE"]
        done = line.until(lambda frame: frame.event == "CHANNEL_HANGUP_COMPLETE")
        assert done.headers["variable_sip_hangup_disposition"] == "send_bye"

    fault = Fault(Mishap.SHUTDOWN, Moment(Stage.RECORDING, 1))
    assert place(service, TrialCaller(speech=speech(9), fault=fault)).hangup_cause == "SYSTEM_SHUTDOWN"


def test_time_passes_at_the_pace_asked_for(sounds, speech, place):
    began = time.monotonic()
    place(taking_a_message(sounds), TrialCaller(speech=speech(5)), pace=50.0)
    assert 0.15 < time.monotonic() - began < 5


def test_many_calls_at_once_are_kept_apart(sounds, speech, place):
    import gevent

    def call(number):
        (sounds / str(number)).mkdir()
        (sounds / str(number) / "sales.wav").write_bytes((sounds / "sales.wav").read_bytes())
        caller = TrialCaller(speech=speech(number / 10), number=f"+4860000{number:04}")
        # Each waits for nineteen others.
        return place(taking_a_message(sounds / str(number)), caller, pace=math.inf, patience_seconds=10.0)

    calls = [gevent.spawn(call, number) for number in range(1, 21)]
    gevent.joinall(calls, raise_error=True)
    assert [call.value.recorded_ms for call in calls] == [number * 100 for number in range(1, 21)]

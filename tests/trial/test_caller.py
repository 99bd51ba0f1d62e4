"""What is heard of a scripted caller, and the file that is kept of it."""

import struct
import wave
from pathlib import Path

import pytest

from esl_voicemail.trial.caller import Moment, Stage, TrialCaller, open_recording

LOUD = struct.pack("<h", 3000)
FAINT = struct.pack("<h", 150)


@pytest.mark.parametrize(
    ("speech", "seconds"),
    [
        (b"", 3.0),
        (LOUD * 8000, 4.0),
        (FAINT * 8000, 3.0),
        (FAINT * 8000 + LOUD * 8000, 5.0),
        (FAINT * 32000 + LOUD * 8000, 3.0),
        (LOUD * 80, 3.02),
    ],
)
def test_three_seconds_of_silence_are_counted_from_the_last_loud_frame_or_from_the_start(speech, seconds):
    assert TrialCaller(speech=speech).silent_after(200, 3) == pytest.approx(seconds)


def test_a_caller_without_rtp_is_silent_and_leaves_no_sample():
    caller = TrialCaller(speech=LOUD * 8000, rtp=False)
    assert caller.silent_after(200, 3) == pytest.approx(3)
    assert caller.heard(0, 8000) == b""


def test_silence_follows_the_speech():
    assert TrialCaller(speech=LOUD * 2).heard(1, 4) == LOUD + bytes(4)


def test_a_moment_is_noticed_at_the_end_of_its_frame():
    assert Moment(Stage.BEEP, 0.1).framed().seconds == pytest.approx(0.1)
    assert Moment(Stage.BEEP, 0.101).framed().seconds == pytest.approx(0.12)


def test_a_recording_grows_with_sizes_of_zero_until_it_is_finished(tmp_path):
    path = tmp_path / "message.wav"
    with open_recording(path, TrialCaller(speech=LOUD * 8000), buffered=False) as recording:
        assert path.read_bytes()[:8] == b"RIFF\x08\0\0\0"
        recording.reach(0.5)
        assert path.stat().st_size == 44 + 8000
        assert path.read_bytes()[40:44] == bytes(4)
        recording.finish()
    with wave.open(str(path)) as file:
        assert file.readframes(8000) == LOUD * 4000


def test_a_buffered_recording_reaches_the_disk_in_blocks_of_64_kib(tmp_path):
    path = tmp_path / "message.wav"
    with open_recording(path, TrialCaller(speech=LOUD * 80000), buffered=True) as recording:
        recording.reach(4.0)
        assert path.stat().st_size == 44
        recording.reach(6.0)
        assert path.stat().st_size == 44 + 65536


@pytest.mark.parametrize("buffered", [True, False])
def test_a_disk_that_takes_no_more_ends_a_recording_and_its_sizes_are_those_of_what_is_there(
    tmp_path, files_up_to, buffered
):
    path = tmp_path / "message.wav"
    with (
        files_up_to(100_044),
        open_recording(path, TrialCaller(speech=LOUD * 80000), buffered=buffered) as it,
    ):
        assert it.reach(4.0)
        assert it.reach(8.0) is buffered
        it.finish()
        assert it.samples == 50_000
    with wave.open(str(path)) as file:
        assert file.readframes(80000) == LOUD * 50_000


def test_a_disk_without_room_for_a_header_leaves_an_empty_file_and_nothing_open(tmp_path, files_up_to):
    path = tmp_path / "message.wav"
    opened = len(list(Path("/proc/self/fd").iterdir()))
    with files_up_to(0):
        assert open_recording(path, TrialCaller(), buffered=False) is None
    assert path.read_bytes() == b""
    assert len(list(Path("/proc/self/fd").iterdir())) == opened


def test_an_existing_file_is_overwritten(tmp_path):
    path = tmp_path / "message.wav"
    path.write_bytes(bytes(100_000))
    with open_recording(path, TrialCaller(), buffered=False) as recording:
        recording.finish()
    assert path.stat().st_size == 44


@pytest.mark.parametrize("beside", ["8000", "16000", "32000", "48000"])
def test_no_file_is_opened_beside_a_folder_named_like_a_sample_rate(tmp_path, beside):
    (tmp_path / beside).mkdir()
    assert open_recording(tmp_path / "message.wav", TrialCaller(), buffered=False) is None


@pytest.mark.parametrize("name", ["no/such/folder/a.wav", "a.xyz", "."])
def test_no_file_is_opened_where_freeswitch_opens_none(tmp_path, name):
    assert open_recording(tmp_path / name, TrialCaller(), buffered=False) is None

"""What is heard of callers who speak and of those who say nothing, and what is mailed of it."""

import wave

from esl_voicemail.audio.convert import pcm
from esl_voicemail.samples import SAMPLE
from esl_voicemail.trial.likeness import likeness
from tests.live import speech
from tests.live.office import Office
from tests.support.service import command


def test_who_speaks_is_heard_and_mailed_as_mp3(office: Office) -> None:
    call = office.call("heard")
    call.recording()
    call.caller.speak(SAMPLE)
    call.caller.press("#")
    line = office.told(call.channel.uuid)
    assert (line["result"], line["heard"]) == ("recorded", "speech")
    (mail,) = office.service.mails(1)
    (audio,) = mail.iter_attachments()
    assert audio.get_content_type() == "audio/mpeg"
    path = office.folder / "attached.mp3"
    path.write_bytes(audio.get_content())
    with wave.open(str(SAMPLE)) as file:
        said = file.readframes(file.getnframes())
    alike = likeness(said, pcm(path))
    print(f"{line['speech_ms']} ms of speech in {line['recording_ms']}; likeness {alike:.3f}")
    assert alike > 0.8
    assert int(line["recording_ms"]) * 0.5 < int(line["speech_ms"]) < int(line["recording_ms"])


def test_who_says_nothing_is_told_of_and_a_person_may_say_otherwise(office: Office) -> None:
    call = office.call("heard")
    call.recording()
    call.caller.speak(office.sound(speech.silence(3.0)))
    call.caller.press("#")
    line = office.told(call.channel.uuid)
    print(line)
    assert (line["result"], line["heard"]) == ("no_speech", "silence")
    (notice,) = office.service.mails(1)
    assert notice["X-Voicemail-Kind"] == "empty"
    assert office.story(call.channel.uuid)["result"] == "no_speech"
    kept = command("messages", "keep", call.channel.uuid, folder=office.folder)
    assert kept.returncode == 0, kept.stderr
    _, mail = office.service.mails(2)
    assert mail["X-Voicemail-Kind"] == "voicemail"
    assert len(list(mail.iter_attachments())) == 1

"""The mails to look at say what they are to say, by a parser that is neither the library's nor ours."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from fast_mail_parser import parse_email

from esl_voicemail.samples import SAMPLE
from tests.gallery.__main__ import MAILS, build


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    build(folder, [SAMPLE])
    return folder


@pytest.mark.parametrize("name", MAILS)
def test_a_mail_says_what_it_is_to_say(gallery: Path, name: str) -> None:
    mail = parse_email((gallery / f"{name}.eml").read_bytes())
    expected = json.loads((gallery / f"{name}.json").read_text())

    assert mail.subject == expected["subject"]
    assert {key: mail.headers[key] for key in expected["headers"]} == {
        key: [value] for key, value in expected["headers"].items()
    }
    [text] = mail.text_plain
    assert [said for said in expected["text_contains"] if said not in text] == []
    [html] = mail.text_html
    assert [said for said in expected["html_contains"] if said not in html] == []
    found = [(one.filename, one.mimetype, sha256(one.content).hexdigest()) for one in mail.attachments]
    wanted = expected["attachment"]
    assert found == ([(wanted["filename"], wanted["mime"], wanted["sha256"])] if wanted else [])

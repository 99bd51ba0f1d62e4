"""A journal on a real SQLite file, its reader beside it, and its writer alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from esl_voicemail.journal import Journal, JournalReader
from esl_voicemail.journal.engine import migrate, open_engine, url_of
from esl_voicemail.journal.writer import Writer


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(url_of(tmp_path), tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def reader(journal: Journal, tmp_path: Path) -> JournalReader:
    """Beside a writer that stays open."""
    return JournalReader(tmp_path, tmp_path)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    engine = open_engine(url_of(tmp_path), writing=True)
    migrate(engine)
    opened = Writer(engine)
    yield opened
    opened.close()

"""Statements that the driver runs, and what SQLAlchemy says of them."""

from datetime import date

import pytest
from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg2

from esl_voicemail.errors import JournalError
from esl_voicemail.journal.schema import deliveries, voicemails
from esl_voicemail.journal.statement import Statement
from esl_voicemail.model import Caller, Promise
from tests.journal.rows import kept, new_call, new_id


def test_the_driver_finds_what_sqlalchemy_finds(journal):
    promised = Promise("tomorrow", date(2026, 7, 16))
    journal.begin(new_id(), new_call(promise=promised, queue_wait_seconds=7), "a.wav", 10)
    journal.begin(new_id(), new_call(caller=Caller("", "", withheld=True)), "b.wav", 10)
    kept(journal)
    every = select(voicemails).order_by(voicemails.c.message_id)
    [ours, theirs] = [
        journal._writer.write(find)
        for find in (Statement(every).rows, lambda db: [row._asdict() for row in db.execute(every)])
    ]
    assert [row._asdict() for row in ours] == theirs
    assert [type(value) for row in ours for value in row] == [
        type(value) for row in theirs for value in row.values()
    ]


def test_what_the_driver_refuses_is_refused_as_sqlalchemy_says_it(writer):
    of_nobody = Statement(insert(deliveries))

    def work(db: Connection) -> None:
        of_nobody.execute(db, message_id="nobody", recipient="r", state="queued", attempts=0)

    with pytest.raises(JournalError, match="the journal refused: NOT NULL constraint failed"):
        writer.write(work)


def test_a_value_that_was_not_given_is_a_mistake_of_ours(writer):
    one = Statement(select(voicemails).where(voicemails.c.message_id == bindparam("message")))
    with pytest.raises(KeyError, match="message"):
        writer.write(one.rows)


@pytest.mark.parametrize(
    ("dialect", "text", "values"),
    [
        (sqlite.dialect(), "SET state=? WHERE deliveries.delivery_id = ?", ("held", 1)),
        (
            psycopg2.dialect(),
            "SET state=%(state)s WHERE deliveries.delivery_id = %(mail)s",
            {"state": "held", "mail": 1},
        ),
    ],
    ids=["sqlite", "postgresql"],
)
def test_a_statement_is_put_into_the_words_of_the_database(dialect, text, values):
    mine = Statement(update(deliveries).where(deliveries.c.delivery_id == bindparam("mail")))
    words = mine._put_into_words(dialect, ["mail", "state"])
    assert words.text == f"UPDATE deliveries {text}"
    assert words.values([1, "held"]) == values

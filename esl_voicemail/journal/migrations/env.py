"""Runs migrations on the connection that `engine.migrate` hands over, in its transaction."""

from alembic import context

from esl_voicemail.journal.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()

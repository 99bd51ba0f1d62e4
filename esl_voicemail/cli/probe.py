"""`probe`: one trial call from its call to its mail, as `probe:` of the configuration says."""

import argparse
from typing import Any

from esl_voicemail.cli import progress
from esl_voicemail.config import load
from esl_voicemail.config.load import find
from esl_voicemail.errors import CannotReachError, VoicemailError
from esl_voicemail.model import ProbeStage


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "probe", parents=[common], help="prove that a call to the running service becomes a mail"
    )
    verb.add_argument("--json", action="store_true", help="also print what came of it as one JSON object")
    verb.set_defaults(run=_probe)


def _probe(asked: argparse.Namespace) -> int:
    from esl_voicemail.probe import prove  # noqa: PLC0415 - the other verbs need none of it

    with progress.stages() as begun:
        proof = prove(load(find(asked.config)), begun)
    if asked.json:
        print(proof.as_json())
    if proof.failed_at is not None:
        raise (CannotReachError if proof.failed_at is ProbeStage.REACH else VoicemailError)(str(proof))
    if not asked.json:
        print(proof)
    return 0

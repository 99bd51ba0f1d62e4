"""The recorded dialogue on Genesis, for comparison: greet, beep, record, thank, hang up.

Runs in an environment of its own, which `make bench` makes of `genesis.txt`.
"""

import asyncio
import logging
import sys

from genesis import Outbound, Session

STEPS = (
    ("multiset", "^^;playback_terminators=#;record_sample_rate=8000"),
    ("answer", None),
    ("sleep", "400"),
    ("playback", "/var/greetings/sales.wav"),
    ("playback", "tone_stream://%(500,0,1000)"),
    ("record", "{folder}/{uuid}.wav 60 200 5"),
    ("playback", "/var/greetings/thanks.wav"),
    ("hangup", "NORMAL_CLEARING"),
)


async def voicemail(session: Session) -> None:
    """Hold one call's dialogue."""
    for application, argument in STEPS:
        given = argument and argument.format(folder=sys.argv[2], uuid=session.uuid)
        await session.sendmsg("execute", application, given, lock=True, block=True)


if __name__ == "__main__":
    logging.disable(logging.INFO)
    asyncio.run(Outbound(voicemail, "127.0.0.1", int(sys.argv[1])).start())

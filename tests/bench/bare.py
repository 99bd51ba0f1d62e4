"""Our channel and dialogue alone: what talking costs without a journal, a recordings folder or mail.

Like for like with `rivals`: the channel, the dialogue's table and the commands are the service's own; what
the session would do with spool and journal is answered at once.
"""

import random
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from gevent import monkey

monkey.patch_all()

from gevent import socket
from gevent.server import StreamServer

from esl_voicemail.binding import bind, listen
from esl_voicemail.config.values import Address
from esl_voicemail.dialogue import (
    Begin,
    Begun,
    Command,
    Dialogue,
    Discard,
    Input,
    Keep,
    Kept,
    Salvage,
    Script,
)
from esl_voicemail.errors import ControlLostError
from esl_voicemail.esl.channel import Channel
from esl_voicemail.esl.sockets import prepare

_SOUNDS = Path("/var/greetings")


def _script(recording: Path) -> Script:
    return Script(
        greeting=(_SOUNDS / "sales.wav",),
        greeting_seconds=5.0,
        thanks=_SOUNDS / "thanks.wav",
        apology=_SOUNDS / "apology.wav",
        recordings=(recording,),
        max_seconds=60,
        silence_seconds=7,
    )


def new_application_id() -> str:
    """Return one as the service makes them."""
    return f"{random.getrandbits(128):032x}"


def converse(sock: socket.socket, peer: Any) -> None:
    """Hold one call's dialogue."""
    channel = Channel(peer, sock)
    try:
        channel.connect()
        folder = Path(sys.argv[2])
        dialogue = Dialogue(_script(folder / f"{channel.call_id}.wav"), new_application_id)
        happened: deque[Input] = deque()
        _perform_all(channel, dialogue.open(), happened)
        state, until = None, 0.0
        while not dialogue.done:
            if dialogue.state is not state:
                state, until = dialogue.state, time.monotonic() + dialogue.deadline_seconds
            now = happened.popleft() if happened else channel.receive(until)
            _perform_all(channel, dialogue.receive(now), happened)
    finally:
        channel.leave()


def _perform_all(channel: Channel, commands: tuple[Command, ...], happened: deque[Input]) -> None:
    for command in commands:
        match command:
            case Begin():
                happened.append(Begun())
            case Keep():
                happened.append(Kept())
            case Discard() | Salvage():
                raise ControlLostError("the recorded call does not end like this")
            case _:
                channel.perform(command)  # type: ignore[arg-type]


if __name__ == "__main__":
    listening = bind(Address("127.0.0.1", int(sys.argv[1])))
    prepare(listening)
    listen(listening)
    StreamServer(listening, converse).serve_forever()

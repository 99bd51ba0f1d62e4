"""The recorded dialogue on a stock greenswitch, for comparison: greet, beep, record, thank, hang up.

The last command is waited for, so that it takes all of the recorded call's events, as the others do.
"""

import sys

from gevent import monkey

monkey.patch_all()

from greenswitch import OutboundESLServer
from greenswitch.esl import OutboundSession, OutboundSessionHasGoneAway


class Voicemail:
    """One call."""

    def __init__(self, session: OutboundSession) -> None:
        self.session = session

    def run(self) -> None:
        """Hold the dialogue; the server stops the session."""
        session = self.session
        try:
            session.myevents()
            session.linger(10)
            session.call_command("multiset", "^^;playback_terminators=#;record_sample_rate=8000", block=True)
            session.call_command("answer", block=True)
            session.call_command("sleep", "400", block=True)
            session.playback("/var/greetings/sales.wav")
            session.playback("tone_stream://%(500,0,1000)")
            session.call_command("record", f"{sys.argv[2]}/{session.uuid}.wav 60 200 5", block=True)
            session.playback("/var/greetings/thanks.wav")
            session.call_command("hangup", "NORMAL_CLEARING", block=True)
        except OutboundSessionHasGoneAway:
            return


if __name__ == "__main__":
    OutboundESLServer("127.0.0.1", int(sys.argv[1]), application=Voicemail, max_connections=10_000).listen()

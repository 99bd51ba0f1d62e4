"""The service's end of an event socket, as small as a test needs it."""

from urllib.parse import unquote

import gevent


class Frame:
    """One message of the switch: the text as it came, and its headers."""

    def __init__(self, head: str, body: str) -> None:
        self.text = head + body
        self.outer = _headers(head)
        self.headers = _headers(body) if self.outer.get("Content-Type") == "text/event-plain" else self.outer
        self.names = [line.split(": ")[0] for line in self.text.split("\n")]

    @property
    def event(self) -> str | None:
        """The event's name, with none for replies and notices."""
        return self.headers.get("Event-Name")

    @property
    def is_reply(self) -> bool:
        """Whether it answers a command."""
        return self.outer.get("Content-Type") in {"command/reply", "api/response"}


def _headers(text: str) -> dict[str, str]:
    pairs = (line.split(": ", 1) for line in text.split("\n") if ": " in line)
    return {name: unquote(value) for name, value in pairs}


class Line:
    """Sends commands and collects frames."""

    def __init__(self, connection) -> None:
        self.socket = connection
        self.frames: list[Frame] = []
        self.error: BaseException | None = None
        self._file = connection.makefile("rb")
        self._applications = 0

    def read(self) -> Frame | None:
        """Read one frame; None at the end."""
        head = b""
        while not head.endswith(b"\n\n"):
            line = self._file.readline()
            if not line:
                return None
            head += line
        lengths = [line.split(b":")[1] for line in head.split(b"\n") if line.startswith(b"Content-Length:")]
        body = self._file.read(int(lengths[0])) if lengths else b""
        self.frames.append(Frame(head.decode(), body.decode()))
        return self.frames[-1]

    def bytes(self) -> bytes:
        """Take what there is, frames or not; empty at the end."""
        return self._file.read1(65536)

    def until(self, wanted) -> Frame:
        """Read on to the first frame that is wanted; AssertionError when the switch closes before."""
        with gevent.Timeout(10):
            while frame := self.read():
                if wanted(frame):
                    return frame
        raise AssertionError("the switch closed the socket before")

    def rest(self) -> list[Frame]:
        """Read to the end."""
        begun = len(self.frames)
        with gevent.Timeout(10):
            while self.read():
                pass
        return self.frames[begun:]

    def send(self, text: str) -> None:
        """Send a command without waiting."""
        self.socket.sendall(text.encode() + b"\n\n")

    def ask(self, text: str) -> str:
        """Send a command and return what the reply says."""
        self.send(text)
        frame = self.until(lambda frame: frame.is_reply)
        return frame.outer.get("Reply-Text", frame.text.partition("\n\n")[2])

    def queue(self, application: str, argument: str = "") -> str:
        """Queue an application and return its Application-UUID."""
        self._applications += 1
        application_uuid = f"00000000-0000-4000-8000-{self._applications:012d}"
        words = ["sendmsg", "call-command: execute", "event-lock: true", f"execute-app-name: {application}"]
        words += [f"execute-app-arg: {argument}"] if argument else []
        assert self.ask("\n".join([*words, f"Event-UUID: {application_uuid}"])) == "+OK"
        return application_uuid

    def done(self, application_uuid: str) -> Frame:
        """Wait for the end of an application."""
        return self.until(
            lambda frame: (
                frame.event == "CHANNEL_EXECUTE_COMPLETE"
                and frame.headers["Application-UUID"] == application_uuid
            )
        )

    def start(self, application: str, argument: str = "") -> str:
        """Queue an application and wait for its beginning; its Application-UUID."""
        application_uuid = self.queue(application, argument)
        self.until(lambda frame: frame.headers.get("Application-UUID") == application_uuid)
        return application_uuid

    def run(self, application: str, argument: str = "") -> Frame:
        """Execute an application and wait for its end."""
        return self.done(self.queue(application, argument))

    def begin(self, *extra: str) -> None:
        """Take the call over, as every service does."""
        self.ask("connect")
        self.ask("linger 10")
        self.ask("myevents")
        for command in extra:
            self.ask(command)

    def close(self) -> None:
        """Close the socket."""
        self._file.close()
        self.socket.close()

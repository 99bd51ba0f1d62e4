"""The composition root: builds the parts from a configuration, starts, drains and stops them.

The only wiring. Signal handlers set one flag; the main greenlet does the rest.
"""

import fcntl
import json
import os
import random
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gevent
from gevent.event import Event
from ulid import ULID

from esl_voicemail import checks
from esl_voicemail.backoff import Schedule
from esl_voicemail.config import Config
from esl_voicemail.config.values import Address
from esl_voicemail.delivery import Composer, Delivery
from esl_voicemail.errors import ConfigError, StorageBusyError
from esl_voicemail.esl.listener import Listener
from esl_voicemail.http.server import HttpServer
from esl_voicemail.journal import Journal
from esl_voicemail.journal.engine import url_of
from esl_voicemail.mail.maildir import Maildir
from esl_voicemail.mail.transport import PORTS, MaildirTransport, SmtpTransport, Transport
from esl_voicemail.recovery import Recovery
from esl_voicemail.session import Desk
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.workers import Workers

# What a running server tells the command line: its process and its real addresses.
STATE_FILE = "serve.json"
LOCK_FILE = "lock"

_DISK_THREADS = 8
_MAIL_DRAIN_SECONDS = 20.0
_TROUBLE_EVERY_SECONDS = 5.0
_SLOWEST_SECONDS = 3.0
_SLOW: str | None = "the recordings folder does not answer"


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def transport_of(config: Config) -> Transport:
    """Return the way out for mails that a configuration names."""
    smtp = config.mail.smtp
    if smtp is None:
        return MaildirTransport(Maildir(config.maildir or config.directory / "mail"))
    return SmtpTransport(
        host=smtp.host,
        port=smtp.port or PORTS[smtp.security],
        security=smtp.security,
        username=smtp.username,
        password_file=config.password_file,
        ca_file=config.ca_file,
    )


class App:
    """The service: everything `serve` runs."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._asked_to_stop = Event()
        self._failed = ""

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT, or until a part dies; return the exit code.

        ConfigError, StorageBusyError and CannotBindError when it cannot start: nothing was started then.
        """
        found = checks.problems(self.config)
        if found:
            raise ConfigError(found)
        checks.prepare(self.config)
        with locked(self.config.directory):
            return self._serve()

    def stop(self) -> None:
        """Ask the service to drain and end; safe in a signal handler."""
        self._asked_to_stop.set()

    def _serve(self) -> int:
        config = self.config
        telemetry = Telemetry(
            config.mailboxes, utc_now, style=config.log.format, mask_numbers=config.log.mask_numbers
        )
        _say_crashes_in_one_line(telemetry)
        workers = Workers(_DISK_THREADS)
        spool = checks.spool_of(config)
        transport = transport_of(config)
        if isinstance(transport, MaildirTransport):
            transport.maildir.create()
        journal = Journal(url_of(config.directory), config.recordings)
        delivery = Delivery(
            journal,
            Composer(config.mailboxes, config.mail.sender),
            transport,
            workers,
            telemetry,
            clock=utc_now,
            jitter=random.random,
            schedule=Schedule(give_up_after=timedelta(days=config.mail.retry_days)),
            max_connections=config.mail.max_connections,
        )
        desk = Desk(
            mailboxes=config.mailboxes,
            greeting_seconds=checks.greeting_seconds(config),
            journal=journal,
            spool=spool,
            workers=workers,
            telemetry=telemetry,
            clock=utc_now,
            new_message_id=lambda: str(ULID()),
            new_application_id=lambda: str(uuid.uuid4()),
            kept=delivery.wake,
        )
        recovery = Recovery(
            journal,
            spool,
            config.mailboxes,
            workers,
            telemetry,
            clock=utc_now,
            in_progress=desk.in_progress,
            kept=delivery.wake,
            retention=timedelta(days=config.storage.retention_days),
        )
        listener = Listener(config.listen, config.switch.allowed, config.switch.max_calls, desk, telemetry)
        troubles = _Troubles(workers, spool.trouble, listener, telemetry)
        http = HttpServer(config.http.listen, telemetry.registry, troubles.now)
        telemetry.watch(journal.backlog, lambda: _free_bytes(config.recordings))
        recovery.start()
        parts = [
            self._guarded("delivery", delivery.run),
            self._guarded("recovery", recovery.run),
            self._guarded("troubles", troubles.run),
        ]
        http.start()
        listener.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self.stop)
        with _state(config.directory, listener.address, http.address):
            telemetry.service(
                "serving", listen=str(listener.address), http=str(http.address), pid=os.getpid()
            )
            self._asked_to_stop.wait()
            telemetry.service("draining", calls=listener.calls, seconds=config.switch.drain_seconds)
            troubles.leave()
            left = listener.stop(config.switch.drain_seconds)
        recovery.stop()
        finished = delivery.stop(_MAIL_DRAIN_SECONDS)
        http.stop()
        troubles.stop()
        gevent.joinall(parts, timeout=10)
        journal.close()
        workers.close()
        telemetry.service("stopped", calls_left=left, mails_finished=finished)
        if self._failed:
            telemetry.trouble("part_died", self._failed)
        return 1 if self._failed else 0

    def _guarded(self, name: str, run: Callable[[], None]) -> "gevent.Greenlet[..., None]":
        """Run a part in its own greenlet; if it dies, the service stops with a failure."""

        def ended(greenlet: "gevent.Greenlet[..., None]") -> None:
            if not self._asked_to_stop.is_set():
                self._failed = f"{name}: {greenlet.exception or 'ended by itself'}"
                self.stop()

        greenlet = gevent.spawn(run)
        greenlet.link(ended)
        return greenlet


class _Troubles:
    """Why the service cannot take calls, if so: looked up at an interval, answered from memory."""

    def __init__(
        self,
        workers: Workers,
        spool_trouble: Callable[[], str | None],
        listener: Listener,
        telemetry: Telemetry,
    ) -> None:
        self._workers = workers
        self._spool_trouble = spool_trouble
        self._listener = listener
        self._telemetry = telemetry
        self._stopping = Event()
        self._leaving = False
        self._last: str | None = None

    def run(self) -> None:
        """Keep looking until `stop`."""
        while True:
            trouble = self._workers.run_within(_SLOWEST_SECONDS, self._spool_trouble, _SLOW)
            if trouble and trouble != self._last:
                self._telemetry.trouble("not_ready", trouble)
            self._last = trouble
            self._telemetry.ready("; ".join(self.now()) or None)
            if self._stopping.wait(_TROUBLE_EVERY_SECONDS):
                return

    def now(self) -> list[str]:
        """Return the reasons, none when ready."""
        found = [self._last] if self._last else []
        if self._leaving:
            found.append("draining: no new calls are taken")
        elif not self._listener.listening:
            found.append("the event-socket listener is not running")
        return found

    def leave(self) -> None:
        """The service is about to end."""
        self._leaving = True
        self._telemetry.ready("draining")

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a storage directory for this process; StorageBusyError when another server does."""
    with (directory / LOCK_FILE).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read(20).strip() or "unknown"
            raise StorageBusyError(
                f"{directory}: another server (process {holder}) works here; stop it, "
                "or name another storage.directory"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@contextmanager
def _state(directory: Path, listen: Address, http: Address) -> Iterator[None]:
    path = directory / STATE_FILE
    unfinished = path.with_suffix(".tmp")
    state = {"pid": os.getpid(), "listen": str(listen), "http": str(http), "since": round(time.time())}
    unfinished.write_text(json.dumps(state) + "\n")
    unfinished.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _say_crashes_in_one_line(telemetry: Telemetry) -> None:
    """A greenlet's unforeseen end is a log line like all else; gevent would print a traceback."""

    def say(_context: object, _kind: object, error: object, _trace: object) -> None:
        telemetry.crashed(
            "greenlet_crashed", error if isinstance(error, BaseException) else Exception(str(error))
        )

    gevent.get_hub().print_exception = say  # type: ignore[assignment,method-assign]


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0

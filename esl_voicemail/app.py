"""The composition root: builds the parts from a configuration, starts, reloads, drains and stops them.

The only wiring. Signal handlers set one flag; the main greenlet does the rest.
"""

import gc
import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from io import FileIO

import gevent
from gevent.event import Event
from ulid import ULID

from esl_voicemail import checks
from esl_voicemail.backoff import Schedule
from esl_voicemail.checks import spool_of
from esl_voicemail.clock import Clock
from esl_voicemail.config import Config, Mailbox
from esl_voicemail.config.resolved import BUILT_IN
from esl_voicemail.delivery import Delivery
from esl_voicemail.errors import ConfigError, RecordingError, VoicemailError
from esl_voicemail.esl.listener import Listener
from esl_voicemail.http.server import HttpServer
from esl_voicemail.journal import Journal
from esl_voicemail.journal.engine import bring_up_to_date, url_of
from esl_voicemail.log import Log
from esl_voicemail.logline import render, style_on
from esl_voicemail.logwriter import LogWriter
from esl_voicemail.mail.composer import Composer
from esl_voicemail.mail.enclosing import Encloser
from esl_voicemail.mail.transport import MaildirTransport, transport_of
from esl_voicemail.probing import Probing
from esl_voicemail.process import raise_descriptor_limit, say_all_in_lines
from esl_voicemail.pulse import Pulse
from esl_voicemail.readiness import Readiness
from esl_voicemail.recovery import Recovery
from esl_voicemail.running import announced, locked
from esl_voicemail.session import Desk
from esl_voicemail.storage import Storage
from esl_voicemail.supervision import Supervision
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.transcription import Transcription
from esl_voicemail.watching import Watch
from esl_voicemail.workers import Workers

_DISK_THREADS = 8
_MAIL_DRAIN_SECONDS = 20.0
_PARTS_SECONDS = 10.0
_LAST_STEPS_SECONDS = 20.0

# What a reload cannot change: sockets are bound, folders locked, the log begun.
_FIXED = ("listen", "switch", "directory", "recordings", "storage", "mail", "http", "log", "probe")


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that runs, and what the reload may change: the mailboxes they all look into."""

    log: Log
    log_writer: LogWriter
    telemetry: Telemetry
    workers: Workers
    mail_workers: Workers
    journal: Journal
    delivery: Delivery
    transcription: Transcription
    recovery: Recovery
    listener: Listener
    readiness: Readiness
    pulse: Pulse
    probing: Probing
    http: HttpServer
    mailboxes: dict[str, Mailbox]
    greeting_seconds: dict[str, float]


def build(config: Config, watch: Watch) -> Parts:
    """Build the parts; none runs yet but HTTP, ports are bound and the journal is open."""
    clock = Clock()
    style = style_on(config.log.format, terminal=sys.stderr.isatty(), environment=os.environ)
    log_writer = LogWriter(
        FileIO(sys.stderr.fileno(), "w", closefd=False),
        lambda count: render(style, clock(), "error", "log_lines_dropped", {"count": count}),
    )
    log = Log(log_writer.write, clock, style=style, level=config.log.level, seconds=clock.seconds)
    telemetry = Telemetry(config.mailboxes, clock, log=log, mask_numbers=config.log.mask_numbers)
    say_all_in_lines(telemetry)
    # Codecs have threads of their own: no call waits for the mail of another. More than there are processors
    # would only take turns, and hold the event loop up between them.
    processors = len(os.sched_getaffinity(0))
    workers, mail_workers = Workers(_DISK_THREADS), Workers(min(config.mail.max_connections, processors))
    readiness = Readiness(workers, telemetry, clock)
    http = HttpServer(config.http.listen, telemetry.registry, readiness.reasons)
    # Migration and recovery may take minutes: whoever asks meanwhile is answered.
    http.start()
    readiness.starting("the journal is brought up to date")
    spool = spool_of(config)
    mailboxes, greeting_seconds = dict(config.mailboxes), checks.greeting_seconds(config)
    transport = transport_of(config)
    if isinstance(transport, MaildirTransport):
        transport.maildir.create()
        transport.maildir.sweep()
    workers.run(bring_up_to_date, url_of(config.directory))
    journal = Journal(url_of(config.directory), config.recordings, telemetry.committed)
    readiness.watch(Storage.in_use(spool, config.directory))
    delivery = Delivery(
        journal.queue,
        Composer(
            mailboxes,
            config.mail.sender,
            lambda why, mailbox: telemetry.trouble("template_failed", why, mailbox=mailbox),
            Encloser(digests=spool.digests),
        ),
        transport,
        mail_workers,
        telemetry,
        clock=clock,
        jitter=random.random,
        schedule=Schedule(give_up_after=timedelta(days=config.mail.retry_days)),
        max_connections=config.mail.max_connections,
        operator=config.mail.operator.address if config.mail.operator else None,
        recordings_gone=spool.strange,
    )
    transcription = Transcription(journal, mailboxes, workers, telemetry, clock=clock, written=delivery.wake)
    desk = Desk(
        mailboxes=mailboxes,
        greeting_seconds=greeting_seconds,
        journal=journal,
        spool=spool,
        workers=workers,
        telemetry=telemetry,
        transcription=transcription,
        clock=clock,
        new_message_id=lambda: str(ULID()),
        # Nobody guesses at it, so the system is not asked for each of a call's nine.
        new_application_id=lambda: f"{random.getrandbits(128):032x}",
        kept=delivery.wake,
        trouble=readiness.trouble,
    )
    recovery = Recovery(
        journal,
        spool,
        mailboxes,
        workers,
        telemetry,
        transcription=transcription,
        clock=clock,
        in_progress=desk.in_progress,
        kept=delivery.wake,
        retention=timedelta(days=config.storage.retention_days),
    )
    telemetry.watch(journal.queue.backlog, {"disk": workers, "mail": mail_workers})
    return Parts(
        log=log,
        log_writer=log_writer,
        telemetry=telemetry,
        workers=workers,
        mail_workers=mail_workers,
        journal=journal,
        delivery=delivery,
        transcription=transcription,
        recovery=recovery,
        listener=Listener(config.listen, config.switch.allowed, config.switch.max_calls, desk, telemetry),
        readiness=readiness,
        pulse=Pulse(telemetry),
        probing=Probing(config, watch.path, mailboxes, telemetry),
        http=http,
        mailboxes=mailboxes,
        greeting_seconds=greeting_seconds,
    )


class App:
    """The service: everything `serve` runs. `watch` reads the configuration as it is on disk now."""

    def __init__(self, config: Config, watch: Watch) -> None:
        self._config = config
        self._watch = watch
        self._supervision = Supervision(os.environ)
        self._signalled = Event()
        self._stopping = False
        self._failed = ""

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT, or until a part dies; return the exit code.

        ConfigError, StorageBusyError and CannotBindError when it cannot start: nothing was started then.
        """
        if found := checks.problems(self._config, serving=True):
            raise ConfigError(found)
        # Recordings and the journal are callers' words: for this user and the group shared with the switch.
        os.umask(0o027)
        checks.prepare(self._config)
        with locked(self._config.directory):
            try:
                spool_of(self._config).take()
            except (RecordingError, OSError) as error:
                raise ConfigError([f"{self._config.at('storage', 'recordings')}: {error}"]) from error
            raise_descriptor_limit(self._config.switch.max_calls)
            return self._serve(build(self._config, self._watch))

    def _serve(self, parts: Parts) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._stop)
        gevent.signal_handler(signal.SIGHUP, self._signalled.set)
        gevent.signal_handler(signal.SIGUSR1, parts.log.louder)
        gevent.signal_handler(signal.SIGUSR2, parts.log.quieter)
        for problem in checks.template_problems(self._config):
            parts.telemetry.trouble("template_failed", problem)
        parts.readiness.starting("what the last process left is set right")
        parts.delivery.start()
        parts.recovery.start()
        parts.readiness.look()
        # A port that is not listened on yet refuses a call, which its dialplan takes better than silence.
        parts.listener.listen()
        running = [
            self._guarded("delivery", parts.delivery.run),
            self._guarded("recovery", parts.recovery.run),
            self._guarded("readiness", parts.readiness.run),
            self._guarded("pulse", parts.pulse.run),
            self._guarded("listener", parts.listener.serve),
            self._guarded("probing", parts.probing.run),
            self._guarded("log", parts.log.run),
            self._guarded("supervision", self._supervision.run),
            self._guarded("watch", lambda: self._watch.run(parts.workers, self._signalled.set)),
        ]
        # What the start made stays: to look through it for garbage holds the loop for 0.1 s each time.
        gc.collect()
        gc.freeze()
        listen, http = parts.listener.address, parts.http.address
        with announced(self._config.directory, listen, http):
            parts.telemetry.service("serving", listen=str(listen), http=str(http), pid=os.getpid())
            self._supervision.ready()
            self._attend(parts)
            self._drain(parts, running)
        return 1 if self._failed else 0

    def _attend(self, parts: Parts) -> None:
        """Reload at SIGHUP or when files changed; return to stop, whatever a reload may be waiting for."""
        reload: gevent.Greenlet[..., None] | None = None
        while True:
            self._signalled.wait()
            self._signalled.clear()
            if self._stopping:
                return
            if reload is None or reload.ready():
                reload = gevent.spawn(self._reload, parts)
            else:
                # What changed since it began to read is for another one.
                reload.link(lambda _: self._signalled.set())

    def _reload(self, parts: Parts) -> None:
        self._supervision.reloading()
        try:
            self._take_again(parts)
        finally:
            self._supervision.ready()

    def _take_again(self, parts: Parts) -> None:
        """Take the mailboxes of the new configuration, all of them or, where anything is wrong, none."""
        try:
            # Hundreds of mailboxes take seconds to check, which no call should wait for.
            config, greeting_seconds = parts.workers.run(self._read_again)
        except VoicemailError as error:
            for problem in error.problems if isinstance(error, ConfigError) else [str(error)]:
                parts.telemetry.trouble("reload_refused", problem)
            parts.telemetry.reloaded("refused")
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost the calls in progress
            parts.telemetry.crashed("reload_refused", error)
            parts.telemetry.reloaded("refused")
            return
        came = config.mailboxes.keys() - parts.mailboxes.keys()
        gone = parts.mailboxes.keys() - config.mailboxes.keys()
        later = [name for name in _FIXED if getattr(config, name) != getattr(self._config, name)]
        parts.telemetry.know_mailboxes(config.mailboxes)
        parts.greeting_seconds.update(greeting_seconds)
        # All parts look into this one mapping, threads at any moment: it is never without a mailbox.
        parts.mailboxes.update(config.mailboxes)
        for key in gone:
            del parts.mailboxes[key]
        parts.telemetry.forget_mailboxes(gone)
        parts.probing.expect()
        parts.telemetry.reloaded(
            "taken",
            came=", ".join(sorted(came)) or None,
            gone=", ".join(sorted(gone)) or None,
            needs_restart=", ".join(later) or None,
        )

    def _read_again(self) -> tuple[Config, dict[str, float]]:
        config = self._watch.read()
        if not _names_mailboxes(config) and _names_mailboxes(self._config):
            # An editor that empties a file before it writes it would cost all mailboxes their calls.
            raise ConfigError([f"{config.source.at(())}: names no mailboxes; everything stays as it was"])
        found = [*checks.problems(config, serving=True), *checks.template_problems(config)]
        if found:
            raise ConfigError(found)
        return config, checks.greeting_seconds(config)

    def _drain(self, parts: Parts, running: "list[gevent.Greenlet[..., None]]") -> None:
        seconds = self._config.switch.drain_seconds
        self._supervision.leaving(seconds + _MAIL_DRAIN_SECONDS + _PARTS_SECONDS + _LAST_STEPS_SECONDS)
        parts.telemetry.service("draining", calls=parts.listener.calls, seconds=seconds)
        parts.readiness.leave()
        parts.probing.stop()
        left = parts.listener.stop(seconds)
        parts.recovery.stop()
        parts.transcription.stop()
        finished = parts.delivery.stop(_MAIL_DRAIN_SECONDS)
        parts.http.stop()
        parts.readiness.stop()
        parts.pulse.stop()
        self._watch.stop()
        parts.log.stop()
        self._supervision.stop()
        gevent.joinall(running, timeout=_PARTS_SECONDS)
        parts.journal.close()
        parts.workers.close()
        parts.mail_workers.close()
        parts.telemetry.service("stopped", calls_left=left, mails_finished=finished)
        if self._failed:
            parts.telemetry.trouble("part_died", self._failed)
        parts.log_writer.close()

    def _stop(self) -> None:
        self._stopping = True
        self._signalled.set()

    def _guarded(self, name: str, run: Callable[[], None]) -> "gevent.Greenlet[..., None]":
        """Run a part in its own greenlet; if it dies, the service stops with a failure."""

        def ended(greenlet: "gevent.Greenlet[..., None]") -> None:
            if not self._stopping:
                self._failed = f"{name}: {greenlet.exception or 'ended by itself'}"
                self._stop()

        greenlet = gevent.spawn(run)
        greenlet.link(ended)
        return greenlet


def _names_mailboxes(config: Config) -> bool:
    return any(config.origin(key) != BUILT_IN for key in config.mailboxes)

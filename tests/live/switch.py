"""A real FreeSWITCH of the tests' own: its configuration, its start and end, its console and its events.

Everything is bound to 127.0.0.1 and written below the folder it is given. It needs an installed switch with
`bin/freeswitch` and its modules, and nothing of that switch's own configuration.
"""

import random
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

from tests.live.console import HOST, PASSWORD, Console, Event
from tests.support.service import until

# The header by which a call is found again on the other switch.
MARK = "X-Live-Call"
RTP_PORTS = 400
EVENTS = (
    "CHANNEL_CREATE CHANNEL_ANSWER CHANNEL_EXECUTE CHANNEL_HANGUP CHANNEL_HANGUP_COMPLETE "
    "RECORD_START RECORD_STOP PLAYBACK_START PLAYBACK_STOP"
)
MODULES = (
    "mod_logfile mod_event_socket mod_commands mod_dptools mod_dialplan_xml mod_sndfile mod_tone_stream "
    "mod_sofia"
)
FOLDERS = "conf log run db storage temp recordings cache certs scripts htdocs grammar sounds".split()  # noqa: SIM905
SILENCE = "silence_stream://-1"
# The caller's own choice counts; mod_opus is loaded where the switch was built with it.
CODECS = "PCMA,PCMU,L16@16000h,OPUS"

Action = tuple[str, str]


@dataclass(frozen=True)
class More:
    """What a switch has beyond the least: XML put into its configuration as it is."""

    before: str = ""
    modules: str = ""
    configurations: str = ""
    profile: str = ""
    gateways: str = ""
    contexts: str = ""
    sections: str = ""


NOTHING_MORE = More()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM, width: int = 1) -> int:
    """Return an even port with `width` free ones from it on, below those the kernel gives away by itself."""
    while True:
        first = random.randrange(10_000, 32_000 - width, 2)
        with suppress(OSError):
            for port in range(first, first + width):
                with socket.socket(socket.AF_INET, kind) as tried:
                    tried.bind((HOST, port))
            return first


def extension(expression: str, *actions: Action) -> str:
    """Return a dialplan extension for destination numbers that match."""
    steps = "".join(
        f"<action application={quoteattr(name)} data={quoteattr(argument)}/>" for name, argument in actions
    )
    return (
        f'<extension name={quoteattr(expression)}><condition field="destination_number" '
        f"expression={quoteattr(expression)}>{steps}</condition></extension>"
    )


def configuration(
    sip_port: int, console_port: int, rtp_port: int, dialplan: str, more: More = NOTHING_MORE
) -> str:
    """Return a whole `freeswitch.xml`: one SIP profile, one context, no directory, no gateways; and more."""

    def params(**values: object) -> str:
        return "".join(
            f'<param name="{name.replace("_", "-")}" value={quoteattr(str(value))}/>'
            for name, value in values.items()
        )

    modules = "".join(f'<load module="{name}"/>' for name in [*MODULES.split(), "mod_opus"])
    levels = "info,notice,warning,err,crit,alert"
    profile = params(
        sip_ip=HOST,
        sip_port=sip_port,
        rtp_ip=HOST,
        bind_params="transport=udp",
        context="public",
        dialplan="XML",
        auth_calls="false",
        manage_presence="false",
        inbound_codec_prefs=CODECS,
        outbound_codec_prefs="PCMA",
        rfc2833_pt=101,
        dtmf_type="rfc2833",
        rtp_timer_name="soft",
        disable_srv="true",
        disable_naptr="true",
    )
    switch = params(
        loglevel="info",
        max_sessions=500,
        sessions_per_second=200,
        rtp_start_port=rtp_port,
        rtp_end_port=rtp_port + RTP_PORTS - 2,
    )
    console = params(
        listen_ip=HOST,
        listen_port=console_port,
        password=PASSWORD,
        nat_map="false",
        stop_on_bind_error="true",
    )
    return f"""<?xml version="1.0"?>
<document type="freeswitch/xml">
{more.before}
<section name="configuration">
{more.configurations}
<configuration name="switch.conf"><settings>{switch}</settings></configuration>
<configuration name="modules.conf"><modules>{modules}{more.modules}</modules></configuration>
<configuration name="event_socket.conf"><settings>{console}</settings></configuration>
<configuration name="logfile.conf"><settings/><profiles><profile name="default">
<settings><param name="uuid" value="true"/></settings>
<mappings><map name="all" value="{levels}"/></mappings></profile></profiles></configuration>
<configuration name="acl.conf"><network-lists/></configuration>
<configuration name="timezones.conf"><timezones/></configuration>
<configuration name="sofia.conf"><global_settings/><profiles><profile name="live">
<settings>{profile}{more.profile}</settings>{more.gateways}</profile></profiles></configuration>
</section>
<section name="dialplan"><context name="public">{dialplan}</context>
{more.contexts}
</section>
{more.sections}
</document>
"""


@dataclass
class Switch:
    """A running FreeSWITCH."""

    folder: Path
    process: "subprocess.Popen[bytes]"
    sip_port: int
    console_port: int
    events: list[Event] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._attach()

    @property
    def log(self) -> str:
        """All it has written into its log file."""
        return (self.folder / "log" / "freeswitch.log").read_text(errors="replace")

    def api(self, command: str) -> str:
        """Run a command of the console and return its answer."""
        return self.console.ask(f"api {command}")

    def event(self, met: Callable[[Event], bool], what: str, seconds: float = 30.0) -> Event:
        """Return the first event that meets a condition, waiting for it if need be."""
        with self._changed:
            found: list[Event] = []
            seen = 0

            def come() -> bool:
                nonlocal seen
                found.extend(event for event in self.events[seen:] if met(event))
                seen = len(self.events)
                return bool(found)

            assert self._changed.wait_for(come, seconds), f"not within {seconds:g} s: {what}"
            return found[0]

    def channel_of(self, mark: str, seconds: float = 30.0) -> "Leg":
        """Return the leg on which a marked call came in."""

        def ours(event: Event) -> bool:
            incoming = event.name == "CHANNEL_CREATE" and event.get("Call-Direction") == "inbound"
            return incoming and event.get(f"variable_sip_h_{MARK}") == mark

        return Leg(self, self.event(ours, f"the call {mark} comes in", seconds).channel)

    def channels(self) -> int:
        """Return how many channels there are; none once it has ended."""
        if self.process.poll() is not None:
            return 0
        return int(self.api("show channels count").split()[0])

    def originate(
        self, to: "Switch", destination: str, *, application: str = f"playback({SILENCE})", **variables: str
    ) -> "Leg":
        """Call an extension of another switch; the new leg has not been answered yet."""
        leg = Leg(self, str(uuid.uuid4()))
        given = {
            "origination_uuid": leg.uuid,
            "originate_timeout": "30",
            "ignore_early_media": "true",
            f"sip_h_{MARK}": leg.uuid,
            **variables,
        }
        listed = ",".join(f"{name}='{value}'" for name, value in given.items())
        whom = f"sofia/live/{destination}@{HOST}:{to.sip_port}"
        self.console.ask(f"bgapi originate {{{listed}}}{whom} &{application}")
        leg.event("CHANNEL_CREATE")
        return leg

    def kill(self) -> float:
        """End it at once, as a power cut would; return when."""
        at = time.time()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        return at

    def exit(self) -> float:
        """Let it leave at once and look after nothing (`shutdown now`); return when."""
        at = time.time()
        with suppress(OSError):  # it goes before it answers
            self.api("fsctl shutdown now")
        self.process.wait(20)
        return at

    def freeze(self) -> float:
        """Let it do nothing more, as a machine that hangs; return when."""
        at = time.time()
        self.process.send_signal(signal.SIGSTOP)
        return at

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Let it end all calls and start again by itself: the same process, the same ports."""
        self.api("fsctl shutdown restart")
        self._listener.join(60)
        self._detach()
        self._attach()

    def stop(self) -> None:
        """End it in order."""
        if self.process.poll() is None:
            self.thaw()
            try:
                self.exit()
            except subprocess.TimeoutExpired:
                self.kill()
        self._detach()

    def _attach(self) -> None:
        """Wait until it answers and takes calls, then hear its events."""

        def console() -> Console | None:
            if self.process.poll() is not None:
                said = (self.folder / "output").read_text(errors="replace")
                raise AssertionError(f"the switch ended: {said[-2000:]}")
            with suppress(OSError):
                return Console(self.console_port)
            return None

        self.console = until(console, "the switch answers on its console", 60)
        until(lambda: "RUNNING" in self.api("sofia status"), "the switch takes calls", 60)
        self.listening = Console(self.console_port)
        self.listening.ask(f"event plain {EVENTS}")
        self._listener = threading.Thread(target=self.listening.listen, args=(self._take,), daemon=True)
        self._listener.start()

    def _detach(self) -> None:
        self.listening.end()
        self._listener.join(10)
        self.listening.close()
        self.console.close()

    def _take(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()


@dataclass(frozen=True)
class Leg:
    """One channel of a switch."""

    switch: Switch
    uuid: str

    def event(self, name: str, met: Callable[[Event], bool] = lambda _: True, seconds: float = 30.0) -> Event:
        """Return this channel's first event of a name that meets a condition, waiting for it if need be."""
        return self.switch.event(
            lambda event: event.name == name and event.channel == self.uuid and met(event),
            f"{name} of {self.uuid}",
            seconds,
        )

    def events(self, name: str) -> list[Event]:
        """Return what has come of a name so far."""
        return [event for event in self.switch.events if (event.name, event.channel) == (name, self.uuid)]

    def speak(self, sound: Path, seconds: float = 30.0) -> None:
        """Play a sound file into the line and wait until it is played."""
        self.start_speaking(sound)
        self.event("PLAYBACK_STOP", lambda event: event.get("Playback-File-Path") == str(sound), seconds)

    def start_speaking(self, sound: Path) -> float:
        """Play a sound file into the line; return when its first sample was played."""
        assert self.switch.api(f"uuid_broadcast {self.uuid} {sound} aleg").startswith("+OK")

        def begins(event: Event) -> bool:
            return event.get("Playback-File-Path") == str(sound)

        return self.event("PLAYBACK_START", begins).at

    def press(self, digit: str) -> None:
        """Press a key, as RFC 2833 sends it."""
        assert self.switch.api(f"uuid_send_dtmf {self.uuid} {digit}").startswith("+OK")

    def hang_up(self) -> None:
        """Hang up."""
        assert self.switch.api(f"uuid_kill {self.uuid}").startswith("+OK")

    def ended(self, seconds: float = 30.0) -> Event:
        """Wait until the channel is down; return how it ended."""
        return self.event("CHANNEL_HANGUP_COMPLETE", seconds=seconds)


def start(prefix: Path, folder: Path, dialplan: str = "", more: More = NOTHING_MORE) -> Switch:
    """Start a switch in a folder and wait until its SIP profile is up."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    sip_port, console_port = free_port(socket.SOCK_DGRAM), free_port()
    rtp_port = free_port(socket.SOCK_DGRAM, RTP_PORTS)
    text = configuration(sip_port, console_port, rtp_port, dialplan, more)
    (folder / "conf" / "freeswitch.xml").write_text(text)
    modules = next(path for path in (prefix / "mod", prefix / "lib/freeswitch/mod") if path.is_dir())
    places = [word for name in FOLDERS for word in (f"-{name}", str(folder / name))]
    with (folder / "output").open("ab") as output:
        process = subprocess.Popen(
            [prefix / "bin" / "freeswitch", "-nf", "-nc", "-np", "-nonat", *places, "-mod", modules],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    try:
        return Switch(folder, process, sip_port, console_port)
    except BaseException:
        process.kill()
        process.wait()
        raise


@contextmanager
def running(prefix: Path, folder: Path, dialplan: str = "", more: More = NOTHING_MORE) -> Iterator[Switch]:
    """Run a switch for the length of a block."""
    switch = start(prefix, folder, dialplan, more)
    try:
        yield switch
    finally:
        switch.stop()

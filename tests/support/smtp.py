"""An SMTP server process and the hand that scripts it; the server itself is `tests.support.smtp_process`."""

import base64
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import trustme

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Accepted:
    """A mail the server took for one recipient: its envelope, and its bytes before dot-stuffing."""

    sender: str
    recipient: str
    content: bytes


class ScriptedSmtp:
    """A running server, friendly but for what it is ordered at a step.

    The steps are CONNECT, TLS, EHLO, HELO, STARTTLS, AUTH, MAIL, RCPT, DATA, NOBODY (DATA for no recipient),
    CONTENT, FINAL (after the dot) and QUIT. Of the orders for a step the oldest one that is not used up
    counts.
    """

    host = "127.0.0.1"

    def __init__(
        self, process: "subprocess.Popen[str]", ca_file: Path | None, signer_file: Path | None
    ) -> None:
        self.ca_file = ca_file
        self.signer_file = signer_file
        self._process = process
        self._one_at_a_time = threading.Lock()
        self._accepted: list[Accepted] = []
        self.port: int = self._read()["port"]

    # --- what it shall do --------------------------------------------------------------------------

    def say(
        self,
        step: str,
        reply: str | bytes,
        *,
        times: int | None = None,
        recipient: str | None = None,
        then_drop: bool = False,
        accept: bool = False,
    ) -> None:
        """Reply so at a step; `recipient` narrows RCPT, `accept` has a mail taken before the connection ends.

        CR LF is added at the end.
        """
        raw = reply.encode() if isinstance(reply, str) else reply
        self._order(
            step,
            "say_and_drop" if then_drop else "say",
            reply=raw.decode("latin-1"),
            times=times,
            recipient=recipient,
            accept=accept,
        )

    def say_late(self, step: str, reply: str) -> None:
        """Reply as usual at a step, once, and say this unasked a little later."""
        self._order(step, "say_late", reply=reply, times=1)

    def drop(self, step: str, *, times: int | None = None, accept: bool = False) -> None:
        """Close the connection instead of replying; `accept` has a mail taken all the same (FINAL)."""
        self._order(step, "drop", times=times, accept=accept)

    def reset(self, step: str, *, times: int | None = None) -> None:
        """Reset the connection (RST) instead of replying."""
        self._order(step, "reset", times=times)

    def silence(self, step: str, *, times: int | None = None, accept: bool = False) -> None:
        """Keep the connection and never answer."""
        self._order(step, "silence", times=times, accept=accept)

    def hold(self, step: str, *, times: int | None = None) -> None:
        """Wait for `release` before the usual reply."""
        self._order(step, "hold", times=times)

    def release(self) -> None:
        """Let go of what is held, and hold nothing any more."""
        self._ask(do="release")

    def stop_reading(self, *, times: int | None = None) -> None:
        """Read nothing more after DATA was answered."""
        self._order("CONTENT", "stop_reading", times=times)

    def pour(self, step: str, piece: str) -> None:
        """Say a piece for ever instead of replying, as fast as it is taken; nothing is added to it."""
        self._order(step, "pour", reply=piece * 100)

    def dribble(self, step: str, piece: str) -> None:
        """Say a piece for ever instead of replying, again and again after a little while."""
        self._order(step, "dribble", reply=piece)

    def refuse_content(self, reply: str) -> None:
        """Reply so when the first of the mail has come, read no further and close the connection."""
        self._order("CONTENT", "refuse_content", reply=reply)

    def change(self, **settings: Any) -> None:
        """Advertise otherwise from now on: `size`, `starttls_offered`, `mechanisms`, `pipelining`."""
        self._ask(do="change", **settings)

    def forget(self) -> None:
        """Start afresh: no orders, nothing held, nothing recorded."""
        self._ask(do="forget")
        self._accepted = []

    # --- what it saw -------------------------------------------------------------------------------

    @property
    def accepted(self) -> list[Accepted]:
        """Every mail taken so far, a recipient each, in order."""
        # Only what is new is fetched: mails may be large, and tests ask again and again.
        with self._one_at_a_time:
            new = self._exchange({"do": "accepted", "after": len(self._accepted)})["accepted"]
            self._accepted += [
                Accepted(one["sender"], one["recipient"], base64.b64decode(one["content"])) for one in new
            ]
            return list(self._accepted)

    @property
    def connections(self) -> int:
        """How many connections there were."""
        return int(self._ask(do="seen")["connections"])

    @property
    def most_at_once(self) -> int:
        """How many connections were open together at most."""
        return int(self._ask(do="seen")["most_at_once"])

    @property
    def most_together(self) -> int:
        """How many commands came in one piece at most."""
        return int(self._ask(do="seen")["most_together"])

    @property
    def held(self) -> int:
        """How many connections wait for `release` now."""
        return int(self._ask(do="seen")["held"])

    @property
    def transcript(self) -> list[str]:
        """What was said, a line each, beginning with `C: ` or `S: `."""
        return list(self._ask(do="seen")["transcript"])

    def commands(self, verb: str) -> list[str]:
        """Return the client's lines that begin with a verb."""
        return [line[3:] for line in self.transcript if line.upper().startswith(f"C: {verb}")]

    # --- between the processes ---------------------------------------------------------------------

    def _order(self, step: str, action: str, **order: Any) -> None:
        self._ask(do="order", step=step, action=action, **{"reply": "", **order})

    def _ask(self, **order: Any) -> dict[str, Any]:
        with self._one_at_a_time:
            return self._exchange(order)

    def _exchange(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"the SMTP server ended with {self._process.poll()}"
        answer: dict[str, Any] = json.loads(line)
        return answer


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@contextmanager
def scripted_smtp(
    *,
    security: str = "none",
    user: str | None = None,
    password: str | None = None,
    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN"),
    starttls_offered: bool = True,
    size: int | None = None,
    name: str = "127.0.0.1",
    trusted: bool = True,
    port: int = 0,
) -> Iterator[ScriptedSmtp]:
    """Run a server for a block: `security` is none, starttls or tls, as in the configuration.

    Its certificate names `name`, signed by the authority in `ca_file` unless not `trusted`;
    the one that did sign it is in `signer_file`.
    """
    with tempfile.TemporaryDirectory() as folder:
        certificate = ca_file = signer_file = None
        if security != "none":
            signer = _authority() if trusted else trustme.CA()
            certificate = Path(folder) / "server.pem"
            signer.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(certificate)
            signer_file = Path(folder) / "signer.pem"
            signer.cert_pem.write_to_path(signer_file)
            ca_file = Path(folder) / "ca.pem"
            _authority().cert_pem.write_to_path(ca_file)
        setup = {
            "security": security,
            "user": user,
            "password": password,
            "mechanisms": mechanisms,
            "starttls_offered": starttls_offered,
            "size": size,
            "port": port,
            "certificate": str(certificate) if certificate else None,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.smtp_process", json.dumps(setup)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield ScriptedSmtp(process, ca_file, signer_file)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe
                pipe.close()

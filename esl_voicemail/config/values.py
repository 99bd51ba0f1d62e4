"""Scalars of the configuration: from text to a checked value. A ValueError says what to write instead."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, StrictStr

from esl_voicemail.hours import ClosedDays, parse_closed, parse_week, public_holidays
from esl_voicemail.model import MAILBOX_NAME, MISREAD, one_line

# A mail server of one's own serves names such as .local and localhost; whether they exist is its to say.
SPECIAL_USE_DOMAIN_NAMES.clear()

Network = IPv4Network | IPv6Network

_NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]+)>")
# `record` splits its argument on spaces and reads quotes, backslashes, $ and a leading {; see the
# application's description in FreeSWITCH's mod_dptools.
# `transfer` takes an extension, a dialplan and a context, and reads -bleg and -both before them.
_OPERATOR = re.compile(
    r"[0-9A-Za-z_.*#+][0-9A-Za-z_.*#+-]{0,39}( XML [0-9A-Za-z_.*#+][0-9A-Za-z_.*#+-]{0,39})?"
)
NO_HOLIDAYS = "none"
_UNSAFE_IN_PATH = re.compile(rf"[{re.escape(MISREAD)}\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port to listen on or to reach."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A mail address with an optional display name; `address` is ASCII (IDNA)."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address

    @property
    def domain(self) -> str:
        """The part after the @."""
        return self.address.rpartition("@")[2]


class NotTextError(ValueError):
    """A value that must be text is something else to YAML; `load` words it as it was written."""


class NotAddressError(NotTextError):
    """The same, where host:port must stand."""


def address_of(text: str) -> Address:
    """Read `host:port`; a ValueError says what to write."""
    return _address(text)


def text_of(value: Any) -> str:
    """Return a value that is text; NotTextError for what YAML takes for something else."""
    if isinstance(value, str):
        return value
    raise NotTextError("must be text")


def _address(value: Any) -> Address:
    if not isinstance(value, str):
        raise NotAddressError("must be text")
    text = value
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: put an IPv6 address in brackets, as in [::1]:8084")
    if not colon or not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"{text!r} is no address: write host:port, as in 127.0.0.1:8084")
    return Address(host, int(port))


def mail_address(value: Any) -> MailAddress:
    """Read `name <local@domain>` or `local@domain`; the domain may be international (RFC 5890)."""
    text = text_of(value).strip()
    named = _NAMED.fullmatch(text)
    name = one_line(named["name"].strip().strip('"'), 100) if named else ""
    bare = named["address"].strip() if named else text
    try:
        valid = validate_email(
            bare, check_deliverability=False, allow_smtputf8=False, globally_deliverable=False
        )
    except EmailNotValidError as error:
        raise ValueError(f"{text!r} is no mail address: {error}") from error
    return MailAddress(name, str(valid.ascii_email))


def _network(value: Any) -> Network:
    text = text_of(value)
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no network: write it as 10.0.0.0/8, or as ::1/128 in quotes") from None


def _timezone(value: Any) -> ZoneInfo:
    text = text_of(value)
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{text!r} is no time zone: write a name such as Europe/Warsaw") from None


def _region(value: Any) -> str:
    text = text_of(value).upper()
    if text not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f"{text!r} is no region of telephone numbers: write two letters such as PL")
    return text


def _country(value: Any) -> str:
    text = text_of(value).upper()
    if text == NO_HOLIDAYS.upper():
        return ""
    try:
        public_holidays(text, 2026)
    except (NotImplementedError, TypeError):  # it looks any name up, `MON` and `PUBLIC` too
        raise ValueError(
            f"{text!r}: no public holidays are known for it; write a country such as PL"
        ) from None
    return text


def _days(value: str) -> str:
    parse_week({value: ""})
    return value


def _spans(value: Any) -> str:
    text = text_of(value)
    parse_week({"mon": text})
    return text


def _closed(value: Any) -> ClosedDays:
    if isinstance(value, date) and not isinstance(value, datetime):  # as YAML reads 2026-12-24
        return ClosedDays(value, value)
    return parse_closed(text_of(value))


def _operator(value: Any) -> str:
    text = text_of(value)
    if not _OPERATOR.fullmatch(text):
        raise ValueError(f'{text!r} is no extension: write one as in "1000", or "1000 XML default"')
    return text


def _host(value: Any) -> str:
    text = text_of(value)
    if not re.fullmatch(r"[\w.-]+|[0-9A-Fa-f:.]+:[0-9A-Fa-f:.]*", text):
        raise ValueError(f"{text!r} is no host: write a name such as smtp.example.com, and the port apart")
    return text


def _number(value: Any) -> str:
    text = text_of(value)
    if not re.fullmatch(r"\+?[0-9A-Za-z_.*#-]{1,40}", text):
        raise ValueError(f"{text!r} is no dialled number")
    return text


def _path(value: Any) -> str:
    text = text_of(value)
    if not text or _UNSAFE_IN_PATH.search(text):
        raise ValueError(
            "must be a path without quotes, $, {, }, !, \\ or control characters: the switch reads those"
        )
    return text


def mailbox_name(value: str) -> str:
    """Check a mailbox's key: lower-case letters, digits, _ and -, at most 32."""
    if not MAILBOX_NAME.fullmatch(value):
        raise ValueError(
            "a mailbox's key holds a-z, 0-9, _ and - only, at most 32, and starts with a letter or digit"
        )
    return value


AddressText = Annotated[Address, BeforeValidator(_address)]
MailAddressText = Annotated[MailAddress, BeforeValidator(mail_address)]
NetworkText = Annotated[Network, BeforeValidator(_network)]
Timezone = Annotated[ZoneInfo, BeforeValidator(_timezone)]
Region = Annotated[str, BeforeValidator(_region)]
Country = Annotated[str, BeforeValidator(_country)]
Hours = dict[Annotated[str, AfterValidator(_days)], Annotated[str, BeforeValidator(_spans)]]
Closed = Annotated[ClosedDays, BeforeValidator(_closed)]
Operator = Annotated[str, BeforeValidator(_operator)]
Host = Annotated[str, BeforeValidator(_host)]
Number = Annotated[str, BeforeValidator(_number)]
PathText = Annotated[str, BeforeValidator(_path)]
Line = Annotated[StrictStr, AfterValidator(lambda text: one_line(text, 100))]
MailboxKey = Annotated[str, AfterValidator(mailbox_name)]

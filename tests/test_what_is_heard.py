"""Which greeting a call hears, by its reason and the day, and which sentence promises a call back."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail import checks
from esl_voicemail.config import Config, Mailbox, load
from esl_voicemail.config.load import shipped_sounds
from esl_voicemail.config.sections import GreetingKey, PromiseKey
from esl_voicemail.errors import ConfigError
from esl_voicemail.model import Reason
from esl_voicemail.promise import Promise
from tests.support.post import sound

ROOT = Path(__file__).parent.parent
SHIPPED = ("default", "after-hours", "holiday", "queue-timeout", "busy")
PROMISES = ("promise-today", "promise-next-working-day", "promise-mon", "promise-thu")

# Wednesday afternoon, the eve of a closed Thursday; and a public holiday. Noon and evening in Warsaw.
NOON, EVENING = datetime(2026, 11, 25, 11, tzinfo=UTC), datetime(2026, 11, 25, 19, tzinfo=UTC)
CLOSED_DAY, HOLIDAY = datetime(2026, 11, 26, 11, tzinfo=UTC), datetime(2026, 11, 11, 11, tzinfo=UTC)
# 23:30 UTC on the eve is the closed day already, where the office is.
AFTER_MIDNIGHT = datetime(2026, 11, 25, 23, 30, tzinfo=UTC)


def mailbox(folder: Path, shipped: tuple[str, ...] = (*SHIPPED, *PROMISES), **settings: object) -> Mailbox:
    """A mailbox with hours, and with these shipped sounds in both languages."""
    one = {
        "recipients": ["a@example.com"],
        "hours": {"mon-fri": "08:00-16:00"},
        "holidays": "PL",
        "closed": ["2026-11-26"],
        "timezone": "Europe/Warsaw",
        **settings,
    }
    path = folder / "voicemail.yaml"
    path.write_text(yaml.safe_dump({"mailboxes": {"sales": one}}))
    sounds = MappingProxyType(
        {
            language: MappingProxyType({name: Path(f"/shipped/{language}/{name}.wav") for name in shipped})
            for language in ("pl", "en")
        }
    )
    return replace(load(path).mailboxes["sales"], shipped=sounds)


@pytest.mark.parametrize(
    ("own", "reason", "at", "heard"),
    [
        # own: holiday, then the reason, then the default
        ("default holiday after-hours", "after-hours", HOLIDAY, "holiday"),
        ("default holiday after-hours", "after-hours", CLOSED_DAY, "holiday"),
        ("default holiday after-hours", "after-hours", AFTER_MIDNIGHT, "holiday"),
        ("default holiday after-hours", "after-hours", EVENING, "after-hours"),
        ("default holiday after-hours", "after-hours", NOON, "after-hours"),
        ("default after-hours", "after-hours", HOLIDAY, "after-hours"),
        ("default holiday", "after-hours", HOLIDAY, "holiday"),
        ("default holiday", "after-hours", EVENING, "default"),
        ("default", "after-hours", HOLIDAY, "default"),
        ("default busy", "busy", NOON, "busy"),
        ("default busy holiday", "busy", HOLIDAY, "busy"),
        ("default busy", "no-answer", NOON, "default"),
        ("default", "queue-timeout", NOON, "default"),
        ("direct", "direct", NOON, "direct"),
        # shipped, where the mailbox has neither the reason's nor a default
        ("", "after-hours", HOLIDAY, "pl/holiday"),
        ("", "after-hours", CLOSED_DAY, "pl/holiday"),
        ("", "after-hours", EVENING, "pl/after-hours"),
        ("", "queue-timeout", HOLIDAY, "pl/queue-timeout"),
        ("", "busy", NOON, "pl/busy"),
        ("", "no-answer", NOON, "pl/default"),
        ("", "unavailable", NOON, "pl/default"),
        ("", "direct", NOON, "pl/default"),
        ("holiday", "after-hours", EVENING, "pl/after-hours"),
        ("holiday", "busy", HOLIDAY, "pl/busy"),
        ("after-hours", "after-hours", HOLIDAY, "after-hours"),
    ],
)
def test_a_call_hears_the_greeting_closest_to_its_reason(
    tmp_path: Path, own: str, reason: str, at: datetime, heard: str
) -> None:
    sales = mailbox(tmp_path, greetings={name: f"/own/{name}.wav" for name in own.split()})
    expected = Path(f"/shipped/{heard}.wav" if "/" in heard else f"/own/{heard}.wav")
    assert sales.greeting(Reason(reason), at) == expected
    assert sales.greeting(Reason(reason), at, "pl") == expected
    # A greeting of the mailbox's own has one language; the shipped ones have the call's.
    assert sales.greeting(Reason(reason), at, "en") == Path(str(expected).replace("/pl/", "/en/"))


@pytest.mark.parametrize(
    ("shipped", "at", "heard"),
    [
        (SHIPPED, HOLIDAY, "holiday"),
        (("default", "after-hours"), HOLIDAY, "after-hours"),
        (("default", "holiday"), EVENING, "default"),
        (("default",), HOLIDAY, "default"),
        ((), HOLIDAY, "default"),
    ],
)
def test_a_shipped_greeting_that_is_not_there_is_passed_over(
    tmp_path: Path, shipped: tuple[str, ...], at: datetime, heard: str
) -> None:
    assert mailbox(tmp_path, shipped).greeting(Reason.AFTER_HOURS, at).stem == heard


def test_without_a_moment_no_day_is_a_holiday(tmp_path: Path) -> None:
    assert mailbox(tmp_path).greeting(Reason.AFTER_HOURS).stem == "after-hours"


@given(own=st.sets(st.sampled_from(GreetingKey.__args__)), reason=st.sampled_from(Reason), at=st.datetimes(
    datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)  # noqa: DTZ001
), language=st.sampled_from(["", "pl", "en"]))  # fmt: skip
def test_whatever_is_missing_every_call_hears_something(
    tmp_path_factory: pytest.TempPathFactory, own: set[str], reason: Reason, at: datetime, language: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "heard"
    folder.mkdir(exist_ok=True)
    (folder / "voicemail.yaml").write_text(
        yaml.safe_dump(
            {"mailboxes": {"sales": {"recipients": ["a@b.pl"], "greetings": dict.fromkeys(own, "/x.wav")}}}
        )
    )
    heard = load(folder / "voicemail.yaml").mailboxes["sales"].greeting(reason, at, language)
    assert heard == Path("/x.wav") or heard.is_file()


def test_the_shipped_sounds_are_those_in_the_folder() -> None:
    for language, sounds in shipped_sounds().items():
        assert sorted(sounds.values()) == sorted((ROOT / "greetings" / language).glob("*.wav"))
        assert all(name == path.stem for name, path in sounds.items())


# --- by the clock ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "at", "reason"),
    [
        ({}, NOON, Reason.DIRECT),
        ({}, EVENING, Reason.AFTER_HOURS),
        ({}, HOLIDAY, Reason.AFTER_HOURS),
        ({}, CLOSED_DAY, Reason.AFTER_HOURS),
        ({"closed": [], "holidays": "none"}, CLOSED_DAY, Reason.DIRECT),
        ({"closed": [], "holidays": "none"}, HOLIDAY, Reason.DIRECT),
        ({"hours": None}, EVENING, Reason.DIRECT),
        ({"hours": None}, CLOSED_DAY, Reason.AFTER_HOURS),
        ({"hours": None}, HOLIDAY, Reason.AFTER_HOURS),
        ({"hours": None, "holidays": None}, HOLIDAY, Reason.DIRECT),
        ({"hours": {}}, NOON, Reason.AFTER_HOURS),
    ],
)
def test_a_call_without_a_reason_has_the_clocks(
    tmp_path: Path, settings: dict[str, object], at: datetime, reason: Reason
) -> None:
    assert mailbox(tmp_path, **settings).reason_by_clock(at) is reason


# --- the promise -------------------------------------------------------------------------------------

THURSDAY, FRIDAY = date(2026, 11, 26), date(2026, 11, 27)


@pytest.mark.parametrize(
    ("own", "at", "heard", "kind", "day"),
    [
        ("", NOON, "pl/promise-today", "today", date(2026, 11, 25)),
        ("today", NOON, "today", "today", date(2026, 11, 25)),
        ("next-working-day", NOON, "pl/promise-today", "today", date(2026, 11, 25)),
        ("", HOLIDAY, "pl/promise-thu", "thu", date(2026, 11, 12)),
        ("thu next-working-day", HOLIDAY, "thu", "thu", date(2026, 11, 12)),
        ("next-working-day", HOLIDAY, "next-working-day", "next-working-day", date(2026, 11, 12)),
        ("fri today", HOLIDAY, "pl/promise-thu", "thu", date(2026, 11, 12)),
        # Friday has no shipped sentence here.
        ("", EVENING, "pl/promise-next-working-day", "next-working-day", FRIDAY),
        ("fri", EVENING, "fri", "fri", FRIDAY),
    ],
)
def test_the_sentence_closest_to_the_day_is_played_and_what_it_says_is_told(
    tmp_path: Path, own: str, at: datetime, heard: str, kind: str, day: date
) -> None:
    sales = mailbox(tmp_path, promise=True, promises={name: f"/own/{name}.wav" for name in own.split()})
    expected = Path(f"/shipped/{heard}.wav" if "/" in heard else f"/own/{heard}.wav")
    assert sales.promised(at) == (expected, Promise(kind, day))
    assert sales.promised(at, "en") == (Path(str(expected).replace("/pl/", "/en/")), Promise(kind, day))


@pytest.mark.parametrize(
    ("shipped", "settings", "at"),
    [
        (PROMISES, {"promise": False}, NOON),
        (PROMISES, {"promise": True, "hours": {}}, NOON),
        (PROMISES, {"promise": True, "closed": ["01-01..12-31"]}, NOON),
        ((), {"promise": True}, NOON),
        (("promise-next-working-day", "promise-mon"), {"promise": True}, NOON),
        (("promise-today", "promise-mon"), {"promise": True}, EVENING),
    ],
)
def test_nothing_is_promised_that_cannot_be_said(
    tmp_path: Path, shipped: tuple[str, ...], settings: dict[str, object], at: datetime
) -> None:
    assert mailbox(tmp_path, shipped, **settings).promised(at) is None


# --- the sounds are looked at before they are played -------------------------------------------------


def config_with(folder: Path, more: str) -> Config:
    (folder / "voicemail.yaml").write_text(
        f"mailboxes:\n  sales:\n    recipients: [a@b.pl]\n    hours: {{mon: '8:00-9:00'}}\n{more}"
    )
    return load(folder / "voicemail.yaml")


def test_a_sentence_that_cannot_be_played_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "loud.wav").write_bytes(sound())
    config = config_with(tmp_path, "    promises:\n      today: gone.wav\n      mon: loud.wav\n")
    (problem,) = checks.problems(config)
    assert problem.startswith(
        f"{tmp_path}/voicemail.yaml:6: mailboxes.sales.promises.today: {tmp_path}/greetings/gone.wav: "
    )


def test_how_long_every_sound_before_the_tone_lasts_is_known(tmp_path: Path) -> None:
    (tmp_path / "mine.wav").write_bytes(sound(4000))
    config = config_with(tmp_path, "    greetings: {busy: mine.wav}\n    promises: {today: mine.wav}\n")
    seconds = checks.greeting_seconds(config)
    assert seconds[str(tmp_path / "mine.wav")] == 0.5
    shipped = [path for sounds in shipped_sounds().values() for path in sounds.values()]
    assert {str(path) for path in shipped} < seconds.keys()
    assert all(seconds.values())


def test_a_sound_that_goes_after_the_checks_is_told_with_its_place(tmp_path: Path) -> None:
    config = config_with(tmp_path, "    promises: {today: gone.wav}\n")
    with pytest.raises(ConfigError, match=r"voicemail.yaml:5: mailboxes.sales.promises.today: .*gone.wav"):
        checks.greeting_seconds(config)


def test_every_weekday_has_a_sentence_to_name() -> None:
    assert {kind for kind in PromiseKey.__args__ if len(kind) == 3} == {
        datetime(2026, 11, day, tzinfo=UTC).strftime("%a").lower() for day in range(1, 8)
    }

"""The dialplan XML that sends calls to one mailbox. Pure: text made of values.

Its parts are those of the files in `dialplans/`, which say more. What only an administrator can know (which
telephone rings, which queue) is filled with an example and marked CHANGE.
"""

import re
from collections.abc import Collection, Iterator
from datetime import date, time, timedelta
from xml.sax.saxutils import quoteattr

from esl_voicemail.causes import CAUSES
from esl_voicemail.config import Mailbox
from esl_voicemail.config.values import Address
from esl_voicemail.hours import Week, public_holidays
from esl_voicemail.model import Reason

# What may be asked for; the first three are what a telephone that rings in vain comes to.
REASONS = ("no-answer", "busy", "unavailable", "queue-timeout", "after-hours", "direct")
USUAL = REASONS[:3]

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}  # noqa: S104 - replaced, not bound
# Whoever closes for longer says so in another way.
_LONGEST = timedelta(days=366)
_OFFICE_HOURS = {(time(8), time(15, 59, 59)): [2, 3, 4, 5, 6]}

Lines = Iterator[str]


def dialplan(mailbox: Mailbox, listen: Address, reasons: Collection[str] = USUAL, *, today: date) -> str:
    """Return the text of a file for `dialplan/default/` of FreeSWITCH's configuration.

    Public holidays are those of the year of `today` and of the next.
    """
    asked = [reason for reason in REASONS if reason in reasons]
    lines = [*_head(mailbox, listen, asked), "<include>"]
    places = _places(mailbox, asked)
    if "after-hours" in asked:
        where = next(iter(places.values()), _place(mailbox))
        lines += _hours(mailbox, where, today)
        lines += _closed(mailbox, where, listen)
    if "ring" in places:
        lines += _ring(mailbox, places["ring"], listen, asked)
    if "queue" in places:
        lines += _queue(mailbox, places["queue"], listen)
    if "direct" in places:
        lines += _direct(mailbox, places["direct"], listen)
    return "\n".join([*lines, "</include>", ""])


def expression(numbers: Collection[str]) -> str:
    """Return the regular expression of dialled numbers, each with and without its plus."""
    bare = list(dict.fromkeys(re.escape(number.removeprefix("+")) for number in numbers))
    return rf"^\+?{bare[0]}$" if len(bare) == 1 else rf"^\+?(?:{'|'.join(bare)})$"


def _head(mailbox: Mailbox, listen: Address, asked: list[str]) -> Lines:
    yield "<!--"
    key = re.sub("-(?=-)", "- ", mailbox.key)  # two of them would end the comment
    yield f"  Calls for the mailbox {key} ({_said(mailbox.name)}): {', '.join(asked)}."
    yield ""
    yield "  Put this into dialplan/default/ of FreeSWITCH's configuration and say `reloadxml` in fs_cli."
    yield "  CHANGE marks what only you know. What each part does: the files in dialplans/."
    if listen.host in _EVERYWHERE:
        yield ""
        yield f"  The service listens on every address ({listen.host}); {_address(listen)} reaches it from"
        yield "  its own machine. For a FreeSWITCH elsewhere, write an address of the service's machine."
    yield "-->"


def _said(name: str) -> str:
    """A mailbox's name as a comment can hold it."""
    return " ".join("".join(c if c.isalnum() or c in ".,–_" else " " for c in name).split())


def _address(listen: Address) -> str:
    """Where the switch connects. It takes what follows the last colon for the port: no brackets."""
    return f"{_EVERYWHERE.get(listen.host, listen.host)}:{listen.port}"


def _place(mailbox: Mailbox) -> str:
    return expression(mailbox.numbers) if mailbox.numbers else _named(f"voicemail-{mailbox.key}")


def _named(name: str) -> str:
    return f"^{re.escape(name)}$"


def _places(mailbox: Mailbox, asked: list[str]) -> dict[str, str]:
    """Which numbers each part is for: a number can do one thing, so only the first has the mailbox's."""
    kinds = {"ring": set(USUAL), "queue": {"queue-timeout"}, "direct": {"direct"}}
    wanted = [kind for kind, reasons in kinds.items() if reasons & set(asked)]
    return {
        kind: _named(f"voicemail-{mailbox.key}-{kind}") if n else _place(mailbox)
        for n, kind in enumerate(wanted)
    }


def _hours(mailbox: Mailbox, where: str, today: date) -> Lines:
    """Say whether the office is closed, before any other part is looked at."""
    yield f'  <extension name="voicemail-{mailbox.key}-hours" continue="true">'
    yield from _number(where)
    yield _action("set", f"timezone={mailbox.timezone.key}", inline=True)
    yield _action("set", "voicemail_closed=true", inline=True)
    yield "    </condition>"
    if mailbox.week is None:
        yield "    <!-- CHANGE: the hours; the mailbox has none. -->"
    for (first, last), days in (_OFFICE_HOURS if mailbox.week is None else _pieces(mailbox.week)).items():
        when = f'wday="{",".join(map(str, days))}" time-of-day="{first:%H:%M:%S}-{last:%H:%M:%S}"'
        yield f'    <condition {when} break="never">'
        yield _action("set", "voicemail_closed=false", inline=True)
        yield "    </condition>"
    yield from _closings(mailbox, today)
    yield "  </extension>"


def _closings(mailbox: Mailbox, today: date) -> Lines:
    """Say on which days the office is closed, which overrules the hours; what is past is left out."""
    if not mailbox.holidays and not mailbox.closed:
        return
    if any(span.end <= span.start and span.end > time() for spans in mailbox.week or () for span in spans):
        yield "    <!-- CHANGE: hours past midnight: this closes at midnight before such a day. -->"
    if mailbox.holidays:
        years = (today.year, today.year + 1)
        yield f"    <!-- The public holidays of {mailbox.holidays}. CHANGE: add those after {years[-1]}. -->"
        yield from _closing({day for year in years for day in public_holidays(mailbox.holidays, year)})
    for days in mailbox.closed:
        if not days.yearly and days.last < today:
            continue
        if days.last - days.first > _LONGEST:
            yield f"    <!-- CHANGE: add the closed days {days}. -->"
        else:
            yield f"    <!-- Closed {days}. -->"
            yield from _closing(days.dates(), yearly=days.yearly)


def _closing(dates: Collection[date], *, yearly: bool = False) -> Lines:
    months: dict[tuple[int, int], list[int]] = {}
    for day in sorted(dates):
        months.setdefault((day.year, day.month), []).append(day.day)
    for (year, month), days in months.items():
        when = "" if yearly else f'year="{year}" '
        yield f'    <condition {when}mon="{month}" mday="{_runs(days)}" break="never">'
        yield _action("set", "voicemail_closed=true", inline=True)
        yield "    </condition>"


def _runs(days: list[int]) -> str:
    """Write ascending numbers as FreeSWITCH reads them: `1,3,24-26`."""
    runs: list[list[int]] = []
    for day in days:
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _pieces(week: Week) -> dict[tuple[time, time], list[int]]:
    """The hours as FreeSWITCH compares them: days from Sunday, 1, on; the last second belongs to a span."""
    found: dict[tuple[time, time], set[int]] = {}
    for day, spans in enumerate(week):
        for span in spans:
            last = _second_before(span.end)
            today, tomorrow = (day + 1) % 7 + 1, (day + 2) % 7 + 1
            if span.start < span.end:
                found.setdefault((span.start, last), set()).add(today)
                continue
            found.setdefault((span.start, time(23, 59, 59)), set()).add(today)
            if span.end > time():
                found.setdefault((time(), last), set()).add(tomorrow)
    return {span: sorted(days) for span, days in sorted(found.items())}


def _second_before(end: time) -> time:
    seconds = (end.hour * 3600 + end.minute * 60 - 1) % 86_400
    return time(seconds // 3600, seconds // 60 % 60, seconds % 60)


def _closed(mailbox: Mailbox, where: str, listen: Address) -> Lines:
    yield f'  <extension name="voicemail-{mailbox.key}-closed">'
    yield '    <condition field="${voicemail_closed}" expression="^true$"/>'
    yield from _number(where)
    yield from _hand_over(mailbox, listen, "after-hours")


def _ring(mailbox: Mailbox, where: str, listen: Address, asked: list[str]) -> Lines:
    causes = [cause for reason in USUAL if reason in asked for cause in CAUSES[Reason(reason)]]
    yield f'  <extension name="voicemail-{mailbox.key}-ring">'
    yield from _number(where)
    yield _action("set", "ringback=${us-ring}")
    yield _action("set", "call_timeout=25")
    yield _action("set", "hangup_after_bridge=true")
    yield _action("set", f"continue_on_fail={','.join(causes)}")
    yield "      <!-- CHANGE: what rings; here extension 1000. -->"
    yield _action("bridge", "user/1000@${domain_name}")
    yield from _hand_over(mailbox, listen, "${originate_disposition}")


def _queue(mailbox: Mailbox, where: str, listen: Address) -> Lines:
    yield f'  <extension name="voicemail-{mailbox.key}-queue">'
    yield from _number(where)
    yield _action("set", "hangup_after_bridge=true")
    yield "      <!-- CHANGE: the queue, as callcenter.conf.xml names it; its max-wait-time is the limit. -->"
    yield _action("callcenter", f"{mailbox.key}@default")
    yield _action("set", f"voicemail_queue={mailbox.key}")
    wait = "${expr(${cc_queue_canceled_epoch} - ${cc_queue_joined_epoch})}"
    yield _action("set", f"voicemail_queue_wait={wait}")
    yield from _hand_over(mailbox, listen, "queue-timeout")


def _direct(mailbox: Mailbox, where: str, listen: Address) -> Lines:
    yield f'  <extension name="voicemail-{mailbox.key}-direct">'
    yield from _number(where)
    yield from _hand_over(mailbox, listen, "direct")


def _number(where: str) -> Lines:
    if where.startswith("^voicemail"):
        yield "    <!-- CHANGE: the number; as it is, a place to transfer calls to. -->"
    yield f'    <condition field="destination_number" expression={quoteattr(where)}>'


def _hand_over(mailbox: Mailbox, listen: Address, reason: str) -> Lines:
    yield _action("set", f"voicemail_mailbox={mailbox.key}")
    yield _action("set", f"voicemail_reason={reason}")
    yield _action("set", "socket_resume=true")
    yield _action("socket", f"{_address(listen)} async full")
    yield "      <!-- Reached only when the service is down, refused the call, or was lost. -->"
    yield _action("answer")
    yield _action("sleep", "500")
    yield _action("playback", "tone_stream://$${sit}")
    yield _action("playback", "voicemail/vm-not_available_no_voicemail.wav")
    yield _action("hangup", "NORMAL_TEMPORARY_FAILURE")
    yield "    </condition>"
    yield "  </extension>"


def _action(application: str, argument: str = "", *, inline: bool = False) -> str:
    more = (f" data={quoteattr(argument)}" if argument else "") + (' inline="true"' if inline else "")
    return f'      <action application="{application}"{more}/>'

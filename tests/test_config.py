"""The configuration: values as written, every mistake one line with its place, and nothing ever explodes."""

# ruff: noqa: E501 - in the table of mistakes, a case keeps to its line

import json
import os
import sys
import tracemalloc
from dataclasses import fields
from datetime import date, time
from ipaddress import ip_network
from pathlib import Path
from time import thread_time
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from esl_voicemail.config import Config, load
from esl_voicemail.config.load import PLACES, VARIABLE, find
from esl_voicemail.config.sections import ConfigSection
from esl_voicemail.config.values import Address, MailAddress
from esl_voicemail.errors import ConfigError
from esl_voicemail.hours import DAYS, ClosedDays, Span
from esl_voicemail.model import TECHNICAL, Caller, CallResult, Reason, one_line

# A good mailbox on the lines 1 to 3; what a case adds to it begins on line 4.
SALES = "mailboxes:\n  sales:\n    recipients: [anna@example.com]\n"
QUOTES = "must be text; write it in quotes, as in"
SEE = "unknown key; see voicemail.yaml in the documentation for the keys"
LIST = "must be a list, as in [one, two], not"
SECTION = "must be a section (key: value), not"
ADDRESS = "is no address: write host:port, as in 127.0.0.1:8084"
NETWORK = "is no network: write it as 10.0.0.0/8, or as ::1/128 in quotes"
ZONE = "is no time zone: write a name such as Europe/Warsaw"
REGION = "is no region of telephone numbers: write two letters such as PL"
COUNTRY = "no public holidays are known for it; write a country such as PL"
HOST = "is no host: write a name such as smtp.example.com, and the port apart"
PATH = "must be a path without quotes, $, {, }, !, \\ or control characters: the switch reads those"
NO_AT = "is no mail address: An email address must have an @-sign."
KEY = "a mailbox's key holds a-z, 0-9, _ and - only, at most 32, and starts with a letter or digit"
UNDER = "describe it under transcribers"
PROGRAM = 'names no program: write it as in [whisper-cli, --file, "{audio}"]'
NAME = "a transcriber's name holds a-z, 0-9, _ and - only, at most 32, starts with a letter or digit, and is not none"
REASONS = (
    "'default', 'no-answer', 'busy', 'unavailable', 'queue-timeout', 'after-hours', 'holiday' or 'direct'"
)
PROMISES = "'today', 'next-working-day', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat' or 'sun'"
CLOSED_DAY = "is no day: write 2026-12-24, 2026-12-24..2026-12-31, or 12-24 for every year"
NO_HOURS = "is counted from hours, and there are none; give hours too"
TOGETHER = "username and password_file go together: give both or neither"
SHORT = "no message would be long enough"
OWN = "too; recordings need their own folder"
TAKEN = "is where `listen` listens too; name another port"
DEEP = "is nested too deeply"
TAG = "the tag tag:yaml.org,2002"

KNOWN = Caller("+48601234567", "", withheld=False)
UNKNOWN = Caller("", "Jan", withheld=False)
WITHHELD = Caller("+48601234567", "Jan", withheld=True)

# What the file holds, and the one line that is said of it, after the file's name.
MISTAKES = {
    # keys
    "an unknown key, with the one that was meant": (f"{SALES}lisen: x\n", "4: lisen: unknown key; did you mean 'listen'?"),
    "an unknown key like no other": (f"{SALES}colour: red\n", f"4: colour: {SEE}"),
    "an unknown key in a section": (f"{SALES}mail:\n  smtp: {{host: a.b, prot: 25}}\n", "5: mail.smtp.prot: unknown key; did you mean 'port'?"),
    "an unknown key in a mailbox": (f"{SALES}    recipient: [a@b.c]\n", "4: mailboxes.sales.recipient: unknown key; did you mean 'recipients'?"),
    "an unknown greeting": (f"{SALES}    greetings: {{lunch: x.wav}}\n", f"4: mailboxes.sales.greetings.lunch: must be one of {REASONS}, not 'lunch'"),
    "a key that is a number": (f"{SALES}5: x\n", f"4: 5: {SEE}"),
    "a key that is a list": (f"{SALES}? [a, b]\n: x\n", f"4: ?: {SEE}"),
    "a key that breaks the line": (f'{SALES}"a\\nb\\u2028c": x\n', f"4: a b c: {SEE}"),
    "a key twice": (f"{SALES}listen: a:1\nlog: {{}}\nlisten: a:2\n", "6: listen: stands twice, first on line 4; keep one"),
    "a mailbox's key twice": (f"{SALES}    name: a\n    name: b\n", "5: mailboxes.sales.name: stands twice, first on line 4; keep one"),
    "a mailbox twice": (f"{SALES}  sales:\n    recipients: [a@b.c]\n", "4: mailboxes.sales: stands twice, first on line 2; keep one"),
    "a mailbox's name that is none": ("mailboxes:\n  Sales Team: {recipients: [a@b.c]}\n", f"2: mailboxes.Sales Team: {KEY}"),
    "a mailbox's name too long": (f"mailboxes:\n  {'a' * 33}: {{recipients: [a@b.c]}}\n", f"2: mailboxes.{'a' * 33}: {KEY}"),
    # whole numbers
    "a number in quotes": (f"{SALES}switch: {{max_calls: '20'}}\n", "4: switch.max_calls: must be a whole number, not '20'"),
    "a broken number": (f"{SALES}switch: {{max_calls: 2.5}}\n", "4: switch.max_calls: must be a whole number, not 2.5"),
    "endless": (f"{SALES}switch: {{max_calls: .inf}}\n", "4: switch.max_calls: must be a whole number, not .inf"),
    "yes for a number": (f"{SALES}switch: {{max_calls: yes}}\n", "4: switch.max_calls: must be a whole number, not yes"),
    "nothing for a number": (f"{SALES}switch: {{max_calls: }}\n", "4: switch.max_calls: must be a whole number, not nothing"),
    "a list for a number": (f"{SALES}switch: {{max_calls: [1]}}\n", "4: switch.max_calls: must be a whole number, not a list"),
    "a number too small": (f"{SALES}switch: {{max_calls: 0}}\n", "4: switch.max_calls: must be at least 1, not 0"),
    "a number too large": (f"{SALES}switch: {{max_calls: 1_000_000}}\n", "4: switch.max_calls: must be at most 100000, not 1_000_000"),
    "a mailbox's limit too large": (f"{SALES}    max_seconds: 5000\n", "4: mailboxes.sales.max_seconds: must be at most 3600, not 5000"),
    "an absurd number": (f"{SALES}switch: {{max_calls: 0x{'f' * 5000}}}\n", "4: a number as large as this means nothing here"),
    "a number too long to read": (f"{SALES}switch: {{max_calls: {'9' * 5000}}}\n", "4: a number as large as this means nothing here"),
    # true or false, one of a few
    "text for true or false": (f"{SALES}log: {{mask_numbers: 'yes'}}\n", "4: log.mask_numbers: must be true or false, not 'yes'"),
    "1 for true": (f"{SALES}log: {{mask_numbers: 1}}\n", "4: log.mask_numbers: must be true or false, not 1"),
    "none of the formats": (f"{SALES}log: {{format: xml}}\n", "4: log.format: must be one of 'logfmt' or 'json', not 'xml'"),
    "a list of formats": (f"{SALES}log: {{format: [json]}}\n", "4: log.format: must be one of 'logfmt' or 'json', not a list"),
    "a language without words": (f"{SALES}defaults: {{language: de}}\n", "4: defaults.language: must be one of 'pl' or 'en', not 'de'"),
    "Norwegian, which YAML reads as false": (f"{SALES}defaults: {{language: no}}\n", "4: defaults.language: must be one of 'pl' or 'en', not no"),
    # text
    "a number for text": (f"{SALES}    name: 12\n", f'4: mailboxes.sales.name: {QUOTES} "12"'),
    "yes for text": (f"{SALES}    name: yes\n", f'4: mailboxes.sales.name: {QUOTES} "yes"'),
    "a date for text": (f"{SALES}    name: 2026-01-01\n", f'4: mailboxes.sales.name: {QUOTES} "2026-01-01"'),
    "a list for text": (f"{SALES}    name: [a]\n", "4: mailboxes.sales.name: must be text, not a list"),
    "a section for text": (f"{SALES}    name: {{a: b}}\n", "4: mailboxes.sales.name: must be text, not a section"),
    "nothing for text": (f"{SALES}listen:\n", "4: listen: must be text, not nothing"),
    # lists and sections
    "text for a list": ("mailboxes:\n  sales:\n    recipients: a@b.c\n", f"3: mailboxes.sales.recipients: {LIST} 'a@b.c'"),
    "a section for a list": ("mailboxes:\n  sales:\n    recipients: {a: b}\n", f"3: mailboxes.sales.recipients: {LIST} a section"),
    "nothing for a list": ("mailboxes:\n  sales:\n    recipients:\n", f"3: mailboxes.sales.recipients: {LIST} nothing"),
    "no recipient": ("mailboxes:\n  sales:\n    recipients: []\n", "3: mailboxes.sales.recipients: names nobody: give at least one mail address"),
    "no recipients": ("mailboxes:\n  sales:\n    name: x\n", "2: mailboxes.sales.recipients: is missing; give at least one mail address"),
    "a list for a section": (f"{SALES}mail: [a]\n", f"4: mail: {SECTION} a list"),
    "text for a section": (f"{SALES}mail: a\n", f"4: mail: {SECTION} 'a'"),
    "nothing for a section": (f"{SALES}mail:\n", f"4: mail: {SECTION} nothing"),
    "nothing for a mailbox": ("mailboxes:\n  sales:\n", f"2: mailboxes.sales: {SECTION} nothing"),
    "a list of mailboxes": ("mailboxes:\n  - sales\n", f"1: mailboxes: {SECTION} a list"),
    "no mailbox": ("mailboxes: {}\n", "1: mailboxes: there is no mailbox; add one with its recipients"),
    "a file that is a list": ("- a\n", "1: must hold sections (key: value), not a list"),
    "a file that is text": ("hello\n", "1: must hold sections (key: value), not 'hello'"),
    "a file that is nothing": ("# only this\nnull\n", "2: must hold sections (key: value), not nothing"),
    # addresses
    "a host without a port": (f"{SALES}listen: 127.0.0.1\n", f"4: listen: '127.0.0.1' {ADDRESS}"),
    "a port without a host": (f"{SALES}listen: ':80'\n", f"4: listen: ':80' {ADDRESS}"),
    "a port that is a name": (f"{SALES}listen: a:http\n", f"4: listen: 'a:http' {ADDRESS}"),
    "a port too large": (f"{SALES}http: {{listen: 'a:65536'}}\n", f"4: http.listen: 'a:65536' {ADDRESS}"),
    "a port without end": (f"{SALES}listen: a:{'9' * 99}\n", f"4: listen: 'a:{'9' * 99}' {ADDRESS}"),
    "IPv6 without brackets": (f"{SALES}listen: '::1:80'\n", "4: listen: '::1:80': put an IPv6 address in brackets, as in [::1]:8084"),
    "an address that YAML reads as a number": (f"{SALES}listen: 1:20\n", f'4: listen: {QUOTES} "1:20"'),
    "a port alone": (f"{SALES}listen: 8084\n", f"4: listen: 8084 {ADDRESS}"),
    "a port alone for HTTP": (f"{SALES}http: {{listen: 9184}}\n", f"4: http.listen: 9184 {ADDRESS}"),
    "yes for an address": (f"{SALES}listen: yes\n", f"4: listen: yes {ADDRESS}"),
    "a port in a mail server's name": (f"{SALES}mail: {{smtp: {{host: 'smtp.example.com:25'}}}}\n", f"4: mail.smtp.host: 'smtp.example.com:25' {HOST}"),
    "a mail server without a name": (f"{SALES}mail: {{smtp: {{host: ''}}}}\n", f"4: mail.smtp.host: '' {HOST}"),
    "a network too narrow": (f"{SALES}switch:\n  allowed:\n    - 10.0.0.0/8\n    - 10.0.0.0/99\n", f"7: switch.allowed[1]: '10.0.0.0/99' {NETWORK}"),
    "a network by name": (f"{SALES}switch: {{allowed: [office]}}\n", f"4: switch.allowed[0]: 'office' {NETWORK}"),
    "a network that is a number": (f"{SALES}switch: {{allowed: [10]}}\n", f'4: switch.allowed[0]: {QUOTES} "10"'),
    # time and place
    "no such time zone": (f"{SALES}    timezone: Europe/Krakow\n", f"4: mailboxes.sales.timezone: 'Europe/Krakow' {ZONE}"),
    "half a time zone": (f"{SALES}    timezone: Europe\n", f"4: mailboxes.sales.timezone: 'Europe' {ZONE}"),
    "a time zone out of its folder": (f"{SALES}    timezone: ../../etc/passwd\n", f"4: mailboxes.sales.timezone: '../../etc/passwd' {ZONE}"),
    "no such region": (f"{SALES}    region: POL\n", f"4: mailboxes.sales.region: 'POL' {REGION}"),
    "Norway, which YAML reads as false": (f"{SALES}    region: NO\n", f'4: mailboxes.sales.region: {QUOTES} "NO"'),
    "no such country": (f"{SALES}    holidays: Polska\n", f"4: mailboxes.sales.holidays: 'POLSKA': {COUNTRY}"),
    "a weekday for a country": (f"{SALES}    holidays: MON\n", f"4: mailboxes.sales.holidays: 'MON': {COUNTRY}"),
    "no such day": (f"{SALES}    hours:\n      mon: '8:00-16:00'\n      sonntag: '8:00-9:00'\n", "6: mailboxes.sales.hours.sonntag: 'sonntag' is no day or span of days: write mon, or mon-fri"),
    "no span of time": (f"{SALES}    hours:\n      mon: '8:00-16:00'\n      sat: 9-12\n", "6: mailboxes.sales.hours.sat: '9-12' is no span of time: write 08:00-16:00"),
    "a time that no clock shows": (f"{SALES}    hours: {{sat: '25:00-26:00'}}\n", "4: mailboxes.sales.hours.sat: '25:00-26:00' names a time that no clock shows"),
    "hours that YAML reads as a number": (f"{SALES}    hours: {{sat: 9:00}}\n", f'4: mailboxes.sales.hours.sat: {QUOTES} "9:00"'),
    "hours without days": (f"{SALES}    hours: '8:00-16:00'\n", f"4: mailboxes.sales.hours: {SECTION} '8:00-16:00'"),
    # transcribers
    "a transcriber that is nowhere": (f"{SALES}    transcriber: whisper\n", f"4: mailboxes.sales.transcriber: there is no transcriber 'whisper'; there are none; {UNDER}"),
    "another transcriber than there are": (f"{SALES}    transcriber: vosk\ntranscribers: {{whisper: {{command: [a]}}, b: {{command: [b]}}}}\n", "4: mailboxes.sales.transcriber: there is no transcriber 'vosk'; there are whisper, b"),
    "a transcriber of all that is nowhere": (f"{SALES}defaults: {{transcriber: ''}}\n", f"4: defaults.transcriber: there is no transcriber ''; there are none; {UNDER}"),
    "no transcriber, for YAML": (f"{SALES}    transcriber: no\n", f'4: mailboxes.sales.transcriber: {QUOTES} "no"'),
    "a transcriber where it is chosen": (f"{SALES}    transcriber: {{command: [a]}}\n", "4: mailboxes.sales.transcriber: must be text, not a section"),
    "a transcriber without a command": (f"{SALES}transcribers: {{w: {{}}}}\n", "4: transcribers.w.command: is missing"),
    "a transcriber that is a command": (f"{SALES}transcribers: {{w: [a]}}\n", f"4: transcribers.w: {SECTION} a list"),
    "a command without words": (f"{SALES}transcribers: {{w: {{command: []}}}}\n", f"4: transcribers.w.command: {PROGRAM}"),
    "a command without a program": (f"{SALES}transcribers: {{w: {{command: ['', x]}}}}\n", f"4: transcribers.w.command: {PROGRAM}"),
    "a command for a shell": (f"{SALES}transcribers: {{w: {{command: 'a | b'}}}}\n", f"4: transcribers.w.command: {LIST} 'a | b'"),
    "a command with a number": (f"{SALES}transcribers:\n  w:\n    command:\n      - a\n      - 4\n", f'8: transcribers.w.command[1]: {QUOTES} "4"'),
    "a command of two lines": (f"{SALES}transcribers: {{w: {{command: [a, \"b\\nc\"]}}}}\n", "4: transcribers.w.command[1]: must be one line, without control characters"),
    "an unknown placeholder": (f"{SALES}transcribers: {{w: {{command: [a, '-f={{file}}']}}}}\n", "4: transcribers.w.command[1]: {file} stands for nothing: there are {audio} and {language}"),
    "a program that the call would choose": (f"{SALES}transcribers: {{w: {{command: ['{{audio}}']}}}}\n", "4: transcribers.w.command: {audio}: no program is named so; only its arguments change"),
    "a transcriber without time": (f"{SALES}transcribers: {{w: {{command: [a], seconds: 0}}}}\n", "4: transcribers.w.seconds: must be at least 1, not 0"),
    "a transcriber for ever": (f"{SALES}transcribers: {{w: {{command: [a], seconds: 3601}}}}\n", "4: transcribers.w.seconds: must be at most 3600, not 3601"),
    "a transcriber never": (f"{SALES}transcribers: {{w: {{command: [a], at_once: 0}}}}\n", "4: transcribers.w.at_once: must be at least 1, not 0"),
    "a transcriber in a wrong word": (f"{SALES}transcribers: {{w: {{command: [a], at_onc: 1}}}}\n", "4: transcribers.w.at_onc: unknown key; did you mean 'at_once'?"),
    "a transcriber that is none": (f"{SALES}transcribers: {{none: {{command: [a]}}}}\n", f"4: transcribers.none: {NAME}"),
    "a transcriber's name": (f"{SALES}transcribers: {{W w: {{command: [a]}}}}\n", f"4: transcribers.W w: {NAME}"),
    # closed days, promises and keys
    "no such closed day": (f"{SALES}    closed: ['12-24', '2026-02-30']\n", "4: mailboxes.sales.closed[1]: '2026-02-30' names a day that no calendar shows"),
    "a closed day in words": (f"{SALES}    closed: [christmas]\n", f"4: mailboxes.sales.closed[0]: 'christmas' {CLOSED_DAY}"),
    "a closed day with an hour": (f"{SALES}    closed: [2026-12-24 12:00:00]\n", f'4: mailboxes.sales.closed[0]: {QUOTES} "2026-12-24 12:00:00"'),
    "closed days backwards": (f"{SALES}defaults: {{closed: [2026-12-31..2026-12-24]}}\n", "4: defaults.closed[0]: '2026-12-31..2026-12-24' ends before it begins"),
    "a year of closed days": (f"{SALES}    closed: [2026]\n", f'4: mailboxes.sales.closed[0]: {QUOTES} "2026"'),
    "closed days without a list": (f"{SALES}    closed: 12-24\n", f"4: mailboxes.sales.closed: {LIST} '12-24'"),
    "hours of all without days": (f"{SALES}defaults: {{hours: {{week: '8:00-16:00'}}}}\n", "4: defaults.hours.week: 'week' is no day or span of days: write mon, or mon-fri"),
    "no such country of all": (f"{SALES}defaults: {{holidays: Polska}}\n", f"4: defaults.holidays: 'POLSKA': {COUNTRY}"),
    "a promise without hours": (f"{SALES}    promise: true\n", f"4: mailboxes.sales.promise: {NO_HOURS}"),
    "a promise of all without hours": (f"{SALES}defaults: {{promise: true}}\n", f"2: mailboxes.sales.promise: {NO_HOURS}"),
    "a promise that is text": (f"{SALES}    promise: 'yes'\n", "4: mailboxes.sales.promise: must be true or false, not 'yes'"),
    "an unknown promise": (f"{SALES}    promises: {{tomorrow: x.wav}}\n", f"4: mailboxes.sales.promises.tomorrow: must be one of {PROMISES}, not 'tomorrow'"),
    "a promise of all": (f"{SALES}defaults: {{promises: {{}}}}\n", "4: defaults.promises: is no default: each mailbox has its own"),
    "digits kept in text": (f"{SALES}    keep_digits: 'on'\n", "4: mailboxes.sales.keep_digits: must be true or false, not 'on'"),
    "a review that is a number": (f"{SALES}    review: 2\n", "4: mailboxes.sales.review: must be true or false, not 2"),
    "a number asked for in text": (f"{SALES}defaults: {{ask_number: never}}\n", "4: defaults.ask_number: must be true or false, not 'never'"),
    "an extension without quotes": (f"{SALES}    operator: 1000\n", f'4: mailboxes.sales.operator: {QUOTES} "1000"'),
    "an operator of all": (f"{SALES}defaults: {{operator: '1000'}}\n", "4: defaults.operator: is no default: each mailbox has its own"),
    **{
        f"no extension: {text!r}": (f"{SALES}    operator: {json.dumps(text)}\n", f"4: mailboxes.sales.operator: {one_line(repr(text), 200)} is no extension: write one as in \"1000\", or \"1000 XML default\"")
        for text in (
            "", " ", "1000 ", " 1000", "1000 XML", "1000 XML ", "1000 XML a b", "1000 xml default", "1000 inline default", "1000  XML default",
            "-bleg 1000", "-both", "-1000", "1000 XML -x", "1000\n", "1000\nXML default", "10,00", "1000;x", "1000'", "${x}", "a b", "sofia/internal/1000",
            "user:1", "a@b", "hangup::normal", "&park", "1|2", "ł", "١", "9" * 41,
        )
    },
    # telephone numbers
    "a telephone number without quotes": (f"{SALES}    numbers: [48221234567]\n", f'4: mailboxes.sales.numbers[0]: {QUOTES} "48221234567"'),
    "a plus without quotes": (f"{SALES}    numbers: [+48221234567]\n", f'4: mailboxes.sales.numbers[0]: {QUOTES} "+48221234567"'),
    "a leading zero without quotes": (f"{SALES}    numbers: [0501]\n", f'4: mailboxes.sales.numbers[0]: {QUOTES} "0501"'),
    "a number for a list of numbers": (f"{SALES}    numbers: 48221234567\n", f"4: mailboxes.sales.numbers: {LIST} 48221234567"),
    "spaces in a telephone number": (f"{SALES}    numbers: ['1', '22 123']\n", "4: mailboxes.sales.numbers[1]: '22 123' is no dialled number"),
    # paths
    "a quote in a path": (f"{SALES}storage: {{directory: \"./va'r\"}}\n", f"4: storage.directory: {PATH}"),
    "a variable in a path": (f"{SALES}storage: {{recordings: '/x/${{y}}'}}\n", f"4: storage.recordings: {PATH}"),
    "an empty path": (f"{SALES}greetings_dir: ''\n", f"4: greetings_dir: {PATH}"),
    "half a character in a path": (f'{SALES}mailboxes_dir: "\\ud800"\n', f"4: mailboxes_dir: {PATH}"),
    "a number for a path": (f"{SALES}storage: {{directory: 5}}\n", f'4: storage.directory: {QUOTES} "5"'),
    "nothing for a greeting": (f"{SALES}    greetings: {{busy: }}\n", "4: mailboxes.sales.greetings.busy: must be text, not nothing"),
    # mail addresses
    "no mail address": ("mailboxes:\n  sales:\n    recipients:\n    - a@b.c\n    - anna\n", f"5: mailboxes.sales.recipients[1]: 'anna' {NO_AT}"),
    "an operator without an @": (f"{SALES}mail: {{operator: admin}}\n", f"4: mail.operator: 'admin' {NO_AT}"),
    "two operators": (f"{SALES}mail: {{operator: [a@b.c, d@e.f]}}\n", "4: mail.operator: must be text, not a list"),
    "a notice of a kind there is not": (f"{SALES}    notify_empty: sometimes\n", "4: mailboxes.sales.notify_empty: must be one of 'never', 'always' or 'known-callers', not 'sometimes'"),
    "yes for a notice": (f"{SALES}defaults: {{notify_empty: yes}}\n", "4: defaults.notify_empty: must be one of 'never', 'always' or 'known-callers', not yes"),
    "a mail address without a host": (f"{SALES}    reply_to: Anna <anna@>\n", "4: mailboxes.sales.reply_to: 'Anna <anna@>' is no mail address: There must be something after the @-sign."),
    "a sender that is none": (f"{SALES}mail: {{from: Poczta}}\n", f"4: mail.from: 'Poczta' {NO_AT}"),
    "a number for a mail address": (f"{SALES}    reply_to: 5\n", f'4: mailboxes.sales.reply_to: {QUOTES} "5"'),
    "a header behind a mail address": (
        f'{SALES}    reply_to: "a@b.c\\r\\nBcc: x@y.z"\n',
        "4: mailboxes.sales.reply_to: 'a@b.c\\r\\nBcc: x@y.z' is no mail address: "
        "The part after the @-sign contains invalid characters: ':', '@', SPACE, U+000A, U+000D.",
    ),
    # what contradicts itself
    "a username without a password": (f"{SALES}mail:\n  smtp: {{host: a.b, username: vm}}\n", f"5: mail.smtp: {TOGETHER}"),
    "a password without a username": (f"{SALES}mail:\n  smtp: {{host: a.b, password_file: x}}\n", f"5: mail.smtp: {TOGETHER}"),
    "two ways out": (f"{SALES}mail: {{smtp: {{host: a.b}}, maildir: ./m}}\n", "4: mail: smtp and maildir exclude each other: keep one"),
    "a mail server without a host": (f"{SALES}mail: {{smtp: {{port: 25}}}}\n", "4: mail.smtp.host: is missing"),
    "a recipient twice": (
        "mailboxes:\n  sales:\n    recipients:\n    - anna@example.com\n    - Anna <Anna@Example.com>\n",
        "5: mailboxes.sales.recipients[1]: anna@example.com stands twice; keep one",
    ),
    "a telephone number of two mailboxes": (
        f"{SALES}    numbers: ['1']\n  help:\n    recipients: [a@b.c]\n    numbers: ['2', '1']\n",
        "7: mailboxes.help.numbers[1]: 1 already means the mailbox sales; keep one",
    ),
    "a telephone number of two mailboxes, once with a plus": (
        f"{SALES}    numbers: ['+48221234567']\n  help: {{recipients: [a@b.c], numbers: ['48221234567']}}\n",
        "5: mailboxes.help.numbers[0]: 48221234567 already means the mailbox sales as +48221234567; keep one",
    ),
    "a telephone number of two mailboxes, later with a plus": (
        f"{SALES}    numbers: ['1']\n  help: {{recipients: [a@b.c], numbers: ['+1']}}\n",
        "5: mailboxes.help.numbers[0]: +1 already means the mailbox sales as 1; keep one",
    ),
    "no message long enough": (f"{SALES}    max_seconds: 5\n    min_seconds: 6\n", f"5: mailboxes.sales.min_seconds: min_seconds 6 is not below max_seconds 5: {SHORT}"),
    "a message that must be of one length": (f"{SALES}    max_seconds: 5\n    min_seconds: 5\n", f"5: mailboxes.sales.min_seconds: min_seconds 5 is not below max_seconds 5: {SHORT}"),
    "a mailbox's longest message shorter than the shortest of all": (
        f"{SALES}    max_seconds: 5\n  help: {{recipients: [a@b.c]}}\ndefaults:\n  min_seconds: 30\n",
        f"4: mailboxes.sales.max_seconds: min_seconds 30 is not below max_seconds 5: {SHORT}",
    ),
    "no message of any mailbox long enough": (
        f"{SALES}  help: {{recipients: [a@b.c]}}\ndefaults:\n  max_seconds: 1\n",
        f"6: defaults.max_seconds: min_seconds 1 is not below max_seconds 1: {SHORT}",
    ),
    "more speech than a message holds": (
        f"{SALES}    max_seconds: 5\n    min_speech_seconds: 5.0\n",
        f"5: mailboxes.sales.min_speech_seconds: min_speech_seconds 5 is not below max_seconds 5: {SHORT}",
    ),
    "recordings where the storage is": (f"{SALES}storage:\n  directory: ./a\n  recordings: ./a\n", f"6: storage.recordings: FOLDER/a: holds storage.directory, mail.maildir {OWN}"),
    "recordings around the storage": (f"{SALES}storage: {{directory: ./a/b, recordings: ./a}}\nmail: {{maildir: ./m}}\n", f"4: storage.recordings: FOLDER/a: holds storage.directory {OWN}"),
    "recordings where what cannot be read goes": (f"{SALES}storage: {{directory: ./a, recordings: ./a/x/../corrupt}}\n", f"4: storage.recordings: FOLDER/a/x/../corrupt: holds corrupt/ of storage.directory {OWN}"),
    "recordings in the default place of what cannot be read": (f"{SALES}storage: {{recordings: ./var/corrupt}}\n", f"4: storage.recordings: FOLDER/var/corrupt: holds corrupt/ of storage.directory {OWN}"),
    "recordings among the mails": (f"{SALES}storage: {{recordings: ./m/}}\nmail: {{maildir: ./m}}\n", f"4: storage.recordings: FOLDER/m: holds mail.maildir {OWN}"),
    "recordings around the mails": (f"{SALES}storage: {{recordings: ./a/../m}}\nmail: {{maildir: ./m/mail}}\n", f"4: storage.recordings: FOLDER/a/../m: holds mail.maildir {OWN}"),
    "recordings among the greetings": (f"{SALES}storage: {{recordings: ./sounds}}\ngreetings_dir: sounds\n", f"4: storage.recordings: FOLDER/sounds: holds greetings_dir {OWN}"),
    "recordings where greetings are looked for": (f"{SALES}storage: {{recordings: ./greetings}}\n", f"4: storage.recordings: FOLDER/greetings: holds greetings_dir {OWN}"),
    "greetings among the recordings": (f"{SALES}greetings_dir: var/recordings/sounds\n", f"1: storage.recordings: FOLDER/var/recordings: holds greetings_dir {OWN}"),
    "recordings beside the configuration": (f"{SALES}storage: {{recordings: ., directory: /v}}\ngreetings_dir: /g\n", f"4: storage.recordings: FOLDER: holds the configuration {OWN}"),
    "recordings everywhere": (f"{SALES}storage: {{recordings: /}}\n", f"4: storage.recordings: /: holds storage.directory, mail.maildir, greetings_dir, the configuration {OWN}"),
    "two listeners at one address": (f"{SALES}http: {{listen: '127.0.0.1:8084'}}\n", f"4: http.listen: 127.0.0.1:8084 {TAKEN}"),
    "two listeners at one address by two names": (f"{SALES}listen: localhost:80\nhttp: {{listen: '127.0.0.1:80'}}\n", f"5: http.listen: 127.0.0.1:80 {TAKEN}"),
    "a listener everywhere and one somewhere": (f"{SALES}listen: 0.0.0.0:80\nhttp: {{listen: 'a:80'}}\n", f"5: http.listen: a:80 {TAKEN}"),
    "a listener somewhere and one everywhere": (f"{SALES}listen: 127.0.0.1:80\nhttp: {{listen: '[::]:80'}}\n", f"5: http.listen: [::]:80 {TAKEN}"),
    "a password in the clear": (
        f"{SALES}mail:\n  smtp:\n    host: a.b\n    security: none\n    username: vm\n    password_file: x\n",
        "7: mail.smtp.security: the password would go to a.b in the clear; use starttls or tls",
    ),
    "a folder of mailboxes that is missing": (f"{SALES}mailboxes_dir: nowhere\n", "4: mailboxes_dir: FOLDER/nowhere: cannot be read: No such file or directory; put it there, or name another"),
    "a file for a folder of mailboxes": (f"{SALES}mailboxes_dir: voicemail.yaml\n", "4: mailboxes_dir: FOLDER/voicemail.yaml: cannot be read: Not a directory; name another"),
    "a folder's name too long": (f"{SALES}mailboxes_dir: {'a' * 300}\n", f"4: mailboxes_dir: FOLDER/{'a' * 300}: cannot be read: File name too long; name another"),
    # YAML
    "a tab": (f"{SALES}mail:\n\tfrom: x\n", "5: is not YAML: found character '\\t' that cannot start any token"),
    "a bracket left open": (f"{SALES}mail: {{smtp: {{\nlog: {{}}\n", "6: is not YAML: expected ',' or '}', but got '<stream end>'"),
    "a quote left open": (f'{SALES}listen: "127\n', "5: is not YAML: found unexpected end of stream"),
    "two colons": (f"{SALES}mail: from: x\n", "4: is not YAML: mapping values are not allowed here"),
    "IPv6 without quotes": (f"{SALES}switch: {{allowed: [::1/128]}}\n", "4: is not YAML: expected the node content, but found ':'"),
    "two documents": (f"{SALES}---\nlog: {{}}\n", "4: is not YAML: expected a single document in the stream but found another document"),
    "a control character": (f"{SALES}listen: a\x07\n", "4: is not YAML: special characters are not allowed"),
    "a merge key": (f"{SALES}  help: &a {{recipients: [a@b.c]}}\n  more:\n    <<: *a\n    recipients: [a@b.c]\n", "6: mailboxes.more.<<: merge keys are not supported"),
    "an alias of nothing": (f"{SALES}mail: *nobody\n", "4: is not YAML: found undefined alias 'nobody'"),
    "an alias of itself": ("mailboxes: &a {b: *a}\n", f"1: {DEEP}"),
    "lists without end": (f"{SALES}a: {'[' * 100_000}\n", f"1: {DEEP}"),
    "lists too deep": (f"{SALES}a:\n  {'[' * 30}{']' * 30}\n", f"5: {DEEP}"),
    "sections too deep": (f"{SALES}a:\n  {'{a: ' * 30}{'}' * 30}\n", f"5: {DEEP}"),
    "a tag that runs a program": (f"{SALES}listen: !!python/object/apply:os.system [id]\n", f"4: {TAG}:python/object/apply:os.system is not supported"),
    "a tag that names a program": (f"{SALES}listen: !!python/name:os.system\n", f"4: {TAG}:python/name:os.system is not supported"),
    "a tag of one's own": (f"{SALES}listen: !secret x\n", "4: the tag !secret is not supported"),
    "a tag on a section": (f"{SALES}mail: !!omap {{a: b}}\n", f"4: {TAG}:omap is not supported"),
    "a section's tag on text": ("mailboxes: !!map x\n", f"1: {TAG}:map is not supported"),
    "bytes": (f"{SALES}listen: !!binary aGFsbG8=\n", f"4: {TAG}:binary is not supported"),
    "a tag on what it cannot be": (f"{SALES}listen: !!bool x\n", "4: 'x' is no bool; write text in quotes"),
    "an empty number": (f"{SALES}listen: !!int ''\n", "4: '' is no int; write text in quotes"),
    "a letter beyond Unicode": (f'{SALES}listen: "\\U00110000"\n', "4: is not YAML: chr() arg not in range(0x110000)"),
    "a number in base 60 beyond floats": (f"{SALES}listen: 1{':1' * 300}.5\n", "4: a number as large as this means nothing here"),
    "a number in base 60 that takes an hour to read": (f"{SALES}listen: 1{':1' * 200_000}\n", "4: a number as large as this means nothing here"),
    "a date in no calendar": (f"{SALES}listen: 2026-13-45\n", "4: '2026-13-45' is no timestamp; write text in quotes"),
}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "voicemail.yaml"


def problems(path: Path) -> list[str]:
    """Load what must be refused; return its problems without the folder's name."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [problem.removeprefix(f"{path.parent}/") for problem in caught.value.problems]


class TestMistakes:
    @pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES.keys())
    def test_a_mistake_is_one_line_with_file_line_and_key(self, path: Path, text: str, said: str) -> None:
        path.write_text(text)

        assert problems(path) == [f"voicemail.yaml:{said.replace('FOLDER', str(path.parent))}"]

    def test_every_mistake_is_told_at_once(self, path: Path) -> None:
        path.write_text(
            "lisen: x\nlog: {format: xml}\nmailboxes:\n  sales:\n    recipients: [anna]\n    numbers: [5]\n"
        )

        assert sorted(problems(path)) == [
            "voicemail.yaml:1: lisen: unknown key; did you mean 'listen'?",
            "voicemail.yaml:2: log.format: must be one of 'logfmt' or 'json', not 'xml'",
            f"voicemail.yaml:5: mailboxes.sales.recipients[0]: 'anna' {NO_AT}",
            f'voicemail.yaml:6: mailboxes.sales.numbers[0]: {QUOTES} "5"',
        ]

    def test_a_file_that_is_not_utf_8_is_refused(self, path: Path) -> None:
        path.write_bytes("log: {}\r\nmailboxes: {sprzedaż: {}}\n".encode("iso-8859-2"))

        assert problems(path) == ["voicemail.yaml:2: is not UTF-8 (byte 28); save it as UTF-8"]

    def test_a_file_that_is_missing_is_refused(self, path: Path) -> None:
        assert problems(path) == [
            "voicemail.yaml: cannot be read: No such file or directory; put it there, or name another"
        ]

    def test_a_folder_is_refused(self, path: Path) -> None:
        path.mkdir()

        assert problems(path) == ["voicemail.yaml: cannot be read: Is a directory; name another"]

    def test_a_link_to_itself_is_refused(self, path: Path) -> None:
        path.symlink_to(path)

        assert problems(path) == [
            "voicemail.yaml: cannot be read: Too many levels of symbolic links; name another"
        ]

    def test_a_huge_file_is_refused_unread(self, path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(1 << 40)

        assert problems(path) == ["voicemail.yaml: larger than 1 MiB; this is no configuration file"]

    def test_a_file_without_end_is_refused(self) -> None:
        assert problems(Path("/dev/zero")) == [
            "/dev/zero: larger than 1 MiB; this is no configuration file".removeprefix("/dev/")
        ]

    def test_a_billion_laughs_cost_no_memory(self, path: Path) -> None:
        more = (f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
        path.write_text("a0: &a0 [ha]\n" + "".join(more))

        tracemalloc.start()
        said = problems(path)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert said == ["voicemail.yaml:1: holds more than 100000 values, aliases counted"]
        assert most < 100 << 20

    def test_a_file_of_half_a_million_values_is_refused_before_they_are_built(self, path: Path) -> None:
        path.write_text(f"a: [{'b,' * 500_000}]\n")
        began = thread_time()

        assert problems(path) == ["voicemail.yaml:1: holds more than 100000 values, aliases counted"]
        assert thread_time() - began < 10


class TestNoContradictions:
    @pytest.mark.parametrize(
        "text",
        [
            "storage: {recordings: ./var/recordings}\n",
            "storage: {recordings: ./var/mail/recordings}\n",
            "storage: {recordings: ./greetings2}\n",
            "mail: {smtp: {host: a.b}}\nstorage: {recordings: ./mail}\n",
            "listen: 127.0.0.1:0\nhttp: {listen: '127.0.0.1:0'}\n",
            "listen: 127.0.0.1:80\nhttp: {listen: '127.0.0.1:81'}\n",
            "listen: 127.0.0.1:80\nhttp: {listen: '127.0.0.2:80'}\n",
            "listen: 0.0.0.0:80\nhttp: {listen: '[::1]:80'}\n",
            "mail: {smtp: {host: a.b, security: none}}\n",
            "mail: {smtp: {host: a.b, security: tls, username: vm, password_file: x}}\n",
            "mail: {smtp: {host: Localhost, security: none, username: vm, password_file: x}}\n",
            "mail: {smtp: {host: 127.1.2.3, security: none, username: vm, password_file: x}}\n",
            "mail: {smtp: {host: '::1', security: none, username: vm, password_file: x}}\n",
            "defaults: {min_seconds: 4, max_seconds: 5}\n",
            "defaults: {min_seconds: 9, max_seconds: 5}\nmailboxes: {a: {recipients: [a@b.c], max_seconds: 10}}\n",
            "mailboxes: {a: {recipients: [a@b.c], numbers: ['1', '+1']}}\n",
        ],
    )
    def test_what_only_looks_like_one_loads(self, path: Path, text: str) -> None:
        path.write_text(text)

        assert load(path).mailboxes

    def test_recordings_by_way_of_a_link_are_where_it_leads(self, path: Path) -> None:
        (path.parent / "greetings").mkdir()
        (path.parent / "spool").symlink_to("greetings")
        path.write_text(f"{SALES}storage: {{recordings: ./spool}}\n")

        assert problems(path) == [
            f"voicemail.yaml:4: storage.recordings: {path.parent}/spool: holds greetings_dir {OWN}"
        ]

    def test_recordings_where_a_link_leads_what_cannot_be_read_are_refused(self, path: Path) -> None:
        (path.parent / "var").mkdir()
        (path.parent / "spool").mkdir()
        (path.parent / "var" / "corrupt").symlink_to("../spool")
        path.write_text(f"{SALES}storage: {{recordings: ./spool}}\n")

        assert problems(path) == [
            f"voicemail.yaml:4: storage.recordings: {path.parent}/spool: "
            f"holds corrupt/ of storage.directory {OWN}"
        ]

    def test_recordings_around_a_storage_whose_corrupt_folder_lies_elsewhere_are_refused(
        self, path: Path
    ) -> None:
        (path.parent / "a" / "b").mkdir(parents=True)
        (path.parent / "a" / "b" / "corrupt").symlink_to("/tmp")
        path.write_text(f"{SALES}storage: {{directory: ./a/b, recordings: ./a}}\nmail: {{maildir: ./m}}\n")

        assert problems(path) == [
            f"voicemail.yaml:4: storage.recordings: {path.parent}/a: holds storage.directory {OWN}"
        ]

    def test_recordings_among_the_mailboxes_are_refused(self, path: Path) -> None:
        (path.parent / "more").mkdir()
        path.write_text(f"{SALES}mailboxes_dir: more\nstorage: {{recordings: ./more}}\n")

        assert problems(path) == [
            f"voicemail.yaml:5: storage.recordings: {path.parent}/more: holds mailboxes_dir {OWN}"
        ]


class TestMailboxesFolder:
    @pytest.fixture
    def folder(self, path: Path) -> Path:
        path.write_text(f"{SALES}mailboxes_dir: more\n")
        folder = path.parent / "more"
        folder.mkdir()
        return folder

    def test_each_file_is_a_mailbox_named_as_the_file(self, path: Path, folder: Path) -> None:
        (folder / "help.yaml").write_text("recipients: [h@example.com]\n")
        (folder / "boss-1.yaml").write_text("recipients: [b@example.com]\nlanguage: en\n")
        (folder / "notes.txt").write_text("not a mailbox")

        config = load(path)

        assert list(config.mailboxes) == ["sales", "boss-1", "help"]
        assert config.mailboxes["boss-1"].language == "en"
        assert config.at("mailboxes", "boss-1", "language") == (
            f"{folder}/boss-1.yaml:2: mailboxes.boss-1.language"
        )
        assert config.at("mailboxes", "sales", "recipients", 0) == f"{path}:3: mailboxes.sales.recipients[0]"

    def test_a_folder_of_mailboxes_is_enough(self, path: Path, folder: Path) -> None:
        path.write_text("mailboxes_dir: more\n")
        (folder / "help.yaml").write_text("recipients: [h@example.com]\n")

        assert list(load(path).mailboxes) == ["help"]

    def test_an_empty_folder_and_no_mailbox_elsewhere_is_refused(self, path: Path, folder: Path) -> None:
        path.write_text("mailboxes_dir: more\n")

        assert problems(path) == [
            "voicemail.yaml:1: mailboxes: there is no mailbox; add one with its recipients"
        ]

    def test_every_broken_file_is_told_by_its_own_name_and_line(self, path: Path, folder: Path) -> None:
        (folder / "Bad Name.yaml").write_text("recipients: [a@b.c]\n")
        (folder / "broken.yaml").write_text("name: x\nrecipients: [a@b.c\n")
        (folder / "empty.yaml").write_text("")
        (folder / "list.yaml").write_text("- a\n")
        (folder / "number.yaml").write_text("recipients: [a@b.c]\nnumbers:\n  - '1'\n  - 22\n")
        (folder / "sales.yaml").write_text("recipients: [a@b.c]\n")

        assert problems(path) == [
            f"more/Bad Name.yaml:1: mailboxes.Bad Name: {KEY}",
            "more/broken.yaml:3: is not YAML: expected ',' or ']', but got '<stream end>'",
            "more/empty.yaml:1: mailboxes.empty.recipients: is missing; give at least one mail address",
            f"more/list.yaml:1: mailboxes.list: {SECTION} a list",
            f'more/number.yaml:4: mailboxes.number.numbers[1]: {QUOTES} "22"',
            f"more/sales.yaml:1: mailboxes.sales: stands twice, first at {path}:2; keep one",
        ]

    @pytest.mark.parametrize(("name", "shown"), [(b"a\nb", "a\\nb"), (b"\xff", "\\udcff")])
    def test_a_file_named_over_two_lines_is_told_in_one(
        self, path: Path, folder: Path, name: bytes, shown: str
    ) -> None:
        (folder / f"{os.fsdecode(name)}.yaml").write_text("recipients: [a@b.c]\n")

        (problem,) = problems(path)
        assert problem.startswith(f"more/{shown}.yaml:1: mailboxes.")
        assert problem.isprintable()

    def test_a_telephone_number_belongs_to_one_file(self, path: Path, folder: Path) -> None:
        for name in ("help", "tech"):
            (folder / f"{name}.yaml").write_text("recipients: [a@b.c]\nnumbers: ['22']\n")

        assert problems(path) == [
            "more/tech.yaml:2: mailboxes.tech.numbers[0]: 22 already means the mailbox help; keep one"
        ]


class TestTheFolderThatNobodyNames:
    """`mailboxes/` beside the configuration is used when it is there."""

    @pytest.fixture
    def folder(self, path: Path) -> Path:
        path.write_text(SALES)
        folder = path.parent / "mailboxes"
        folder.mkdir()
        return folder

    def test_its_files_are_mailboxes(self, path: Path, folder: Path) -> None:
        (folder / "help.yaml").write_text("recipients: [h@example.com]\n")

        config = load(path)

        assert list(config.mailboxes) == ["sales", "help"]
        assert config.mailboxes_dir == folder

    def test_without_it_nothing_is_missing(self, path: Path, folder: Path) -> None:
        folder.rmdir()

        assert list(load(path).mailboxes) == ["sales"]
        assert load(path).mailboxes_dir == folder

    def test_a_file_of_that_name_is_something_else(self, path: Path, folder: Path) -> None:
        folder.rmdir()
        folder.touch()

        assert list(load(path).mailboxes) == ["sales"]

    def test_where_another_is_named_it_is_left_alone(self, path: Path, folder: Path) -> None:
        (folder / "help.yaml").write_text("not a mailbox")
        (path.parent / "more").mkdir()
        path.write_text(f"{SALES}mailboxes_dir: more\n")

        assert list(load(path).mailboxes) == ["sales"]

    def test_one_that_cannot_be_looked_at_is_told(self, path: Path, folder: Path) -> None:
        folder.rmdir()
        folder.symlink_to(folder)

        assert problems(path) == [
            f"voicemail.yaml:1: mailboxes_dir: {folder}: cannot be read: Too many levels of symbolic links; name another"
        ]

    def test_its_mailboxes_take_the_place_of_the_one_that_nobody_wrote(
        self, path: Path, folder: Path
    ) -> None:
        path.write_text("log: {format: json}\n")
        assert load(path).origin("default") == "built in"

        (folder / "help.yaml").write_text("recipients: [h@example.com]\n")
        assert list(load(path).mailboxes) == ["help"]

    def test_without_a_configuration_the_folder_is_the_working_directorys(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(folder.parent)
        (folder / "help.yaml").write_text("recipients: [h@example.com]\n")
        assert list(load(None).mailboxes) == ["default", "help"]

        (folder / "default.yaml").write_text("recipients: [d@example.com]\n")
        assert load(None).mailboxes["default"].addresses == ("d@example.com",)

    def test_recordings_among_its_mailboxes_are_refused(self, path: Path, folder: Path) -> None:
        path.write_text(f"{SALES}storage: {{recordings: ./mailboxes}}\n")

        assert problems(path) == [
            f"voicemail.yaml:4: storage.recordings: {folder}: holds mailboxes_dir {OWN}"
        ]

    def test_a_half_written_file_is_none(self, path: Path, folder: Path) -> None:
        (folder / ".help.yaml.new").write_text("recipients: [")

        assert list(load(path).mailboxes) == ["sales"]


class TestInherited:
    """What a company has once stands in `defaults`; where each setting comes from is told."""

    TEXT = (
        f"{SALES}  night:\n    recipients: [n@example.com]\n    hours: {{mon-sun: '22:00-06:00'}}\n"
        "    holidays: none\n    closed: []\n    promise: false\n    keep_digits: false\n"
        "defaults:\n  hours: {mon-fri: '08:00-16:00'}\n  holidays: PL\n"
        "  closed: [2026-12-31, '12-24', 2026-07-01..2026-07-14]\n"
        "  promise: true\n  review: true\n  ask_number: true\n"
    )

    def test_hours_holidays_closed_days_and_keys_are_those_of_all(self, path: Path) -> None:
        path.write_text(self.TEXT)

        sales, night = load(path).mailboxes.values()

        assert sales.week is not None
        assert sales.week[0] == (Span(time(8), time(16)),)
        assert sales.holidays == "PL"
        assert sales.closed == (
            ClosedDays(date(2026, 12, 31), date(2026, 12, 31)),
            ClosedDays(date(2000, 12, 24), date(2000, 12, 24), yearly=True),
            ClosedDays(date(2026, 7, 1), date(2026, 7, 14)),
        )
        assert (sales.promise, sales.keep_digits, sales.review, sales.ask_number) == (True, True, True, True)
        assert night.week is not None
        assert night.week[6] == (Span(time(22), time(6)),)
        assert not night.holidays
        assert night.closed == ()
        assert (night.promise, night.keep_digits, night.review, night.ask_number) == (
            False,
            False,
            True,
            True,
        )

    def test_where_each_comes_from_is_told(self, path: Path) -> None:
        path.write_text(self.TEXT)

        config = load(path)

        assert config.origin("sales") == f"{path}:2"
        assert config.origin("sales", "recipients") == f"{path}:3"
        assert config.origin("sales", "hours") == f"{path}:12"
        assert config.origin("night", "hours") == f"{path}:6"
        assert config.origin("night", "closed") == f"{path}:8"
        assert config.origin("night", "review") == f"{path}:16"
        assert config.origin("night", "language") == "built in"
        assert config.origin("night", "name") == "built in"

    def test_a_setting_left_empty_is_none(self, path: Path) -> None:
        path.write_text(f"{SALES}    hours:\n    language:\ndefaults: {{hours: {{mon: '8:00-9:00'}}}}\n")

        config = load(path)

        assert config.mailboxes["sales"].week is not None
        assert config.origin("sales", "hours") == f"{path}:6"
        assert config.origin("sales", "language") == "built in"

    def test_a_transcriber_is_that_of_all_unless_a_mailbox_has_another_or_none(self, path: Path) -> None:
        path.write_text(
            f"{SALES}  night: {{recipients: [n@example.com], transcriber: slow}}\n"
            "  help: {recipients: [h@example.com], transcriber: none}\n"
            "transcribers:\n"
            "  quick: {command: [bin/quick, '{audio}', '{\"a\": 1}', '{language}']}\n"
            "  slow: {command: [slow, --], seconds: 300, at_once: 4}\n"
            "defaults: {transcriber: quick}\n"
        )

        config = load(path)

        quick, slow = config.transcribers.values()
        boxes = config.mailboxes
        assert (boxes["sales"].transcriber, boxes["night"].transcriber) == (quick, slow)
        assert boxes["help"].transcriber is None
        assert (quick.seconds, quick.at_once, quick.reads_input, quick.folder) == (60, 1, False, path.parent)
        assert (slow.seconds, slow.at_once, slow.reads_input) == (300, 4, True)
        program = str(path.parent / "bin" / "quick")
        audio = Path("/r/{language}.wav")
        assert quick.filled(audio, "en") == [program, "/r/{language}.wav", '{"a": 1}', "en"]
        assert slow.filled(audio, "en") == ["slow", "--"]
        assert config.origin("sales", "transcriber") == f"{path}:9"

    @pytest.mark.parametrize(
        "operator",
        ["1000", "*98", "+48221234567", "sales_1.x", "#0", "1-000", "1000 XML default", "a XML b-c.d"],
    )
    def test_an_operator_is_an_extension(self, path: Path, operator: str) -> None:
        path.write_text(f"{SALES}    operator: '{operator}'\n")

        assert load(path).mailboxes["sales"].operator == operator

    def test_without_settings_a_mailbox_keeps_digits_and_promises_nothing(self, path: Path) -> None:
        path.write_text(SALES)

        sales = load(path).mailboxes["sales"]

        assert (sales.week, sales.holidays, sales.closed, sales.operator) == (None, None, (), None)
        assert (sales.promise, sales.keep_digits, sales.review, sales.ask_number) == (
            False,
            True,
            False,
            False,
        )


EXAMPLE = """\
listen: 127.0.0.1:8084                 # where FreeSWITCH's `socket` application connects
switch:
  allowed: [127.0.0.0/8, "::1/128"]    # who may connect
  max_calls: 2000
storage:
  directory: ./var                     # journal, recordings/, corrupt/, mail/
  recordings: ./var/recordings         # where the switch writes; must exist and be writable for it
  retention_days: 30                   # counted from the last recipient's acceptance
mail:
  from: "Poczta głosowa <voicemail@example.com>"
  smtp: {host: smtp.example.com, port: 587, security: starttls, username: vm, password_file: /run/secrets/smtp}
  # or, the embedded default:  maildir: ./var/mail
  operator: "Dyżurny <admin@example.com>"
http: {listen: "127.0.0.1:9184"}       # /metrics, /healthz, /readyz
log: {format: logfmt, mask_numbers: true}
defaults: {language: pl, timezone: Europe/Warsaw, region: PL, attachment: mp3, max_seconds: 300, silence_seconds: 7, notify_empty: always}
mailboxes:
  sales:
    name: Poczta – sprzedaż
    notify_empty: known-callers
    numbers: ["48221234567"]           # dialled numbers that mean this mailbox when the dialplan names none
    recipients: [anna@example.com, "Jan Łoś <jan@example.com>"]
    reply_to: sprzedaz@example.com
    greetings: {default: sales.wav, after-hours: sales-closed.wav, queue-timeout: sales-queue.wav}
    hours: {mon-fri: "08:00-16:00"}
    holidays: PL
mailboxes_dir: ./mailboxes             # more mailboxes, one file each: NAME.yaml
"""


class TestTheExample:
    @pytest.fixture
    def config(self, path: Path) -> Config:
        path.write_text(EXAMPLE)
        (path.parent / "mailboxes").mkdir()
        (path.parent / "mailboxes" / "help.yaml").write_text("recipients: [help@example.com]\n")
        return load(path)

    def test_the_service_s_settings_are_as_written(self, config: Config, path: Path) -> None:
        folder = path.parent
        assert config.listen == Address("127.0.0.1", 8084)
        assert config.switch.allowed == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
        assert config.switch.max_calls == 2000
        assert config.directory == folder / "var"
        assert config.recordings == folder / "var" / "recordings"
        assert config.recordings_named
        assert config.storage.retention_days == 30
        assert config.mail.sender == MailAddress("Poczta głosowa", "voicemail@example.com")
        assert config.mail.operator == MailAddress("Dyżurny", "admin@example.com")
        assert config.mail.smtp is not None
        assert config.mail.smtp.model_dump() == {
            "host": "smtp.example.com",
            "port": 587,
            "security": "starttls",
            "username": "vm",
            "password_file": "/run/secrets/smtp",
            "ca_file": None,
        }
        assert config.password_file == Path("/run/secrets/smtp")
        assert config.maildir is None
        assert config.http.listen == Address("127.0.0.1", 9184)
        assert (config.log.format, config.log.mask_numbers) == ("logfmt", True)

    def test_a_mailbox_s_settings_are_as_written(self, config: Config, path: Path) -> None:
        sales = config.mailboxes["sales"]
        assert sales.key == "sales"
        assert sales.name == "Poczta – sprzedaż"
        assert sales.numbers == ("48221234567",)
        assert sales.recipients == (
            MailAddress("", "anna@example.com"),
            MailAddress("Jan Łoś", "jan@example.com"),
        )
        assert sales.reply_to == MailAddress("", "sprzedaz@example.com")
        assert {reason: file.relative_to(path.parent) for reason, file in sales.greetings.items()} == {
            "default": Path("greetings/sales.wav"),
            "after-hours": Path("greetings/sales-closed.wav"),
            "queue-timeout": Path("greetings/sales-queue.wav"),
        }
        assert sales.week is not None
        office = (Span(time(8), time(16)),)
        assert dict(zip(DAYS, sales.week, strict=True)) == {
            **dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), office),
            **dict.fromkeys(("sat", "sun"), ()),
        }
        assert sales.holidays == "PL"

    def test_what_a_mailbox_says_itself_counts_before_the_defaults(self, config: Config) -> None:
        assert config.mailboxes["sales"].notify_empty == "known-callers"
        assert config.mailboxes["help"].notify_empty == "always"

    def test_both_mailboxes_inherit_the_defaults(self, config: Config) -> None:
        assert list(config.mailboxes) == ["sales", "help"]
        for mailbox in config.mailboxes.values():
            assert mailbox.language == "pl"
            assert mailbox.timezone == ZoneInfo("Europe/Warsaw")
            assert mailbox.region == "PL"
            assert mailbox.attachment == "mp3"
            assert (mailbox.max_seconds, mailbox.min_seconds, mailbox.silence_seconds) == (300, 1, 7)
            assert mailbox.min_speech_seconds == 0.1


class TestToldOfEmpty:
    """Who is mailed of a call that left no audio."""

    @pytest.mark.parametrize("result", [result for result in CallResult if result in TECHNICAL])
    @pytest.mark.parametrize("notify_empty", ["never", "always", "known-callers"])
    @pytest.mark.parametrize("caller", [KNOWN, UNKNOWN, WITHHELD], ids=["known", "unknown", "withheld"])
    def test_a_fault_is_told_always(
        self, path: Path, caller: Caller, notify_empty: str, result: CallResult
    ) -> None:
        path.write_text(f"{SALES}    notify_empty: {notify_empty}\n")

        assert load(path).mailboxes["sales"].told_of_empty(result, caller) == ("anna@example.com",)

    @pytest.mark.parametrize(
        ("notify_empty", "caller", "told"),
        [
            ("never", KNOWN, False),
            ("always", KNOWN, True),
            ("always", UNKNOWN, True),
            ("always", WITHHELD, True),
            ("known-callers", KNOWN, True),
            ("known-callers", UNKNOWN, False),
            ("known-callers", WITHHELD, False),
        ],
    )
    @pytest.mark.parametrize(
        "result",
        [
            CallResult.HANGUP_BEFORE_ANSWER,
            CallResult.HANGUP_IN_GREETING,
            CallResult.TOO_SHORT,
            CallResult.NO_SPEECH,
            CallResult.NO_AUDIO,
        ],
    )
    def test_a_caller_s_own_choice_is_told_as_the_mailbox_asks(
        self, path: Path, result: CallResult, notify_empty: str, caller: Caller, *, told: bool
    ) -> None:
        path.write_text(f"{SALES}    notify_empty: {notify_empty}\n")

        assert bool(load(path).mailboxes["sales"].told_of_empty(result, caller)) is told


class TestDefaults:
    def test_without_a_file_all_stays_on_this_machine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)

        config = load(None)

        assert config.listen == Address("127.0.0.1", 8084)
        assert config.http.listen == Address("127.0.0.1", 9184)
        assert all(network.is_loopback for network in config.switch.allowed)
        assert config.directory == tmp_path / "var"
        assert config.recordings == tmp_path / "var" / "recordings"
        assert not config.recordings_named
        assert config.mail.smtp is None
        assert config.maildir == tmp_path / "var" / "mail"
        assert config.mail.operator is None
        assert list(config.mailboxes) == ["default"]
        assert config.mailboxes["default"].notify_empty == "never"
        assert [str(to) for to in config.mailboxes["default"].recipients] == ["voicemail@localhost"]
        assert config.at("listen") == "embedded defaults: listen"

    @pytest.mark.parametrize("text", ["", "# nothing yet\n", "mailboxes:\n", "log: {format: json}\n"])
    def test_a_file_without_mailboxes_has_the_default_one(self, path: Path, text: str) -> None:
        path.write_text(text)

        assert list(load(path).mailboxes) == ["default"]

    def test_paths_count_from_the_file_s_folder(self, path: Path) -> None:
        path.write_text(f"{SALES}storage: {{directory: ./a}}\nmail: {{maildir: ../m}}\n")

        config = load(path)

        assert config.directory == path.parent / "a"
        assert config.recordings == path.parent / "a" / "recordings"
        assert config.maildir == path.parent / ".." / "m"

    def test_a_mailbox_s_own_setting_goes_before_the_default(self, path: Path) -> None:
        path.write_text(
            f"{SALES}    language: en\n    max_seconds: 60\n    timezone: Asia/Tokyo\n"
            "  help: {recipients: [a@b.c]}\ndefaults: {language: pl, max_seconds: 90}\n"
        )

        sales, helping = load(path).mailboxes.values()

        assert (sales.language, sales.max_seconds, sales.timezone.key) == ("en", 60, "Asia/Tokyo")
        assert (helping.language, helping.max_seconds, helping.timezone.key) == ("pl", 90, "Europe/Warsaw")

    def test_a_mailbox_without_greetings_has_those_of_its_language(self, path: Path) -> None:
        path.write_text(f"{SALES}    language: en\n")

        sales = load(path).mailboxes["sales"]

        for greeting in (sales.greeting(Reason.BUSY), sales.thanks, sales.apology):
            assert greeting.parent.name == "en"
            assert greeting.is_file()

    @pytest.mark.parametrize(
        "place", ["greetings/hello.wav", "sounds/hello.wav", "hello.wav", "/abs/hello.wav"]
    )
    def test_a_greeting_is_found_in_its_folder_or_beside_the_file(
        self, path: Path, place: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        root = tmp_path_factory.mktemp("abs") if place.startswith("/") else path.parent
        file = root / place.lstrip("/")
        file.parent.mkdir(exist_ok=True)
        file.touch()
        named = file if place.startswith("/") else "hello.wav"
        sounds = "greetings_dir: sounds\n" if place.startswith("sounds") else ""
        path.write_text(f"{SALES}    greetings: {{busy: {named}}}\n{sounds}")

        sales = load(path).mailboxes["sales"]

        assert sales.greeting(Reason.BUSY) == file
        assert sales.greeting(Reason.DIRECT).parent.name == "pl"

    @pytest.mark.parametrize("name", ["a" * 300, "voicemail.yaml/x.wav"])
    def test_a_greeting_that_cannot_be_looked_for_is_left_to_the_checks(self, path: Path, name: str) -> None:
        path.write_text(f"{SALES}    greetings: {{busy: {name}}}\n")

        assert load(path).mailboxes["sales"].greeting(Reason.BUSY).name == Path(name).name


class TestFind:
    @pytest.fixture
    def etc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A stand-in for the place in /etc, which is not a test's to write; and an empty current folder."""
        module: ModuleType = sys.modules[find.__module__]
        place = tmp_path / "etc.yaml"
        monkeypatch.setattr(module, "PLACES", (PLACES[0], place))
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        return place

    def test_the_places_are_those_promised(self) -> None:
        assert list(map(str, PLACES)) == ["voicemail.yaml", "/etc/esl-voicemail/voicemail.yaml"]
        assert VARIABLE == "ESL_VOICEMAIL_CONFIG"

    def test_the_first_place_that_holds_a_file_is_taken(self, etc: Path) -> None:
        here, named, environment = Path("voicemail.yaml"), "named.yaml", {VARIABLE: "variable.yaml"}
        assert find(None, {}) is None
        etc.touch()
        assert find(None, {}) == etc
        here.touch()
        assert find(None, {}) == here
        assert find(None, environment) == Path("variable.yaml")
        assert find(named, environment) == Path(named)

    def test_an_empty_variable_names_nothing(self, etc: Path) -> None:
        assert find(None, {VARIABLE: ""}) is None

    def test_a_named_file_that_is_missing_is_not_passed_over(self, etc: Path) -> None:
        Path("voicemail.yaml").touch()

        assert find("gone.yaml", {}) == Path("gone.yaml")
        assert problems(Path.cwd() / "gone.yaml") == [
            "gone.yaml: cannot be read: No such file or directory; put it there, or name another"
        ]

    def test_a_place_that_cannot_be_looked_at_is_not_passed_over(self, etc: Path) -> None:
        etc.symlink_to(etc)

        assert find(None, {}) == etc

    def test_the_real_environment_counts(self, etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, "variable.yaml")

        assert find(None) == Path("variable.yaml")
        assert find(None, os.environ) == Path("variable.yaml")


class TestFrozen:
    def test_nothing_can_be_set(self, path: Path) -> None:
        path.write_text(f"{SALES}    greetings: {{busy: a.wav}}\nmail: {{smtp: {{host: a.b}}}}\n")
        config = load(path)

        parts: list[Any] = [
            config,
            *config.mailboxes.values(),
            config.listen,
            *(config.mailboxes["sales"].recipients),
        ]
        for part in parts:
            for field in fields(part):
                with pytest.raises(AttributeError):
                    setattr(part, field.name, None)
        sections = [config.switch, config.storage, config.mail, config.mail.smtp, config.http, config.log]
        for section in sections:
            assert isinstance(section, BaseModel)
            for name in type(section).model_fields:
                with pytest.raises(ValidationError):
                    setattr(section, name, None)

    def test_no_mailbox_and_no_greeting_can_be_added(self, path: Path) -> None:
        path.write_text(SALES)
        config = load(path)

        for mapping in (config.mailboxes, config.mailboxes["sales"].greetings, config.mailbox_sources):
            with pytest.raises(TypeError):
                mapping["x"] = mapping  # type: ignore[index]


# Values that YAML, people and other tools put into files, and anything else.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.text(max_size=20),
    st.sampled_from(
        [
            "127.0.0.1:80",
            "[::1]:80",
            "10.0.0.0/8",
            "Europe/Warsaw",
            "PL",
            "pl",
            "mp3",
            "a@b.c",
            "08:00-16:00",
            "12-24",
            "2026-12-24..2026-12-31",
            "1000 XML default",
            "{audio}",
        ]
    ),
)
KNOWN = sorted({name for section in (ConfigSection,) for name in section.model_fields})
INNER = [
    "allowed", "max_calls", "directory", "recordings", "from", "smtp", "host", "port", "maildir", "listen",
    "format", "language", "timezone", "region", "attachment", "name", "numbers", "recipients", "reply_to",
    "greetings", "hours", "holidays", "default", "busy", "mon-fri", "sales", "username", "password_file",
    "closed", "promise", "promises", "operator", "keep_digits", "review", "ask_number", "holiday", "today",
    "transcribers", "transcriber", "command", "seconds", "at_once",
]  # fmt: skip
KEYS = st.one_of(st.sampled_from(INNER), st.text(max_size=8), st.integers(), st.none())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=12,
)
MAILBOX = st.dictionaries(KEYS, VALUES, max_size=4).map(lambda more: {"recipients": ["a@b.c"], **more})
FILES = st.one_of(
    VALUES,
    st.dictionaries(st.sampled_from(KNOWN), VALUES, max_size=6),
    st.dictionaries(st.sampled_from(["sales", "help"]), MAILBOX).map(lambda boxes: {"mailboxes": boxes}),
)
# Pieces that mean something to YAML, in any order.
SCRAPS = st.lists(
    st.one_of(
        st.sampled_from(
            ["mailboxes", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "&a ", "*a", "!!int ", "!!bool ", "!!set ",
             "!!timestamp ", "!!binary ", "!x ", "<<", "? ", "| ", "> ", '"', "'", "\\", "%YAML 9.9", "---", "...",
             "\t", "#", ",", "0x", "1:2", "=", "~", "@", "`", "\x85", "\ufeff", "recipients"]
        ),
        st.text(max_size=4),
    ),
    max_size=25,
).map("".join)  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("anything") / "voicemail.yaml"


def loads_or_says_why(file: Path, content: bytes, *others: Path) -> None:
    """Load a file with this content, and take nothing but a configuration or one line a problem."""
    file.write_bytes(content)
    try:
        loaded = load(file)
    except ConfigError as error:
        problems = error.problems
    else:
        assert isinstance(loaded, Config)
        return
    assert problems
    for problem in problems:
        assert problem.startswith(tuple(map(str, (file, *others))))
        assert problem.splitlines() == [problem]


class TestAnything:
    @given(content=st.binary(max_size=200))
    def test_bytes_load_or_are_refused_line_by_line(self, file: Path, content: bytes) -> None:
        loads_or_says_why(file, content)

    @given(text=st.text(max_size=200))
    def test_text_loads_or_is_refused_line_by_line(self, file: Path, text: str) -> None:
        loads_or_says_why(file, text.encode("utf-8", "surrogatepass"))

    @given(text=SCRAPS)
    def test_scraps_of_yaml_load_or_are_refused_line_by_line(self, file: Path, text: str) -> None:
        loads_or_says_why(file, text.encode("utf-8", "surrogatepass"))

    @given(values=FILES)
    def test_any_structure_loads_or_is_refused_line_by_line(self, file: Path, values: Any) -> None:
        loads_or_says_why(file, yaml.safe_dump(values, allow_unicode=True).encode())

    @given(values=FILES)
    def test_any_mailbox_file_loads_or_is_refused_line_by_line(self, file: Path, values: Any) -> None:
        folder = file.parent / "more"
        folder.mkdir(exist_ok=True)
        mailbox = folder / "sales.yaml"
        mailbox.write_text(yaml.safe_dump(values, allow_unicode=True))
        loads_or_says_why(file, b"mailboxes_dir: more\n", mailbox)
        mailbox.unlink()

"""From facts to a subject, a text and a page of HTML, by the shipped templates and an operator's over them.

An operator's template takes the place of the shipped one of its name, and may still extend or include that
as `shipped/NAME`. An operator's are sandboxed, and all that is put into HTML is escaped, wherever it stands.
"""

import difflib
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from jinja2 import (
    ChoiceLoader,
    Environment,
    FunctionLoader,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
    TemplateNotFound,
    TemplateSyntaxError,
    meta,
    nodes,
)
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from esl_voicemail.config.templates import Template
from esl_voicemail.errors import TemplateError
from esl_voicemail.mail.facts import Facts
from esl_voicemail.model import one_line

_SHIPPED = PackageLoader("esl_voicemail.mail")
_NAMES = frozenset(_SHIPPED.list_templates())
VARIABLES = tuple(field.name for field in fields(Facts))

_SUBJECT, _TEXT, _HTML = "subject.j2", "mail.txt.j2", "mail.html.j2"
_SUBJECT_CHARACTERS = 200
_LARGEST_CHARACTERS = 1 << 20
_LARGEST_PRODUCT, _LONGEST_RANGE = 1_000_000, 1000
# Where shipped templates find the words that they have in common.
_WORDS = "words_of_all"
# What shipped templates bind for those that extend them.
_BOUND = {"says", "call"}


@dataclass(frozen=True, slots=True)
class Page:
    """What a mail says, in its three places."""

    subject: str
    text: str
    html: str


class _Environment(Environment):
    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """Return them as one: the chain of two they would be is gone through in Python at each import."""
        return {**self.globals, **(d or {})}


class _Sandbox(ImmutableSandboxedEnvironment, _Environment):
    """Computes nothing large: a power or a long string would stop everything else, calls too, for as long."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(one) if isinstance(one, str | list | tuple) else abs(one) for one in (left, right)]
        if operator == "**" or sizes[0] * sizes[1] > _LARGEST_PRODUCT:
            raise SecurityError(f"{operator} makes something too large for a mail")
        return super().call_binop(context, operator, left, right)


def render(facts: Facts, templates: tuple[Template, ...] = ()) -> Page:
    """Render a mail by an operator's templates and the shipped ones; TemplateError names file and line."""
    said = {name: getattr(facts, name) for name in VARIABLES}
    try:
        plain, escaping = _environment(templates, escaping=False), _environment(templates, escaping=True)
        if not templates:
            # An operator's may set other variables before they import them, or hold HTML.
            # Where it fails, it fails again when they do, and is told with its line.
            with suppress(Exception):
                said[_WORDS] = plain.get_template(f"{facts.language}.{facts.kind}.j2").make_module(said)
        subject = one_line(plain.get_template(_SUBJECT).render(said).strip(), _SUBJECT_CHARACTERS)
        page = Page(
            subject, plain.get_template(_TEXT).render(said), escaping.get_template(_HTML).render(said)
        )
        (page.text + page.html).encode()
    except Exception as error:  # an operator's template may fail in any way
        raise TemplateError(_told(error, templates)) from error
    if not page.subject:
        raise TemplateError("the templates make no subject: let subject.j2 say something")
    if len(page.text) + len(page.html) > _LARGEST_CHARACTERS:
        raise TemplateError(f"the templates make more than {_LARGEST_CHARACTERS} characters: shorten them")
    return page


def problems(templates: tuple[Template, ...]) -> Iterator[str]:
    """Yield what is wrong with an operator's templates, whatever a mail says: a line each."""
    environment = _environment(templates, escaping=False)
    known = {*VARIABLES, *environment.globals, *_BOUND}
    for template in templates:
        try:
            tree = environment.parse(template.text, template.name, template.file)
            environment.get_template(template.name)
        except Exception as error:  # noqa: BLE001 - it may be nested deeper than Python bears
            yield _told(error, (template,))
            continue
        # What others include may use what those have set.
        if template.name in _NAMES:
            unknown = meta.find_undeclared_variables(tree) - known
            for name in sorted(unknown):
                line = next(one.lineno for one in tree.find_all(nodes.Name) if one.name == name)
                close = difflib.get_close_matches(name, VARIABLES, n=1)
                hint = f"; did you mean {close[0]}?" if close else "; docs/templates.md lists what there is"
                yield f"{template.file}:{line}: {name!r} is no variable of a mail{hint}"
            yield from _unsaid(template, tree, {one.name for one in templates})
            yield from _blocks_of_nothing(template, tree)


def unused(templates: tuple[Template, ...]) -> Iterator[Template]:
    """Yield an operator's templates that no mail is made by: misnamed, perhaps."""
    environment = _environment(templates, escaping=False)
    named: set[str | None] = set(_NAMES)
    for template in templates:
        named.update(meta.find_referenced_templates(environment.parse(template.text)))
    # Where a name is computed, it may be any.
    yield from (template for template in templates if template.name not in named and None not in named)


def _unsaid(template: Template, tree: nodes.Template, own: set[str]) -> Iterator[str]:
    """What the shipped subject, text and HTML ask of a template of words, and it does not say."""
    if template.name[2:3] != "." or {_SUBJECT, _TEXT, _HTML} <= own:
        return
    missing = _assigned(_parsed(template.name)) - _assigned(tree)
    if missing:
        yield (
            f"{template.file}: sets no {', '.join(sorted(missing))}, as the shipped {template.name} does: "
            "copy that one, and change it"
        )


def _blocks_of_nothing(template: Template, tree: nodes.Template) -> Iterator[str]:
    for parent in tree.find_all(nodes.Extends):
        name = parent.template.value if isinstance(parent.template, nodes.Const) else ""
        shipped = str(name).removeprefix("shipped/")
        if name == shipped or shipped not in _NAMES:
            continue
        there = [block.name for block in _parsed(shipped).find_all(nodes.Block)]
        for block in tree.find_all(nodes.Block):
            if block.name not in there:
                yield (
                    f"{template.file}:{block.lineno}: {shipped} has no block {block.name!r}; "
                    f"there are {', '.join(there) or 'none'}"
                )


def _parsed(shipped: str) -> nodes.Template:
    environment = _environment((), escaping=False)
    return environment.parse(_SHIPPED.get_source(environment, shipped)[0])


def _assigned(tree: nodes.Template) -> set[str]:
    """Return what a template sets for those that import it."""
    return {
        one.target.name
        for one in tree.body
        if isinstance(one, nodes.Assign | nodes.AssignBlock) and isinstance(one.target, nodes.Name)
    }


@lru_cache(maxsize=128)
def _environment(templates: tuple[Template, ...], *, escaping: bool) -> Environment:
    own = {template.name: template for template in templates}

    def find(name: str) -> tuple[str, str, None] | None:
        return (own[name].text, own[name].file, None) if name in own else None

    # Ours need no watching, which takes a third of the time.
    environment = (_Sandbox if templates else _Environment)(
        loader=ChoiceLoader([FunctionLoader(find), _SHIPPED, PrefixLoader({"shipped": _SHIPPED})]),
        autoescape=escaping,
        undefined=StrictUndefined,
        auto_reload=False,
        cache_size=-1,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["range"] = _short_range
    return environment


def _short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > _LONGEST_RANGE:
        raise SecurityError(f"a range of more than {_LONGEST_RANGE} is too long for a mail")
    return numbers


def _told(error: Exception, templates: tuple[Template, ...]) -> str:
    """Say where in which template something failed, and what."""
    said = one_line(str(error) or type(error).__name__, 300)
    said = f"there is no template {said}" if isinstance(error, TemplateNotFound) else said
    if isinstance(error, TemplateSyntaxError):
        return f"{error.filename or error.name}:{error.lineno}: {said}"
    files = {template.file for template in templates}
    frames = traceback.extract_tb(error.__traceback__)
    at = next((frame for frame in reversed(frames) if frame.filename in files), None)
    at = at or next((frame for frame in reversed(frames) if frame.filename.endswith(".j2")), None)
    if at:
        return f"{at.filename}:{at.lineno}: {said}"
    return f"{templates[0].file if len(files) == 1 else 'the templates of the mail'}: {said}"

"""From facts to a subject, a text and a page of HTML, by the shipped templates and an operator's over them.

An operator's template takes the place of the shipped one of its name, and may still extend or include that
as `shipped/NAME`. Templates are sandboxed, and what a caller chose is escaped in HTML.
"""

import difflib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache

from jinja2 import (
    ChoiceLoader,
    FunctionLoader,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
    TemplateNotFound,
    TemplateSyntaxError,
    meta,
    nodes,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from esl_voicemail.config.templates import Template
from esl_voicemail.errors import TemplateError
from esl_voicemail.mail.facts import Facts
from esl_voicemail.model import one_line

_SHIPPED = PackageLoader("esl_voicemail.mail")
_NAMES = frozenset(_SHIPPED.list_templates())
VARIABLES = tuple(field.name for field in fields(Facts))

_SUBJECT, _TEXT, _HTML = "subject.j2", "mail.txt.j2", "mail.html.j2"
_ESCAPED = ".html.j2"
_SUBJECT_CHARACTERS = 200
_LARGEST_CHARACTERS = 1 << 20
# What shipped templates bind for those that extend them.
_BOUND = {"says", "call"}


@dataclass(frozen=True, slots=True)
class Page:
    """What a mail says, in its three places."""

    subject: str
    text: str
    html: str


def render(facts: Facts, templates: tuple[Template, ...] = ()) -> Page:
    """Render a mail by an operator's templates and the shipped ones; TemplateError names file and line."""
    environment = _environment(templates)
    said = {name: getattr(facts, name) for name in VARIABLES}
    try:
        subject, text, html = (
            environment.get_template(name).render(said) for name in (_SUBJECT, _TEXT, _HTML)
        )
    except Exception as error:  # an operator's template may fail in any way
        raise TemplateError(_told(error, templates)) from error
    subject = one_line(subject, _SUBJECT_CHARACTERS)
    if not subject:
        raise TemplateError("the templates make no subject: let subject.j2 say something")
    if len(text) + len(html) > _LARGEST_CHARACTERS:
        raise TemplateError(f"the templates make more than {_LARGEST_CHARACTERS} characters: shorten them")
    return Page(subject, text, html)


def problems(templates: tuple[Template, ...]) -> Iterator[str]:
    """Yield what is wrong with an operator's templates, whatever a mail says: a line each."""
    environment = _environment(templates)
    known = {*VARIABLES, *environment.globals, *_BOUND}
    for template in templates:
        try:
            tree = environment.parse(template.text, template.name, template.file)
            environment.get_template(template.name)
        except TemplateSyntaxError as error:
            yield _told(error, templates)
            continue
        for part in tree.find_all(nodes.Include):
            name = part.template.value if isinstance(part.template, nodes.Const) else None
            if template.name.endswith(_ESCAPED) and isinstance(name, str) and not name.endswith(_ESCAPED):
                yield (
                    f"{template.file}:{part.lineno}: {name!r} is included in HTML, and nothing in it "
                    f"would be escaped: let its name end in {_ESCAPED}"
                )
        # What others include may use what those have set.
        if template.name in _NAMES:
            unknown = meta.find_undeclared_variables(tree) - known
            for name in sorted(unknown):
                line = next(one.lineno for one in tree.find_all(nodes.Name) if one.name == name)
                close = difflib.get_close_matches(name, VARIABLES, n=1)
                hint = f"; did you mean {close[0]}?" if close else "; docs/templates.md lists what there is"
                yield f"{template.file}:{line}: {name!r} is no variable of a mail{hint}"


@lru_cache(maxsize=128)
def _environment(templates: tuple[Template, ...]) -> ImmutableSandboxedEnvironment:
    own = {template.name: template for template in templates}

    def find(name: str) -> tuple[str, str, None] | None:
        return (own[name].text, own[name].file, None) if name in own else None

    return ImmutableSandboxedEnvironment(
        loader=ChoiceLoader([FunctionLoader(find), _SHIPPED, PrefixLoader({"shipped": _SHIPPED})]),
        autoescape=lambda name: name is not None and name.endswith(_ESCAPED),
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


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
    return f"{at.filename}:{at.lineno}: {said}" if at else f"the mail's templates: {said}"

"""One YAML file as plain values, with the line each value stands on. The only room that knows `yaml`.

What a value must be is left to `sections`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from esl_voicemail.errors import ConfigError
from esl_voicemail.model import one_line

Trail = tuple[str | int, ...]

EMBEDDED_NAME = "embedded defaults"

# Deeper nesting than this is no configuration; it would only exhaust the stack.
_DEEPEST = 20
_LARGEST_BYTES = 1 << 20
# An alias stands for all that its anchor holds, so a small file may mean billions of values.
_MOST_VALUES = 100_000
_LARGEST_NUMBER_BITS = 1024
# Base 60 (1:20:30) is read in a time that grows with the square of its length.
_LONGEST_NUMBER = 2000

_MAP, _SEQ = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")}

_TOO_MANY = f"holds more than {_MOST_VALUES} values, aliases counted"
_TOO_LARGE = "a number as large as this means nothing here"


@dataclass(frozen=True, slots=True)
class Source:
    """A read file: its name as shown, its folder, its values, their lines and how each scalar is written."""

    name: str
    folder: Path
    values: Any
    lines: dict[Trail, int] = field(default_factory=dict)
    written: dict[Trail, str] = field(default_factory=dict)

    def at(self, trail: Trail) -> str:
        """Return `file:line` of a value, or of the nearest section around it; a name alone is no file's."""
        if self.name == EMBEDDED_NAME:
            return self.name
        while trail and trail not in self.lines:
            trail = trail[:-1]
        return f"{self.name}:{self.lines.get(trail, 1)}"

    def holds(self, trail: Trail) -> bool:
        """Tell whether a value stands there, and not nothing."""
        values = self.values
        for step in trail:
            if not isinstance(values, dict) or step not in values:
                return False
            values = values[step]
        return values is not None


def read(path: Path) -> Source:
    """Read one YAML file; ConfigError for what cannot be read, is no YAML or repeats a key."""
    name = name_of(path)
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
        if len(content) > _LARGEST_BYTES:
            raise ConfigError([f"{name}: larger than 1 MiB; this is no configuration file"])
    except OSError as error:
        raise ConfigError([f"{name}: {unread(error)}"]) from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = f"{name}:{line}: is not UTF-8 (byte {error.start}); save it as UTF-8"
        raise ConfigError([problem]) from error
    return parse(text, name, path.resolve().parent)


def write(values: Mapping[str, Any]) -> str:
    """Write values as YAML for people, in their order; `parse` reads the same from it."""
    # Letters as they are; but what shows nothing would be read as something else (PyYAML on U+0085).
    shown = json.dumps(values, ensure_ascii=False, default=str).isprintable()
    return str(yaml.safe_dump(values, allow_unicode=shown, sort_keys=False, width=100))


def unread(error: OSError) -> str:
    """Say of a file or folder that it cannot be read, and what to do."""
    match error:
        case FileNotFoundError():
            todo = "put it there, or name another"
        case PermissionError():
            todo = "let this user read it"
        case _:
            todo = "name another"
    return f"cannot be read: {error.strerror}; {todo}"


def name_of(path: Path) -> str:
    """Return a path as problems name it: in one printable line."""
    text = str(path)
    return text if text.isprintable() else repr(text)[1:-1]


def parse(text: str, name: str, folder: Path) -> Source:
    """Parse YAML text as `read` does."""
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        reading = _Reading(name, loader)
        values = reading.value(root, ()) if root is not None else {}
    except yaml.YAMLError as error:
        wrong = "" if isinstance(error, _RefusedError) else "is not YAML: "
        raise ConfigError([f"{name}:{_line(error, text)}: {wrong}{_said(error)}"]) from error
    except ValueError as error:
        # PyYAML lets it escape for `"\\U00110000"`.
        line = loader.line + 1 if loader else 1
        raise ConfigError([f"{name}:{line}: is not YAML: {_said(error)}"]) from error
    except RecursionError as error:
        raise ConfigError([f"{name}:1: is nested too deeply"]) from error
    finally:
        if loader is not None:
            loader.dispose()
    if reading.problems:
        raise ConfigError(reading.problems)
    return Source(name, folder, values, reading.lines, reading.written)


def show(trail: Trail) -> str:
    """Write a trail as an operator would: `mailboxes.sales.recipients[0]`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{one_line(step, 60)}" for step in trail)
    return "".join(steps).removeprefix(".")


class _RefusedError(yaml.MarkedYAMLError):
    """YAML, but nothing that a configuration may hold."""


class _Loader(yaml.SafeLoader):
    """Refuses too many values before it has built them all, keys counted: that takes half a minute."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._composed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._composed += 1
        if self._composed > _MOST_VALUES:
            raise _refused(_TOO_MANY, self.get_mark())
        return super().compose_node(parent, index)


class _Reading:
    def __init__(self, name: str, loader: yaml.SafeLoader) -> None:
        self.name = name
        self.loader = loader
        self.lines: dict[Trail, int] = {}
        self.written: dict[Trail, str] = {}
        self.values = 0
        self.problems: list[str] = []

    def value(self, node: yaml.Node, trail: Trail) -> Any:
        self.lines.setdefault(trail, node.start_mark.line + 1)
        self.values += 1
        if len(trail) > _DEEPEST:
            raise _refused("is nested too deeply", node.start_mark)
        if self.values > _MOST_VALUES:
            raise _refused(_TOO_MANY, node.start_mark)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return dict(self._pairs(node, trail))
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            return [self.value(item, (*trail, n)) for n, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS:
            raise _refused(f"the tag {node.tag} is not supported", node.start_mark)
        self.written[trail] = node.value
        return self._scalar(node)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise _refused(_TOO_LARGE, node.start_mark)
        try:
            value = self.loader.construct_object(node)
        except OverflowError as error:
            raise _refused(_TOO_LARGE, node.start_mark) from error
        except (ValueError, LookupError, AttributeError) as error:
            # SafeLoader lets all of these escape, for `2026-13-45`, `!!bool x`, `!!int ""`, `!!timestamp x`.
            kind = node.tag.rpartition(":")[2]
            raise _refused(
                f"{node.value[:60]!r} is no {kind}; write text in quotes", node.start_mark
            ) from error
        if isinstance(value, int) and value.bit_length() > _LARGEST_NUMBER_BITS:
            raise _refused(_TOO_LARGE, node.start_mark)
        return value

    def _pairs(self, node: yaml.MappingNode, trail: Trail) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            here = (*trail, key)
            if key == "<<":
                self.problems.append(f"{self.name}:{line}: {show(here)}: merge keys are not supported")
            elif key in seen:
                self.problems.append(
                    f"{self.name}:{line}: {show(here)}: stands twice, first on line {seen[key]}; keep one"
                )
            else:
                seen[key] = line
                self.lines[here] = line
                yield key, self.value(value_node, here)


def _refused(problem: str, mark: yaml.Mark) -> _RefusedError:
    return _RefusedError(problem=problem, problem_mark=mark)


def _line(error: yaml.YAMLError, text: str) -> int:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1


def _said(error: Exception) -> str:
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if str(said).startswith("but "):  # the rest of a sentence: "expected a single document in the stream"
        said = f"{getattr(error, 'context', None)} {said}"
    return one_line(str(said), 300)

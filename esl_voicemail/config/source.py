"""One YAML file as plain values, with the line each value stands on. The only room that knows `yaml`.

What a value must be is left to `sections`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from esl_voicemail.errors import ConfigError

Trail = tuple[str | int, ...]

# Deeper nesting than this is no configuration; it would only exhaust the stack.
_DEEPEST = 20
_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A read file: its name as shown, its folder, its values and their lines."""

    name: str
    folder: Path
    values: Any
    lines: dict[Trail, int] = field(default_factory=dict)

    def at(self, trail: Trail) -> str:
        """Return `file:line` of a value, or of the nearest section around it."""
        while trail and trail not in self.lines:
            trail = trail[:-1]
        return f"{self.name}:{self.lines.get(trail, 1)}"


def read(path: Path) -> Source:
    """Read one YAML file; ConfigError for what cannot be read, is no YAML or repeats a key."""
    name = str(path)
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ConfigError([f"{name}: larger than 1 MiB; this is no configuration file"])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{name}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{name}: is not UTF-8 (byte {error.start}); save it as UTF-8"]) from error
    return parse(text, name, path.resolve().parent)


def parse(text: str, name: str, folder: Path) -> Source:
    """Parse YAML text as `read` does."""
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        reading = _Reading(name, loader)
        values = reading.value(root, ()) if root is not None else {}
    except yaml.YAMLError as error:
        raise ConfigError([f"{name}{_where(error)}: is not YAML: {_said(error)}"]) from error
    except RecursionError as error:
        raise ConfigError([f"{name}:1: is nested too deeply"]) from error
    finally:
        if loader is not None:
            loader.dispose()
    if reading.problems:
        raise ConfigError(reading.problems)
    return Source(name, folder, values, reading.lines)


def show(trail: Trail) -> str:
    """Write a trail as an operator would: `mailboxes.sales.recipients[0]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in trail).removeprefix(".")


class _Reading:
    def __init__(self, name: str, loader: yaml.SafeLoader) -> None:
        self.name = name
        self.loader = loader
        self.lines: dict[Trail, int] = {}
        self.problems: list[str] = []

    def value(self, node: yaml.Node, trail: Trail) -> Any:
        self.lines.setdefault(trail, node.start_mark.line + 1)
        if len(trail) > _DEEPEST:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, trail))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*trail, n)) for n, item in enumerate(node.value)]
        try:
            return self.loader.construct_object(node)
        except ValueError as error:
            # SafeLoader lets a date such as 2026-13-45 escape as a ValueError.
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error

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


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _said(error: yaml.YAMLError) -> str:
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return " ".join(str(said).split())

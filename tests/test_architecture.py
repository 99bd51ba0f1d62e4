"""The house rules, as tables: which way imports run, which library lives in which room, what stays pure."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

import esl_voicemail

PACKAGE = "esl_voicemail"

# From the ground up: a module imports from the layers below its own, and from its own room.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset(
        {
            "",
            "errors",
            "model",
            "verdict",
            "hours",
            "moments",
            "backoff",
            "window",
            "clock",
            "disk",
            "digests",
            "logline",
            "repeats",
            "pace",
        }
    ),
    frozenset(
        {
            "log",
            "logwriter",
            "masking",
            "supervision",
            "workers",
            "promise",
            "speech",
            "program",
            "whisper",
            "scrape",
            "metrics",
            "causes",
            "callers",
        }
    ),
    frozenset({"config", "audio", "dialogue", "journal", "telemetry", "esl.frames"}),
    frozenset(
        {"spool", "greeting_folder", "binding", "dialplan", "esl.commands", "esl.arrival", "esl", "listening"}
    ),
    frozenset(
        {
            "mail",
            "running",
            "storage",
            "script",
            "samples",
            "sounds",
            "transcription",
            "esl.channel",
            "loopback",
        }
    ),
    frozenset(
        {
            "session",
            "delivery",
            "recovery",
            "erasure",
            "readiness",
            "pulse",
            "http",
            "checks",
            "sharing",
            "watching",
            "probing",
            "switch_checks",
        }
    ),
    frozenset({"esl.listener"}),
    frozenset({"process"}),
    frozenset({"app", "trial"}),
    frozenset({"probe"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)

# One library, one room.
ROOMS: dict[str, tuple[str, ...]] = {
    "greenswitch": ("esl.channel",),
    "sqlalchemy": ("journal",),
    "alembic": ("journal",),
    "smtplib": ("mail.smtp", "mail.transport", "mail.transaction"),
    "prometheus_client": ("metrics", "telemetry", "scrape", "http"),
    "yaml": ("config.source",),
    "av": ("audio",),
    "numpy": ("audio", "mail.parts"),
    "subprocess": ("speech", "program", "trial.demo"),
    "faster_whisper": ("whisper",),
    "phonenumbers": ("callers", "config.values", "mail.forms"),
    "wcwidth": ("cli.table",),
    "shtab": ("cli.completion",),
    "tqdm": ("cli.progress",),
}

# What decides has no edges: neither an event loop nor a wire nor a database, however far it imports.
PURE = (
    "causes",
    "callers",
    "moments",
    "dialogue",
    "backoff",
    "window",
    "hours",
    "promise",
    "dialplan",
    "logline",
    "masking",
    "repeats",
    "esl.commands",
    "esl.frames",
    "esl.arrival",
    "audio.levelling",
    "mail.advice",
    "mail.message",
    "mail.facts",
    "mail.forms",
    "mail.headers",
    "mail.parts",
    "mail.rendering",
    "mail.replies",
    "mail.words",
    "mail.writing",
    "trial.likeness",
    "model",
    "verdict",
    "errors",
)
EDGES = (
    "gevent",
    "greenlet",
    "greenswitch",
    "socket",
    "socketserver",
    "ssl",
    "select",
    "selectors",
    "asyncio",
    "threading",
    "subprocess",
    "smtplib",
    "http",
    "urllib.request",
    "sqlite3",
    "sqlalchemy",
    "alembic",
    "prometheus_client",
)

# The modules that are long for a reason: the call's table, and the switch that stands in for FreeSWITCH.
LONGEST_LINES = 350
LONG = {"dialogue.table", "trial.session", "trial.wire"}

EMPTY_WORDS = ("util", "manager", "helper", "handler", "processor")


class Tree:
    """A package's modules as they are written; nothing is run."""

    def __init__(self, folder: Path) -> None:
        self.sources = {
            ".".join(path.relative_to(folder).with_suffix("").parts)
            .removesuffix("__init__")
            .rstrip("."): path
            for path in sorted(folder.rglob("*.py"))
        }
        self.texts = {name: path.read_text(encoding="utf-8") for name, path in self.sources.items()}
        self.trees = {name: ast.parse(text) for name, text in self.texts.items()}

    def imported(self, name: str) -> Iterator[str]:
        """Everything a module imports, wherever in it that stands; names from a module with their module."""
        package = name if self.sources[name].name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(self.trees[name]):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = [PACKAGE, *filter(None, package.split("."))][: -(node.level - 1) or None]
                start = [".".join(above)] if node.level else []
                module = ".".join([*start, *([node.module] if node.module else [])])
                yield from (f"{module}.{alias.name}" for alias in node.names)

    def libraries(self, name: str) -> set[str]:
        """What a module imports from outside."""
        return {found for found in self.imported(name) if not _within(found, PACKAGE)}

    def neighbours(self, name: str) -> set[str]:
        """Which modules of the package a module imports."""
        return {self._module(found) for found in self.imported(name) if _within(found, PACKAGE)}

    def reached(self, name: str) -> set[str]:
        """Every module that runs when this one is imported, packages on the way among them."""
        seen: set[str] = set()
        waiting = {name}
        while waiting:
            found = waiting.pop()
            seen.add(found)
            parts = found.split(".")
            packages = {".".join(parts[:n]) for n in range(len(parts))}
            waiting |= ((self.neighbours(found) | packages) & self.sources.keys()) - seen
        return seen

    def _module(self, dotted: str) -> str:
        own = dotted.removeprefix(PACKAGE).lstrip(".")
        while own not in self.sources and own:
            own = own.rpartition(".")[0]
        return own


def _within(dotted: str, module: str) -> bool:
    return dotted == module or dotted.startswith(f"{module}.")


def _room(module: str, rooms: Iterable[str]) -> str | None:
    """The nearest room around a module; the package itself is a room of one."""
    around = [room for room in rooms if module == room or (room and _within(module, room))]
    return max(around, key=len, default=None)


def wrong_way(tree: Tree) -> list[str]:
    """Imports that do not run down."""
    heights = {room: height for height, layer in enumerate(LAYERS) for room in layer}
    found = []
    for module in tree.sources:
        room = _room(module, heights)
        if room is None:
            found.append(f"{module} has no layer")
            continue
        for other in sorted(tree.neighbours(module)):
            below = _room(other, heights)
            if below is not None and below != room and heights[below] >= heights[room]:
                found.append(f"{module} imports {other}")
    return found


def circles(tree: Tree) -> list[str]:
    """Modules that import themselves, by way of others."""
    found = []
    for module in tree.sources:
        seen: set[str] = set()
        waiting = set(tree.neighbours(module))
        while waiting:
            other = waiting.pop()
            seen.add(other)
            waiting |= tree.neighbours(other) - seen
        if module in seen:
            found.append(module)
    return found


def out_of_room(tree: Tree) -> list[str]:
    """Libraries imported where they do not live."""
    return [
        f"{module} imports {library}"
        for module in tree.sources
        for library, rooms in ROOMS.items()
        if any(_within(found, library) for found in tree.libraries(module)) and _room(module, rooms) is None
    ]


def impure(tree: Tree) -> list[str]:
    """Edges that a pure module reaches, and by which module."""
    return [
        f"{module} reaches {edge} in {other}"
        for module in PURE
        if module in tree.sources
        for other in sorted(tree.reached(module))
        for edge in EDGES
        if any(_within(found, edge) for found in tree.libraries(other))
    ]


def undescribed(tree: Tree) -> list[str]:
    """Modules that hold something and do not say what; an empty `__init__` holds nothing."""
    return [
        module
        for module, parsed in tree.trees.items()
        if parsed.body and not (ast.get_docstring(parsed) or "").strip()
    ]


def long(tree: Tree) -> set[str]:
    """Modules of more lines than a reader keeps in mind."""
    return {module for module, text in tree.texts.items() if len(text.splitlines()) > LONGEST_LINES}


def emptily_named(tree: Tree) -> list[str]:
    """Files and classes whose name says nothing."""
    classes = [
        f"{module}:{node.name}"
        for module, parsed in tree.trees.items()
        for node in ast.walk(parsed)
        if isinstance(node, ast.ClassDef)
    ]
    return [
        name
        for name in (*tree.sources, *classes)
        if any(word in name.rpartition(":")[2].lower() for word in EMPTY_WORDS)
    ]


@pytest.fixture(scope="module")
def house() -> Tree:
    """The package as it stands in the repository."""
    return Tree(Path(esl_voicemail.__file__).parent)


class TestTheHouse:
    def test_imports_run_one_way(self, house: Tree) -> None:
        assert wrong_way(house) == []

    def test_the_stand_in_switch_knows_nothing_of_the_service(self, house: Tree) -> None:
        trial = {module for module in house.sources if _within(module, "trial")}

        # The demonstration, which only uses the switch, has to decode what came by mail.
        assert house.neighbours("trial.demo") <= trial | {"audio.convert", "errors"}
        assert set().union(*map(house.neighbours, trial - {"trial.demo"})) <= trial

    def test_no_module_imports_itself_by_a_detour(self, house: Tree) -> None:
        assert circles(house) == []

    def test_each_library_lives_in_its_room(self, house: Tree) -> None:
        assert out_of_room(house) == []

    def test_decisions_reach_no_edge(self, house: Tree) -> None:
        assert impure(house) == []

    def test_decisions_load_no_event_loop_and_no_database(self) -> None:
        script = (
            "import importlib, sys\n"
            f"for name in {PURE}: importlib.import_module('{PACKAGE}.' + name)\n"
            "edges = ('gevent', 'greenswitch', 'sqlalchemy', 'alembic', 'sqlite3', 'smtplib', 'av')\n"
            "print(*(edge for edge in edges if edge in sys.modules))"
        )

        loaded = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
        )

        assert loaded.stdout.split() == []

    def test_every_module_says_what_it_is(self, house: Tree) -> None:
        assert undescribed(house) == []

    def test_no_module_is_long_but_those_that_have_a_reason(self, house: Tree) -> None:
        assert long(house) == LONG

    def test_no_name_is_empty(self, house: Tree) -> None:
        assert emptily_named(house) == []

    def test_the_tables_name_what_is_there(self, house: Tree) -> None:
        rooms = {room for layer in LAYERS for room in layer}
        assert sorted((rooms | set(PURE) | LONG) - set(house.sources)) == []
        assert sum(map(len, LAYERS)) == len(rooms)

    @pytest.mark.parametrize("library", ROOMS)
    def test_no_room_is_kept_for_a_library_that_left(self, house: Tree, library: str) -> None:
        for room in ROOMS[library]:
            users = [module for module in house.sources if _room(module, (room,)) is not None]
            assert any(_within(found, library) for user in users for found in house.libraries(user))


Build = Callable[..., Tree]


class TestTheRules:
    """Each rule finds what it forbids, in a small house built wrong; `_in_` in a name is a folder."""

    @pytest.fixture
    def build(self, tmp_path: Path) -> Build:
        def built(**files: str) -> Tree:
            for name, text in files.items():
                path = tmp_path / f"{name.replace('_in_', '/')}.py"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return Tree(tmp_path)

        return built

    @pytest.mark.parametrize(
        "text",
        [
            "from esl_voicemail.session import Desk",
            "from esl_voicemail import session",
            "import esl_voicemail.session",
            "import esl_voicemail.session as elsewhere",
            "from .session import Desk",
            "from . import session",
            "def later():\n    from esl_voicemail.session import Desk",
            "if TYPE_CHECKING:\n    from esl_voicemail.session import Desk",
            "try:\n    import esl_voicemail.session\nexcept ImportError:\n    pass",
        ],
    )
    def test_an_import_upwards_is_found_however_it_is_written(self, build: Build, text: str) -> None:
        assert wrong_way(build(spool=text, session="")) == ["spool imports session"]

    def test_an_import_upwards_out_of_a_package_is_found(self, build: Build) -> None:
        tree = build(
            esl_in_commands="from ..app import App\nfrom .channel import x", esl_in_channel="", app=""
        )

        assert wrong_way(tree) == [
            "esl.commands imports app",
            "esl.commands imports esl.channel",
        ]

    def test_an_import_from_the_same_layer_is_found(self, build: Build) -> None:
        tree = build(session="from esl_voicemail.delivery import Delivery", delivery="")

        assert wrong_way(tree) == ["session imports delivery"]

    def test_an_import_downwards_or_within_the_room_is_none(self, build: Build) -> None:
        tree = build(
            session="from esl_voicemail.spool import Spool",
            spool="import os",
            mail_in_message="from esl_voicemail.mail.words import duration",
            mail_in_words="",
        )

        assert wrong_way(tree) == []

    def test_a_module_without_a_place_is_found(self, build: Build) -> None:
        assert wrong_way(build(newcomer="")) == ["newcomer has no layer"]

    def test_a_circle_within_a_room_is_found(self, build: Build) -> None:
        tree = build(
            mail_in_a="from esl_voicemail.mail import b",
            mail_in_b="from esl_voicemail.mail.c import x",
            mail_in_c="import esl_voicemail.mail.a",
            mail_in_d="import esl_voicemail.mail.a",
        )

        assert circles(tree) == ["mail.a", "mail.b", "mail.c"]

    @pytest.mark.parametrize("library", ROOMS)
    @pytest.mark.parametrize(
        "text",
        [
            "import {0}",
            "import {0}.x as y",
            "from {0} import x",
            "from {0}.x import y",
            "def f():\n  import {0}",
        ],
    )
    def test_a_library_out_of_its_room_is_found(self, build: Build, library: str, text: str) -> None:
        assert out_of_room(build(app=text.format(library))) == [f"app imports {library}"]

    def test_a_library_in_its_room_or_of_a_similar_name_is_none(self, build: Build) -> None:
        tree = build(
            journal_in_deep_in_x="import sqlalchemy",
            app="import average, yamllint",
            http_in_x="import prometheus_client",
        )

        assert out_of_room(tree) == []

    @pytest.mark.parametrize("edge", EDGES)
    def test_an_edge_in_a_decision_is_found(self, build: Build, edge: str) -> None:
        assert impure(build(dialogue=f"import {edge}")) == [f"dialogue reaches {edge} in dialogue"]

    def test_an_edge_behind_a_decision_is_found(self, build: Build) -> None:
        tree = build(
            dialogue="from esl_voicemail.model import Take",
            model="from esl_voicemail import errors",
            errors="import socket",
        )

        assert "dialogue reaches socket in errors" in impure(tree)

    def test_an_edge_in_a_package_on_the_way_is_found(self, build: Build) -> None:
        tree = build(esl_in___init__="from gevent import socket", esl_in_frames="import re")

        assert impure(tree) == ["esl.frames reaches gevent in esl"]

    def test_reading_an_address_is_no_edge(self, build: Build) -> None:
        assert impure(build(dialogue="from urllib.parse import unquote\nimport httpx")) == []

    def test_a_module_without_a_word_is_found(self, build: Build) -> None:
        tree = build(app="import os", model='"""Values."""', errors="", spool='""" """')

        assert undescribed(tree) == ["app", "spool"]

    def test_a_long_module_is_found(self, build: Build) -> None:
        tree = build(app="x = 1\n" * (LONGEST_LINES + 1), model="x = 1\n" * LONGEST_LINES)

        assert long(tree) == {"app"}

    def test_an_empty_name_is_found(self, build: Build) -> None:
        tree = build(utils="", mail_in_sender="class MailManager: pass\ndef f():\n  class EventHandler: pass")

        assert emptily_named(tree) == ["utils", "mail.sender:MailManager", "mail.sender:EventHandler"]

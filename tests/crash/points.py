"""Where the service can be killed: every place of its code whose effect outlasts it or is seen outside.

Found by what is called: the verbs of disk, database and wire by their names, and whatever of our own leads to
one of them by following the code. So code written tomorrow is found too. `weave` wraps the same places.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import esl_voicemail

PACKAGE = "esl_voicemail"
# No part of a call or of a delivery: what only reads, says, asks a switch, or stands in for one; what changes
# mailboxes and greetings, whose own tests kill it. Migrations are loaded by alembic, all in the one
# transaction of `engine.migrate`.
ELSEWHERE = (
    "audio.greeting",
    "cli",
    "config",
    "greeting_folder",
    "http",
    "trial",
    "esl.console",
    "loopback",
    "probe",
    "probing",
    "switch_checks",
    "log",
    "logline",
    "logwriter",
    "repeats",
    "moments",
    "supervision",
    "telemetry",
    "journal.migrations",
    "journal.listing",
    "journal.reader",
)

WRAP, WRAP_TRANSACTION = "crash_point", "crash_transaction"

_DISK = frozenset(
    """
    fsync fdatasync sync_folder rename unlink remove mkdir makedirs rmdir rmtree copyfile copy copy2 move
    write write_text write_bytes writelines truncate flush flock lockf touch symlink_to hardlink_to chmod
    chown TemporaryFile NamedTemporaryFile
    """.split()  # noqa: SIM905 - a list of forty lines says no more
)
_DATABASE = frozenset(["execute", "executemany", "exec_driver_sql", "executescript", "upgrade"])
# Each part's end is a step of an orderly stop.
_ENDS = frozenset({"stop", "close"})
_TRANSACTION = frozenset({"begin", "begin_nested"})
_WIRE = frozenset(
    """
    ehlo helo starttls login mail rcpt docmd data ask transfer getreply quit rset sendall
    """.split()  # noqa: SIM905 - as above
)


@dataclass(frozen=True, slots=True)
class Point:
    """A place to be killed at, before and after."""

    name: str
    kind: str
    line: int


def modules() -> Iterator[tuple[str, Path]]:
    """Return the modules that take part, by name within the package."""
    root = Path(esl_voicemail.__file__).parent
    for path in sorted(root.rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        if takes_part(name):
            yield name, path


def takes_part(module: str) -> bool:
    """Tell whether a module, by its name within the package, is searched."""
    return not any(module == one or module.startswith(f"{one}.") for one in ELSEWHERE)


@cache
def points() -> dict[str, Point]:
    """Return every point of the code, by name."""
    return {
        point.name: point
        for name, path in modules()
        for point in weave(name, path.read_text(encoding="utf-8"))[1]
    }


def weave(module: str, source: str) -> tuple[ast.Module, list[Point]]:
    """Return a module's code with its points wrapped, and the points."""
    weaver = _Weaver(module)
    tree = weaver.visit(ast.parse(source))
    return ast.fix_missing_locations(tree), weaver.points


# --- what leaves a trace ------------------------------------------------------------------------------


def _verb_of_disk_or_wire(callee: ast.expr, call: ast.Call | None, module: str) -> str:
    """Return what kind of trace a callee leaves by itself, or nothing where it leaves none."""
    name = _last(callee)
    if name in _DISK or (
        call is not None and (_is_path_replace(callee, call) or _opens_to_write(name, call))
    ):
        return "disk"
    if name in _DATABASE and module.startswith("journal"):
        return "database"
    if call is not None and (
        (name in _WIRE and isinstance(callee, ast.Attribute)) or name.startswith("_Smtp")
    ):
        return "wire"
    return ""


def _is_path_replace(callee: ast.expr, call: ast.Call) -> bool:
    """`path.replace(other)` or `os.replace`, but no text's `replace(old, new)` and no dataclass's."""
    if not isinstance(callee, ast.Attribute) or callee.attr != "replace" or call.keywords:
        return False
    return len(call.args) == 1 or _last(callee.value) == "os"


def _opens_to_write(name: str, call: ast.Call) -> bool:
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    modes = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    writes = any(set(mode) <= set("rwxab+t") and set(mode) & set("wxa+") for mode in modes)
    in_memory = isinstance(call.func, ast.Attribute) and _last(call.func.value) == "av"
    return name == "open" and not in_memory and (writes or "O_CREAT" in ast.unparse(call))


@dataclass
class _Verbs:
    """Our own functions, by class and name, and which of them lead to a trace."""

    bodies: dict[tuple[str, str], tuple[str, ast.FunctionDef]] = field(default_factory=dict)
    lead: set[tuple[str, str]] = field(default_factory=set)

    def owners(self, callee: ast.Attribute, within: str) -> list[str]:
        """Return the classes whose verb a callee may be: `self._queue.mark` is one of `Queue`."""
        owner = _last(callee.value).strip("_").replace("_", "")
        if owner in ("self", "cls"):
            return [within]
        names = {name for name, _ in self.bodies if name}
        return [name for name in names if owner and _akin(name.strip("_").lower(), owner)]

    def leads(self, callee: ast.expr, within: str) -> bool:
        """Tell whether a callee is a verb of ours that leads to a trace."""
        if isinstance(callee, ast.Attribute):
            ends = callee.attr in _ENDS
            return any(
                (owner, callee.attr) in (self.bodies if ends else self.lead)
                for owner in self.owners(callee, within)
            )
        return isinstance(callee, ast.Name) and ("", callee.id) in self.lead


@cache
def _verbs() -> _Verbs:
    verbs = _Verbs()
    for module, path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for owner, node in [
            ("", tree),
            *((one.name, one) for one in tree.body if isinstance(one, ast.ClassDef)),
        ]:
            for function in node.body:
                if isinstance(function, ast.FunctionDef):
                    verbs.bodies[owner, function.name] = module, function
    more = True
    while more:
        found = {key for key in verbs.bodies.keys() - verbs.lead if _leads_on(verbs, key)}
        more = bool(found)
        verbs.lead |= found
    return verbs


def _leads_on(verbs: _Verbs, key: tuple[str, str]) -> bool:
    module, function = verbs.bodies[key]
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and _verb_of_disk_or_wire(node.func, node, module):
            return True
        # A verb that is handed over, to a thread or a greenlet, leads on as one that is called.
        if isinstance(node, ast.Attribute | ast.Name) and verbs.leads(node, key[0]):
            return True
    return False


def _akin(owner: str, name: str) -> bool:
    return owner.endswith(name) or name.endswith(owner)


# --- the walk -----------------------------------------------------------------------------------------


class _Weaver(ast.NodeTransformer):
    def __init__(self, module: str) -> None:
        self.points: list[Point] = []
        self._module = module
        self._within: list[str] = []
        self._class = ""
        self._seen: Counter[str] = Counter()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._inside(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._class, around = node.name, self._class
        self._inside(node)
        self._class = around
        return node

    def _inside(self, node: ast.FunctionDef | ast.ClassDef) -> ast.AST:
        self._within.append(node.name)
        node.body = [self.visit(statement) for statement in node.body]
        self._within.pop()
        return node

    def visit_match_case(self, node: ast.match_case) -> ast.AST:
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_With(self, node: ast.With) -> ast.AST:
        for item in node.items:
            call = item.context_expr
            if (
                isinstance(call, ast.Call)
                and _last(call.func) in _TRANSACTION
                and self._module[:7] == "journal"
            ):
                call.func = self._wrapped(call.func, "transaction", WRAP_TRANSACTION)
            else:
                item.context_expr = self.visit(call)
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        kind = self._kind(node.func, node)
        node.args = [self._argument(argument) for argument in node.args]
        for keyword in node.keywords:
            keyword.value = self._argument(keyword.value)
        node.func = self._wrapped(node.func, kind, WRAP) if kind else self.visit(node.func)
        return node

    def _argument(self, node: ast.expr) -> ast.expr:
        """A callee that is handed over, to be called by another: `run(path.unlink)`."""
        kind = self._kind(node, None) if isinstance(node, ast.Attribute) else ""
        found: ast.expr = self._wrapped(node, kind, WRAP) if kind else self.visit(node)
        return found

    def _kind(self, callee: ast.expr, call: ast.Call | None) -> str:
        found = _verb_of_disk_or_wire(callee, call, self._module)
        # Among its own, a class is one part; what leaves a trace there is a point by itself.
        own = isinstance(callee, ast.Name) or _last(getattr(callee, "value", callee)) in ("self", "cls")
        return found or ("part" if not own and _verbs().leads(callee, self._class) else "")

    def _wrapped(self, callee: ast.expr, kind: str, wrapper: str) -> ast.expr:
        place = f"{self._module}:{'.'.join(self._within) or '-'}:{_words(callee)}"
        self._seen[place] += 1
        name = place if self._seen[place] == 1 else f"{place}#{self._seen[place]}"
        self.points.append(Point(name, kind, callee.lineno))
        call = ast.Call(ast.Name(wrapper, ast.Load()), [ast.Constant(name), self.visit(callee)], [])
        return ast.copy_location(call, callee)


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _words(callee: ast.expr) -> str:
    """The callee for a person: its last two names."""
    if isinstance(callee, ast.Attribute):
        owner = "super()" if "super()" in ast.unparse(callee.value) else _last(callee.value)
        return f"{owner}.{callee.attr}" if owner else callee.attr
    return _last(callee)

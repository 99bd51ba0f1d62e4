"""A statement of what every call needs: said once in SQLAlchemy's terms, run by the driver itself.

SQLAlchemy puts it into the database's own words, once, and says what is converted. To have it execute each
one too takes several times what the database takes; what is asked seldom goes that way.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

from sqlalchemy import ClauseElement, Connection, Dialect, SelectBase
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.sql.compiler import SQLCompiler

_Convert = Callable[[Any], Any]


class Statement:
    """An SQL expression without lists of changing length.

    What is given to each run is a `bindparam` in it or, of an insert or update, a column.
    """

    def __init__(self, expression: ClauseElement) -> None:
        self._expression = expression
        self._words: dict[tuple[str, ...], _Words] = {}

    def execute(self, db: Connection, **given: Any) -> int:
        """Execute it and return how many rows it changed."""
        changed: int = self._executed(db, given)[0].rowcount
        return changed

    def rows(self, db: Connection, **given: Any) -> list[Any]:
        """Return the rows it finds, their columns as attributes."""
        cursor, words = self._executed(db, given)
        try:
            found = cursor.fetchall()
        except db.dialect.loaded_dbapi.Error as error:
            raise _refused(db, words.text, None, error) from error
        return words.rows(found)

    def scalar(self, db: Connection, **given: Any) -> Any:
        """Return the first column of the first row, or None where there is none."""
        found = self.rows(db, **given)
        return found[0][0] if found else None

    def _executed(self, db: Connection, given: Mapping[str, Any]) -> tuple[Any, "_Words"]:
        key = (db.dialect.name, *given)
        words = self._words.get(key)
        if words is None:
            words = self._words[key] = self._put_into_words(db.dialect, list(given))
        values = words.values(given.values())
        cursor = db.connection.cursor()
        try:
            cursor.execute(words.text, values)
        except db.dialect.loaded_dbapi.Error as error:
            raise _refused(db, words.text, values, error) from error
        return cursor, words

    def _put_into_words(self, dialect: Dialect, given: list[str]) -> "_Words":
        compiled = self._expression.compile(dialect=dialect, column_keys=given or None)
        assert isinstance(compiled, SQLCompiler)
        fixed = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
        names = [*(name for name in fixed if name not in given), *given]
        places = {name: place for place, name in enumerate(names)}
        converted: list[tuple[int, _Convert]] = [
            (places[name], convert)
            for name in compiled.params
            if (convert := compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
        ]
        columns = list(self._expression.selected_columns) if isinstance(self._expression, SelectBase) else []
        found: list[tuple[int, _Convert]] = [
            (place, convert)
            for place, column in enumerate(columns)
            if (convert := column.type.dialect_impl(dialect).result_processor(dialect, None))
        ]
        row = namedtuple("Row", [str(column.key) for column in columns], rename=True)  # type: ignore[misc]
        order = compiled.positiontup
        return _Words(
            compiled.string,
            tuple(fixed[name] for name in names if name not in given),
            converted,
            partial(_named, names) if order is None else _picked([places[name] for name in order]),
            found,
            partial(tuple.__new__, row),
        )


@dataclass(frozen=True, slots=True)
class _Words:
    """A statement in one database's words, and how values and rows are converted, by their places.

    `fixed` values come first, then those that are given, in the order of their names here.
    """

    text: str
    fixed: tuple[Any, ...]
    converted: list[tuple[int, _Convert]]
    taken: Callable[[Sequence[Any]], Any]
    found: list[tuple[int, _Convert]]
    row: Callable[[Any], Any]

    def values(self, given: Iterable[Any]) -> Any:
        """Return the values as the driver takes them."""
        values: Sequence[Any] = (*self.fixed, *given)
        if self.converted:
            values = list(values)
            for place, convert in self.converted:
                values[place] = convert(values[place])
        return self.taken(values)

    def rows(self, found: list[Any]) -> list[Any]:
        """Return rows as the driver found them with their columns as attributes."""
        if self.found:
            found = [list(row) for row in found]
            for place, convert in self.found:
                for row in found:
                    row[place] = convert(row[place])
        return [self.row(row) for row in found]


def _picked(places: list[int]) -> Callable[[Sequence[Any]], Any]:
    """Return what takes the values at these places; of one alone `itemgetter` makes no tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: [values[place] for place in places]


def _named(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def _refused(db: Connection, text: str, values: Any, error: Exception) -> StatementError:
    """Return an error as SQLAlchemy says it: nobody needs to know which way a statement went."""
    driver: Any = db.dialect.loaded_dbapi
    return DBAPIError.instance(text, values, error, driver.Error)

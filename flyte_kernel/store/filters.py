"""FlyteAdmin's filter language: parsed once, then run over rows in memory here or compiled to SQL in `sql`.

The grammar is `function(field,value)` joined by plus signs, the refusals are the reference's (flyteadmin,
manager/impl/util/filters.go and common/filters.go). What there only the database would refuse, answering UNKNOWN, is
refused here before it starts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from flyte_kernel.engine.queries import ListQuery, Page
from flyte_kernel.errors import InvalidArgumentError
from flyte_kernel.store.columns import TABLES, ColumnType, Table
from flyte_kernel.store.values import parse_duration, parse_integer, parse_timestamp

__all__ = ["LIKE_ESCAPE", "Filter", "Order", "Row", "filter_rows", "page_of", "parse_filters", "parse_order"]

Row = Mapping[str, object]
Item = TypeVar("Item")
RowT = TypeVar("RowT", bound=Row)

LIKE_ESCAPE = "\\"

_EXPRESSION = re.compile(r"(.+)\((.+),[\t\n\f\r ]?(.+)\)")
_FUNCTIONS = frozenset({"eq", "ne", "gt", "gte", "lt", "lte", "contains", "not_like", "value_in", "value_not_in"})
_LIST_FUNCTIONS = frozenset({"value_in", "value_not_in"})
_LIKE_FUNCTIONS = frozenset({"contains", "not_like"})


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition. `values` has one element unless the function takes a list; patterns are LIKE patterns.

    A column without a value meets no condition, not even "ne": SQL's rule.
    """

    table: str
    column: str
    function: str
    values: tuple[str | int, ...]
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Order:
    """Rows by one column; those without a value count as the greatest, as in PostgreSQL; ties keep their order."""

    column: str
    type: ColumnType
    descending: bool


def parse_filters(text: str, table_name: str) -> tuple[Filter, ...]:
    """Parse the filters of a listing of `table_name`; InvalidArgumentError says what is wrong."""
    if not text:
        return ()
    return tuple(_parse_filter(expression, TABLES[table_name]) for expression in text.split("+"))


def parse_order(query: ListQuery, table_name: str) -> Order | None:
    """Return the order a query asks for, None if it leaves that to the listing."""
    if not query.sort_key:
        return None
    type_ = TABLES[table_name].sort_column(query.sort_key)
    if type_ is None:
        raise InvalidArgumentError(f"invalid sort key '{query.sort_key}'")
    return Order(query.sort_key, type_, query.descending)


def filter_rows(table_name: str, rows: Sequence[RowT], query: ListQuery) -> Page[RowT]:
    """Return the page of `rows` that a query asks for.

    A row maps column names to values (see ColumnType; a missing one is none), and names of joined tables to a row of
    that table or a list of them. Projects come by identifier, all else in the order given unless the query says.
    """
    filters = parse_filters(query.filters, table_name)
    order = parse_order(query, table_name)
    if order is None and table_name == "project":
        order = Order("identifier", ColumnType.TEXT, descending=False)
    accepts = _predicate(filters, table_name)
    found = [row for row in rows if accepts(row)]
    if order is not None:
        found.sort(key=_sort_key(order), reverse=order.descending)
    end = query.offset + query.limit if query.limit else len(found)
    return page_of(found[query.offset : end], query)


def page_of(items: list[Item], query: ListQuery) -> Page[Item]:
    """Return rows that were cut to the query's window with the token of the next page."""
    full = query.limit and len(items) == query.limit
    return Page(items, str(query.offset + len(items)) if full else "")


# Parsing


def _parse_filter(expression: str, listed: Table) -> Filter:
    match = _EXPRESSION.search(expression)
    if match is None:
        raise InvalidArgumentError("invalid value for filters")
    function, field, text = match.groups()
    table, column = _table_of(field, listed)
    if table.name not in listed.joins:
        raise InvalidArgumentError(f"'{table.alias}' entity is not allowed in filters")
    type_ = table.columns.get(column)
    if type_ is None:
        raise InvalidArgumentError(f"'{table.alias}.{column}' is invalid filter")
    name = f"{table.alias}.{column}"
    parts = text.split(";")
    values = tuple(_parse_value(part, type_, name) for part in parts) if function not in _LIKE_FUNCTIONS else ()
    if function not in _FUNCTIONS:
        raise InvalidArgumentError(f"unrecognized filter function: {function}")
    if type_ is ColumnType.OPAQUE:
        raise InvalidArgumentError(f"'{name}' cannot be filtered by")
    if len(parts) > 1 and function not in _LIST_FUNCTIONS:
        raise InvalidArgumentError(f"'{function}' takes one value, but ';' makes several of '{text}'")
    if function in _LIKE_FUNCTIONS:
        values = (_parse_pattern(text, function, type_, name),)
    table_name, column = _renamed(table, column)
    return Filter(table_name, column, function, values, type_)


def _table_of(field: str, listed: Table) -> tuple[Table, str]:
    prefix, dot, column = field.partition(".")
    if dot and prefix in TABLES:
        return TABLES[prefix], column
    return listed, field


def _renamed(table: Table, column: str) -> tuple[str, str]:
    """Admin tags were moved to another table of the reference, whose columns have other names."""
    return ("execution_tag" if table.name == "admin_tag" else table.name), table.renamed.get(column, column)


def _parse_value(text: str, type_: ColumnType, name: str) -> str | int:
    if type_ is ColumnType.INTEGER:
        return parse_integer(text, name)
    if type_ is ColumnType.TIMESTAMP:
        return parse_timestamp(text, name)
    if type_ is ColumnType.DURATION:
        return parse_duration(text)
    return text


def _parse_pattern(text: str, function: str, type_: ColumnType, name: str) -> str:
    """Return a LIKE pattern in which the escape stands before %, _ and itself only, as stricter databases want it."""
    if type_ is not ColumnType.TEXT:
        raise InvalidArgumentError(f"'{function}' needs a text column, '{name}' is none")
    pattern = "".join(_escaped(character) if literal else character for character, literal in _characters(text, name))
    return f"%{pattern}%" if function == "contains" else pattern


def _characters(text: str, name: str) -> list[tuple[str, bool]]:
    """Split a pattern into characters and whether each stands for itself."""
    characters = []
    escaped = False
    for character in text:
        if character == LIKE_ESCAPE and not escaped:
            escaped = True
            continue
        characters.append((character, escaped or character not in "%_"))
        escaped = False
    if escaped:
        raise InvalidArgumentError(f"the pattern '{text}' for '{name}' must not end with a backslash")
    return characters


def _escaped(character: str) -> str:
    return LIKE_ESCAPE + character if character in ("%", "_", LIKE_ESCAPE) else character


# Rows in memory


def _predicate(filters: Sequence[Filter], table_name: str) -> Callable[[Row], bool]:
    own = [_condition(filter_) for filter_ in filters if filter_.table == table_name]
    joined: dict[str, list[Callable[[Row], bool]]] = {}
    for filter_ in filters:
        if filter_.table != table_name:
            joined.setdefault(filter_.table, []).append(_condition(filter_))

    def accepts(row: Row) -> bool:
        return all(condition(row) for condition in own) and all(
            any(all(condition(other) for condition in conditions) for other in _joined_rows(row, name))
            for name, conditions in joined.items()
        )

    return accepts


def _joined_rows(row: Row, name: str) -> Sequence[Row]:
    joined = row.get(name)
    if joined is None:
        return ()
    if isinstance(joined, Mapping):
        return (joined,)
    assert isinstance(joined, Sequence)
    return joined


_COMPARISONS: Mapping[str, Callable[[object, object], bool]] = {
    "eq": lambda value, wanted: value == wanted,
    "ne": lambda value, wanted: value != wanted,
    "gt": lambda value, wanted: value > wanted,  # type: ignore[operator]
    "gte": lambda value, wanted: value >= wanted,  # type: ignore[operator]
    "lt": lambda value, wanted: value < wanted,  # type: ignore[operator]
    "lte": lambda value, wanted: value <= wanted,  # type: ignore[operator]
}


def _condition(filter_: Filter) -> Callable[[Row], bool]:
    holds = _test_of(filter_)
    column, type_ = filter_.column, filter_.type

    def accepts(row: Row) -> bool:
        value = _value(row, column, type_)
        return value is not None and holds(value)

    return accepts


def _test_of(filter_: Filter) -> Callable[[object], bool]:
    function, values = filter_.function, filter_.values
    if function in _LIST_FUNCTIONS:
        wanted = frozenset(values)
        return (lambda value: value in wanted) if function == "value_in" else (lambda value: value not in wanted)
    if function in _LIKE_FUNCTIONS:
        matches = _like(str(values[0])).fullmatch
        inverted = function == "not_like"
        return lambda value: (matches(str(value)) is not None) != inverted
    compare, operand = _COMPARISONS[function], values[0]
    return lambda value: compare(value, operand)


def _like(pattern: str) -> re.Pattern[str]:
    wildcards = {"%": ".*", "_": "."}
    parts = [
        re.escape(character) if literal else wildcards[character] for character, literal in _characters(pattern, "")
    ]
    return re.compile("".join(parts), re.DOTALL)


def _value(row: Row, column: str, type_: ColumnType) -> object:
    value = row.get(column)
    return None if type_ is ColumnType.TIMESTAMP and value == 0 else value


def _sort_key(order: Order) -> Callable[[Row], tuple[bool, object]]:
    def key(row: Row) -> tuple[bool, object]:
        value = _value(row, order.column, order.type)
        return (True, 0) if value is None else (False, value)

    return key

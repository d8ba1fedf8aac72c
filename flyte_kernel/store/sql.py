"""Parsed filters and orders as DuckDB's SQL; values are bound, never written into the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flyte_kernel.engine.queries import ListQuery
from flyte_kernel.store.columns import TABLES
from flyte_kernel.store.filters import LIKE_ESCAPE, Filter, Order

__all__ = ["Statement", "listing"]

_OPERATORS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}

# (listed, joined): how a row of one table finds those of the other.
_JOINS = {
    ("execution", "launch_plan"): "l.id = e.launch_plan_id",
    ("execution", "workflow"): "w.id = e.workflow_id",
    ("execution", "task"): "t.id = e.task_id",
    ("execution", "execution_tag"): "et.run = e.run",
    ("launch_plan", "workflow"): "w.id = l.workflow_id",
}


@dataclass(slots=True)
class Statement:
    """SQL text and the values for its question marks, in order."""

    text: str
    parameters: list[str | int] = field(default_factory=list)


def listing(
    table: str,
    *,
    selected: str,
    sources: Mapping[str, str],
    fixed: Mapping[str, str],
    filters: Sequence[Filter],
    order: Order | None,
    query: ListQuery,
) -> Statement:
    """Return the statement that selects one page of `table`.

    `sources` gives the SELECT behind each table's FlyteAdmin columns, `fixed` the columns that must equal a value;
    rows come by `order` and then, as all of them if there is none, by id.
    """
    alias = TABLES[table].alias
    statement = Statement(f"SELECT {selected} FROM ({sources[table]}) {alias} WHERE true")
    for column, value in fixed.items():
        statement.text += f' AND {alias}."{column}" = ?'
        statement.parameters.append(value)
    for filter_ in filters:
        if filter_.table == table:
            _add_condition(statement, filter_)
    _add_joins(statement, table, sources, filters)
    statement.text += f" ORDER BY {_order(alias, order)}"
    if query.limit:
        statement.text += " LIMIT ?"
        statement.parameters.append(query.limit)
    statement.text += " OFFSET ?"
    statement.parameters.append(query.offset)
    return statement


def _add_joins(statement: Statement, table: str, sources: Mapping[str, str], filters: Sequence[Filter]) -> None:
    """All conditions on one joined table must hold for one of its rows."""
    joined: dict[str, list[Filter]] = {}
    for filter_ in filters:
        if filter_.table != table:
            joined.setdefault(filter_.table, []).append(filter_)
    for name, conditions in joined.items():
        statement.text += f" AND EXISTS (SELECT 1 FROM ({sources[name]}) {TABLES[name].alias} WHERE "
        statement.text += _JOINS[table, name]
        for filter_ in conditions:
            _add_condition(statement, filter_)
        statement.text += ")"


def _add_condition(statement: Statement, filter_: Filter) -> None:
    column = f'{TABLES[filter_.table].alias}."{filter_.column}"'
    if filter_.function in ("value_in", "value_not_in"):
        negation = "NOT " if filter_.function == "value_not_in" else ""
        marks = ", ".join("?" * len(filter_.values))
        statement.text += f" AND {column} {negation}IN ({marks})"
    elif filter_.function in ("contains", "not_like"):
        negation = "NOT " if filter_.function == "not_like" else ""
        statement.text += f" AND {column} {negation}LIKE ? ESCAPE '{LIKE_ESCAPE}'"
    else:
        statement.text += f" AND {column} {_OPERATORS[filter_.function]} ?"
    statement.parameters.extend(filter_.values)


def _order(alias: str, order: Order | None) -> str:
    if order is None:
        return f"{alias}.id"
    direction = "DESC NULLS FIRST" if order.descending else "ASC NULLS LAST"
    return f'{alias}."{order.column}" {direction}, {alias}.id'

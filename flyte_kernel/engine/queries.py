"""What a listing asks for and what it answers, independent of who asks and who answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["ListQuery", "Page"]

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ListQuery:
    """`filters` in the grammar of FlyteAdmin (`eq(name,x)+gt(duration,5)`), offset already parsed from the token.

    `limit` 0 means all. `sort_key` empty means the listing's own order; `descending` is FlyteIDL's default.
    """

    filters: str = ""
    sort_key: str = ""
    descending: bool = True
    limit: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some rows and the token of the next page, empty when this page was not full."""

    items: list[Item]
    token: str = ""

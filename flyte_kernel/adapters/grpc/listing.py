"""What all listings share: limits, tokens, sorting."""

from __future__ import annotations

from typing import Protocol

from flyteidl.admin import common_pb2

from flyte_kernel.engine.queries import ListQuery
from flyte_kernel.engine.validation import check_limit
from flyte_kernel.errors import InvalidArgumentError

__all__ = ["list_query"]

_TOKEN_DIGITS_MAX = 18  # fits into 64 bits


class _ListRequest(Protocol):
    limit: int
    token: str

    @property
    def sort_by(self) -> common_pb2.Sort: ...


def list_query(request: _ListRequest, listing: str, *, filters: str = "", any_limit: bool = False) -> ListQuery:
    """Return the query of a list request; `listing` is its name in the texts of refusals."""
    if not any_limit:
        check_limit(request.limit)
    return ListQuery(
        filters=filters,
        sort_key=request.sort_by.key,
        descending=request.sort_by.direction == common_pb2.Sort.DESCENDING,
        limit=request.limit,
        offset=_offset(request.token, listing),
    )


def _offset(token: str, listing: str) -> int:
    if not token:
        return 0
    if not (token.isascii() and token.isdigit() and len(token) <= _TOKEN_DIGITS_MAX):
        raise InvalidArgumentError(f"invalid pagination token {token} for {listing}")
    return int(token)

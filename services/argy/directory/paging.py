"""Keyset pages of lists that are ordered by id."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from argy.rpc.call import Call
from argy.rpc.page_token import PageTokens, page_size

Item = TypeVar("Item")


class Paged:
    """Keyset pages: one item more than asked for is read, to know whether there is another page."""

    __slots__ = ("_tokens",)

    def __init__(self, tokens: PageTokens) -> None:
        self._tokens = tokens

    def window(self, call: Call, request: Any) -> tuple[UUID | None, int]:
        """The id that the page begins after, and how many items to read.

        Raises:
            InvalidArgument: ``INVALID_PAGE_TOKEN``.
        """
        cursor = self._tokens.decode(call, request)
        return (None if cursor is None else UUID(bytes=cursor)), page_size(request.page_size) + 1

    def cut(
        self, call: Call, request: Any, found: Sequence[Item], key: Callable[[Item], UUID]
    ) -> tuple[Sequence[Item], str]:
        """The page, and the token of the next one; "" at the end."""
        size = page_size(request.page_size)
        if len(found) <= size:
            return found, ""
        return found[:size], self._tokens.encode(call, request, key(found[size - 1]).bytes)

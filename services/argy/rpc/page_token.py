"""Page tokens: where a list goes on, authenticated and bound to the query that made them."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import Final, TypeVar

from google.protobuf.message import Message

from argy.base.errors import InvalidArgument
from argy.rpc.call import Call

Query = TypeVar("Query", bound=Message)

_MAC_BYTES: Final = 32
DEFAULT_PAGE_SIZE: Final = 100


class PageTokens:
    """Makes and checks page tokens (AIP-158).

    A token holds a cursor that only the server reads, and the HMAC-SHA256 of tenant, org, method,
    caller and every field of the request but the page's own. It works for nobody and nothing else.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, call: Call, query: Message, cursor: bytes) -> str:
        """The token with which the same query goes on at ``cursor``."""
        return urlsafe_b64encode(self._mac(call, query, cursor) + cursor).decode().rstrip("=")

    def decode(self, call: Call, query: Message) -> bytes | None:
        """The cursor of ``query.page_token``; None for the first page.

        Raises:
            InvalidArgument: with ``INVALID_PAGE_TOKEN`` for any other token than this query's own.
        """
        token: str = query.page_token  # type: ignore[attr-defined]
        if not token:
            return None
        try:
            raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (Base64Error, ValueError):
            raw = b""
        mac, cursor = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(call, query, cursor)):
            raise InvalidArgument(
                "page_token is not one that this very query was given: start at the first page",
                reason="INVALID_PAGE_TOKEN",
                field="page_token",
            )
        return cursor

    def _mac(self, call: Call, query: Message, cursor: bytes) -> bytes:
        bare = type(query)()
        bare.CopyFrom(query)
        for name in ("page_token", "page_size"):
            bare.ClearField(name)
        parts = (
            call.method.path.encode(),
            call.tenant_id.bytes,
            call.org_id.bytes if call.org_id else b"",
            call.caller.encode(),
            bare.SerializeToString(deterministic=True),
            cursor,
        )
        record = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, record, hashlib.sha256)


def page_size(asked: int) -> int:
    """The page size to serve: what was asked, or the default for 0."""
    return asked or DEFAULT_PAGE_SIZE

"""Page tokens of searches: where one goes on, for the caller and the question that it was made for.

``base64url(HMAC-SHA256 ‖ JSON)``. The MAC covers the place and a digest of tenant, org, caller and
question, so a token serves nobody and nothing else (Authorization API 1.0, Pagination: all entities
must be identical to the preceding request).
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from argy.base.crypto import hkdf_sha256
from argy.base.errors import InvalidArgument
from argy.edge.authzen.domain import Search
from argy.rpc.client import Metadata

DEFAULT_LIMIT: Final = 100
_MAC_BYTES: Final = 32
_INFO: Final = b"argy-edge-page-token-v1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a search goes on."""

    limit: int
    """Results a page, the same on all of them."""
    upstream: str = ""
    """Page token of the service's own list, for searches that are such a list."""
    skip: int = 0
    """Results of that page that were told already."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and about which tenant: for whom a token is good."""

    tenant_id: UUID
    org_id: UUID | None
    caller: str
    """The service that the edge acts for; or the digest of a credential, which then goes along."""
    credential: Metadata = ()
    """What hands somebody's own credential on; empty for a service."""


class PageTokens:
    """Makes and checks the tokens."""

    __slots__ = ("_key",)

    def __init__(self, secret: bytes) -> None:
        """Derive the key from a secret that every replica of the edge has."""
        self._key = hkdf_sha256(secret, salt=b"", info=_INFO)

    def encode(self, asker: Asker, search: Search, place: Place) -> str:
        """The token with which the same search goes on at ``place``."""
        content = json.dumps([place.limit, place.upstream, place.skip]).encode()
        return urlsafe_b64encode(self._mac(asker, search, content) + content).decode().rstrip("=")

    def decode(self, asker: Asker, search: Search) -> Place:
        """Where ``search`` begins.

        Raises:
            InvalidArgument: with ``INVALID_PAGE_TOKEN`` for any other token than this search's own,
                or when its limit is another one.
        """
        page = search.page
        if not page.token:
            return Place(DEFAULT_LIMIT if page.limit is None else page.limit)
        try:
            raw = urlsafe_b64decode(page.token + "=" * (-len(page.token) % 4))
        except ValueError:
            raw = b""
        mac, content = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(asker, search, content)):
            raise _invalid("is not one that this very search was given: start at the first page")
        limit, upstream, skip = json.loads(content)
        if page.limit not in (None, limit):
            raise InvalidArgument(
                f"/page/limit was {limit} on the first page, and must stay so",
                reason="INVALID_PAGE_TOKEN",
                field="/page/limit",
            )
        return Place(limit, upstream, skip)

    def _mac(self, asker: Asker, search: Search, content: bytes) -> bytes:
        question: list[Any] = [
            str(asker.tenant_id),
            str(asker.org_id or ""),
            asker.caller,
            search.kind,
            search.subject,
            search.action,
            search.resource,
            search.facts,
        ]
        asked = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).digest()
        return hmac.digest(self._key, asked + content, hashlib.sha256)


def _invalid(wrong: str) -> InvalidArgument:
    return InvalidArgument(f"/page/token {wrong}", reason="INVALID_PAGE_TOKEN", field="/page/token")

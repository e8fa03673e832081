"""Forms that only our own pages can send.

Two locks, each of which is enough (OWASP's signed double submit, and Fetch Metadata): a token that
is bound to a cookie of the browser by HMAC, and where the browser says that the request comes from.
"""

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Final

from argy.base.crypto import hkdf_sha256
from argy.base.errors import PermissionDenied
from argy.client.connection import Endpoint
from argy.edge.request import Scope, header_values
from argy.rpc.pair_keys import IssuedKeys

FIELD: Final = "csrf"
HEADER: Final = b"x-csrf-token"
_LABEL: Final = b"argy edge forms v1"


class FormTokens:
    """Issues and checks the tokens of forms; any replica checks what another one issued."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """``key`` has 32 bytes, the same in every replica."""
        self._key = key

    @classmethod
    def of(cls, endpoint: Endpoint) -> "FormTokens":
        """With a key derived from the edge's own signing key; a rotation makes forms load anew."""
        keys = IssuedKeys.load(Path(endpoint.keys_file))
        secret = keys.pair_key(keys.signing, endpoint.source, "authz")
        return cls(hkdf_sha256(secret, salt=keys.signing.encode(), info=_LABEL))

    def issue(self, binding: str) -> str:
        """The token of the browser whose cookie holds ``binding``; 43 characters of base64url."""
        digest = hmac.digest(self._key, binding.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def check(self, *, binding: str, token: str) -> None:
        """Accept a token of this browser.

        Raises:
            PermissionDenied: ``FORM_STALE``, for any other one, or without a cookie.
        """
        given, expected = token.encode(), self.issue(binding).encode()
        if not binding or not hmac.compare_digest(given, expected):
            raise PermissionDenied("This form is out of date", reason="FORM_STALE")


def check_same_origin(scope: Scope, *, origin: str) -> None:
    """Accept a request that a page of ``origin`` sent.

    Raises:
        PermissionDenied: ``CROSS_SITE``, when the browser names another place, or none.
    """
    sites = header_values(scope, b"sec-fetch-site")
    origins = header_values(scope, b"origin")
    same = sites in ([], [b"same-origin"]) and origins in ([], [origin.encode()])
    if not same or not (sites or origins):
        raise PermissionDenied("No page of ours sent this", reason="CROSS_SITE")

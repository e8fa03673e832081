"""What browsers and passkey managers read of this relying party, without cookies.

    GET /.well-known/webauthn            where else its passkeys may be used
    GET /.well-known/passkey-endpoints   where a person makes and manages them

The first is of WebAuthn Level 3 §5.11, the second of W3C's "Relying Party Passkey Endpoints".
Neither knows a tenant, so the second leads to the page that finds it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from argy.edge.pages.start import MAKE, MANAGE, TO

_ORIGINS: Final = "/.well-known/webauthn"
_ENDPOINTS: Final = "/.well-known/passkey-endpoints"
_AGE_S: Final = 3600


def routes(origins: Sequence[str], *, base_url: str) -> list[BaseRoute]:
    """Both documents, to be read on the host that is the relying party's id."""
    start = f"{base_url}/?{TO}="
    return [
        _document(_ORIGINS, {"origins": list(origins)}),
        _document(_ENDPOINTS, {"enroll": start + MAKE, "manage": start + MANAGE}),
    ]


def _document(path: str, told: Mapping[str, Any]) -> Route:
    async def answer(_request: Request) -> Response:
        return JSONResponse(told, headers={"cache-control": f"public, max-age={_AGE_S}"})

    return Route(path, answer, methods=["GET"])

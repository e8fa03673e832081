"""Where else this relying party's passkeys may be used (WebAuthn Level 3 §5.11)."""

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

_PATH: Final = "/.well-known/webauthn"
_AGE_S: Final = 3600


def routes(origins: Sequence[str]) -> list[BaseRoute]:
    """The document that browsers read on the host that is the relying party's id.

    They ask without cookies, and only when a page of another origin uses a passkey of that id.
    """

    async def related(_request: Request) -> Response:
        return JSONResponse(
            {"origins": list(origins)}, headers={"cache-control": f"public, max-age={_AGE_S}"}
        )

    return [Route(_PATH, related, methods=["GET"])]

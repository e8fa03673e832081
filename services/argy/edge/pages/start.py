"""The page without a tenant: which organization somebody belongs to, and what they want there."""

from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from argy.edge.pages.views import HEADERS, Views
from argy.edge.platform import SLUG
from argy.edge.sessions import slugs_of

TO: Final = "to"
"""The field that names the page to go to there."""
MAKE: Final = "enrol"
MANAGE: Final = "security"
_PAGES: Final = {"": "sign-in", MAKE: MAKE, MANAGE: MANAGE}


class Start:
    """Asks for the organization, and offers those that this browser is signed in to."""

    __slots__ = ("_views",)

    def __init__(self, views: Views) -> None:
        self._views = views

    async def show(self, request: Request) -> Response:
        """The page; who wants something of the one organization they are in is sent on."""
        to = request.query_params.get(TO, "")
        if to not in _PAGES:
            to = ""
        asked = request.query_params.get("organization", "").strip().lower()
        if SLUG.fullmatch(asked):
            return _go(asked, _PAGES[to])
        slugs = slugs_of(request)
        if to and not asked and len(slugs) == 1:
            return _go(slugs[0], _PAGES[to])
        return self._views.page(
            "start.html", wrong=bool(asked), slugs=sorted(slugs), page=to or MANAGE, to=to
        )


def _go(slug: str, page: str) -> Response:
    return RedirectResponse(f"/{slug}/{page}", 303, headers=dict(HEADERS))

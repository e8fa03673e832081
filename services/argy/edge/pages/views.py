"""Templates and the files that they use, and what a browser may do with them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from argy.base.errors import NotFound
from argy.base.foreign_text import on_page
from argy.edge.pages import words

STATIC: Final = "/-/static/"
"""No tenant's name begins with a hyphen, so no page of a tenant lies there."""
_HERE: Final = Path(__file__).parent
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS: Final[Mapping[str, str]] = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": (
        "camera=(), geolocation=(), microphone=(), payment=(), usb=(), "
        "publickey-credentials-create=(self), publickey-credentials-get=(self)"
    ),
    # "no-referrer" would make browsers send "Origin: null" with our own forms.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def _readable(value: object) -> object:
    """What a template shows: others wrote parts of it."""
    return on_page(value) if type(value) is str else value


class Views:
    """Renders templates, and serves their files under a name that changes when they do."""

    __slots__ = ("_environment", "_files", "_folder")

    def __init__(self) -> None:
        """Reads every file at once."""
        files = sorted((_HERE / "static").iterdir())
        self._files = {file.name: file.read_bytes() for file in files}
        digest = hashlib.sha256()
        for name, content in self._files.items():
            digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
        self._folder = digest.hexdigest()[:16]
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_readable,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals["static"] = self.address
        self._environment.filters["device"] = words.device_name
        self._environment.filters["event"] = words.event
        self._environment.filters["moment"] = words.moment
        self._environment.filters["shown"] = words.shown
        self._environment.filters["used"] = words.used
        self._environment.filters["ways"] = words.ways
        self._environment.filters["whence"] = words.whence

    def address(self, name: str) -> str:
        """The URL path of a file."""
        if name not in self._files:
            raise LookupError(name)
        return f"{STATIC}{self._folder}/{name}"

    def templates(self) -> list[str]:
        """The names of all templates."""
        return self._environment.list_templates()

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page. Every value is escaped where it stands."""
        body = self._environment.get_template(template).render(values)
        return HTMLResponse(body, status, headers=dict(HEADERS))

    async def file(self, request: Request) -> Response:
        """One of the files; the name of their folder tells their content, so they stay good."""
        name = request.path_params["name"]
        if request.path_params["folder"] != self._folder or name not in self._files:
            raise NotFound("There is no such file")
        return Response(
            self._files[name],
            media_type=_TYPES[Path(name).suffix],
            headers={"cache-control": "public, max-age=31536000, immutable"},
        )

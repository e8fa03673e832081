"""The HTTP face of the platform, as a terminal calls it: HTTPS, JSON back, no redirects."""

import http.client
import json
import platform
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from argy.base.errors import (
    ArgyError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)

_TIMEOUT_S: Final = 15.0
_MAX_BYTES: Final = 4 * 1024 * 1024
_USER_AGENT: Final = f"argy-cli/0.1 ({platform.system()})"
_KINDS: Final[Mapping[int, type[ArgyError]]] = {
    400: InvalidArgument,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: FailedPrecondition,
    429: ResourceExhausted,
    503: Unavailable,
    504: Unavailable,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status and the JSON object, empty where there was none."""

    status: int
    body: dict[str, Any]

    @property
    def oauth_error(self) -> str:
        """The name of an OAuth error (RFC 6749 §5.2); empty for anything else."""
        error = self.body.get("error", "")
        return error if isinstance(error, str) else ""

    def checked(self) -> dict[str, Any]:
        """The object of a success.

        Raises:
            ArgyError: what the edge told instead, of the kind that its status says.
        """
        if 200 <= self.status < 300:
            return self.body
        told = self.body.get("detail") or self.body.get("error_description")
        reason = self.body.get("reason") or self.oauth_error.upper()
        kind = _KINDS.get(self.status, ArgyError)
        raise kind(
            str(told or f"the edge answered {self.status}"), reason=str(reason or "EDGE_ERROR")
        )


@dataclass(frozen=True, slots=True)
class EdgeClient:
    """One edge. ``ca_file`` is a CA to trust instead of the system's; empty for the system's."""

    url: str
    ca_file: str = ""

    def __post_init__(self) -> None:
        """Refuse anything but an https URL of a host: tokens go there."""
        try:
            parts = urlsplit(self.url)
            parts.port  # noqa: B018 - it is read to be checked
        except ValueError as error:
            raise InvalidArgument(f"the edge is no URL: {error}", field="edge") from error
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
            raise InvalidArgument("the edge must be https://host[:port]", field="edge")

    def get(self, path: str, *, token: str = "") -> Answer:
        """GET ``path``, with a bearer token if there is one."""
        return self._send("GET", path, b"", "", token)

    def delete(self, path: str, *, token: str) -> Answer:
        """DELETE ``path``."""
        return self._send("DELETE", path, b"", "", token)

    def post_form(self, path: str, fields: Mapping[str, str]) -> Answer:
        """POST a form."""
        body = urlencode(dict(fields)).encode()
        return self._send("POST", path, body, "application/x-www-form-urlencoded", "")

    def post_json(self, path: str, value: Mapping[str, Any], *, token: str) -> Answer:
        """POST a JSON object."""
        return self._send("POST", path, json.dumps(dict(value)).encode(), "application/json", token)

    def _send(self, method: str, path: str, body: bytes, media_type: str, token: str) -> Answer:
        parts = urlsplit(self.url)
        headers = {"Accept": "application/json", "User-Agent": _USER_AGENT}
        if media_type:
            headers["Content-Type"] = media_type
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPSConnection(
            parts.hostname or "",
            parts.port,
            timeout=_TIMEOUT_S,
            context=_tls(self.ca_file),
        )
        try:
            # Nothing follows a redirect: a token goes to the host that it was made for.
            connection.request(method, parts.path.rstrip("/") + path, body or None, headers)
            response = connection.getresponse()
            content = response.read(_MAX_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            raise Unavailable(
                f"{self.url} shows no certificate that is trusted here: give --ca",
                reason="EDGE_UNTRUSTED",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self.url} can't be reached", reason="EDGE_AWAY") from error
        finally:
            connection.close()
        return Answer(response.status, _object(content))


def _tls(ca_file: str) -> ssl.SSLContext:
    if ca_file and not Path(ca_file).is_file():
        raise InvalidArgument(f"there is no CA file {ca_file}", field="ca")
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _object(content: bytes) -> dict[str, Any]:
    if len(content) > _MAX_BYTES:
        raise Unavailable("the edge answered too much", reason="EDGE_ERROR")
    try:
        value = json.loads(content) if content else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

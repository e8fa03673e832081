"""Who calls: services by tokens of a file that may change any time, and people by their own.

Whose an access token, a personal access token or an API key is, and what it is good for, the
services say: here its form alone is looked at, and it goes to them as it came. Credentials come in
headers, which no page of another origin can make a browser send; cookies count for nothing here.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from argy.base.errors import ArgyError, InvalidArgument, Unauthenticated, Unavailable
from argy.base.secret_token import is_token, token_digest
from argy.client.pep_tokens import KIND, PepToken, load_tokens
from argy.edge.request import Scope, header_values
from argy.rpc.client import Metadata
from argy.rpc.credentials import API_KEY, PAT

_LOG: Final = logging.getLogger("argy.edge")
_MAX_HEADER: Final = 256
_MAX_CREDENTIAL: Final = 8_192 + len("Bearer ")
_ACCESS_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
"""The compact form of a signed token (RFC 7515 §7.1)."""
_NEVER_IN_QUERY: Final = frozenset(
    {"access_token", "api-key", "api_key", "apikey", "authorization", "token", "x-api-key"}
)


@dataclass(frozen=True, slots=True)
class Credential:
    """Somebody's own credential: who it is good for the services alone can tell."""

    metadata: Metadata
    """What hands it on to them."""
    digest: str
    """Its SHA-256, for what must serve its bearer alone."""


class Callers:
    """The tokens of a file. A changed file counts from the next request on.

    A file that can't be read refuses everybody until it can: a revocation must not wait for it.
    """

    __slots__ = ("_path", "_seen", "_tokens")

    def __init__(self, path: Path) -> None:
        """Read the file; raises as ``load_tokens`` does."""
        self._path = path
        self._seen = _stamp(path)
        self._tokens: Mapping[str, PepToken] = load_tokens(path)

    def identify(self, authorization: Sequence[bytes]) -> PepToken:
        """Whose token the ``Authorization`` headers hold.

        Raises:
            Unauthenticated: unless there is one header, with one live token.
            Unavailable: while the token file can't be read.
        """
        if not authorization:
            raise Unauthenticated(
                "send Authorization: Bearer <token>; `argy keys edge-token` makes one",
                reason="TOKEN_MISSING",
            )
        refuse_basic(authorization)
        token = _bearer(authorization)
        # Looked up by digest, so that no comparison's duration tells anything of a token.
        found = self._current().get(token_digest(token)) if is_token(token, kind=KIND) else None
        if found is None:
            raise Unauthenticated("the token is not one of this edge's", reason="TOKEN_INVALID")
        return found

    def identify_any(self, scope: Scope) -> PepToken | Credential:
        """Whose token a request holds, or the credential that somebody else is to be asked about.

        Raises:
            Unauthenticated: without one well-formed credential, or with an edge token that is not
                live.
            InvalidArgument: ``CREDENTIAL_AMBIGUOUS`` for two of them, ``CREDENTIAL_IN_QUERY`` for
                one in the address, which stands in logs (RFC 9700 §4.3.2).
            Unavailable: while the token file can't be read.
        """
        authorization = header_values(scope, b"authorization")
        keys = header_values(scope, b"x-api-key")
        if authorization and keys:
            raise InvalidArgument(
                "give one credential: Authorization or X-API-Key", reason="CREDENTIAL_AMBIGUOUS"
            )
        found = _api_key(keys) if keys else _own_token(authorization)
        who = found or self.identify(authorization)
        query = scope["query_string"].decode("latin-1").replace(";", "&")
        names = {name.lower() for name, _ in parse_qsl(query, keep_blank_values=True)}
        if not names.isdisjoint(_NEVER_IN_QUERY):
            raise InvalidArgument(
                "send credentials in headers, never in the address", reason="CREDENTIAL_IN_QUERY"
            )
        return who

    def _current(self) -> Mapping[str, PepToken]:
        seen = _stamp(self._path)
        if seen != self._seen or not seen:
            try:
                tokens = load_tokens(self._path)
            except ArgyError as error:
                _LOG.error("edge tokens: %s", error.message)
                raise Unavailable(
                    "tokens can't be checked now", reason="TOKENS_UNREADABLE"
                ) from error
            self._tokens, self._seen = tokens, seen
        return self._tokens


def refuse_basic(authorization: Sequence[bytes]) -> None:
    """Say clearly that Basic authentication leads nowhere.

    Raises:
        Unauthenticated: ``PASSWORD_UNSUPPORTED``.
    """
    if any(value[:6].lower() == b"basic " for value in authorization):
        raise Unauthenticated(
            "there are no passwords here: send Authorization: Bearer <token>",
            reason="PASSWORD_UNSUPPORTED",
        )


def _own_token(authorization: Sequence[bytes]) -> Credential | None:
    """An access token or a personal access token; None for what else may stand there."""
    token = _bearer(authorization, longest=_MAX_CREDENTIAL)
    if is_token(token, kind=PAT) or _ACCESS_TOKEN.fullmatch(token):
        return Credential((("authorization", f"Bearer {token}"),), token_digest(token))
    return None


def _api_key(keys: Sequence[bytes]) -> Credential:
    key = keys[0].decode("latin-1") if len(keys) == 1 else ""
    if not is_token(key, kind=API_KEY):
        raise Unauthenticated("the credential is not good", reason="CREDENTIAL_INVALID")
    return Credential((("x-api-key", key),), token_digest(key))


def _bearer(authorization: Sequence[bytes], *, longest: int = _MAX_HEADER) -> str:
    if len(authorization) == 1 and len(authorization[0]) <= longest:
        scheme, _, token = authorization[0].decode("latin-1").partition(" ")
        if scheme.lower() == "bearer":
            return token.strip(" ")
    return ""


def _stamp(path: Path) -> tuple[int, ...]:
    """Changes whenever the file does; empty when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode)

"""Who calls: bearer tokens of policy enforcement points, from a file that may change any time."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from argy.base.errors import ArgyError, Unauthenticated, Unavailable
from argy.base.secret_token import is_token, token_digest
from argy.client.pep_tokens import KIND, PepToken, load_tokens

_LOG: Final = logging.getLogger("argy.edge")
_MAX_HEADER: Final = 256


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


def _bearer(authorization: Sequence[bytes]) -> str:
    if len(authorization) == 1 and len(authorization[0]) <= _MAX_HEADER:
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

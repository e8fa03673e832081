"""The file of edge tokens: which service each policy enforcement point speaks as.

JSON, mode 0600: ``{"tokens": [{"sha256", "service", "tenant_id", "created"}]}``. It holds digests
alone; a token is shown once, when it is made. ``tenant_id`` is the tenant of requests that name
none, or empty.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from argy.base.crypto import read_secret_json, write_secret
from argy.base.errors import InvalidArgument, NotFound, ResourceExhausted
from argy.base.ids import parse_uuid
from argy.base.secret_token import new_token, token_digest

KIND: Final = "pep"
MAX_TOKENS: Final = 200
"""Most tokens of a file, which keeps it well below the limit of a secret file."""
_SERVICE: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_ID_CHARS: Final = 12


@dataclass(frozen=True, slots=True)
class PepToken:
    """One token, without itself."""

    sha256: str
    service: str
    tenant_id: str
    """UUID, or empty."""
    created: str
    """ISO 8601, UTC."""

    def __post_init__(self) -> None:
        """Refuse what no command wrote."""
        if not _SERVICE.fullmatch(self.service):
            raise InvalidArgument(
                "a service is lower-case letters, digits and hyphens", field="source"
            )
        if not _DIGEST.fullmatch(self.sha256):
            raise InvalidArgument("sha256 must be 64 hexadecimal digits", field="sha256")
        if self.tenant_id:
            parse_uuid(self.tenant_id, field="tenant")

    @property
    def token_id(self) -> str:
        """What to revoke it by: the start of its digest."""
        return self.sha256[:_ID_CHARS]


def load_tokens(path: Path) -> Mapping[str, PepToken]:
    """The tokens of a file by digest.

    Raises:
        FailedPrecondition: when others may read the file, or nobody can.
        InvalidArgument: when it is no token file.
    """
    value = read_secret_json(path)
    try:
        tokens = [PepToken(**{k: str(v) for k, v in one.items()}) for one in value["tokens"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"{path} is not a file of edge tokens: {error}") from error
    return {token.sha256: token for token in tokens}


def add_token(
    path: Path, *, service: str, tenant_id: UUID | None, now: datetime
) -> tuple[str, PepToken]:
    """Make a token for ``service`` and add its digest to the file, which is made if missing.

    Returns the token, which is kept nowhere, and its entry.

    Raises:
        InvalidArgument: for a malformed service.
        ResourceExhausted: when the file holds ``MAX_TOKENS``.
    """
    token = new_token(KIND)
    entry = PepToken(
        sha256=token_digest(token),
        service=service,
        tenant_id=str(tenant_id) if tenant_id else "",
        created=now.isoformat(timespec="seconds"),
    )
    with _alone(path):
        held = list(load_tokens(path).values()) if path.exists() else []
        if len(held) >= MAX_TOKENS:
            raise ResourceExhausted(f"{path} holds {MAX_TOKENS} tokens: revoke some")
        _save(path, [*held, entry])
    return token, entry


def revoke_token(path: Path, token_id: str) -> PepToken:
    """Remove a token; a running edge refuses it from its next request on.

    Raises:
        NotFound: when no token, or more than one, has that id.
    """
    with _alone(path):
        held = load_tokens(path).values()
        named = [token for token in held if token.token_id == token_id]
        if len(named) != 1:
            raise NotFound(f"{path} holds no token '{token_id}': leave out --revoke to list them")
        _save(path, [token for token in held if token is not named[0]])
    return named[0]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one command at a time change the file: none brings back what another revokes."""
    # The folder's own descriptor is locked, so that no file is left beside the tokens.
    folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _save(path: Path, tokens: Sequence[PepToken]) -> None:
    content = {"tokens": [asdict(token) for token in tokens]}
    write_secret(path, (json.dumps(content, indent=1) + "\n").encode())

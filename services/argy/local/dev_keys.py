"""Development secrets: made on first use, kept in one folder, mode 0600, never printed.

Not for production: there each secret comes from the platform's own secret store.
"""

import base64
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from argy.base.dsse import SigningKeys, TrustedKeys
from argy.local.errors import LocalError
from argy.local.files import (
    create_private,
    private_folder,
    read_private,
    secret_text,
    write_private,
)

_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class DevKeys:
    """Paths of the secret files, and the database passwords by role."""

    signing_keys_file: Path
    page_token_key_file: Path
    kek_file: Path
    """Seals secrets at rest."""
    policy_keys_file: Path
    """The control plane's, with which it signs what comes in force."""
    policy_author_file: Path
    """A developer's, to sign bundles with."""
    policy_trusted_file: Path
    """The public part of that one."""
    database_passwords: dict[str, str] = field(repr=False)


def ensure_dev_keys(folder: Path, *, roles: Iterable[str] = ()) -> DevKeys:
    """Make what is missing in ``folder`` and return it all; existing secrets stay.

    ``signing-keys.json``, ``page-token-keys.json`` and ``kek.json`` are key rings:
    ``{"signing": "k1", "keys": {"k1": "<base64 of 32 bytes>"}}``. So are ``policy.json`` and
    ``policy-author.json``, of Ed25519 seeds; ``policy-trusted.json`` holds the latter's public
    keys. Each role's password lies in ``database/<role>``. Raises LocalError if a file is
    readable by others or is no key ring.
    """
    folder = private_folder(folder)
    passwords = private_folder(folder / "database")
    author = _ensure_ring(folder / "policy-author.json")
    return DevKeys(
        signing_keys_file=_ensure_ring(folder / "signing-keys.json"),
        page_token_key_file=_ensure_ring(folder / "page-token-keys.json"),
        kek_file=_ensure_ring(folder / "kek.json"),
        policy_keys_file=_ensure_ring(folder / "policy.json"),
        policy_author_file=author,
        policy_trusted_file=_ensure_public(author, folder / "policy-trusted.json"),
        database_passwords={role: secret_text(passwords / _checked(role)) for role in roles},
    )


def _ensure_ring(path: Path) -> Path:
    if path.exists():
        content = read_private(path)
    else:
        key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode("ascii")
        ring = {"signing": "k1", "keys": {"k1": key}}
        content = create_private(path, (json.dumps(ring, indent=2) + "\n").encode("ascii"))
    try:
        found = json.loads(content)
        keys = {name: base64.b64decode(key, validate=True) for name, key in found["keys"].items()}
        usable = found["signing"] in keys and all(len(key) == _KEY_BYTES for key in keys.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        usable = False
    if not usable:
        raise LocalError(f"{path} is not a key ring: remove it, and a new one will be made.")
    return path


def _ensure_public(ring: Path, path: Path) -> Path:
    """The public keys of a ring, beside it; keys of others that were added there stay."""
    ours = SigningKeys.load(ring).public().to_json()
    held = TrustedKeys.load(path).to_json() if path.exists() else {}
    if not ours.items() <= held.items():
        write_private(path, (json.dumps(held | ours, indent=1) + "\n").encode())
    return path


def _checked(role: str) -> str:
    if not role.replace("_", "").isalnum():
        raise LocalError(f"{role!r} is not a database role's name.")
    return role

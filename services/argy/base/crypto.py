"""Key derivation and the key ring that signing stands on."""

import base64
import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from argy.base.errors import FailedPrecondition, InvalidArgument

KEY_BYTES: Final = 32
KEY_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_MAX_KEY_FILE: Final = 65_536


def hkdf_sha256(root: bytes, *, salt: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    """Derive ``length`` bytes from ``root`` with HKDF-SHA256 (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(root)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Root keys by id. All of them verify; ``signing`` is the one that signs.

    The file is JSON, ``{"signing": "k2", "keys": {"k1": "<base64 of 32 bytes>", "k2": "…"}}``,
    readable by its owner alone.
    """

    signing: str
    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse rings that can't sign, short keys and keys that are there twice."""
        if self.signing not in self.keys:
            raise InvalidArgument(
                f"the key ring signs with '{self.signing}', which it does not hold",
                field="signing",
            )
        for key_id, key in self.keys.items():
            if not KEY_ID.fullmatch(key_id):
                raise InvalidArgument(
                    f"key id '{key_id}' must be 1 to 32 of a-z 0-9 _ -", field="keys"
                )
            if len(key) != KEY_BYTES:
                raise InvalidArgument(f"key '{key_id}' must be {KEY_BYTES} bytes", field="keys")
        if len(set(self.keys.values())) != len(self.keys):
            raise InvalidArgument("two ids of the key ring hold the same key", field="keys")

    @classmethod
    def generate(cls, key_id: str = "k1") -> "KeyRing":
        """A ring of one fresh random key."""
        return cls(key_id, {key_id: secrets.token_bytes(KEY_BYTES)})

    @classmethod
    def load(cls, path: Path) -> "KeyRing":
        """Read a ring.

        Raises:
            FailedPrecondition: when the file can be read by others, or not at all.
            InvalidArgument: when it is not a ring.
        """
        return cls.from_json(read_secret_json(path), source=str(path))

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, source: str) -> "KeyRing":
        """The ring that a file's JSON describes; raises InvalidArgument, naming ``source``."""
        try:
            keys = {str(key): decode_key(text) for key, text in value["keys"].items()}
            return cls(str(value["signing"]), keys)
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise InvalidArgument(f"{source} is not a key ring: {error}") from error

    def save(self, path: Path) -> None:
        """Write the ring, whole or not at all."""
        keys = {key_id: encode_key(key) for key_id, key in self.keys.items()}
        write_secret(path, json.dumps({"signing": self.signing, "keys": keys}, indent=1).encode())

    def rotated(self, key_id: str) -> "KeyRing":
        """This ring with a fresh key that signs from now on; the others still verify."""
        if key_id in self.keys:
            raise InvalidArgument(f"the ring already holds '{key_id}'", field="key_id")
        fresh = secrets.token_bytes(KEY_BYTES)
        return KeyRing(key_id, {**self.keys, key_id: fresh})

    def retired(self, key_id: str) -> "KeyRing":
        """This ring without ``key_id``, which must not be the one that signs."""
        if key_id == self.signing:
            raise FailedPrecondition(f"'{key_id}' still signs: rotate first")
        if key_id not in self.keys:
            raise InvalidArgument(f"the ring does not hold '{key_id}'", field="key_id")
        return KeyRing(self.signing, {k: v for k, v in self.keys.items() if k != key_id})


def encode_key(key: bytes) -> str:
    """A key as text: standard base64."""
    return base64.b64encode(key).decode()


def decode_key(text: str) -> bytes:
    """A key from its text; raises ValueError for anything but standard base64."""
    return base64.b64decode(text, validate=True)


class SecretFile:
    """A file that only its owner can read, opened before there is anything to lose.

    What a link names is written, not the link; a device or a pipe is written to, and any other file
    is replaced whole or not at all. A context manager: what was not written leaves nothing behind.

    Raises:
        FailedPrecondition: ``SECRET_UNWRITABLE``, with what the system says; ``SECRET_OF_ANOTHER``
            when somebody else's link or device would get the secret.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scratch: Path | None = None
        try:
            self._file = self._opened()
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, content: bytes) -> None:
        """Write all of it, once."""
        try:
            self._file.write(content)
            self._file.flush()
            if self._scratch is not None:
                os.fsync(self._file.fileno())
                self._scratch.replace(self._target)
                self._scratch = None
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Remove what was begun and not written."""
        with suppress(OSError):
            self._file.close()
        if self._scratch is not None:
            self._scratch.unlink(missing_ok=True)

    def __enter__(self) -> "SecretFile":
        """The file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _opened(self) -> BinaryIO:
        named = self._path.lstat() if os.path.lexists(self._path) else None
        found = self._path.stat() if self._path.exists() else None
        link = named is not None and stat.S_ISLNK(named.st_mode)
        device = found is not None and not stat.S_ISREG(found.st_mode)
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        owners = {one.st_uid for one in (named if link else None, found if device else None) if one}
        if not owners <= {0, os.geteuid()}:
            raise FailedPrecondition(
                f"{self._path} belongs to another user, who would get the secret",
                reason="SECRET_OF_ANOTHER",
            )
        if found is not None and (link or device) and _is_output(found):
            # Opened anew, /dev/stdout would begin at its start, where other output goes too.
            return os.fdopen(os.dup(1), "wb")
        if device:
            return self._path.open("wb")
        self._target = self._path.resolve() if link else self._path
        scratch = self._target.with_name(f".{self._target.name}.{secrets.token_hex(4)}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._scratch = scratch
        return os.fdopen(descriptor, "wb")

    def _unwritable(self, error: OSError) -> FailedPrecondition:
        return FailedPrecondition(
            f"{self._path} can't be written: {error.strerror}", reason="SECRET_UNWRITABLE"
        )


def _is_output(found: os.stat_result) -> bool:
    try:
        return os.path.samestat(found, os.fstat(1))
    except OSError:
        return False


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all; see ``SecretFile``."""
    with SecretFile(path) as file:
        file.write(content)


def read_secret(path: Path, *, owners: Container[int] | None = None) -> bytes:
    """Read a secret file of one of ``owners``: by default root and this process's own user.

    A symbolic link is followed if it is theirs too: secrets are mounted into containers as links.
    What root owns, a group of the process may read: so Kubernetes gives a Secret to a pod's user.

    Raises:
        FailedPrecondition: when it is missing, too large, somebody else's (``SECRET_OF_ANOTHER``),
            or open to others (``SECRET_OPEN``).
    """
    if owners is None:
        owners = (0, os.geteuid())
    try:
        named = path.lstat()
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(_MAX_KEY_FILE + 1)
    except OSError as error:
        raise FailedPrecondition(f"{path} can't be read: {error.strerror}") from error
    if named.st_uid not in owners or found.st_uid not in owners:
        # Whoever owns it chose what it holds.
        raise FailedPrecondition(
            f"{path} holds a secret and belongs to another user: chown it to this one, or to root",
            reason="SECRET_OF_ANOTHER",
        )
    groups = {os.getegid(), *os.getgroups()}
    if open_to_others(found.st_mode, found.st_uid, found.st_gid, me=os.geteuid(), groups=groups):
        raise FailedPrecondition(
            f"{path} holds a secret and is open to others: chmod 600 it (or 440, where root owns "
            "it and its group is one of this process's)",
            reason="SECRET_OPEN",
        )
    if len(content) > _MAX_KEY_FILE:
        raise FailedPrecondition(f"{path} is larger than {_MAX_KEY_FILE} bytes")
    return content


def open_to_others(mode: int, uid: int, gid: int, *, me: int, groups: Container[int]) -> bool:
    """Whether a secret lets in more than its owner, and a group of ``me`` if root owns it."""
    mounted = uid == 0 != me and gid in groups
    return bool(stat.S_IMODE(mode) & (0o037 if mounted else 0o077))


def read_trusted(path: Path) -> bytes:
    """Read a file that is no secret and that trust stands on: public keys, certificates.

    Raises:
        FailedPrecondition: when it can't be read, or anybody may write it (``TRUST_OPEN``).
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except OSError as error:
        raise FailedPrecondition(f"{path} can't be read: {error.strerror}") from error
    if mode & stat.S_IWOTH:
        raise FailedPrecondition(
            f"{path} says whom to trust, and anybody may write it: chmod o-w it",
            reason="TRUST_OPEN",
        )
    return content


def read_secret_json(path: Path) -> dict[str, Any]:
    """Read a secret JSON object; raises as ``read_secret``, and InvalidArgument if it is none."""
    try:
        value = json.loads(read_secret(path))
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{path} is not JSON") from error
    if not isinstance(value, dict):
        raise InvalidArgument(f"{path} is not a JSON object")
    return value

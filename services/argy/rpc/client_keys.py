"""The keys with which a client signs: issued by an operator, or a service key of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from argy.base.crypto import read_secret_json
from argy.base.errors import InvalidArgument, Unauthenticated
from argy.base.secret_token import secret_of
from argy.rpc.pair_keys import IssuedKeys, derive_pair_key
from argy.rpc.service_key_id import SERVICE, SVC, parse_key_id

_MAX_DERIVED: Final = 64


class ServiceKey:
    """A service key as its owner holds it: the secret from which all its pair keys are derived."""

    __slots__ = ("_derived", "_secret", "_text", "signing", "source")

    def __init__(self, *, source: str, key_id: str, secret: str) -> None:
        """Take a key apart.

        Raises:
            InvalidArgument: when any part is malformed; the message has nothing of the secret.
        """
        if not SERVICE.fullmatch(source):
            raise InvalidArgument("the service key names no service", field="source")
        self.source = source
        self.signing = str(parse_key_id(key_id))
        self._text = secret
        self._secret = secret_of(secret, kind=SVC)
        self._derived: dict[str, bytes] = {}

    def __repr__(self) -> str:
        """Without the secret, which must reach no log."""
        return f"ServiceKey({self.source!r}, {self.signing!r})"

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, origin: str) -> "ServiceKey":
        """The key that ``to_json`` describes; raises InvalidArgument, naming ``origin``."""
        try:
            parts = {name: str(value[name]) for name in ("source", "key_id", "secret")}
            return cls(**parts)
        except KeyError as error:
            raise InvalidArgument(f"{origin} holds no service key: {error} is missing") from error
        except InvalidArgument as error:
            raise InvalidArgument(f"{origin} holds no service key: {error.message}") from None

    @classmethod
    def from_text(cls, text: str, *, origin: str) -> "ServiceKey":
        """The key of ``<source>:<key id>:<secret>``; raises as ``from_json``."""
        parts = text.strip().split(":")
        if len(parts) != 3:
            raise InvalidArgument(f"{origin} must be <source>:<key id>:<secret>")
        return cls.from_json(
            dict(zip(("source", "key_id", "secret"), parts, strict=True)), origin=origin
        )

    def to_json(self) -> dict[str, object]:
        """``{"source", "key_id", "secret"}``: secret."""
        return {"source": self.source, "key_id": self.signing, "secret": self._text}

    def pair_key(self, key_id: str, source: str, destination: str) -> bytes:
        """See ``argy.rpc.pair_keys.PairKeys``."""
        if key_id != self.signing or source != self.source:
            raise Unauthenticated(
                f"this is a key of '{self.source}', which can't sign as '{source}'",
                reason="KEY_UNKNOWN",
            )
        key = self._derived.get(destination)
        if key is None:
            key = derive_pair_key(
                self._secret, key_id=key_id, source=source, destination=destination
            )
            if len(self._derived) < _MAX_DERIVED:
                self._derived[destination] = key
        return key


ClientKeys = IssuedKeys | ServiceKey


def load_keys(path: Path) -> ClientKeys:
    """Read a file of issued keys or of a service key, told by what it holds.

    Raises:
        FailedPrecondition: when it is missing, or readable by others than its owner.
        InvalidArgument: when it is neither.
    """
    value = read_secret_json(path)
    if "secret" in value:
        return ServiceKey.from_json(value, origin=str(path))
    return IssuedKeys.from_json(value, origin=str(path))

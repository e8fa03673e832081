"""Signed envelopes: DSSE v1 with Ed25519, for everything that must be proved to be ours later.

https://github.com/secure-systems-lab/dsse/blob/v1.0.2/envelope.md – the signature covers the
payload's type and bytes (the pre-authentication encoding), so that a statement of one kind can't
pass for one of another. An envelope is JSON::

    {"payload": "<base64>", "payloadType": "<media type>",
     "signatures": [{"keyid": "<id>", "sig": "<base64>"}]}
"""

import base64
import binascii
import json
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from argy.base.crypto import KEY_ID, KeyRing, read_trusted
from argy.base.errors import FailedPrecondition, InvalidArgument

MAX_ENVELOPE: Final = 3 * 1024 * 1024
"""Bytes of an envelope."""
_MAX_SIGNATURES: Final = 10
_PUBLIC_BYTES: Final = 32
_OWNER: Final = re.compile(
    r"(?:user|service|agent):[A-Za-z0-9._@+-]{1,240}|[^\s<>:@]{1,64}@[^\s<>:@]{1,189}"
)


class UntrustedSignature(FailedPrecondition):
    """An envelope that no trusted key has signed as it stands."""

    default_reason = "SIGNATURE_UNTRUSTED"


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Ed25519 private keys by id; ``signing`` signs. The file is a key ring of 32-byte seeds."""

    ring: KeyRing = field(repr=False)

    @classmethod
    def generate(cls, key_id: str = "p1") -> "SigningKeys":
        """A ring of one fresh key."""
        return cls(KeyRing(key_id, {key_id: secrets.token_bytes(32)}))

    @classmethod
    def load(cls, path: Path) -> "SigningKeys":
        """Read the private keys; raises as ``KeyRing.load``."""
        return cls(KeyRing.load(path))

    def public(self) -> "TrustedKeys":
        """The public keys of the ring."""
        return TrustedKeys(
            {
                key_id: Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
                for key_id, seed in self.ring.keys.items()
            }
        )


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Ed25519 public keys by id, 32 bytes each. Without a key nothing verifies."""

    keys: Mapping[str, bytes]
    owners: Mapping[str, str] = field(default_factory=dict)
    """Whose a key is, for those of which that was said: a subject, or an e-mail address."""

    def __post_init__(self) -> None:
        """Refuse what is no key."""
        for key_id, key in self.keys.items():
            if not KEY_ID.fullmatch(key_id) or len(key) != _PUBLIC_BYTES:
                raise InvalidArgument(f"'{key_id}' is not an Ed25519 public key", field="keys")
        for key_id, owner in self.owners.items():
            if key_id not in self.keys or not _OWNER.fullmatch(owner):
                raise InvalidArgument(
                    f"the owner of '{key_id}' is neither a subject, such as user:<id>, nor an "
                    "e-mail address",
                    field="owners",
                )

    @classmethod
    def load(cls, path: Path) -> "TrustedKeys":
        """Read ``{"<key id>": "<base64 of 32 bytes>", …}``.

        Where it is known whose a key is, it is ``{"key": "<base64>", "owner": "<whose>"}``.

        Raises:
            InvalidArgument: when the file is something else.
            FailedPrecondition: when it can't be read, or as ``read_trusted``.
        """
        try:
            value = json.loads(read_trusted(path))
            told = {k: v if isinstance(v, dict) else {"key": v} for k, v in value.items()}
            if any(v.keys() - {"key", "owner"} for v in told.values()):
                raise ValueError("of a key, 'key' and 'owner' are told")
            return cls(
                {str(k): base64.b64decode(v["key"], validate=True) for k, v in told.items()},
                {str(k): str(v["owner"]) for k, v in told.items() if "owner" in v},
            )
        except (ValueError, AttributeError, KeyError, TypeError, binascii.Error) as error:
            raise InvalidArgument(f"{path} holds no public keys: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """What the file holds."""
        told: dict[str, Any] = {}
        for key_id, key in self.keys.items():
            encoded = base64.b64encode(key).decode()
            owner = self.owners.get(key_id)
            told[key_id] = {"key": encoded, "owner": owner} if owner else encoded
        return told

    def __or__(self, other: "TrustedKeys") -> "TrustedKeys":
        """The keys of both.

        Raises:
            InvalidArgument: when one id names two keys.
        """
        for key_id in self.keys.keys() & other.keys.keys():
            if self.keys[key_id] != other.keys[key_id]:
                raise InvalidArgument(f"key id '{key_id}' names two keys", field="keys")
        return TrustedKeys({**self.keys, **other.keys}, {**self.owners, **other.owners})


def seal(payload: bytes, *, payload_type: str, keys: SigningKeys) -> bytes:
    """Sign ``payload``; the envelope's bytes. Ed25519 is deterministic, so the bytes are too."""
    key_id = keys.ring.signing
    private = Ed25519PrivateKey.from_private_bytes(keys.ring.keys[key_id])
    signature = private.sign(_encoding(payload_type, payload))
    signed = {"keyid": key_id, "sig": base64.b64encode(signature).decode()}
    return _envelope(payload, payload_type, [signed])


def unseal(envelope: bytes, *, payload_type: str, keys: TrustedKeys) -> bytes:
    """Return the payload, of which a trusted key has signed these very bytes and this type.

    Raises:
        UntrustedSignature: unsigned, altered, of another type, or signed by nobody whom we trust.
        InvalidArgument: no envelope at all, or a larger one than ``MAX_ENVELOPE``.
    """
    payload, signatures = _parse(envelope, payload_type)
    signed = _encoding(payload_type, payload)
    invalid = False
    for signature in signatures:
        # The key id only chooses; one that is missing or unknown verifies nothing.
        public = keys.keys.get(str(signature.get("keyid", "")))
        if public is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(_decode(signature["sig"]), signed)
        except InvalidSignature:
            # Another signer may have a key of the same id: theirs may be the next one.
            invalid = True
            continue
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed() from error
        return payload
    if invalid:
        raise UntrustedSignature(
            "the signature is not one of these bytes: they were altered, or another signed them",
            reason="SIGNATURE_INVALID",
        )
    raise UntrustedSignature("no trusted key has signed this: sign it with a key that is trusted")


def owners_of(envelope: bytes, *, payload_type: str, keys: TrustedKeys) -> frozenset[str]:
    """Whose keys have signed an envelope, of those keys of which that is known.

    Raises:
        UntrustedSignature, InvalidArgument: as ``unseal``.
    """
    payload, signatures = _parse(envelope, payload_type)
    signed = _encoding(payload_type, payload)
    found = set()
    for signature in signatures:
        key_id = str(signature.get("keyid", ""))
        with suppress(InvalidSignature, KeyError, TypeError, ValueError):
            public = Ed25519PublicKey.from_public_bytes(keys.keys[key_id])
            public.verify(_decode(signature["sig"]), signed)
            found.add(keys.owners.get(key_id, ""))
    return frozenset(found - {""})


def joined(kept: bytes, other: bytes, *, payload_type: str) -> bytes:
    """One envelope with the signatures of two that hold the same payload; verifies none of them.

    Raises:
        InvalidArgument: when the payloads differ, or there are too many signatures.
        UntrustedSignature: when one is of another type.
    """
    payload, signatures = _parse(kept, payload_type)
    same, more = _parse(other, payload_type)
    if same != payload:
        raise InvalidArgument("the envelopes hold different payloads", reason="PAYLOADS_DIFFER")
    signatures += [one for one in more if one not in signatures]
    if len(signatures) > _MAX_SIGNATURES:
        raise InvalidArgument(
            f"these bytes have {_MAX_SIGNATURES} signatures already", reason="TOO_MANY_SIGNATURES"
        )
    return _envelope(payload, payload_type, signatures)


def _envelope(payload: bytes, payload_type: str, signatures: list[dict[str, Any]]) -> bytes:
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": signatures,
    }
    return json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()


def _parse(envelope: bytes, payload_type: str) -> tuple[bytes, list[dict[str, Any]]]:
    if len(envelope) > MAX_ENVELOPE:
        raise InvalidArgument(
            f"the envelope has more than {MAX_ENVELOPE} bytes", reason="ENVELOPE_TOO_LARGE"
        )
    try:
        value = json.loads(envelope)
        payload = _decode(value["payload"])
        stated, signatures = value["payloadType"], value["signatures"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _malformed() from error
    if stated != payload_type:
        raise UntrustedSignature(
            f"this is a {str(stated)[:100]!r}, not a {payload_type!r}", reason="WRONG_PAYLOAD_TYPE"
        )
    if not isinstance(signatures, list) or len(signatures) > _MAX_SIGNATURES:
        raise _malformed()
    if not all(isinstance(signature, dict) for signature in signatures):
        raise _malformed()
    return payload, signatures


def _encoding(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _decode(text: Any) -> bytes:
    if not isinstance(text, str):
        raise TypeError("not text")
    return base64.b64decode(text, validate=True)


def _malformed() -> InvalidArgument:
    return InvalidArgument("this is not a signed envelope (DSSE)", reason="ENVELOPE_MALFORMED")

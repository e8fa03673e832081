"""The form of access tokens: compact JWS (RFC 7515) over claims of RFC 9068, RS256 only."""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from argy.base.errors import InvalidArgument, Unauthenticated
from argy.base.ids import parse_uuid
from argy.rpc.claims import AUDIENCE, MAX_LIFETIME_S, Claims, WireClaims

PublicKeys = Mapping[str, RSAPublicKey]

ALGORITHM: Final = "RS256"
TYPE: Final = "at+jwt"
MAX_TOKEN: Final = 8192
"""Most characters of a token."""
MIN_KEY_BITS: Final = 2048
CLOCK_SKEW_S: Final = 5
PUBLISHED_AGE_S: Final = 60
"""For how long a verifier may keep the published keys (RFC 9111 §5.2.2.1); no key signs before it
was published for longer."""
TRUST_S: Final = MAX_LIFETIME_S
"""Keys that nobody confirmed for so long count as not known: one may have been withdrawn, and the
entry that says so goes afterwards."""
_KID: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+")
_SUBJECT: Final = re.compile(r"user:[0-9a-f-]{36}")
_PADDING: Final = PKCS1v15()
_HASH: Final = SHA256()


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    alg: str
    typ: str
    kid: str


_HEADERS: Final = msgspec.json.Decoder(_Header)
_CLAIMS: Final = msgspec.json.Decoder(WireClaims)
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token that has the form of one of ours; nothing in it may be believed yet."""

    kid: str
    signed: bytes
    payload: bytes
    signature: bytes


def sign_token(claims: WireClaims, *, kid: str, key: RSAPrivateKey) -> str:
    """The compact token of ``claims``."""
    header = _ENCODER.encode(_Header(ALGORITHM, TYPE, kid))
    signed = f"{b64(header)}.{b64(_ENCODER.encode(claims))}"
    return f"{signed}.{b64(key.sign(signed.encode(), _PADDING, _HASH))}"


def parse_token(token: str) -> Unverified:
    """Take a token apart, and refuse every header but ours.

    Raises:
        Unauthenticated: ``TOKEN_MALFORMED``, ``TOKEN_HEADER_REFUSED`` (a member more or less than
            alg, typ and kid), ``TOKEN_ALGORITHM_REFUSED``, ``TOKEN_TYPE_REFUSED`` or
            ``TOKEN_KEY_UNKNOWN`` (a kid that can't be one of ours).
    """
    parts = token.split(".") if len(token) <= MAX_TOKEN else []
    if len(parts) != 3:
        raise refused("it is no JWT of ours", "TOKEN_MALFORMED")
    header, payload, signature = (_decoded(part) for part in parts)
    try:
        read = _HEADERS.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refused("its header may say alg, typ and kid only", "TOKEN_HEADER_REFUSED") from error
    if read.alg != ALGORITHM:
        raise refused(f"it must be signed with {ALGORITHM}", "TOKEN_ALGORITHM_REFUSED")
    if read.typ != TYPE:
        raise refused(f"its type must be {TYPE}", "TOKEN_TYPE_REFUSED")
    if not _KID.fullmatch(read.kid):
        raise refused("its key is not known", "TOKEN_KEY_UNKNOWN")
    return Unverified(read.kid, f"{parts[0]}.{parts[1]}".encode(), payload, signature)


def verify_signature(token: Unverified, keys: PublicKeys) -> None:
    """Hold a token to the key that its header names.

    Raises:
        Unauthenticated: ``TOKEN_KEY_UNKNOWN`` or ``TOKEN_SIGNATURE_INVALID``.
    """
    key = keys.get(token.kid)
    if key is None:
        raise refused("its key is not known", "TOKEN_KEY_UNKNOWN")
    try:
        key.verify(token.signature, token.signed, _PADDING, _HASH)
    except InvalidSignature as error:
        raise refused("its signature is not good", "TOKEN_SIGNATURE_INVALID") from error


def check_claims(
    payload: bytes, *, issuer: str, tenant_id: UUID, now_ms: int
) -> tuple[Claims, str]:
    """What a token with a good signature says, and the name of the revocation list it stands on.

    Raises:
        Unauthenticated: ``TOKEN_CLAIMS_MALFORMED``, ``TOKEN_ISSUER_WRONG``,
            ``TOKEN_AUDIENCE_WRONG``, ``TOKEN_OF_ANOTHER_TENANT``, ``TOKEN_EXPIRED``,
            ``TOKEN_NOT_YET_VALID`` or ``TOKEN_TOO_LONG``.
    """
    try:
        read = _CLAIMS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refused("its claims are not ours", "TOKEN_CLAIMS_MALFORMED") from error
    if read.tenant != str(tenant_id):
        raise refused("it is of another tenant", "TOKEN_OF_ANOTHER_TENANT")
    if read.iss != issuer:
        raise refused("it is of another issuer", "TOKEN_ISSUER_WRONG")
    if read.aud != AUDIENCE:
        raise refused("it is for another audience", "TOKEN_AUDIENCE_WRONG")
    now_s = now_ms // 1000
    if read.exp <= now_s:
        raise refused("it has ended", "TOKEN_EXPIRED")
    if max(read.iat, read.nbf) > now_s + CLOCK_SKEW_S:
        raise refused("it is not good yet", "TOKEN_NOT_YET_VALID")
    if read.exp - read.iat > MAX_LIFETIME_S:
        raise refused(f"it lasts longer than {MAX_LIFETIME_S} s", "TOKEN_TOO_LONG")
    if not (_SUBJECT.fullmatch(read.sub) and read.jti and read.sid and read.epoch):
        raise refused("its claims are not ours", "TOKEN_CLAIMS_MALFORMED")
    return _claims(read, tenant_id), read.epoch


def b64(data: bytes) -> str:
    """base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def public_jwk(key: RSAPublicKey, kid: str) -> dict[str, str]:
    """A public key as JWK (RFC 7517 §4, RFC 7518 §6.3)."""
    numbers = key.public_numbers()
    n, e = (
        number.to_bytes((number.bit_length() + 7) // 8, "big") for number in (numbers.n, numbers.e)
    )
    return {"kty": "RSA", "use": "sig", "alg": ALGORITHM, "kid": kid, "n": b64(n), "e": b64(e)}


def refused(why: str, reason: str) -> Unauthenticated:
    """The refusal of an access token."""
    return Unauthenticated(
        f"the access token is refused: {why}", reason=reason, field="authorization"
    )


def _claims(read: WireClaims, tenant_id: UUID) -> Claims:
    try:
        org_id = parse_uuid(read.org, field="org") if read.org else None
        parse_uuid(read.sub.removeprefix("user:"), field="sub")
    except InvalidArgument as error:
        raise refused("its claims are not ours", "TOKEN_CLAIMS_MALFORMED") from error
    return Claims(
        subject=read.sub,
        tenant_id=tenant_id,
        org_id=org_id,
        session_id=read.sid,
        client_id=read.client_id,
        acr=read.acr,
        amr=tuple(read.amr),
        auth_time_s=read.auth_time,
        scope=read.scope,
        token_id=read.jti,
        family_id=read.fam,
        revision=read.rev,
        issued_at_s=read.iat,
        expires_at_s=read.exp,
    )


def _decoded(segment: str) -> bytes:
    """The bytes of a segment; only the one spelling without padding or stray bits counts."""
    if _SEGMENT.fullmatch(segment):
        try:
            data = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        except (binascii.Error, ValueError):
            data = b""
        if data and b64(data) == segment:
            return data
    raise refused("it is no JWT of ours", "TOKEN_MALFORMED")

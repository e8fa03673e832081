"""The one place that knows py_webauthn's ceremonies: its types and its errors stop here.

What it verifies is first looked through by ``passkey_domain``, which names what is wrong and also
refuses what the library lets pass: frames of other sites, a user handle of somebody else. So does
``passkey_attestation`` with certificates.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    bytes_to_base64url,
    parse_attestation_object,
    parse_authentication_credential_json,
    parse_authenticator_data,
    parse_registration_credential_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AttestationObject,
    AuthenticatorData,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from argy.authn.passkeys.attestation import check_attestation, roots_by_format
from argy.authn.passkeys.domain import (
    CEREMONY_MS,
    MAX_CREDENTIAL_ID,
    MAX_PUBLIC_KEY,
    TRANSPORTS,
    AuthenticatorFlags,
    Passkey,
    RelyingParty,
    check_client_data,
    check_flags,
    client_data_of,
    malformed,
)
from argy.authn.sessions.accounts import Account
from argy.base.errors import Unauthenticated

_ALGORITHMS: Final = [
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]
_MAX_DEPTH: Final = 6
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredential:
    """A verified registration."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    aaguid: UUID
    transports: tuple[str, ...]
    backup_eligible: bool
    backed_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """A sign-in as the browser sent it: whose it says it is. Nothing of it is verified."""

    credential: Any
    credential_id: bytes
    user_handle: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A verified sign-in."""

    sign_count: int
    flags: AuthenticatorFlags


def registration_options(
    rp: RelyingParty,
    account: Account,
    *,
    handle: bytes,
    challenge: bytes,
    held: Sequence[Passkey],
    attested: bool,
) -> str:
    """PublicKeyCredentialCreationOptionsJSON: discoverable, with user verification, or attested."""
    conveyance = AttestationConveyancePreference
    options = generate_registration_options(
        rp_id=rp.rp_id,
        rp_name=rp.name,
        user_id=handle,
        user_name=account.email,
        user_display_name=account.display_name,
        challenge=challenge,
        timeout=CEREMONY_MS,
        attestation=conveyance.DIRECT if attested else conveyance.NONE,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[_descriptor(passkey) for passkey in held],
        supported_pub_key_algs=_ALGORITHMS,
    )
    return options_to_json(options)


def sign_in_options(rp: RelyingParty, *, challenge: bytes) -> str:
    """PublicKeyCredentialRequestOptionsJSON for whoever holds a passkey of ours."""
    options = generate_authentication_options(
        rp_id=rp.rp_id,
        challenge=challenge,
        timeout=CEREMONY_MS,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(options)


def verify_registration(
    text: str, rp: RelyingParty, *, challenge: bytes, roots: Sequence[str] | None
) -> NewCredential:
    """Verify RegistrationResponseJSON (WebAuthn Level 3 §7.1).

    One of ``roots``, in PEM, must vouch for the authenticator; with None its model needs no proof.

    Raises:
        InvalidArgument: ``MALFORMED_CREDENTIAL``.
        Unauthenticated: naming what is wrong, as ``passkey_domain`` does, or ``NOT_VERIFIED``.
        PermissionDenied: as ``passkey_attestation`` says.
    """
    credential = _parse(parse_registration_credential_json, _json(text))
    response = credential.response
    attested = _parse(parse_attestation_object, response.attestation_object)
    check_client_data(
        client_data_of(response.client_data_json),
        "register",
        challenge=bytes_to_base64url(challenge),
        origins=rp.origins,
    )
    check_flags(_flags(attested.auth_data), rp_id=rp.rp_id)
    if roots is not None:
        _check_attestation(attested, roots)
    try:
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=rp.rp_id,
            expected_origin=list(rp.origins),
            require_user_verification=True,
            supported_pub_key_algs=_ALGORITHMS,
            pem_root_certs_bytes_by_fmt=roots_by_format(roots or ()),
        )
    except Exception as error:
        raise _not_verified() from error
    public_key = verified.credential_public_key
    if len(verified.credential_id) > MAX_CREDENTIAL_ID or len(public_key) > MAX_PUBLIC_KEY:
        raise malformed()
    transports = sorted({str(name.value) for name in response.transports or ()} & TRANSPORTS)
    return NewCredential(
        credential_id=verified.credential_id,
        public_key=public_key,
        sign_count=verified.sign_count,
        aaguid=UUID(verified.aaguid),
        transports=tuple(transports),
        backup_eligible=verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
        backed_up=verified.credential_backed_up,
    )


def read_assertion(text: str) -> Assertion:
    """Read AuthenticationResponseJSON; raises InvalidArgument ``MALFORMED_CREDENTIAL``."""
    credential = _parse(parse_authentication_credential_json, _json(text))
    if not 1 <= len(credential.raw_id) <= MAX_CREDENTIAL_ID:
        raise malformed()
    return Assertion(
        credential=credential,
        credential_id=credential.raw_id,
        user_handle=credential.response.user_handle,
    )


def verify_assertion(
    assertion: Assertion, rp: RelyingParty, *, challenge: bytes, public_key: bytes
) -> Verified:
    """Verify a sign-in with a passkey's public key (WebAuthn Level 3 §7.2), but for its counter.

    Raises:
        InvalidArgument: ``MALFORMED_CREDENTIAL``.
        Unauthenticated: naming what is wrong, as ``passkey_domain`` does, or ``NOT_VERIFIED``.
    """
    response = assertion.credential.response
    flags = _flags(_parse(parse_authenticator_data, response.authenticator_data))
    check_client_data(
        client_data_of(response.client_data_json),
        "sign_in",
        challenge=bytes_to_base64url(challenge),
        origins=rp.origins,
    )
    check_flags(flags, rp_id=rp.rp_id)
    try:
        verified = verify_authentication_response(
            credential=assertion.credential,
            expected_challenge=challenge,
            expected_rp_id=rp.rp_id,
            expected_origin=list(rp.origins),
            credential_public_key=public_key,
            # Counters are judged by passkey_domain, which also knows of synced passkeys.
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except Exception as error:
        raise _not_verified() from error
    return Verified(sign_count=verified.new_sign_count, flags=flags)


def _check_attestation(attested: AttestationObject, roots: Sequence[str]) -> None:
    told = attested.auth_data.attested_credential_data
    if told is None:
        raise malformed()
    check_attestation(
        # Strangers name formats that the library's type does not know.
        fmt=str(attested.fmt),
        x5c=attested.att_stmt.x5c,
        aaguid=_parse(lambda raw: UUID(bytes=raw), told.aaguid),
        roots=roots,
    )


def _flags(data: AuthenticatorData) -> AuthenticatorFlags:
    return AuthenticatorFlags(
        rp_id_hash=data.rp_id_hash,
        user_present=data.flags.up,
        user_verified=data.flags.uv,
        backup_eligible=data.flags.be,
        backed_up=data.flags.bs,
    )


def _descriptor(passkey: Passkey) -> PublicKeyCredentialDescriptor:
    return PublicKeyCredentialDescriptor(
        id=passkey.credential_id,
        transports=[AuthenticatorTransport(name) for name in passkey.transports] or None,
    )


def _json(text: str) -> dict[str, Any]:
    """The text as an object that is no deeper than a credential is."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise malformed() from error
    if not isinstance(parsed, dict) or _depth(parsed) > _MAX_DEPTH:
        raise malformed()
    return parsed


def _depth(value: object) -> int:
    level, depth = [value], 0
    while level and depth <= _MAX_DEPTH:
        depth += 1
        nested = [item for item in level if isinstance(item, dict | list)]
        level = [
            inner
            for item in nested
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return depth


def _parse(parse: Callable[[Any], _Parsed], value: Any) -> _Parsed:
    # The library promises errors of its own only, but its parsers are fed by strangers.
    try:
        return parse(value)
    except Exception as error:
        raise malformed() from error


def _not_verified() -> Unauthenticated:
    return Unauthenticated(
        "The passkey was not accepted: its signature is not good", reason="NOT_VERIFIED"
    )

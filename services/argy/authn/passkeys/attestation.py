"""Attestation: the certificates by which an authenticator proves its model (WebAuthn Level 3 §6.5).

py_webauthn verifies a statement's signature, and what belongs to its format. What it lets pass is
refused here, before it is asked:

- a chain that ends at none of the tenant's own roots: the library accepts any where it has no
  roots, and trusts those of Apple and Google besides;
- a certificate that names another model than the authenticator does (§8.2.1), and one of an
  authority in the place of an authenticator's;
- a packed statement whose certificate is not an attestation certificate (§8.2.1);
- a chain with a signature over SHA-1 or MD5, or with an RSA key of less than 2048 bits: where
  authorities certify keys that strangers bring, as those of TPMs do, such signatures can be moved.

Whether certificates are valid is asked of the system's clock, as OpenSSL does. What the certificate
names is the model that the authority vouches for. One that names none (TPMs, telephones) proves who
made the authenticator, which then says by itself which model it is.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from webauthn.helpers import validate_certificate_chain
from webauthn.helpers.structs import AttestationFormat

from argy.base.errors import ArgyError, FieldViolation, PermissionDenied

MAX_ROOT: Final = 16_384
"""Characters of a certificate in PEM."""
_FORMATS: Final = frozenset({"packed", "tpm", "android-key", "apple", "fido-u2f"})
_MAX_CHAIN: Final = 8
_LEAST_RSA: Final = 2048
_MODEL: Final = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
"""id-fido-gen-ce-aaguid, an octet string of 16 bytes."""
_OCTETS_16: Final = b"\x04\x10"
_UNIT: Final = "Authenticator Attestation"


def check_attestation(*, fmt: str, x5c: object, aaguid: UUID, roots: Sequence[str]) -> None:
    """Accept a chain of an authenticator's certificates that ends at one of ``roots``, in PEM.

    ``fmt`` and ``x5c`` are of the attestation statement, whose signature is verified elsewhere.

    Raises:
        PermissionDenied: ``ATTESTATION_REQUIRED`` where there is no certificate, as in self
            attestation; ``ATTESTATION_UNTRUSTED``; ``ATTESTATION_MISMATCH`` for another model's.
    """
    if fmt not in _FORMATS or not x5c:
        raise PermissionDenied(
            "Your organization accepts only authenticators that prove their model",
            reason="ATTESTATION_REQUIRED",
            metadata={"format": fmt if fmt in _FORMATS else "none"},
        )
    if not roots or not isinstance(x5c, list) or len(x5c) > _MAX_CHAIN:
        raise _untrusted()
    try:
        validate_certificate_chain(x5c=x5c, pem_root_certs_bytes=[root.encode() for root in roots])
        leaf = x509.load_der_x509_certificate(x5c[0])
        weak = any(_is_weak(x509.load_der_x509_certificate(one)) for one in x5c)
        named = _extension(leaf.extensions)
        of_authority = _is_authority(leaf)
    except Exception as error:
        # Parsers of certificates raise errors of many kinds, and strangers feed them.
        raise _untrusted() from error
    if weak or of_authority or (fmt == "packed" and not _is_attestation(leaf)):
        raise _untrusted()
    if named is not None and named != _OCTETS_16 + aaguid.bytes:
        raise PermissionDenied(
            "This authenticator says that it is another model than its certificate does",
            reason="ATTESTATION_MISMATCH",
            metadata={"aaguid": str(aaguid)},
        )


def roots_by_format(roots: Sequence[str]) -> dict[AttestationFormat, list[bytes]]:
    """Roots as the library takes them: the same for every format."""
    return {fmt: [root.encode() for root in roots] for fmt in AttestationFormat}


def read_roots(
    texts: Sequence[str], *, now_ms: int
) -> tuple[tuple[str, ...], list[FieldViolation]]:
    """Roots in one form of PEM, each once, and what is wrong with those that are none."""
    roots: dict[str, None] = {}
    wrong = []
    for number, text in enumerate(texts):
        try:
            roots[_root(text, datetime.fromtimestamp(now_ms / 1000, UTC))] = None
        except ValueError as error:
            field = f"policy.passkey_attestation_roots[{number}]"
            wrong.append(FieldViolation(field, str(error)))
    return tuple(roots), wrong


def _root(text: str, now: datetime) -> str:
    """The certificate of ``text``; raises ValueError, telling what is wrong."""
    if len(text) > MAX_ROOT:
        raise ValueError(f"must have at most {MAX_ROOT} characters")
    try:
        (certificate,) = x509.load_pem_x509_certificates(text.encode())
        of_authority = _is_authority(certificate) or certificate.version is x509.Version.v1
    except Exception as error:
        raise ValueError("must be one certificate in PEM") from error
    if not of_authority:
        raise ValueError("must be the certificate of an authority (CA)")
    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError) as error:
        raise ValueError(
            "must be a root, signed by itself: name the authority above it instead"
        ) from error
    if _has_small_key(certificate):
        raise ValueError(f"must have an RSA key of at least {_LEAST_RSA} bits")
    if now < certificate.not_valid_before_utc:
        raise ValueError(f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}")
    if now >= certificate.not_valid_after_utc:
        raise ValueError(f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    canonical = certificate.public_bytes(Encoding.PEM).decode()
    if len(canonical) > MAX_ROOT:
        raise ValueError(f"must have at most {MAX_ROOT} characters")
    return canonical


def _extension(extensions: x509.Extensions) -> bytes | None:
    """The model that a certificate names, as an octet string in DER."""
    try:
        found = extensions.get_extension_for_oid(_MODEL)
    except x509.ExtensionNotFound:
        return None
    # A critical one, which §8.2.1 forbids, is unknown to OpenSSL, and the chain is refused for it.
    if not isinstance(found.value, x509.UnrecognizedExtension):
        raise ValueError("the model is no octet string")
    return found.value.value


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _is_weak(certificate: x509.Certificate) -> bool:
    digest = certificate.signature_hash_algorithm
    return isinstance(digest, SHA1 | MD5) or _has_small_key(certificate)


def _has_small_key(certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    return isinstance(key, RSAPublicKey) and key.key_size < _LEAST_RSA


def _is_attestation(leaf: x509.Certificate) -> bool:
    units = [
        name.value for name in leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    ]
    return leaf.version is x509.Version.v3 and _UNIT in units


def _untrusted() -> ArgyError:
    return PermissionDenied(
        "Your organization trusts nobody who vouches for this authenticator",
        reason="ATTESTATION_UNTRUSTED",
    )

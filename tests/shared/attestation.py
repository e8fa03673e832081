"""Makers of authenticators, for tests: an authority, certificates of models, signed statements."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

Attest = Callable[[bytes, bytes, ec.EllipticCurvePrivateKey], tuple[str, dict[str, Any]]]
"""From authenticator data, client data and the new credential's key: a format and its statement."""

MODEL = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
APPLE_NONCE = x509.ObjectIdentifier("1.2.840.113635.100.8.2")
UNIT = "Authenticator Attestation"
_ES256 = -7
_SHA256_RSA = bytes.fromhex("2a864886f70d01010b")
_SHA1_RSA = bytes.fromhex("2a864886f70d010105")


@dataclass(frozen=True)
class Certified:
    """A key and its certificate."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()


def model_extension(aaguid: bytes, *, critical: bool = False) -> tuple[x509.ExtensionType, bool]:
    return x509.UnrecognizedExtension(MODEL, b"\x04\x10" + aaguid), critical


def certify(
    name: str,
    issuer: Certified | None,
    *,
    ca: bool,
    unit: str = "Vendor",
    key: ec.EllipticCurvePrivateKey | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    days: tuple[int, int] = (-2, 365),
) -> Certified:
    """A certificate, valid from and until ``days`` from now; of a root without ``issuer``."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "SE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Vendor"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signer = issuer.key if issuer else key
    return Certified(builder.sign(signer, SHA256()), key)


def authority(name: str = "Vendor Root", **options: Any) -> Certified:
    """A vendor's root."""
    return certify(name, None, ca=True, **options)


def model_certificate(issuer: Certified, aaguid: bytes, **options: Any) -> Certified:
    """The certificate that authenticators of a model share."""
    options = {"unit": UNIT, "ca": False, "extensions": [model_extension(aaguid)], **options}
    return certify("Model", issuer, **options)


def signed_over_sha1(made: Certified, signer: rsa.RSAPrivateKey) -> Certified:
    """A certificate as its authority, with an RSA key, would have signed it long ago."""
    # The names of both algorithms (RFC 4055 §5, RFC 3279 §2.2.1) are of one length.
    der = made.der.replace(_SHA256_RSA, _SHA1_RSA)
    tbs = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    signature = signer.sign(tbs, PKCS1v15(), SHA1())  # noqa: S303 - the attack
    signed = der[: -len(signature)] + signature
    return Certified(x509.load_der_x509_certificate(signed), made.key)


def packed(leaf: Certified, *between: Certified) -> Attest:
    """A packed statement (WebAuthn Level 3 §8.2) by a model's certificate."""

    def attest(
        data: bytes, client_data: bytes, key: ec.EllipticCurvePrivateKey
    ) -> tuple[str, dict[str, Any]]:
        chain = [one.der for one in (leaf, *between)]
        return "packed", {"alg": _ES256, "sig": _sign(leaf.key, data, client_data), "x5c": chain}

    return attest


def self_attested(
    data: bytes, client_data: bytes, key: ec.EllipticCurvePrivateKey
) -> tuple[str, dict[str, Any]]:
    """A packed statement by the credential's own key: it proves nothing of the model."""
    return "packed", {"alg": _ES256, "sig": _sign(key, data, client_data)}


def fido_u2f(leaf: Certified) -> Attest:
    """A statement of a U2F key (§8.6)."""

    def attest(
        data: bytes, client_data: bytes, key: ec.EllipticCurvePrivateKey
    ) -> tuple[str, dict[str, Any]]:
        length = int.from_bytes(data[53:55])
        numbers = key.public_key().public_numbers()
        signed = (
            b"\x00"
            + data[:32]
            + hashlib.sha256(client_data).digest()
            + data[55 : 55 + length]
            + b"\x04"
            + numbers.x.to_bytes(32)
            + numbers.y.to_bytes(32)
        )
        signature = leaf.key.sign(signed, ec.ECDSA(SHA256()))
        return "fido-u2f", {"sig": signature, "x5c": [leaf.der]}

    return attest


def apple(issuer: Certified) -> Attest:
    """An anonymous statement of Apple's form (§8.8): a certificate of each credential's own key."""

    def attest(
        data: bytes, client_data: bytes, key: ec.EllipticCurvePrivateKey
    ) -> tuple[str, dict[str, Any]]:
        nonce = hashlib.sha256(data + hashlib.sha256(client_data).digest()).digest()
        extension = x509.UnrecognizedExtension(APPLE_NONCE, b"\x30\x24\xa1\x22\x04\x20" + nonce)
        leaf = certify("Credential", issuer, ca=False, key=key, extensions=[(extension, False)])
        return "apple", {"x5c": [leaf.der]}

    return attest


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes, client_data: bytes) -> bytes:
    return key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(SHA256()))

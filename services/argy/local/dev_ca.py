"""A development certificate authority: one server and one client certificate for this machine.

ECDSA P-256, files of mode 0600. What is valid for more than a week is reused, so browsers and
clients that trust the authority keep working; the rest is renewed.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from argy.local.files import private_folder, read_private, write_private

_RENEW_BEFORE = timedelta(days=7)
_CA_LIFE = timedelta(days=365)
# Apple's platforms refuse server certificates that live longer than 398 days.
_LEAF_LIFE = timedelta(days=90)
# Clocks of containers and their hosts differ a little.
_BACKDATE = timedelta(minutes=5)
SERVER_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class DevCertificates:
    """Paths of PEM files."""

    ca_file: Path
    server_cert_file: Path
    server_key_file: Path
    client_cert_file: Path
    client_key_file: Path

    def server_context(self, *, require_client: bool = False) -> ssl.SSLContext:
        """Return a TLS 1.2+ server context, with client certificates asked for if required."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.server_cert_file, self.server_key_file)
        if require_client:
            context.load_verify_locations(self.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a TLS 1.2+ client context that trusts this authority alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(self.ca_file)
        context.load_cert_chain(self.client_cert_file, self.client_key_file)
        return context


@dataclass(frozen=True, slots=True)
class _Pair:
    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def ensure_dev_certificates(
    folder: Path, *, now: datetime, names: Sequence[str] = SERVER_NAMES, client: str = "dev-client"
) -> DevCertificates:
    """Make or renew the certificates in ``folder``; ``now`` is aware UTC.

    ``names`` are the server's DNS names and addresses; ``client`` the client's common name.
    """
    folder = private_folder(folder)
    ca = _load(folder / "ca", now)
    if ca is None:
        ca = _issue(None, "Argy development CA", now, life=_CA_LIFE)
        _save(folder / "ca", ca)
    for stem, subject, sans, usage in (
        ("server", names[0], tuple(names), ExtendedKeyUsageOID.SERVER_AUTH),
        ("client", client, (), ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        leaf = _load(folder / stem, now)
        if leaf is None or not _fits(leaf.cert, ca.cert, subject, sans):
            leaf = _issue(ca, subject, now, life=_LEAF_LIFE, names=sans, usage=usage)
            _save(folder / stem, leaf)
    return DevCertificates(
        ca_file=folder / "ca.pem",
        server_cert_file=folder / "server.pem",
        server_key_file=folder / "server.key",
        client_cert_file=folder / "client.pem",
        client_key_file=folder / "client.key",
    )


def _issue(
    issuer: _Pair | None,
    subject: str,
    now: datetime,
    *,
    life: timedelta,
    names: Sequence[str] = (),
    usage: x509.ObjectIdentifier | None = None,
) -> _Pair:
    """Sign a certificate with ``issuer``, or make a certificate authority if there is none."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    signer = key if issuer is None else issuer.key
    end = now + life
    if issuer is not None:
        end = min(end, issuer.cert.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.cert.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(issuer is None, 0 if issuer is None else None), True)
        .add_extension(_key_usage(authority=issuer is None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
        )
    )
    if names:
        builder = builder.add_extension(_alternative_names(names), False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
    return _Pair(builder.sign(signer, hashes.SHA256()), key)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


def _fits(cert: x509.Certificate, ca: x509.Certificate, subject: str, names: Sequence[str]) -> bool:
    try:
        cert.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    if cert.subject.rfc4514_string() != f"CN={subject}":
        return False
    if not names:
        return True
    held = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return held == _alternative_names(names)


def _load(stem: Path, now: datetime) -> _Pair | None:
    """Return a pair that is whole and valid for long enough, else None."""
    try:
        cert = x509.load_pem_x509_certificate(read_private(stem.with_suffix(".pem")))
        key = serialization.load_pem_private_key(read_private(stem.with_suffix(".key")), None)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != cert.public_key():
        return None
    if not cert.not_valid_before_utc <= now < cert.not_valid_after_utc - _RENEW_BEFORE:
        return None
    return _Pair(cert, key)


def _save(stem: Path, pair: _Pair) -> None:
    write_private(
        stem.with_suffix(".key"),
        pair.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    write_private(stem.with_suffix(".pem"), pair.cert.public_bytes(serialization.Encoding.PEM))

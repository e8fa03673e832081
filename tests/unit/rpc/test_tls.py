"""Where TLS keys come from."""

from pathlib import Path

import pytest

from argy.base.errors import FailedPrecondition
from argy.rpc.tls import ClientTls, ServerTls


@pytest.mark.parametrize("which", ["server.pem", "ca.pem"])
def test_certificates_and_authorities_that_anybody_may_exchange_are_refused(
    tmp_path: Path, which: str
) -> None:
    key, certificate, ca = (tmp_path / name for name in ("server.key", "server.pem", "ca.pem"))
    for file in (key, certificate, ca):
        file.write_bytes(b"-----BEGIN NOTHING-----")
        file.chmod(0o600)
    (tmp_path / which).chmod(0o646)
    for files in (ServerTls(certificate, key, ca), ClientTls(ca, certificate, key)):
        with pytest.raises(FailedPrecondition) as refused:
            files.credentials()
        assert refused.value.reason == "TRUST_OPEN"
        assert which in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602])
def test_a_private_key_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    key, certificate = tmp_path / "server.key", tmp_path / "server.pem"
    key.write_bytes(b"-----BEGIN NOTHING-----")
    certificate.write_bytes(b"-----BEGIN CERTIFICATE-----")
    key.chmod(mode)
    for files in (
        ServerTls(certificate, key),
        ClientTls(certificate, certificate=certificate, key=key),
    ):
        with pytest.raises(FailedPrecondition) as refused:
            files.credentials()
        assert refused.value.reason == "SECRET_OPEN"
        assert str(key) in str(refused.value)
        assert "BEGIN" not in str(refused.value)

"""Where TLS keys come from."""

from pathlib import Path

import pytest

from argy.base.errors import FailedPrecondition
from argy.rpc.tls import ClientTls, ServerTls


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602])
def test_a_private_key_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    key, certificate = tmp_path / "server.key", tmp_path / "server.pem"
    key.write_bytes(b"-----BEGIN PRIVATE KEY-----")
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

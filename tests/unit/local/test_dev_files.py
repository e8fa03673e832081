import json
import ssl
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from argy.local.dev_ca import ensure_dev_certificates
from argy.local.dev_keys import ensure_dev_keys
from argy.local.errors import LocalError

NOW = datetime.now(UTC)


def _modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}


def test_certificates_serve_tls_with_client_certificates(tmp_path: Path) -> None:
    found = ensure_dev_certificates(tmp_path / "tls", now=NOW)
    server = found.server_context(require_client=True)
    client = found.client_context()
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    right = server.wrap_bio(to_server, to_client, server_side=True)
    open_sides = [left, right]
    for _ in range(10):
        for side in list(open_sides):
            try:
                side.do_handshake()
                open_sides.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert open_sides == []
    assert left.version() == "TLSv1.3"
    peer = right.getpeercert()
    assert peer is not None
    assert peer["subject"] == ((("commonName", "dev-client"),),)
    assert client.minimum_version == ssl.TLSVersion.TLSv1_2
    assert _modes(tmp_path / "tls") == {0o600}
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700


def test_certificates_are_reused_until_a_week_before_their_end(tmp_path: Path) -> None:
    def issued(after: timedelta) -> tuple[bytes, bytes]:
        found = ensure_dev_certificates(tmp_path / "tls", now=NOW + after)
        return found.ca_file.read_bytes(), found.server_cert_file.read_bytes()

    first = issued(timedelta())
    assert issued(timedelta(days=82)) == first
    renewed = issued(timedelta(days=84))
    assert renewed[0] == first[0]
    assert renewed[1] != first[1]
    assert issued(timedelta(days=359))[0] != first[0]


def test_other_names_get_another_certificate(tmp_path: Path) -> None:
    first = ensure_dev_certificates(tmp_path / "tls", now=NOW).server_cert_file.read_bytes()
    again = ensure_dev_certificates(tmp_path / "tls", now=NOW, names=("argy.test",))
    assert again.server_cert_file.read_bytes() != first


def test_a_broken_certificate_file_is_replaced(tmp_path: Path) -> None:
    found = ensure_dev_certificates(tmp_path / "tls", now=NOW)
    found.server_key_file.write_text("cut", encoding="ascii")
    ensure_dev_certificates(tmp_path / "tls", now=NOW).server_context()


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    first = ensure_dev_keys(tmp_path / "keys", roles=("argy_authz", "argy_audit"))
    again = ensure_dev_keys(tmp_path / "keys", roles=("argy_authz", "argy_audit"))
    assert first == again
    ring = json.loads(first.signing_keys_file.read_bytes())
    assert ring["signing"] == "k1"
    assert len(b64decode(ring["keys"]["k1"], validate=True)) == 32
    assert first.signing_keys_file.read_bytes() != first.page_token_key_file.read_bytes()
    assert len(set(first.database_passwords.values())) == 2
    assert _modes(tmp_path / "keys") == {0o600}
    for password in first.database_passwords.values():
        assert password not in repr(first)


def test_an_open_secret_is_refused(tmp_path: Path) -> None:
    found = ensure_dev_keys(tmp_path / "keys")
    found.signing_keys_file.chmod(0o644)
    with pytest.raises(LocalError, match="chmod 600"):
        ensure_dev_keys(tmp_path / "keys")


def test_a_broken_key_ring_is_told(tmp_path: Path) -> None:
    found = ensure_dev_keys(tmp_path / "keys")
    found.page_token_key_file.write_text('{"signing": "k2", "keys": {}}', encoding="ascii")
    with pytest.raises(LocalError, match="not a key ring"):
        ensure_dev_keys(tmp_path / "keys")


@pytest.mark.parametrize("role", ["../x", "", "a/b"])
def test_role_names_cannot_leave_the_folder(tmp_path: Path, role: str) -> None:
    with pytest.raises(LocalError, match="role"):
        ensure_dev_keys(tmp_path / "keys", roles=(role,))

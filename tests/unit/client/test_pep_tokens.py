"""The file of edge tokens."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from argy.base.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from argy.base.ids import uuid7
from argy.base.secret_token import token_digest
from argy.client.pep_tokens import MAX_TOKENS, add_token, load_tokens, revoke_token

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def test_the_file_maps_digests_to_services_and_never_holds_a_token(tmp_path: Path) -> None:
    path, tenant = tmp_path / "tokens", uuid7()
    token, _ = add_token(path, service="demo", tenant_id=tenant, now=NOW)
    other, _ = add_token(path, service="billing", tenant_id=None, now=NOW)
    held = load_tokens(path)
    assert held[token_digest(token)].service == "demo"
    assert held[token_digest(token)].tenant_id == str(tenant)
    assert held[token_digest(other)].service == "billing"
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_revoked_token_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    token, entry = add_token(path, service="demo", tenant_id=None, now=NOW)
    other, _ = add_token(path, service="demo", tenant_id=None, now=NOW)
    assert revoke_token(path, entry.token_id) == entry
    assert set(load_tokens(path)) == {token_digest(other)}
    with pytest.raises(NotFound):
        revoke_token(path, entry.token_id)
    assert token_digest(token) not in path.read_text()


def test_commands_at_once_bring_no_revoked_token_back(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    made = [add_token(path, service="demo", tenant_id=None, now=NOW)[1] for _ in range(8)]
    with ThreadPoolExecutor(16) as pool:
        added = [pool.submit(add_token, path, service="new", tenant_id=None, now=NOW)
                 for _ in range(8)]  # fmt: skip
        gone = [pool.submit(revoke_token, path, entry.token_id) for entry in made]
        for future in gone:
            future.result()
    left = {token_digest(future.result()[0]) for future in added}
    assert set(load_tokens(path)) == left
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["tokens"]


@pytest.mark.parametrize("service", ["", "Demo", "role:x", "-demo", "a" * 64, "demo\n"])
def test_a_service_that_is_no_name_is_refused(tmp_path: Path, service: str) -> None:
    with pytest.raises(InvalidArgument):
        add_token(tmp_path / "tokens", service=service, tenant_id=None, now=NOW)
    assert not (tmp_path / "tokens").exists()


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    add_token(path, service="demo", tenant_id=None, now=NOW)
    path.chmod(0o644)
    with pytest.raises(FailedPrecondition):
        load_tokens(path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"tokens": [{"sha256": "x"}]}', '{"tokens": 1}'])
def test_what_is_no_token_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InvalidArgument):
        load_tokens(path)


def test_a_full_file_can_be_read_and_takes_no_more(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    _, entry = add_token(path, service="a" * 63, tenant_id=uuid7(), now=NOW)
    row = json.loads(path.read_text())["tokens"][0]
    rows = [{**row, "sha256": f"{number:064x}"} for number in range(MAX_TOKENS)]
    path.write_text(json.dumps({"tokens": rows}, indent=1))
    assert len(load_tokens(path)) == MAX_TOKENS
    with pytest.raises(ResourceExhausted):
        add_token(path, service="demo", tenant_id=None, now=NOW)
    assert entry.service == "a" * 63

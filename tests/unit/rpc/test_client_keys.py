"""What a client signs with: told apart by what it holds, and never shown."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.base.crypto import KeyRing, write_secret
from argy.base.errors import FailedPrecondition, InvalidArgument, Unauthenticated
from argy.base.secret_token import _checksum, new_token, secret_of, token_of
from argy.client import Connection, Endpoint
from argy.rpc.client_keys import ServiceKey, load_keys
from argy.rpc.pair_keys import IssuedKeys, RootKeys
from argy.rpc.service_key_id import ServiceKeyId

KEY_ID = str(ServiceKeyId("k1", uuid4(), uuid4(), 1))


@pytest.fixture
def parts() -> dict[str, str]:
    """The members of a service-key file."""
    return {"source": "billing", "key_id": KEY_ID, "secret": new_token("svc")}


def saved(folder: Path, value: Any) -> Path:
    path = folder / "keys.json"
    write_secret(path, json.dumps(value).encode())
    return path


@given(st.binary(min_size=32, max_size=32))
def test_a_secret_is_read_back_from_its_text(secret: bytes) -> None:
    assert secret_of(token_of("svc", secret), kind="svc") == secret


def test_what_holds_more_than_256_bits_is_no_secret() -> None:
    body = f"argy_svc_{'z' * 43}"
    # The checksum is right: only the number is too large.
    with pytest.raises(InvalidArgument):
        secret_of(f"{body}_{_checksum(body)}", kind="svc")


def test_a_file_is_told_by_what_it_holds(tmp_path: Path, parts: dict[str, str]) -> None:
    loaded = load_keys(saved(tmp_path, parts))
    assert isinstance(loaded, ServiceKey)
    assert loaded.to_json() == parts
    issued = RootKeys(KeyRing.generate()).issue("billing", ["authz"])
    again = load_keys(saved(tmp_path, issued.to_json()))
    assert isinstance(again, IssuedKeys)
    assert again.to_json() == issued.to_json()


def test_a_file_that_others_may_read_is_refused(tmp_path: Path, parts: dict[str, str]) -> None:
    path = saved(tmp_path, parts)
    path.chmod(0o640)
    with pytest.raises(FailedPrecondition):
        load_keys(path)


@pytest.mark.parametrize("change", ["source", "key_id", "secret", "kind", "cut", "empty"])
def test_a_malformed_key_is_refused_without_being_shown(
    tmp_path: Path, parts: dict[str, str], change: str
) -> None:
    secret = parts["secret"]
    spoilt: dict[str, Any] = {
        "source": parts | {"source": "Billing/.."},
        "key_id": parts | {"key_id": "k1"},
        "secret": parts | {"secret": secret[:-1] + ("a" if secret[-1] != "a" else "b")},
        "kind": parts | {"secret": new_token("pat")},
        "cut": parts | {"secret": secret[:-1]},
        "empty": {"secret": secret},
    }[change]
    with pytest.raises(InvalidArgument) as refused:
        load_keys(saved(tmp_path, spoilt))
    told = f"{refused.value.message} {refused.value!r} {refused.value.__cause__!r}"
    assert secret.split("_")[2] not in told


@pytest.mark.parametrize("key", ["\u212a" * 44, "*" * 44, "AA=", "AAAA", "", 7, None, ["AAAA"]])
def test_issued_keys_that_are_malformed_are_refused(tmp_path: Path, key: Any) -> None:
    spoilt = {"source": "billing", "signing": "k1", "keys": {"k1": {"authz": key}}}
    with pytest.raises(InvalidArgument):
        load_keys(saved(tmp_path, spoilt))


def test_a_key_signs_as_its_own_service_and_shows_nothing(parts: dict[str, str]) -> None:
    key = ServiceKey.from_json(parts, origin="test")
    assert parts["secret"].split("_")[2] not in f"{key} {key!r}"
    assert key.pair_key(KEY_ID, "billing", "authz") != key.pair_key(KEY_ID, "billing", "audit")
    for key_id, source in ((KEY_ID, "cli"), ("k1", "billing")):
        with pytest.raises(Unauthenticated) as refused:
            key.pair_key(key_id, source, "authz")
        assert refused.value.reason == "KEY_UNKNOWN"


def text_of(parts: dict[str, str]) -> str:
    return ":".join(parts.values())


def test_a_key_may_come_by_the_environment(parts: dict[str, str]) -> None:
    env = {"ARGY_TARGET": "localhost:1", "ARGY_SERVICE_KEY": text_of(parts) + "\n"}
    endpoint = Endpoint.from_env(source="billing", env=env)
    assert parts["secret"] not in repr(endpoint)
    assert endpoint.keys().to_json() == parts


@pytest.mark.parametrize("text", ["", "a:b", "a:b:c:d", "::"], ids=["none", "two", "four", "empty"])
def test_what_is_no_key_in_the_environment_is_refused(text: str) -> None:
    env = {"ARGY_TARGET": "localhost:1", "ARGY_SERVICE_KEY": text}
    with pytest.raises(InvalidArgument):
        Endpoint.from_env(source="billing", env=env).keys()


def test_two_keys_are_one_too_many(parts: dict[str, str]) -> None:
    env = {
        "ARGY_TARGET": "localhost:1",
        "ARGY_SERVICE_KEY": text_of(parts),
        "ARGY_CLIENT_KEYS_FILE": "keys.json",
    }
    with pytest.raises(InvalidArgument) as refused:
        Endpoint.from_env(source="billing", env=env)
    assert refused.value.reason == "TWO_KEYS"


def test_keys_of_another_service_are_refused_before_anything_is_sent(
    parts: dict[str, str],
) -> None:
    endpoint = Endpoint("localhost:1", "cli", service_key=text_of(parts), unsafe_plaintext=True)
    with pytest.raises(FailedPrecondition) as refused:
        Connection(endpoint)
    assert refused.value.reason == "KEYS_OF_ANOTHER"

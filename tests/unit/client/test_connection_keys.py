"""A client finds out when it starts, and not at the first call, that it lacks a key."""

from pathlib import Path

import pytest

from argy.base.crypto import KeyRing
from argy.base.errors import FailedPrecondition
from argy.client import Connection, Endpoint
from argy.client.keys import issue_keys

CALLED = ("authn", "authz", "directory")


def connection_with(tmp_path: Path, destinations: tuple[str, ...]) -> Connection:
    ring, keys = tmp_path / "ring.json", tmp_path / "edge.json"
    KeyRing.generate().save(ring)
    issue_keys(ring, source="edge", destinations=destinations, out=keys)
    return Connection(Endpoint("localhost:1", "edge", str(keys), unsafe_plaintext=True))


async def test_the_keys_that_are_missing_are_named(tmp_path: Path) -> None:
    connection = connection_with(tmp_path, ("authz",))
    with pytest.raises(FailedPrecondition, match="--to authn --to directory") as refused:
        connection.require_keys(CALLED)
    assert refused.value.reason == "KEYS_MISSING"
    await connection.close()


async def test_keys_for_every_service_that_is_called_are_enough(tmp_path: Path) -> None:
    connection = connection_with(tmp_path, CALLED)
    connection.require_keys(CALLED)
    await connection.close()

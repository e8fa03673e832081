"""The keys that sign: made once, sealed, rotated with overlap, known to every replica."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import jwt
import pytest

from argy.api.authn.v1 import token_pb2 as pb
from argy.authn.sealed import rewrap_all
from argy.authn.tokens.key_rotation import DELAY_S, OVERLAP_S
from argy.base.crypto import KeyRing
from argy.base.envelope import KeyRingKms
from argy.base.errors import FailedPrecondition, Unauthenticated
from argy.base.ids import PLATFORM_TENANT_ID

ARGY = str(Path(sys.executable).with_name("argy"))


@pytest.fixture
async def admin(pg_dsn: str) -> Any:
    """An administrator's connection; the table of keys is empty at first."""
    connection = await asyncpg.connect(pg_dsn)
    await connection.execute("DELETE FROM authn.signing_key")
    yield connection
    await connection.execute("DELETE FROM authn.signing_key")
    await connection.close()


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def rotate(world: Any, replica: Any) -> str:
    return str((await world.rotate(replica)).kid)


async def jwks(world: Any, replica: Any, ada: Any) -> list[str]:
    answer = await world.tokens(replica, ada.tenant).GetJwks(pb.GetJwksRequest())
    keys = json.loads(answer.jwks_json)["keys"]
    assert all(set(key) == {"kty", "use", "alg", "kid", "n", "e"} for key in keys)
    return [key["kid"] for key in keys]


async def test_of_many_first_starts_one_makes_the_key(admin: Any, world: Any, audit: Any) -> None:
    before = len(await audit(PLATFORM_TENANT_ID, "authn.signing_key.create"))
    replicas = await asyncio.gather(*(world.replica() for _ in range(3)))
    assert await admin.fetchval("SELECT count(*) FROM authn.signing_key") == 1
    assert len({tuple(one.keys.peek()) for one in replicas}) == 1
    assert len(await audit(PLATFORM_TENANT_ID, "authn.signing_key.create")) == before + 1


async def test_the_private_key_is_nowhere_in_the_database(admin: Any, world: Any, ada: Any) -> None:
    await world.replica()
    row = await admin.fetchrow("SELECT public_jwk, sealed_private FROM authn.signing_key")
    assert row["sealed_private"][:2] == b"AE"
    # RSA in PKCS #8 names its algorithm, 1.2.840.113549.1.1.1: 2a 86 48 86 f7 0d 01 01 01.
    named = bytes((0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1))
    assert named not in row["sealed_private"]
    assert set(json.loads(row["public_jwk"])) == {"kty", "use", "alg", "kid", "n", "e"}


async def test_a_rotated_key_signs_when_all_can_know_it_and_the_old_one_verifies(
    admin: Any, world: Any, ada: Any, audit: Any
) -> None:
    one, two = await world.replica(), await world.replica()
    beside = await world.beside(two)
    old = await world.sign_in(one, ada)
    kid = await rotate(world, one)
    assert kid != kid_of(old.access_token)
    # At once in the published keys of every replica, though it does not sign yet.
    for replica in (one, two):
        world.clock.advance(1)
        async with asyncio.timeout(60):
            while kid not in await jwks(world, replica, ada):  # noqa: ASYNC110 - it asks each time
                await asyncio.sleep(0)
    assert kid_of((await world.sign_in(one, ada)).access_token) == kid_of(old.access_token)
    world.clock.advance(DELAY_S * 1000)
    for replica in (one, two):
        async with asyncio.timeout(60):
            while kid not in replica.keys.peek():  # noqa: ASYNC110 - told by the database
                await asyncio.sleep(0)
        new = await world.sign_in(replica, ada)
        assert kid_of(new.access_token) == kid
        # A service that has never heard of the key asks for it.
        assert await world.whoami(beside, ada.tenant, new.access_token)
    assert await world.whoami(beside, ada.tenant, old.access_token)
    (record,) = [
        row
        for row in await audit(PLATFORM_TENANT_ID, "authn.signing_key.rotate")
        if row["resource"].endswith(kid)
    ]
    assert record["actor"].startswith("user:")


async def test_an_old_key_goes_when_its_last_token_has_ended(
    admin: Any, world: Any, ada: Any
) -> None:
    replica = await world.replica()
    first = kid_of((await world.sign_in(replica, ada)).access_token)
    second = await rotate(world, replica)
    world.clock.advance((OVERLAP_S - 1) * 1000)
    third = await rotate(world, replica)
    assert set(await jwks(world, replica, ada)) == {first, second, third}
    world.clock.advance(2_000)
    fresh = await world.replica()
    assert set(await jwks(world, fresh, ada)) == {second, third}
    fourth = await rotate(world, fresh)
    left = [row["kid"] for row in await admin.fetch("SELECT kid FROM authn.signing_key")]
    assert set(left) == {second, third, fourth}


async def test_rotations_at_once_leave_one_key_that_signs(admin: Any, world: Any, ada: Any) -> None:
    one, two = await world.replica(), await world.replica()
    await asyncio.gather(*(rotate(world, replica) for replica in (one, two, one, two)))
    signing = await admin.fetchval(
        "SELECT count(*) FROM authn.signing_key WHERE retired_at IS NULL"
    )
    assert signing == 1


async def test_a_random_kid_makes_nobody_ask_often(admin: Any, world: Any, ada: Any) -> None:
    replica = await world.replica()
    beside = await world.beside(replica)
    access = (await world.sign_in(replica, ada)).access_token
    await world.whoami(beside, ada.tenant, access)
    head = jwt.get_unverified_header(access)
    _, payload, signature = access.split(".")
    for number in range(5):
        strange = jwt.utils.base64url_encode(
            json.dumps(head | {"kid": f"{number}" * 43}).encode()
        ).decode()
        with pytest.raises(Unauthenticated) as caught:
            await world.whoami(beside, ada.tenant, f"{strange}.{payload}.{signature}")
        assert caught.value.reason == "TOKEN_KEY_UNKNOWN"
    assert await world.whoami(beside, ada.tenant, access)


async def test_a_key_of_another_kek_or_under_another_id_stops_the_start(
    admin: Any, world: Any
) -> None:
    await world.replica()
    with pytest.raises(FailedPrecondition) as caught:
        await world.replica(kek=KeyRing.generate("other"))
    assert caught.value.reason == "KEK_UNKNOWN"
    # Moved to another row.
    await admin.execute("UPDATE authn.signing_key SET kid = reverse(kid)")
    with pytest.raises(FailedPrecondition) as caught:
        await world.replica()
    assert caught.value.reason == "SEALED_VALUE_REFUSED"


def rewrap(ring: Path, dsn: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ARGY, "keys", "rewrap", "--json"],
        env={"ARGY_KEK_RING": str(ring), "ARGY_AUTHN_DSN": dsn, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_secrets_come_under_a_rotated_kek_and_the_old_one_retires(
    admin: Any,
    world: Any,
    ada: Any,
    kek: KeyRing,
    tmp_path: Path,
    login_dsn: Callable[[str], str],
    audit: Any,
) -> None:
    replica = await world.replica()
    await rotate(world, replica)
    ring = tmp_path / "kek.json"
    rotated = kek.rotated("kek2")
    rotated.save(ring)
    dsn = login_dsn("argy_authn")
    for changed in (2, 0):
        done = await asyncio.to_thread(rewrap, ring, dsn)
        assert done.returncode == 0, done.stderr
        column = "authn.signing_key.sealed_private"
        assert json.loads(done.stdout) == {"column": column, "values": 2, "changed": changed}
    await world.replica(kek=rotated.retired("kek1"))
    with pytest.raises(FailedPrecondition):
        await world.replica()
    records = await audit(PLATFORM_TENANT_ID, "authn.signing_key.rewrap")
    assert [json.loads(row["detail"])["to"] for row in records][-2:] == ["kek2", "kek2"]
    wrong = tmp_path / "wrong.json"
    KeyRing.generate("other").save(wrong)
    failed = await asyncio.to_thread(rewrap, wrong, dsn)
    assert failed.returncode == 5
    assert "KEK_UNKNOWN" in failed.stderr


async def test_a_rewrap_that_was_interrupted_or_raced_by_a_rotation_is_finished_by_the_next(
    admin: Any, world: Any, ada: Any, kek: KeyRing, db_factory: Callable[..., Any]
) -> None:
    replica = await world.replica()
    await rotate(world, replica)
    access = (await world.sign_in(replica, ada)).access_token
    db = await db_factory("argy_authn", max_size=2)
    rotated = kek.rotated("kek2")

    def interrupt(_column: str, _done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rewrap_all(db, KeyRingKms(rotated), interrupt)
    # A replica that was not restarted yet seals the next key as before.
    await rotate(world, replica)
    with pytest.raises(FailedPrecondition) as caught:
        await world.replica(kek=rotated.retired("kek1"))
    assert caught.value.reason == "KEK_UNKNOWN"
    (done,) = await rewrap_all(db, KeyRingKms(rotated), lambda *_: None)
    assert (done.total, done.changed) == (3, 2)
    fresh = await world.replica(kek=rotated.retired("kek1"))
    assert (await world.introspect(fresh, ada.tenant, access)).active

"""A signing key that leaked: withdrawn at once, everywhere, whatever whoever has it does."""

import asyncio
import json
import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import jwt
import pytest
from ports import reserved_port

from argy.api.authn.v1 import token_pb2 as pb
from argy.authn.tokens.domain import Grant, claims_of
from argy.authn.tokens.signing_keys import SigningKeys
from argy.base.envelope import KeyRingKms
from argy.base.errors import ArgyError, PermissionDenied, Unavailable
from argy.base.ids import PLATFORM_TENANT_ID
from argy.local.valkey import EmbeddedValkey

PLATFORM = type("Platform", (), {"tenant_id": PLATFORM_TENANT_ID})
URL = "https://edge.example.test"


async def withdraw(world: Any, replica: Any) -> Any:
    return await world.rotate(replica, withdraw=True)


async def outcome(work: Awaitable[Any]) -> str:
    """The reason of a refusal; empty when there was none."""
    try:
        await work
    except ArgyError as error:
        return error.reason
    return ""


async def until_refused(world: Any, verifier: Any, tenant: Any, token: str) -> str:
    """Ask until a token is refused; why."""
    async with asyncio.timeout(60):
        while not (found := await outcome(world.whoami(verifier, tenant, token))):
            pass
    return found


async def published(world: Any, replica: Any, ada: Any) -> list[str]:
    answer = await world.tokens(replica, ada.tenant).GetJwks(pb.GetJwksRequest())
    return [key["kid"] for key in json.loads(answer.jwks_json)["keys"]]


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


class Thief:
    """Holds the private key that signed when they came."""

    def __init__(self, world: Any, keys: SigningKeys) -> None:
        self._world = world
        self._keys = keys

    @classmethod
    async def come(cls, world: Any, replica: Any, kek: Any) -> "Thief":
        keys = SigningKeys(replica.db, KeyRingKms(kek), world.clock)
        await keys.start()
        # It hears of nothing any more.
        await keys.close()
        return cls(world, keys)

    def forge(self, person: Any, like: str) -> str:
        """A token of somebody, on the list that another token of now stands on."""
        grant = Grant(
            user_id=person.user_id,
            session_id=person.session_id,
            client_id="argy-cli",
            acr="urn:argy:acr:passkey",
            amr=("passkey",),
            auth_time_ms=self._world.clock.now_ms(),
        )
        epoch = jwt.decode(like, options={"verify_signature": False})["epoch"]
        claims = claims_of(
            grant,
            issuer=f"{URL}/{person.tenant.slug}",
            tenant_id=person.tenant.tenant_id,
            family_id=None,
            revision=0,
            epoch=epoch,
            now_ms=self._world.clock.now_ms(),
        )
        return self._keys.sign(claims)


async def test_a_token_signed_with_a_withdrawn_key_is_refused_by_every_verifier(
    world: Any, replica: Any, ada: Any, audit: Any
) -> None:
    other = await world.replica()
    verifiers = [await world.beside(replica), await world.beside(other)]
    old = await world.sign_in(replica, ada)
    # The platform's list has begun: its beginning is not what makes them ask for the keys.
    await replica.endings.epoch(PLATFORM_TENANT_ID)
    for verifier in verifiers:
        assert await world.whoami(verifier, ada.tenant, old.access_token)
    made = await withdraw(world, replica)
    assert kid_of(old.access_token) in made.withdrawn_kids
    for verifier in verifiers:
        found = await until_refused(world, verifier, ada.tenant, old.access_token)
        assert found == "TOKEN_KEY_UNKNOWN"
    for server in (replica, other):
        assert not (await world.introspect(server, ada.tenant, old.access_token)).active
        async with asyncio.timeout(60):
            while await published(world, server, ada) != [made.kid]:
                pass
    # It signs already, and who was signed in goes on.
    assert made.sign_time.ToMilliseconds() <= world.clock.now_ms()
    fresh = await world.refresh(other, ada, old.refresh_token)
    assert kid_of(fresh.access_token) == made.kid
    for verifier in verifiers:
        assert await world.whoami(verifier, ada.tenant, fresh.access_token)
    (record,) = [
        row
        for row in await audit(PLATFORM_TENANT_ID, "authn.signing_key.withdraw")
        if row["resource"].endswith(made.kid)
    ]
    assert record["actor"].startswith("user:")
    assert json.loads(record["detail"])["withdrawn"] == sorted(made.withdrawn_kids)


async def test_a_token_forged_with_a_withdrawn_key_is_refused_after_the_deny_list_was_lost(
    world: Any, ada: Any, kek: Any, tmp_path: Path
) -> None:
    valkey = EmbeddedValkey(tmp_path / "valkey", port=reserved_port(), durable=False)
    valkey.start()
    try:
        replica = await world.replica(redis_url=valkey.url)
        beside = await world.beside(replica, redis_url=valkey.url)
        thief = await Thief.come(world, replica, kek)
        good = (await world.sign_in(replica, ada)).access_token
        assert await world.whoami(beside, ada.tenant, thief.forge(ada, good))
        await withdraw(world, replica)
        fresh = (await world.sign_in(replica, ada)).access_token
        await until_refused(world, beside, ada.tenant, thief.forge(ada, fresh))
        valkey.stop()
        shutil.rmtree(valkey.folder / "data")
        valkey.start()
        async with asyncio.timeout(60):
            while await outcome(world.sign_in(replica, ada)):
                pass  # a connection of before
            # No copy of the lost list is left.
            while await outcome(world.mirrors[-1].renewed(PLATFORM_TENANT_ID)):
                pass
            # The entry is gone with the list, and the verifier's copy of the keys is of before.
            forged = thief.forge(ada, (await world.sign_in(replica, ada)).access_token)
            found = ""
            while not found.startswith("TOKEN_"):
                found = await outcome(world.whoami(beside, ada.tenant, forged))
                assert found, "let in"
        assert found == "TOKEN_KEY_UNKNOWN"
    finally:
        valkey.stop()


async def test_a_key_that_can_not_be_denied_is_not_withdrawn_by_half(
    world: Any, ada: Any, tmp_path: Path, audit: Any
) -> None:
    valkey = EmbeddedValkey(tmp_path / "valkey", port=reserved_port(), durable=False)
    valkey.start()
    try:
        replica = await world.replica(endings_url=valkey.url)
    finally:
        valkey.stop()
    before = await published(world, replica, ada)
    records = len(await audit(PLATFORM_TENANT_ID, "authn.signing_key.withdraw"))
    with pytest.raises(Unavailable) as caught:
        await withdraw(world, replica)
    assert caught.value.reason == "REVOCATIONS_AWAY"
    assert await published(world, replica, ada) == before
    assert len(await audit(PLATFORM_TENANT_ID, "authn.signing_key.withdraw")) == records


async def test_who_may_not_rotate_withdraws_nothing(world: Any, replica: Any, ada: Any) -> None:
    before = await published(world, replica, ada)
    stub = world.tokens(replica, PLATFORM, source="cli")
    with pytest.raises(PermissionDenied) as nobody:
        await stub.RotateSigningKey(pb.RotateSigningKeyRequest(withdraw=True))
    assert nobody.value.reason == "PROOF_REQUIRED"
    replica.permissions.everybody = False
    with pytest.raises(PermissionDenied) as refused:
        await withdraw(world, replica)
    assert refused.value.reason == "ACCESS_DENIED"
    assert await published(world, replica, ada) == before

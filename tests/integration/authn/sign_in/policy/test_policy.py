"""A tenant's sign-in policy: read, replaced, recorded, and whom it leaves out."""

import asyncio
import hashlib
import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from argy.api.authn.v1 import sign_in_policy_pb2 as pb
from argy.base.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    Unauthenticated,
)
from argy.base.ids import uuid7

MODEL = str(UUID(int=7))
OTHER = str(UUID(int=8))


async def _update(world: Any, tenant: Any, policy: Any, etag: str, **more: Any) -> Any:
    request = pb.UpdateSignInPolicyRequest(policy=policy, etag=etag)
    return await world.call(tenant, "SignInPolicyService.UpdateSignInPolicy", request, **more)


async def test_a_tenant_that_never_set_one_has_the_defaults(world: Any, ada: Any) -> None:
    found = await world.policy(ada.tenant)
    assert found.policy == pb.SignInPolicy(
        links=pb.LINKS_ON, passkey_attestation=pb.PASSKEY_ATTESTATION_NONE
    )
    assert found.etag == "0"
    assert found.standing == pb.SignInStanding(users_without_passkey=1)


async def test_what_is_set_is_told_and_recorded_with_what_was(
    world: Any, ada: Any, vendor: Any, required: Any
) -> None:
    first = await world.set_policy(ada.tenant, session_idle_minutes=20)
    second = await world.set_policy(ada.tenant, session_max_minutes=480, **required)
    assert [first.etag, second.etag] == ["1", "2"]
    assert second.policy == pb.SignInPolicy(
        links=pb.LINKS_ON, session_idle_minutes=20, session_max_minutes=480, **required
    )
    found = await world.policy(ada.tenant)
    assert (found.policy, found.etag) == (second.policy, second.etag)
    records = await world.records(ada.tenant, "authn.sign_in_policy.update")
    assert [record["actor"] for record in records] == ["service:cli"] * 2
    assert {record["resource"] for record in records} == {f"sign_in_policy:{ada.tenant.tenant_id}"}
    told = [json.loads(record["detail"]) for record in records]
    assert told[0]["old"] == {
        "links": "ON",
        "passkey_aaguids": [],
        "passkey_attestation": "NONE",
        "passkey_attestation_roots": [],
        "session_idle_minutes": 0,
        "session_max_minutes": 0,
        "etag": "0",
    }
    assert told[0]["new"] == told[1]["old"]
    assert told[1]["new"] == {
        "links": "ON",
        "passkey_aaguids": [MODEL],
        "passkey_attestation": "REQUIRED",
        "passkey_attestation_roots": [hashlib.sha256(vendor.pem.encode()).hexdigest()],
        "session_idle_minutes": 20,
        "session_max_minutes": 480,
        "etag": "2",
    }


async def test_another_tenants_policy_is_neither_seen_nor_changed(
    world: Any, ada: Any, tenant_factory: Any
) -> None:
    other = await tenant_factory()
    changed = await world.set_policy(ada.tenant, links=pb.LINKS_OFF)
    assert (await world.policy(other)).etag == "0"
    await world.set_policy(other, session_idle_minutes=5)
    assert (await world.policy(ada.tenant)).policy == changed.policy
    with pytest.raises(Aborted):
        await _update(world, other, changed.policy, "2")


async def test_the_database_refuses_a_row_of_another_tenant(
    world: Any, ada: Any, tenant_factory: Any
) -> None:
    await world.set_policy(ada.tenant, session_idle_minutes=5)
    other = await tenant_factory()
    async with world.db.tenant(other.tenant_id) as tx:
        count = "SELECT count(*) FROM authn.sign_in_policy WHERE tenant_id = $1"
        assert await tx.fetchval(count, ada.tenant.tenant_id) == 0
        update = "UPDATE authn.sign_in_policy SET links = 'OFF' WHERE tenant_id = $1"
        assert await tx.execute(update, ada.tenant.tenant_id) == 0


async def test_a_stale_etag_is_refused_and_changes_nothing(world: Any, ada: Any) -> None:
    first = await world.set_policy(ada.tenant, session_idle_minutes=20)
    await world.set_policy(ada.tenant, session_idle_minutes=10)
    for etag in ("0", first.etag, "3", "02", "x"):
        with pytest.raises(Aborted) as refused:
            await world.set_policy(ada.tenant, etag=etag, session_idle_minutes=1)
        assert refused.value.reason == "ETAG_MISMATCH"
    held = await world.policy(ada.tenant)
    assert (held.etag, held.policy.session_idle_minutes) == ("2", 10)
    assert len(await world.records(ada.tenant, "authn.sign_in_policy.update")) == 2


async def test_of_changes_at_once_one_wins(world: Any, ada: Any) -> None:
    """Also of the first ones, which find no row to lock."""
    for etag in ("0", "1"):
        attempts = [
            world.set_policy(ada.tenant, etag=etag, session_idle_minutes=number)
            for number in range(1, 7)
        ]
        done = await asyncio.gather(*attempts, return_exceptions=True)
        won = [one for one in done if not isinstance(one, BaseException)]
        lost = [one for one in done if isinstance(one, Aborted)]
        assert (len(won), len(lost)) == (1, 5)
        assert {one.reason for one in lost} == {"ETAG_MISMATCH"}
        assert (await world.policy(ada.tenant)).policy == won[0].policy
    assert len(await world.records(ada.tenant, "authn.sign_in_policy.update")) == 2


@pytest.mark.parametrize(
    "missing",
    [{"links": pb.LINKS_UNSPECIFIED}, {"passkey_attestation": pb.PASSKEY_ATTESTATION_UNSPECIFIED}],
    ids=["links", "attestation"],
)
async def test_a_forgotten_field_is_no_default(world: Any, ada: Any, missing: Any) -> None:
    await world.set_policy(ada.tenant, links=pb.LINKS_OFF)
    with pytest.raises(InvalidArgument) as refused:
        await world.set_policy(ada.tenant, **missing)
    assert refused.value.field == f"policy.{next(iter(missing))}"
    assert (await world.policy(ada.tenant)).policy.links == pb.LINKS_OFF


async def test_nonsense_is_named_field_by_field(world: Any, ada: Any, vendor: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await world.set_policy(
            ada.tenant,
            passkey_attestation=pb.PASSKEY_ATTESTATION_REQUIRED,
            passkey_attestation_roots=[vendor.pem, "no certificate"],
            session_idle_minutes=31,
            session_max_minutes=721,
        )
    assert refused.value.reason == "INVALID_SIGN_IN_POLICY"
    assert [violation.field for violation in refused.value.violations] == [
        "policy.passkey_attestation_roots[1]",
        "policy.passkey_aaguids",
        "policy.session_idle_minutes",
        "policy.session_max_minutes",
    ]
    with pytest.raises(InvalidArgument) as refused:
        await world.set_policy(ada.tenant, passkey_aaguids=[MODEL, "key"])
    assert refused.value.field == "policy.passkey_aaguids[1]"
    assert (await world.policy(ada.tenant)).etag == "0"


async def test_required_attestation_without_roots_is_refused_by_the_database_too(
    world: Any, ada: Any
) -> None:
    await world.set_policy(ada.tenant, passkey_aaguids=[MODEL])
    with pytest.raises(InvalidArgument):
        async with world.db.tenant(ada.tenant.tenant_id) as tx:
            await tx.execute("UPDATE authn.sign_in_policy SET passkey_attestation = 'REQUIRED'")


async def test_a_person_needs_a_recent_proof(
    world: Any, ada: Any, authenticator: Any, proved: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    token = await proved(ada, device)
    await world.set_policy(ada.tenant, token=token, session_idle_minutes=20)
    (record,) = await world.records(ada.tenant, "authn.sign_in_policy.update")
    assert record["actor"] == ada.subject
    world.clock.advance(301_000)
    with pytest.raises(FailedPrecondition) as refused:
        await world.set_policy(ada.tenant, token=token, session_idle_minutes=10)
    assert refused.value.reason == "STEP_UP_REQUIRED"


async def test_a_service_that_says_for_whom_it_acts_proves_nobody(world: Any, ada: Any) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await world.set_policy(ada.tenant, caller=ada.subject, links=pb.LINKS_OFF)
    assert refused.value.reason == "PERSON_REQUIRED"


async def test_a_policy_is_no_orgs(world: Any, ada: Any) -> None:
    """A permission held in one org does not change how the whole tenant signs in."""
    held = await world.policy(ada.tenant)
    for rpc, request in (
        ("GetSignInPolicy", pb.GetSignInPolicyRequest()),
        ("UpdateSignInPolicy", pb.UpdateSignInPolicyRequest(policy=held.policy, etag=held.etag)),
    ):
        with pytest.raises(PermissionDenied) as refused:
            await world.call(ada.tenant, f"SignInPolicyService.{rpc}", request, org_id=uuid7())
        assert refused.value.reason == "TENANT_WIDE_ONLY"


async def test_people_without_a_passkey_are_counted(
    world: Any, ada: Any, person_in: Any, change_user: Any, authenticator: Any
) -> None:
    clone, gone = await person_in(ada.tenant), await person_in(ada.tenant)
    await person_in(ada.tenant)
    await world.register(ada, authenticator())
    await world.register(ada, authenticator())
    copied = authenticator()
    await world.register(clone, copied)
    await change_user(gone, "DISABLED")
    assert (await world.policy(ada.tenant)).standing.users_without_passkey == 1
    await world.sign_in(ada.tenant, copied, sign_count=7)
    with pytest.raises(Unauthenticated):
        await world.sign_in(ada.tenant, copied, sign_count=7)
    made = await world.set_policy(ada.tenant, session_idle_minutes=20)
    assert made.standing.users_without_passkey == 2


async def test_passkeys_outside_the_policy_are_counted_and_still_sign_in(
    world: Any, ada: Any, person_in: Any, change_user: Any, authenticator: Any
) -> None:
    other = authenticator(aaguid=UUID(OTHER).bytes)
    await world.register(ada, authenticator(aaguid=UUID(MODEL).bytes))
    await world.register(ada, other)
    bob = await person_in(ada.tenant)
    await world.register(bob, authenticator(aaguid=UUID(OTHER).bytes))
    assert (await world.policy(ada.tenant)).standing.passkeys_outside_policy == 0
    made = await world.set_policy(ada.tenant, passkey_aaguids=[MODEL])
    assert made.standing.passkeys_outside_policy == 2
    await change_user(bob, "DISABLED")
    assert (await world.policy(ada.tenant)).standing.passkeys_outside_policy == 1
    await world.sign_in(ada.tenant, other)


async def test_passkeys_that_proved_no_model_are_outside_where_they_must(
    world: Any, ada: Any, authenticator: Any, required: Any
) -> None:
    device = authenticator(aaguid=UUID(MODEL).bytes)
    await world.register(ada, device)
    made = await world.set_policy(ada.tenant, **required)
    assert made.standing.passkeys_outside_policy == 1
    await world.sign_in(ada.tenant, device)


async def test_a_policy_goes_with_its_tenant(world: Any, ada: Any, pg_dsn: str) -> None:
    await world.set_policy(ada.tenant, links=pb.LINKS_OFF)
    admin = await asyncpg.connect(pg_dsn)
    tenant_id = ada.tenant.tenant_id
    await admin.execute("DELETE FROM directory.user_account WHERE tenant_id = $1", tenant_id)
    await admin.execute("DELETE FROM directory.tenant WHERE tenant_id = $1", tenant_id)
    count = "SELECT count(*) FROM authn.sign_in_policy WHERE tenant_id = $1"
    assert await admin.fetchval(count, tenant_id) == 0
    await admin.close()

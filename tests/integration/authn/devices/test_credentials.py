"""Personal access tokens and API keys: bound by their owner's rights, and ended at once."""

import asyncio
import logging
from typing import Any
from uuid import uuid4

import pytest

from argy.api.authn.v1 import credential_pb2 as pb
from argy.base.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from argy.base.secret_token import is_token, new_token
from argy.rpc.credentials import RemoteCredentials

CHECK = "authz.decision:check"


async def listed(world: Any, person: Any, **options: Any) -> list[Any]:
    page = await world.credentials(person.tenant, **options).ListCredentials(
        pb.ListCredentialsRequest(), metadata=person.metadata
    )
    return list(page.credentials)


async def revoke(world: Any, person: Any, credential_id: str, **options: Any) -> None:
    await world.credentials(person.tenant, **options).RevokeCredential(
        pb.RevokeCredentialRequest(credential_id=credential_id), metadata=person.metadata
    )


async def make_key(world: Any, person: Any, agent: str, *scopes: str) -> Any:
    request = pb.CreateApiKeyRequest(subject=agent, name="build", scopes=scopes, days=30)
    return await world.credentials(person.tenant).CreateApiKey(request, metadata=person.metadata)


async def rotate(world: Any, person: Any, credential_id: str, hours: int) -> Any:
    request = pb.RotateCredentialRequest(credential_id=credential_id, overlap_hours=hours)
    return await world.credentials(person.tenant).RotateCredential(
        request, metadata=person.metadata
    )


async def test_a_token_acts_as_its_owner_within_its_scopes(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    assert is_token(made.secret, kind="pat")
    assert made.credential.prefix == made.secret[:13]
    assert made.credential.subject == ada.subject
    assert await world.may_read(ada.tenant, made.secret)
    narrow = await world.make_token(ada, "project:read")
    with pytest.raises(PermissionDenied) as refused:
        await world.may_read(ada.tenant, narrow.secret)
    assert refused.value.reason == "SCOPE_INSUFFICIENT"


async def test_a_token_beyond_its_owner_s_rights_is_not_made(world: Any, ada: Any) -> None:
    with pytest.raises(PermissionDenied) as refused:
        await world.make_token(ada, "project:read", "project:deploy")
    assert refused.value.reason == "SCOPE_BEYOND_RIGHTS"
    assert refused.value.metadata["scope"] == "project:deploy"
    assert await listed(world, ada) == []


async def test_a_token_loses_what_its_owner_loses(world: Any, tenant_factory: Any) -> None:
    tenant = await tenant_factory()
    bob = await world.person(tenant)
    assignment = await world.grant(tenant, bob.subject, "role:PLATFORM_USER")
    made = await world.make_token(bob, CHECK)
    assert await world.may_read(tenant, made.secret)
    await world.ungrant(tenant, assignment)
    with pytest.raises(PermissionDenied) as refused:
        await world.may_read(tenant, made.secret)
    assert refused.value.reason == "ACCESS_DENIED"


async def test_a_revoked_token_is_refused_by_every_replica_at_once(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    for replica in (0, 1):
        assert await world.may_read(ada.tenant, made.secret, replica=replica)
    await revoke(world, ada, made.credential.credential_id)
    for replica in (0, 1):
        with pytest.raises(Unauthenticated) as refused:
            await world.may_read(ada.tenant, made.secret, replica=replica)
        assert refused.value.reason == "CREDENTIAL_INVALID"
    assert await listed(world, ada) == []


async def test_a_disabled_owner_s_token_is_refused_at_once(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    await world.disable(ada)
    for replica in (0, 1):
        with pytest.raises(Unauthenticated):
            await world.may_read(ada.tenant, made.secret, replica=replica)


async def test_a_deleted_owner_s_tokens_go_too(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    async with world.directory.tenant(ada.tenant.tenant_id) as tx:
        await tx.execute("DELETE FROM directory.user_account WHERE user_id = $1", ada.user_id)
    with pytest.raises(Unauthenticated):
        await world.may_read(ada.tenant, made.secret)


async def test_a_token_ends_by_itself(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK, days=7)
    world.clock.advance(7 * 86_400_000 - 1)
    assert await world.may_read(ada.tenant, made.secret)
    world.clock.advance(1)
    with pytest.raises(Unauthenticated):
        await world.may_read(ada.tenant, made.secret)


async def test_the_26th_token_is_refused_also_at_once(world: Any, ada: Any) -> None:
    for number in range(20):
        await world.make_token(ada, CHECK, name=f"t{number}")
    done = await asyncio.gather(
        *(world.make_token(ada, CHECK, name=f"u{number}") for number in range(10)),
        return_exceptions=True,
    )
    refused = [one for one in done if isinstance(one, ResourceExhausted)]
    assert [error.reason for error in refused] == ["TOO_MANY_CREDENTIALS"] * 5
    found = await listed(world, ada)
    assert len(found) == 25
    await revoke(world, ada, found[0].credential_id)
    await world.make_token(ada, CHECK)


@pytest.mark.parametrize("days", [6, 367, 0, -1])
async def test_a_lifetime_outside_of_its_limits_is_refused(world: Any, ada: Any, days: int) -> None:
    with pytest.raises(InvalidArgument):
        await world.make_token(ada, CHECK, days=days)


async def test_another_tenant_knows_no_token(world: Any, ada: Any, tenant_factory: Any) -> None:
    made = await world.make_token(ada, CHECK)
    with pytest.raises(Unauthenticated) as refused:
        await world.may_read(await tenant_factory(), made.secret)
    assert refused.value.reason == "CREDENTIAL_INVALID"


async def test_a_made_up_token_and_one_in_the_wrong_header_are_refused(
    world: Any, ada: Any
) -> None:
    made = await world.make_token(ada, CHECK)
    stub = world.credentials(ada.tenant)
    request = pb.ListCredentialsRequest()
    for metadata in (
        (("authorization", f"Bearer {new_token('pat')}"),),
        (("authorization", f"Bearer {made.secret[:-1]}x"),),
        (("authorization", f"Bearer {new_token('key')}"),),
        (("authorization", f"Basic {made.secret}"),),
        (("x-api-key", made.secret),),
        (("x-api-key", new_token("key")),),
        (("x-api-key", made.secret), ("authorization", f"Bearer {made.secret}")),
    ):
        with pytest.raises(Unauthenticated):
            await stub.ListCredentials(request, metadata=metadata)


async def test_a_token_makes_no_token(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    thief = type(ada)(ada.tenant, ada.user_id, made.secret)
    with pytest.raises(PermissionDenied) as refused:
        await world.make_token(thief, CHECK)
    assert refused.value.reason == "SCOPE_INSUFFICIENT"


async def test_a_token_is_made_only_by_who_proved_lately_who_they_are(world: Any, ada: Any) -> None:
    old = await world.sign_in(ada.tenant, ada.user_id, auth_age_s=301)
    with pytest.raises(FailedPrecondition) as refused:
        await world.make_token(type(ada)(ada.tenant, ada.user_id, old), CHECK)
    assert refused.value.reason == "STEP_UP_REQUIRED"
    with pytest.raises(Unauthenticated):
        await world.credentials(ada.tenant).CreatePersonalAccessToken(
            pb.CreatePersonalAccessTokenRequest(name="x", scopes=[CHECK], days=7)
        )


async def test_people_see_and_end_their_own_only(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    eve = await world.person(ada.tenant, "role:PLATFORM_USER")
    with pytest.raises(NotFound):
        await revoke(world, eve, made.credential.credential_id)
    with pytest.raises(NotFound):
        await rotate(world, eve, made.credential.credential_id, 1)
    with pytest.raises(PermissionDenied):
        await world.credentials(ada.tenant).ListCredentials(
            pb.ListCredentialsRequest(subject=ada.subject), metadata=eve.metadata
        )
    with pytest.raises(NotFound):
        await revoke(world, eve, str(uuid4()))
    assert await world.may_read(ada.tenant, made.secret)


async def test_an_administrator_sees_and_ends_anybody_s(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    root = await world.person(ada.tenant, "role:PLATFORM_ADMIN")
    page = await world.credentials(ada.tenant).ListCredentials(
        pb.ListCredentialsRequest(subject=ada.subject), metadata=root.metadata
    )
    assert [one.credential_id for one in page.credentials] == [made.credential.credential_id]
    await revoke(world, root, made.credential.credential_id)
    with pytest.raises(Unauthenticated):
        await world.may_read(ada.tenant, made.secret)
    rows = await world.audit(ada.tenant.tenant_id, "authn.credential.revoke")
    assert [row["actor"] for row in rows] == [root.subject]


async def test_rotation_overlaps_for_as_long_as_it_says(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    credential_id = made.credential.credential_id
    fresh = await rotate(world, ada, credential_id, 2)
    assert fresh.credential.credential_id == credential_id
    assert fresh.secret != made.secret
    assert await world.may_read(ada.tenant, made.secret)
    assert await world.may_read(ada.tenant, fresh.secret)
    world.clock.advance(2 * 3_600_000)
    with pytest.raises(Unauthenticated):
        await world.may_read(ada.tenant, made.secret)
    assert await world.may_read(ada.tenant, fresh.secret)


async def test_revoking_ends_both_secrets_of_an_overlap(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    fresh = await rotate(world, ada, made.credential.credential_id, 24)
    await revoke(world, ada, made.credential.credential_id)
    for secret in (made.secret, fresh.secret):
        with pytest.raises(Unauthenticated):
            await world.may_read(ada.tenant, secret)
    with pytest.raises(FailedPrecondition) as refused:
        await rotate(world, ada, made.credential.credential_id, 1)
    assert refused.value.reason == "CREDENTIAL_OVER"


async def test_without_overlap_the_old_secret_ends_at_once(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    await rotate(world, ada, made.credential.credential_id, 0)
    with pytest.raises(Unauthenticated):
        await world.may_read(ada.tenant, made.secret, replica=1)


async def test_a_key_acts_as_its_agent(world: Any, ada: Any) -> None:
    agent = "agent:builder"
    await world.grant(ada.tenant, agent, "role:PLATFORM_USER")
    maker = await world.person(ada.tenant, "role:PLATFORM_USER", "role:KEY_MAKER")
    made = await make_key(world, maker, agent, CHECK)
    assert is_token(made.secret, kind="key")
    assert made.credential.subject == agent
    assert await world.may_read(ada.tenant, made.secret, replica=1)
    with pytest.raises(PermissionDenied):
        await make_key(world, ada, agent, CHECK)


async def test_a_key_has_no_right_that_its_agent_or_its_maker_lacks(world: Any, ada: Any) -> None:
    strong, weak = "agent:strong", "agent:weak"
    await world.grant(ada.tenant, strong, "role:DEPLOYER")
    maker = await world.person(ada.tenant, "role:PLATFORM_USER", "role:KEY_MAKER")
    for agent, scope in ((strong, "project:deploy"), (weak, "project:read")):
        with pytest.raises(PermissionDenied) as refused:
            await make_key(world, maker, agent, scope)
        assert refused.value.reason == "SCOPE_BEYOND_RIGHTS"


async def test_last_use_is_told_to_the_minute(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    (before,) = await listed(world, ada)
    assert not before.HasField("last_used_time")
    await world.may_read(ada.tenant, made.secret)
    await world.replicas[0].used.flush()
    (after,) = await listed(world, ada)
    assert after.last_used_time.seconds == world.clock.now_ms() // 60_000 * 60


async def test_pages_of_a_list_go_on(world: Any, ada: Any) -> None:
    for number in range(3):
        await world.make_token(ada, CHECK, name=f"t{number}")
    stub, names, token = world.credentials(ada.tenant), [], ""
    while True:
        page = await stub.ListCredentials(
            pb.ListCredentialsRequest(page_size=2, page_token=token), metadata=ada.metadata
        )
        names += [one.name for one in page.credentials]
        token = page.next_page_token
        if not token:
            break
    assert names == ["t2", "t1", "t0"]


async def test_a_server_that_hosts_no_credentials_asks_for_each_use(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    asker = RemoteCredentials(world.channel(ada.tenant, source="example"))
    found = await asker.verify(ada.tenant.tenant_id, made.secret)
    assert (found.subject, found.scopes) == (ada.subject, frozenset({CHECK}))
    await revoke(world, ada, made.credential.credential_id)
    with pytest.raises(Unauthenticated):
        await asker.verify(ada.tenant.tenant_id, made.secret)
    stranger = RemoteCredentials(world.channel(ada.tenant, source="edge"))
    with pytest.raises(Unauthenticated):
        await stranger.verify(ada.tenant.tenant_id, made.secret)


async def test_no_secret_is_kept_recorded_or_logged(
    world: Any, ada: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = await world.make_token(ada, CHECK)
    await world.may_read(ada.tenant, made.secret)
    fresh = await rotate(world, ada, made.credential.credential_id, 1)
    with pytest.raises(Unauthenticated):
        await world.may_read(ada.tenant, new_token("pat"))
    async with world.replicas[0].db.tenant(ada.tenant.tenant_id) as tx:
        kept = await tx.fetch("SELECT to_jsonb(c)::text AS row FROM authn.credential AS c")
    told = [
        *(row["row"] for row in kept),
        *(
            str(dict(row))
            for row in await world.audit(ada.tenant.tenant_id, "authn.credential.create")
        ),
        *(
            str(dict(row))
            for row in await world.audit(ada.tenant.tenant_id, "authn.credential.rotate")
        ),
        caplog.text,
    ]
    assert len(told) == 4
    for secret in (made.secret, fresh.secret):
        assert all(secret[13:] not in text for text in told)

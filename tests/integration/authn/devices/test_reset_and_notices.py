"""Resets and notices on real servers: who is let through to them, and what devices and tokens tell.

What a reset does in itself is tested beside sign-in.
"""

from typing import Any

import pytest

from argy.api.authn.v1 import credential_pb2 as cpb
from argy.api.authn.v1 import device_pb2 as dpb
from argy.api.authn.v1 import session_pb2 as pb
from argy.base.errors import ArgyError, NotFound, PermissionDenied, Unauthenticated

HERE = pb.Device(ip="198.51.100.4", user_agent="Browser/1")


async def _reset(world: Any, by: Any, person: Any, *, token: str = "", **options: Any) -> Any:
    request = pb.ResetSignInRequest(user_id=str(person.user_id), reason="lost laptop")
    metadata = (("authorization", f"Bearer {token or by.token}"),)
    return await world.sessions(by.tenant, **options).ResetSignIn(request, metadata=metadata)


async def _notices(world: Any, person: Any) -> list[Any]:
    found = await world.sessions(person.tenant).ListSecurityNotices(
        pb.ListSecurityNoticesRequest(), metadata=person.metadata
    )
    return list(found.notices)


async def _elsewhere(world: Any, person: Any) -> list[str]:
    """The kinds of what another session of the person shows."""
    other = type(person)(
        person.tenant, person.user_id, await world.sign_in(person.tenant, person.user_id)
    )
    return [one.kind for one in await _notices(world, other) if not one.own]


async def test_a_reset_by_a_person_without_the_permission_is_refused(world: Any, ada: Any) -> None:
    bob = await world.person(ada.tenant, "role:PLATFORM_USER")
    with pytest.raises(PermissionDenied) as refused:
        await _reset(world, bob, ada)
    assert refused.value.reason == "ACCESS_DENIED"
    assert await _elsewhere(world, ada) == []


async def test_a_recovery_session_of_an_administrator_is_refused(world: Any, ada: Any) -> None:
    admin = await world.person(ada.tenant, "role:PLATFORM_ADMIN")
    async with world.replicas[0].db.tenant(ada.tenant.tenant_id) as tx:
        tokens = await world.replicas[0].issuer.issue(
            tx,
            tenant=ada.tenant.slug,
            user_id=admin.user_id,
            session_id=admin.user_id,
            acr="urn:argy:acr:provisional",
            amr=("magic_link",),
            auth_time_ms=world.clock.now_ms(),
            client_id="edge",
        )
    with pytest.raises(PermissionDenied) as refused:
        await _reset(world, admin, ada, token=tokens.access_token)
    assert refused.value.reason == "PASSKEY_REQUIRED"


async def test_a_token_of_an_administrator_resets_nobody(world: Any, ada: Any) -> None:
    """A personal access token proves no passkey, whatever its scopes."""
    admin = await world.person(ada.tenant, "role:PLATFORM_ADMIN")
    made = await world.make_token(admin, "authn.user:reset_sign_in")
    with pytest.raises(Unauthenticated) as refused:
        await _reset(world, admin, ada, token=made.secret)
    assert refused.value.reason == "PERSON_REQUIRED"


async def test_an_administrator_of_another_tenant_resets_nobody(
    world: Any, ada: Any, tenant_factory: Any
) -> None:
    stranger = await world.person(await tenant_factory(), "role:PLATFORM_ADMIN")
    with pytest.raises(NotFound):
        await _reset(world, stranger, ada)


async def test_tokens_and_codes_of_before_a_reset_are_refused_by_every_server(
    world: Any, ada: Any
) -> None:
    admin = await world.person(ada.tenant, "role:PLATFORM_ADMIN")
    made = await world.make_token(ada, "authz.decision:check")
    assert await world.may_read(ada.tenant, made.secret)
    begun = await world.begin(ada.tenant)
    await world.decide(ada, begun.user_code)
    done = await _reset(world, admin, ada)
    assert (done.tokens, done.passkeys) == (1, 0)
    for replica in range(2):
        with pytest.raises(ArgyError) as refused:
            await world.may_read(ada.tenant, made.secret, replica=replica)
        assert refused.value.reason == "CREDENTIAL_INVALID"
    polled = await world.poll(ada.tenant, begun.device_code)
    assert polled.poll == dpb.DEVICE_POLL_ACCESS_DENIED


async def test_an_approval_that_was_under_way_lets_no_device_in(world: Any, ada: Any) -> None:
    """Approved a moment after the reset, by a session from before it."""
    admin = await world.person(ada.tenant, "role:PLATFORM_ADMIN")
    begun = await world.begin(ada.tenant)
    await world.decide(ada, begun.user_code)
    await _reset(world, admin, ada)
    async with world.replicas[0].db.tenant(ada.tenant.tenant_id) as tx:
        await tx.execute(
            "UPDATE authn.device_code SET state = 'APPROVED' WHERE tenant_id = $1",
            ada.tenant.tenant_id,
        )
    polled = await world.poll(ada.tenant, begun.device_code)
    assert polled.poll == dpb.DEVICE_POLL_ACCESS_DENIED


async def test_a_new_token_is_told_to_every_other_session(world: Any, ada: Any) -> None:
    request = cpb.CreatePersonalAccessTokenRequest(
        name="nightly", scopes=["project:read"], days=30, device=HERE
    )
    await world.credentials(ada.tenant).CreatePersonalAccessToken(request, metadata=ada.metadata)
    (told,) = await _notices(world, ada)
    assert (told.kind, told.name, told.device.ip, told.own) == (
        "token_made",
        "nightly",
        "198.51.100.4",
        True,
    )
    assert await _elsewhere(world, ada) == ["token_made"]


async def test_a_device_that_is_let_in_is_told_to_every_other_session(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant, scope="")
    await world.decide(ada, begun.user_code)
    (told,) = await _notices(world, ada)
    assert (told.kind, told.name, told.device.ip, told.own) == (
        "device_let_in",
        "argy-cli",
        "203.0.113.5",
        True,
    )
    assert await _elsewhere(world, ada) == ["device_let_in"]
    polled = await world.poll(ada.tenant, begun.device_code)
    terminal = type(ada)(ada.tenant, ada.user_id, polled.tokens.access_token)
    assert [one.own for one in await _notices(world, terminal)] == [True]


async def test_a_refused_device_is_told_to_nobody(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    await world.decide(ada, begun.user_code, approved=False)
    assert await _notices(world, ada) == []

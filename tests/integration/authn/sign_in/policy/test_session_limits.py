"""How long sessions of a tenant last: as it says, and never longer than the platform's."""

from typing import Any

import pytest

from argy.base.errors import InvalidArgument, Unauthenticated

MINUTE_MS = 60_000


async def _over(world: Any, tenant: Any, secret: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await world.check(tenant, secret)
    assert refused.value.reason == "SESSION_OVER"


async def test_a_session_idle_larger_than_the_platforms_is_refused(world: Any, ada: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await world.set_policy(ada.tenant, session_idle_minutes=31)
    assert refused.value.field == "policy.session_idle_minutes"
    assert "0 to 30" in refused.value.message


async def test_a_larger_limit_in_the_database_gives_no_more_than_the_platforms(
    world: Any, ada: Any
) -> None:
    """As when the platform lowered its own later."""
    await world.set_policy(ada.tenant, session_idle_minutes=30)
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        await tx.execute(
            "UPDATE authn.sign_in_policy"
            " SET session_idle_minutes = 10080, session_max_minutes = 10080"
        )
    session = await world.by_link(ada)
    lasts_s = session.session.expire_time.seconds - session.session.create_time.seconds
    assert lasts_s == 43_200
    world.clock.advance(31 * MINUTE_MS)
    await _over(world, ada.tenant, session.secret)


async def test_the_rest_is_measured_by_what_the_tenant_says_now(world: Any, ada: Any) -> None:
    first, second = await world.by_link(ada), await world.by_link(ada)
    world.clock.advance(10 * MINUTE_MS)
    await world.check(ada.tenant, first.secret)
    await world.set_policy(ada.tenant, session_idle_minutes=5)
    await world.check(ada.tenant, first.secret)
    await _over(world, ada.tenant, second.secret)
    world.clock.advance(7 * MINUTE_MS)
    await _over(world, ada.tenant, first.secret)
    # Ended, and not only refused.
    await world.set_policy(ada.tenant, session_idle_minutes=0)
    await _over(world, ada.tenant, first.secret)


async def test_a_tenants_limit_is_for_sessions_that_begin_then(world: Any, ada: Any) -> None:
    before = await world.by_link(ada)
    await world.set_policy(ada.tenant, session_max_minutes=20)
    after = await world.by_link(ada)
    lasts = [
        one.session.expire_time.seconds - one.session.create_time.seconds for one in (before, after)
    ]
    assert lasts == [43_200, 1_200]
    world.clock.advance(20 * MINUTE_MS)
    await world.check(ada.tenant, before.secret)
    await _over(world, ada.tenant, after.secret)


async def test_a_passkey_gives_a_provisional_session_the_tenants_limit(
    world: Any, ada: Any, authenticator: Any
) -> None:
    await world.register(ada, authenticator())
    await world.set_policy(ada.tenant, session_max_minutes=60)
    device, recovering = authenticator(), await world.by_link(ada)
    token = await world.token(ada.tenant, recovering.secret)
    begun = await world.begin_registration(ada.tenant, token)
    created = device.create(begun.options_json)
    await world.finish_registration(ada.tenant, token, begun.ceremony_id, created)
    kept = await world.sign_in(ada.tenant, device, session_secret=recovering.secret)
    assert kept.session.expire_time.seconds - kept.session.create_time.seconds == 3_600


async def test_another_tenants_limits_are_not_ours(
    world: Any, ada: Any, tenant_factory: Any
) -> None:
    await world.set_policy(await tenant_factory(), session_idle_minutes=1, session_max_minutes=1)
    session = await world.by_link(ada)
    world.clock.advance(10 * MINUTE_MS)
    await world.check(ada.tenant, session.secret)

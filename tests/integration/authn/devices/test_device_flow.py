"""The device flow (RFC 8628): a device begins, a person decides, the device is told once."""

import asyncio
import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest

from argy.api.authn.v1 import device_pb2 as dpb
from argy.api.authn.v1 import session_pb2 as spb
from argy.api.authn.v1.device_pb2 import DevicePoll
from argy.api.authn.v1.session_pb2 import Device
from argy.authn.sessions.domain import DeviceInfo, Limits, digest, new_secret, new_session
from argy.authn.sessions.store import SessionStore
from argy.base.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from argy.base.ids import uuid7


def outcome(answer: Any) -> str:
    return DevicePoll.Name(answer.poll).removeprefix("DEVICE_POLL_")


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return dict(json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


async def test_a_person_signs_a_device_in(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    assert (begun.expires_in_s, begun.interval_s) == (600, 5)
    assert len(begun.device_code) == 43
    assert outcome(await world.poll(ada.tenant, begun.device_code)) == "AUTHORIZATION_PENDING"
    asked = await world.describe(ada, begun.user_code.lower().replace("-", " "))
    assert (asked.client_id, asked.scope) == ("argy-cli", "project:read")
    assert asked.device.ip == "203.0.113.5"
    await world.decide(ada, begun.user_code)
    world.clock.advance(5_000)
    granted = await world.poll(ada.tenant, begun.device_code)
    assert outcome(granted) == "GRANTED"
    assert granted.tokens.access_token.count(".") == 2
    assert granted.tokens.refresh_token.startswith("argy_rt_")
    assert granted.tokens.scope == "project:read"
    actions = ("begin", "approve", "redeem")
    told = [await world.audit(ada.tenant.tenant_id, f"authn.device_code.{a}") for a in actions]
    assert [len(rows) for rows in told] == [1, 1, 1]
    assert told[1][0]["actor"] == told[2][0]["actor"] == ada.subject
    assert begun.device_code not in str(told)
    assert begun.user_code not in str(told)


async def test_nothing_of_the_codes_is_kept_in_the_clear(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    async with world.replicas[0].db.tenant(ada.tenant.tenant_id) as tx:
        rows = await tx.fetch("SELECT to_jsonb(d)::text AS row FROM authn.device_code AS d")
    assert len(rows) == 1
    for secret in (begun.device_code, begun.user_code, begun.user_code.replace("-", "")):
        assert secret not in rows[0]["row"]


async def test_polling_too_fast_is_slowed_down_by_five_seconds_each_time(
    world: Any, ada: Any
) -> None:
    code = (await world.begin(ada.tenant)).device_code
    assert outcome(await world.poll(ada.tenant, code)) == "AUTHORIZATION_PENDING"
    world.clock.advance(4_999)
    assert outcome(await world.poll(ada.tenant, code)) == "SLOW_DOWN"
    world.clock.advance(9_999)  # now 10 s are asked for
    assert outcome(await world.poll(ada.tenant, code)) == "SLOW_DOWN"
    world.clock.advance(15_000)
    assert outcome(await world.poll(ada.tenant, code)) == "AUTHORIZATION_PENDING"


async def test_an_approved_device_that_polls_too_fast_waits_too(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    await world.poll(ada.tenant, begun.device_code)
    await world.decide(ada, begun.user_code)
    assert outcome(await world.poll(ada.tenant, begun.device_code)) == "SLOW_DOWN"


async def test_a_second_redemption_gets_nothing_and_is_recorded(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    await world.decide(ada, begun.user_code)
    assert outcome(await world.poll(ada.tenant, begun.device_code)) == "GRANTED"
    world.clock.advance(60_000)
    again = await world.poll(ada.tenant, begun.device_code)
    assert outcome(again) == "EXPIRED"
    assert not again.HasField("tokens")
    rows = await world.audit(ada.tenant.tenant_id, "authn.device_code.redeem")
    assert [row["reason"] for row in rows] == ["", "DEVICE_CODE_USED"]


async def test_ten_redemptions_at_once_give_tokens_once(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    await world.decide(ada, begun.user_code)
    polls = [world.poll(ada.tenant, begun.device_code) for _ in range(10)]
    answers = [outcome(answer) for answer in await asyncio.gather(*polls)]
    assert answers.count("GRANTED") == 1


async def test_another_client_can_not_redeem_the_code(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    await world.decide(ada, begun.user_code)
    stolen = await world.poll(ada.tenant, begun.device_code, client_id="other")
    assert outcome(stolen) == "EXPIRED"
    rows = await world.audit(ada.tenant.tenant_id, "authn.device_code.redeem")
    assert [row["reason"] for row in rows] == ["CLIENT_OF_ANOTHER"]
    assert outcome(await world.poll(ada.tenant, begun.device_code)) == "GRANTED"


async def test_a_code_of_another_tenant_is_unknown(
    world: Any, ada: Any, tenant_factory: Any
) -> None:
    eve = await world.person(await tenant_factory())
    begun = await world.begin(ada.tenant)
    with pytest.raises(NotFound, match="not good"):
        await world.describe(eve, begun.user_code)
    with pytest.raises(NotFound):
        await world.decide(eve, begun.user_code)
    assert outcome(await world.poll(eve.tenant, begun.device_code)) == "EXPIRED"


async def test_an_expired_code_can_be_neither_decided_nor_redeemed(world: Any, ada: Any) -> None:
    begun, late = await world.begin(ada.tenant), await world.begin(ada.tenant)
    await world.decide(ada, late.user_code)
    world.clock.advance(600_000)
    token = await world.sign_in(ada.tenant, ada.user_id)
    ada = type(ada)(ada.tenant, ada.user_id, token)
    with pytest.raises(NotFound):
        await world.decide(ada, begun.user_code)
    assert outcome(await world.poll(ada.tenant, begun.device_code)) == "EXPIRED"
    assert outcome(await world.poll(ada.tenant, late.device_code)) == "EXPIRED"


async def test_a_denied_device_is_told_so(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    await world.decide(ada, begun.user_code, approved=False)
    assert outcome(await world.poll(ada.tenant, begun.device_code)) == "ACCESS_DENIED"
    assert len(await world.audit(ada.tenant.tenant_id, "authn.device_code.deny")) == 1


async def test_nobody_decides_twice(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    await world.decide(ada, begun.user_code, approved=False)
    with pytest.raises(FailedPrecondition) as refused:
        await world.decide(ada, begun.user_code)
    assert refused.value.reason == "DEVICE_CODE_DECIDED"
    assert outcome(await world.poll(ada.tenant, begun.device_code)) == "ACCESS_DENIED"


async def test_two_decisions_at_once_count_once(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    done = await asyncio.gather(
        *(world.decide(ada, begun.user_code, approved=yes) for yes in (True, False, True)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, FailedPrecondition) for one in done) == 2


async def test_nobody_decides_without_being_signed_in(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    request = dpb.DecideDeviceCodeRequest(user_code=begun.user_code, approved=True)
    with pytest.raises(Unauthenticated) as refused:
        await world.devices(ada.tenant).DecideDeviceCode(request)
    assert refused.value.reason == "PERSON_REQUIRED"
    look = dpb.DescribeDeviceCodeRequest(user_code=begun.user_code)
    with pytest.raises(Unauthenticated):
        await world.devices(ada.tenant).DescribeDeviceCode(look)


async def test_a_personal_access_token_approves_no_device(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    made = await world.make_token(ada, "project:read")
    thief = type(ada)(ada.tenant, ada.user_id, made.secret)
    with pytest.raises(PermissionDenied) as refused:
        await world.decide(thief, begun.user_code)
    assert refused.value.reason == "SCOPE_INSUFFICIENT"


async def test_guessing_user_codes_is_limited_by_person(world: Any, ada: Any) -> None:
    for _ in range(10):
        with pytest.raises(NotFound):
            await world.describe(ada, "BBBB-BBBB")
    with pytest.raises(ResourceExhausted) as refused:
        await world.describe(ada, "BBBB-BBBB")
    assert refused.value.reason == "RATE_LIMITED"
    assert refused.value.retry_after_ms
    rows = await world.audit(ada.tenant.tenant_id, "authn.device_code.enter")
    assert [row["outcome"] for row in rows] == ["DENIED"] * 10
    world.clock.advance(30_000)
    with pytest.raises(NotFound):
        await world.describe(ada, "BBBB-BBBB")


async def test_guessing_user_codes_is_limited_by_address_too(world: Any, ada: Any) -> None:
    people = [await world.person(ada.tenant) for _ in range(4)]
    network = [Device(ip=f"2001:db8::{number:x}") for number in range(1, 32)]
    for number in range(30):
        with pytest.raises(NotFound):
            await world.describe(people[number % 4], "CCCC-CCCC", device=network[number])
    with pytest.raises(ResourceExhausted):
        await world.describe(people[3], "CCCC-CCCC", device=network[30])


async def test_beginning_is_limited_by_address(world: Any, ada: Any) -> None:
    for _ in range(20):
        await world.begin(ada.tenant, ip="198.51.100.1")
    with pytest.raises(ResourceExhausted):
        await world.begin(ada.tenant, ip="198.51.100.1")
    await world.begin(ada.tenant, ip="198.51.100.2")


async def test_who_was_disabled_after_approving_gets_no_tokens(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    await world.decide(ada, begun.user_code)
    await world.disable(ada)
    assert outcome(await world.poll(ada.tenant, begun.device_code)) == "ACCESS_DENIED"


async def test_an_approval_of_before_a_disabling_is_not_revived_by_enabling(
    world: Any, ada: Any
) -> None:
    begun = await world.begin(ada.tenant)
    await world.decide(ada, begun.user_code)
    await world.disable(ada)
    await world.enable(ada)
    assert outcome(await world.poll(ada.tenant, begun.device_code)) == "ACCESS_DENIED"


async def test_a_personal_access_token_of_before_a_disabling_is_not_revived_by_enabling(
    world: Any, ada: Any
) -> None:
    made = await world.make_token(ada, "authz.decision:check")
    await world.may_read(ada.tenant, made.secret)
    await world.disable(ada)
    await world.enable(ada)
    with pytest.raises(Unauthenticated) as refused:
        await world.may_read(ada.tenant, made.secret)
    assert refused.value.reason == "CREDENTIAL_INVALID"


async def test_the_proof_is_as_old_as_the_approver_s(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant, scope="")
    token = await world.sign_in(ada.tenant, ada.user_id, auth_age_s=200)
    await world.decide(type(ada)(ada.tenant, ada.user_id, token), begun.user_code)
    granted = await world.poll(ada.tenant, begun.device_code)
    claims = claims_of(granted.tokens.access_token)
    assert claims["auth_time"] == world.clock.now_ms() // 1_000 - 200
    assert claims["amr"] == ["device"]


async def test_a_stolen_session_that_proved_nothing_lately_lets_no_device_in(
    world: Any, ada: Any
) -> None:
    begun = await world.begin(ada.tenant)
    token = await world.sign_in(ada.tenant, ada.user_id, auth_age_s=400)
    thief = type(ada)(ada.tenant, ada.user_id, token)
    with pytest.raises(FailedPrecondition) as refused:
        await world.decide(thief, begun.user_code)
    assert refused.value.reason == "STEP_UP_REQUIRED"
    # To refuse one needs no proof.
    await world.decide(thief, begun.user_code, approved=False)
    assert outcome(await world.poll(ada.tenant, begun.device_code)) == "ACCESS_DENIED"


async def test_a_device_lets_no_other_device_in(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant, scope="")
    await world.decide(ada, begun.user_code)
    granted = await world.poll(ada.tenant, begun.device_code)
    device = type(ada)(ada.tenant, ada.user_id, granted.tokens.access_token)
    another = await world.begin(ada.tenant, scope="")
    with pytest.raises(PermissionDenied) as refused:
        await world.decide(device, another.user_code)
    assert refused.value.reason == "NOT_SIGNED_IN"


async def test_a_token_of_one_org_lets_no_device_into_the_whole_tenant(
    world: Any, tenant_factory: Any
) -> None:
    ada = await world.person(await tenant_factory(orgs=("sales",)), "role:PLATFORM_USER")
    begun = await world.begin(ada.tenant, scope="")
    org_id = ada.tenant.orgs["sales"]
    token = await world.sign_in(ada.tenant, ada.user_id, org_id=org_id)
    bound = type(ada)(ada.tenant, ada.user_id, token)
    with pytest.raises(PermissionDenied) as refused:
        await world.decide(bound, begun.user_code, org_id=org_id)
    assert refused.value.reason == "NOT_SIGNED_IN"


async def test_a_provisional_session_does_not_outlive_itself_by_a_device(
    world: Any, ada: Any
) -> None:
    session = new_session(
        session_id=uuid7(),
        user_id=ada.user_id,
        method="magic_link",
        device=DeviceInfo(),
        now_ms=world.clock.now_ms(),
        limits=Limits(),
        provisional=True,
    )
    store = SessionStore(world.redis, Limits())
    await store.put(ada.tenant.tenant_id, session, digest(new_secret()), world.clock.now_ms())
    token = await world.sign_in(ada.tenant, ada.user_id, session_id=session.session_id)
    recovering = type(ada)(ada.tenant, ada.user_id, token)
    begun = await world.begin(ada.tenant)
    with pytest.raises(PermissionDenied) as refused:
        await world.decide(recovering, begun.user_code)
    assert refused.value.reason == "SESSION_PROVISIONAL"
    assert outcome(await world.poll(ada.tenant, begun.device_code)) == "AUTHORIZATION_PENDING"


async def test_a_device_does_no_more_than_its_scope(world: Any, ada: Any) -> None:
    begun = await world.begin(ada.tenant)
    await world.decide(ada, begun.user_code)
    granted = await world.poll(ada.tenant, begun.device_code)
    device = type(ada)(ada.tenant, ada.user_id, granted.tokens.access_token)
    with pytest.raises(PermissionDenied) as refused:
        await world.make_token(device, "project:read")
    assert refused.value.reason == "SCOPE_INSUFFICIENT"
    with pytest.raises(PermissionDenied):
        await world.may_read(ada.tenant, granted.tokens.access_token)


@pytest.mark.parametrize("scope", ["project:*", "everything", "project:read *", "Project:read"])
async def test_a_scope_that_names_no_permission_is_refused(
    world: Any, ada: Any, scope: str
) -> None:
    with pytest.raises(InvalidArgument):
        await world.begin(ada.tenant, scope=scope)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_device_is_seen_and_signed_out_days_later_even_if_redis_forgot_it(
    world: Any, ada: Any, lost: bool
) -> None:
    begun = await world.begin(ada.tenant, scope="")
    await world.decide(ada, begun.user_code)
    assert outcome(await world.poll(ada.tenant, begun.device_code)) == "GRANTED"
    world.clock.advance(3 * 86_400_000)
    token = await world.sign_in(ada.tenant, ada.user_id)
    ada = type(ada)(ada.tenant, ada.user_id, token)
    sessions = world.sessions(ada.tenant)
    if lost:
        pattern = world.redis.key(ada.tenant.tenant_id, "user_sessions", str(ada.user_id))
        assert await world.redis.client.delete(pattern) == 1
    listed = await sessions.ListSessions(spb.ListSessionsRequest(), metadata=ada.metadata)
    found = [list(one.methods) for one in listed.sessions]
    assert found == ([] if lost else [["device"]])
    request = spb.EndUserSessionsRequest(keep_current=True)
    ended = await sessions.EndUserSessions(request, metadata=ada.metadata)
    assert ended.ended == 1
    async with world.replicas[0].db.tenant(ada.tenant.tenant_id) as tx:
        live = await tx.fetchval(
            "SELECT count(*) FROM authn.refresh_token WHERE revoked_at IS NULL AND used_at IS NULL"
        )
    assert live == 0

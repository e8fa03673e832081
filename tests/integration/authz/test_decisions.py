"""Decisions over signed gRPC: fresh on every replica, explained, in order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from argy.api.authz.v1 import authz_pb2 as pb
from argy.base.clock import FixedClock
from argy.base.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from argy.base.ids import uuid7
from argy.base.revisions import revision_token

Make = Callable[..., Awaitable[Any]]
Client = Callable[..., Any]
USER = "role:PLATFORM_USER"


async def until_denied(client: Any, subject: str) -> None:
    """Until a check that asks for no revision is denied."""
    async with asyncio.timeout(60):
        while await client.allowed(subject):
            pass


async def test_a_grant_is_seen_by_the_check_that_follows_it_on_every_replica(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, person: Make
) -> None:
    tenant = await tenant_factory()
    first, second = await authz_replica(), await authz_replica()
    here, there = (authz_client(replica, tenant.tenant_id) for replica in (first, second))
    subject = await person(tenant.tenant_id)
    assert not await here.allowed(subject)
    assert not await there.allowed(subject)

    granted = await here.grant(subject, USER)
    answers = await asyncio.gather(
        *(client.check(subject, granted.revision) for client in (here, there))
    )
    for answer in answers:
        assert answer.decision.effect == pb.EFFECT_ALLOW
        assert answer.decision.reason == "ALLOWED_BY_RULE"
        assert answer.decision.rule.file == "roles/roles.csv"
        assert answer.decision.rule.line == 2
        assert list(answer.decision.role_path) == [subject, USER]
        assert answer.policy_revision == first.authz.holder.current.revision
        assert answer.revision == granted.revision

    revision = await here.revoke(granted.assignment.assignment_id)
    assert not await there.allowed(subject, revision)
    assert not await here.allowed(subject)


async def test_a_revoke_reaches_a_replica_that_nobody_tells(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, person: Make
) -> None:
    tenant = await tenant_factory()
    here, there = [authz_client(await authz_replica(), tenant.tenant_id) for _ in range(2)]
    subject = await person(tenant.tenant_id)
    granted = await here.grant(subject, USER)
    assert await there.allowed(subject, granted.revision)
    await here.revoke(granted.assignment.assignment_id)
    await until_denied(there, subject)


async def test_a_role_in_an_org_holds_there_only_and_a_tenant_role_everywhere(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, person: Make
) -> None:
    tenant = await tenant_factory(orgs=("sales", "research"))
    replica = await authz_replica()
    whole = authz_client(replica, tenant.tenant_id)
    sales, research = (
        authz_client(replica, tenant.tenant_id, tenant.orgs[org]) for org in ("sales", "research")
    )
    one, every = await person(tenant.tenant_id), await person(tenant.tenant_id)
    await whole.grant(one, USER, org_id=str(tenant.orgs["sales"]))
    revision = (await whole.grant(every, USER)).revision
    scopes = (whole, sales, research)
    assert [await client.allowed(one, revision) for client in scopes] == [False, True, False]
    assert [await client.allowed(every, revision) for client in scopes] == [True, True, True]


async def test_a_role_ends_at_its_time(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, person: Make
) -> None:
    tenant, clock = await tenant_factory(), FixedClock(1_900_000_000_000)
    client = authz_client(await authz_replica(clock=clock), tenant.tenant_id)
    subject = await person(tenant.tenant_id)
    await client.grant(subject, USER, expire_time={"seconds": 1_900_000_060})
    assert await client.allowed(subject)
    clock.advance(59_999)
    assert await client.allowed(subject)
    clock.advance(1)
    assert not await client.allowed(subject)


async def test_members_of_a_group_hold_its_roles_until_they_leave_or_are_disabled(
    authz_replica: Make,
    authz_client: Client,
    tenant_factory: Make,
    person: Make,
    change_directory: Make,
) -> None:
    tenant, group = await tenant_factory(), uuid7()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    leaver = await person(tenant.tenant_id, group)
    disabled = await person(tenant.tenant_id, group)
    revision = (await client.grant(f"group:{group}", USER)).revision
    answer = await client.check(leaver, revision)
    assert list(answer.decision.role_path) == [leaver, f"group:{group}", USER]
    assert await client.allowed(disabled)

    await change_directory(
        tenant.tenant_id,
        "DELETE FROM directory.group_member WHERE user_id = $1::text::uuid",
        leaver.removeprefix("user:"),
    )
    await until_denied(client, leaver)
    await change_directory(
        tenant.tenant_id,
        "UPDATE directory.user_account SET state = 'DISABLED' WHERE user_id = $1::text::uuid",
        disabled.removeprefix("user:"),
    )
    await until_denied(client, disabled)
    assert (await client.check(disabled)).decision.reason == "SUBJECT_DISABLED"


async def test_conditions_see_the_context(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, person: Make
) -> None:
    tenant = await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    subject = await person(tenant.tenant_id)
    await client.grant(subject, USER)
    facts = Struct()
    facts.update({"mfa": True, "nested": {"list": [1, "a", None]}})
    assert not await client.allowed(subject, action="deploy")
    assert await client.allowed(subject, action="deploy", context=facts)
    facts.update({"mfa": "yes"})
    answer = await client.check(subject, action="deploy", context=facts)
    assert answer.decision.reason == "CONDITION_ERROR"


async def test_a_batch_is_answered_in_order(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, person: Make
) -> None:
    tenant = await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    subject = await person(tenant.tenant_id)
    revision = (await client.grant(subject, USER)).revision
    resources = [f"project:{'secret-' if number % 3 else ''}{number}" for number in range(1000)]
    questions = [pb.Question(subject=subject, action="read", resource=r) for r in resources]
    request = pb.BatchCheckRequest(questions=questions, at_least=revision)
    answer = await client.authz.BatchCheck(request)
    assert [decision.reason for decision in answer.decisions] == [
        "DENIED_BY_RULE" if number % 3 else "ALLOWED_BY_RULE" for number in range(1000)
    ]
    assert answer.revision == revision
    singly = await client.check(subject, resource=resources[1])
    assert answer.decisions[1] == singly.decision


async def test_explain_tells_what_took_part(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, person: Make
) -> None:
    tenant = await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    subject = await person(tenant.tenant_id)
    revision = (await client.grant(subject, USER)).revision
    question = pb.Question(subject=subject, action="read", resource="project:secret-1")
    answer = await client.authz.Explain(pb.ExplainRequest(question=question, at_least=revision))
    assert answer.decision.reason == "DENIED_BY_RULE"
    matched = [(match.rule.line, match.effect) for match in answer.matches if match.matched]
    assert matched == [(2, pb.EFFECT_ALLOW), (4, pb.EFFECT_DENY)]
    assert list(answer.roles) == [USER]
    assert answer.revision == revision


async def test_revision_tokens_are_checked(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, person: Make
) -> None:
    tenant, other = await tenant_factory(), await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    subject = await person(tenant.tenant_id)
    await client.grant(subject, USER)
    future = revision_token(tenant.tenant_id, 1_000_000)
    with pytest.raises(FailedPrecondition) as stale:
        await client.check(subject, future)
    assert stale.value.reason == "STALE_REVISION"
    for token in ("x", "!!", future + "=", revision_token(other.tenant_id, 1)):
        with pytest.raises(InvalidArgument) as malformed:
            await client.check(subject, token)
        assert malformed.value.reason == "MALFORMED_REVISION"
        assert malformed.value.field == "at_least"


async def test_a_service_without_the_permission_is_refused(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant = await tenant_factory()
    replica = await authz_replica()
    stranger = authz_client(replica, tenant.tenant_id, source="stranger")
    with pytest.raises(PermissionDenied, match=r"'check' denied on resource 'authz\.decision:-'"):
        await stranger.check("user:x")
    console = authz_client(replica, tenant.tenant_id, source="console")
    assert not await console.allowed("user:x")


async def test_another_tenants_roles_count_for_nothing(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, person: Make
) -> None:
    tenant, other = await tenant_factory(), await tenant_factory()
    replica = await authz_replica()
    client = authz_client(replica, tenant.tenant_id)
    subject = await person(tenant.tenant_id)
    await client.grant(subject, USER)
    assert await client.allowed(subject)
    assert not await authz_client(replica, other.tenant_id).allowed(subject)

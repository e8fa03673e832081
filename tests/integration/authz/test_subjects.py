"""Whom a name stands for: people by every name that they have, and who is in no directory."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from argy.api.authz.v1 import authz_pb2 as pb
from argy.api.authz.v1.assignment_pb2 import (
    GetAssignmentSettingsRequest,
    UpdateAssignmentSettingsRequest,
)
from argy.authz.assignments import SETTINGS_UPDATED
from argy.base.errors import InvalidArgument, PermissionDenied
from argy.base.ids import uuid7

Make = Callable[..., Awaitable[Any]]
Client = Callable[..., Any]
USER = "role:PLATFORM_USER"
UNKNOWN = (pb.EFFECT_DENY, "SUBJECT_UNKNOWN")
ALLOWED = (pb.EFFECT_ALLOW, "ALLOWED_BY_RULE")
NOTHING = (pb.EFFECT_DENY, "NO_MATCHING_RULE")

Told = tuple[int, str]


async def asked(client: Any, *subjects: str) -> list[Told]:
    """What a batch is told, in which subjects are named as others do; one by one it is the same."""
    questions = [
        pb.Question(subject=subject, action="read", resource="project:alpha")
        for subject in subjects
    ]
    request = pb.BatchCheckRequest(questions=questions, resolve_subjects=True)
    together = (await client.authz.BatchCheck(request)).decisions
    for question, told in zip(questions, together, strict=True):
        alone = pb.CheckRequest(question=question, resolve_subjects=True)
        assert (await client.authz.Check(alone)).decision == told
    return [(told.effect, told.reason) for told in together]


@pytest.fixture
async def named(db_factory: Any) -> Callable[..., Awaitable[str]]:
    """Make a person whom another system calls so; returns the subject."""
    db = await db_factory("argy_directory", max_size=2)

    async def make(tenant_id: UUID, external_id: str, email: str = "") -> str:
        user_id = uuid7()
        async with db.tenant(tenant_id) as tx:
            await tx.execute(
                "INSERT INTO directory.user_account"
                " (tenant_id, user_id, email, display_name, external_id)"
                " VALUES ($1, $2, $3, 'P', $4)",
                tenant_id,
                user_id,
                email or f"{user_id}@example.test",
                external_id,
            )
        return f"user:{user_id}"

    return make


async def let_foreign(client: Any, allowed: bool) -> None:
    await client.roles.UpdateAssignmentSettings(
        UpdateAssignmentSettingsRequest(foreign_subjects=allowed, reason="the test needs it")
    )


async def foreign(client: Any) -> bool:
    settings = await client.roles.GetAssignmentSettings(GetAssignmentSettingsRequest())
    return bool(settings.foreign_subjects)


async def test_a_person_is_found_by_every_name(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, named: Make
) -> None:
    tenant, other = await tenant_factory(), await tenant_factory()
    replica = await authz_replica()
    client = authz_client(replica, tenant.tenant_id)
    sub = str(uuid4())
    ada = await named(tenant.tenant_id, "CiRm+/Zg==", "Ada@acme.example")
    eve = await named(tenant.tenant_id, sub)
    await client.grant("user:ada@ACME.example", USER)
    await client.grant(f"user:{sub}", USER)
    names = [ada, ada.upper().replace("USER", "user"), "user:aDA@acme.example", "user:CiRm+/Zg=="]
    assert await asked(client, *names, eve, f"user:{sub}") == [ALLOWED] * 6
    await client.grant(await named(tenant.tenant_id, "", "eve@xn--bcher-kva.example"), USER)
    assert await asked(client, "user:EVE@Bücher.example", "user:@", "user:a@") == [
        ALLOWED,
        UNKNOWN,
        UNKNOWN,
    ]
    # Another system's id is compared exactly, and nobody has another tenant's.
    assert await asked(client, "user:cirm+/zg==", "user:nobody") == [UNKNOWN] * 2
    assert await asked(authz_client(replica, other.tenant_id), *names) == [UNKNOWN] * 4


async def test_who_is_known_and_has_no_right_is_told_apart(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, named: Make, person: Make
) -> None:
    tenant = await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    group = uuid7()
    member = await person(tenant.tenant_id, group)
    await client.grant("service:robot", USER)
    known = [await named(tenant.tenant_id, "x"), "user:x", member]
    known += [f"group:{group}", f"group:g-{group.hex}", "service:console"]
    assert await asked(client, *known) == [NOTHING] * len(known)
    unknown = [f"user:{uuid7()}", "user:y", "group:z", "service:nobody", "agent:a", "workload:w"]
    assert await asked(client, *unknown, "role:PLATFORM_USER") == [UNKNOWN] * 7
    assert await asked(client, "service:robot", "user:y") == [ALLOWED, UNKNOWN]
    # Without being asked for it nobody is looked up: the subject is taken as it stands.
    told = await client.check("user:x")
    assert (told.decision.effect, told.decision.reason) == NOTHING


async def test_the_id_comes_before_the_address_and_the_address_before_the_external_id(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, named: Make
) -> None:
    tenant = await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    ada = await named(tenant.tenant_id, "", "ada@acme.example")
    await named(tenant.tenant_id, ada.removeprefix("user:"))
    await named(tenant.tenant_id, "ada@acme.example")
    await client.grant(ada, USER)
    assert await asked(client, ada, "user:ada@acme.example") == [ALLOWED] * 2


async def test_a_permission_listing_finds_the_person_too(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, named: Make
) -> None:
    tenant = await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    await client.grant(await named(tenant.tenant_id, "ext"), USER)

    async def rules(subject: str, **fields: Any) -> int:
        request = pb.ListPermissionsRequest(subject=subject, **fields)
        return len((await client.authz.ListPermissions(request)).permissions)

    assert await rules("user:ext", resolve_subject=True) == 3
    assert await rules("user:ext") == 0
    assert await rules("user:nobody", resolve_subject=True) == 0
    first = await client.authz.ListPermissions(
        pb.ListPermissionsRequest(subject="user:ext", resolve_subject=True, page_size=2)
    )
    assert (
        await rules("user:ext", resolve_subject=True, page_token=first.next_page_token, page_size=2)
        == 1
    )


async def test_a_subject_of_no_directory_holds_roles_where_the_tenant_lets_it(
    authz_replica: Make, authz_client: Client, tenant_factory: Make, audit_events: Make
) -> None:
    tenant = await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    strangers = ["user:alice", "workload:build/7 é", "identity:CiRm|x", "group:admins"]
    assert not await foreign(client)
    for stranger in strangers:
        with pytest.raises(InvalidArgument) as refused:
            await client.grant(stranger, USER)
        assert (refused.value.reason, refused.value.field) == ("UNKNOWN_SUBJECT", "subject")
        assert "foreign-subjects" in refused.value.message
    await let_foreign(client, True)
    assert await foreign(client)
    for stranger in strangers:
        await client.grant(stranger, USER)
    assert await asked(client, *strangers, "user:bob") == [ALLOWED] * 4 + [UNKNOWN]
    request = pb.ListSubjectsRequest(action="read", resource="project:alpha")
    assert set(strangers) <= set((await client.authz.ListSubjects(request)).subjects)
    # An id as the directory's own is somebody of the directory, or nobody.
    for nobody in (f"user:{uuid7()}", f"group:{uuid7()}", "role:PLATFORM_USER"):
        with pytest.raises(InvalidArgument):
            await client.grant(nobody, USER)
    # What is assigned stays assigned, and has no effect any more.
    await let_foreign(client, False)
    assert await asked(client, *strangers) == [UNKNOWN] * 4
    assert not await client.allowed("user:alice")
    assert not set(strangers) & set((await client.authz.ListSubjects(request)).subjects)
    events = await audit_events(tenant.tenant_id, SETTINGS_UPDATED)
    assert [json.loads(event["detail"])["foreign_subjects"] for event in events] == [True, False]
    assert {event["reason"] for event in events} == {"the test needs it"}


async def test_whoever_is_provisioned_under_a_name_takes_it(
    authz_replica: Make,
    authz_client: Client,
    tenant_factory: Make,
    named: Make,
    change_directory: Make,
) -> None:
    tenant = await tenant_factory()
    client = authz_client(await authz_replica(), tenant.tenant_id)
    await let_foreign(client, True)
    await client.grant("user:alice", USER)
    assert await asked(client, "user:alice") == [ALLOWED]
    alice = await named(tenant.tenant_id, "alice")
    assert await asked(client, "user:alice") == [NOTHING]
    made = await client.grant("user:alice", USER)
    assert made.assignment.subject == alice
    assert await asked(client, "user:alice") == [ALLOWED]
    await change_directory(
        tenant.tenant_id,
        "UPDATE directory.user_account SET state = 'DISABLED' WHERE user_id = $1",
        UUID(alice.removeprefix("user:")),
    )
    assert await asked(client, "user:alice") == [(pb.EFFECT_DENY, "SUBJECT_DISABLED")]


async def test_who_may_grant_does_not_thereby_change_the_settings(
    authz_replica: Make, authz_client: Client, tenant_factory: Make
) -> None:
    tenant = await tenant_factory(orgs=("sales",))
    replica = await authz_replica()
    manager = authz_client(replica, tenant.tenant_id, source="manager")
    with pytest.raises(PermissionDenied) as refused:
        await let_foreign(manager, True)
    assert refused.value.reason == "ACCESS_DENIED"
    assert not await foreign(manager)
    in_org = authz_client(replica, tenant.tenant_id, tenant.orgs["sales"])
    with pytest.raises(PermissionDenied) as wide:
        await let_foreign(in_org, True)
    assert wide.value.reason == "TENANT_WIDE_ONLY"

"""A decision about somebody else tells their roles to nobody who may not have it explained."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from argy.api.authz.v1 import authz_pb2 as pb
from argy.base.errors import PermissionDenied

Make = Callable[..., Awaitable[Any]]
USER = "role:PLATFORM_USER"
SERVICES = """
p, service:asker, *, authz.decision:*, check, allow, true
g, service:asker, role:PLATFORM_USER, *
p, service:auditor, *, authz.decision:*, check, allow, true
p, service:auditor, *, authz.decision:*, explain, allow, true
"""


@pytest.fixture
def asking_root(policy_root: Path) -> Path:
    """A policy where one service may ask, and another may have it explained too."""
    with (policy_root / "services.csv").open("a") as file:
        file.write(SERVICES)
    (policy_root / "approvals").mkdir()
    (policy_root / "approvals" / "a.csv").write_text(
        "a, *, project:held, read, 2, role:PLATFORM_ADMIN, require, 4h, true\n"
    )
    return policy_root


def asked(subject: str, resource: str = "project:alpha") -> pb.Question:
    return pb.Question(subject=subject, action="read", resource=resource)


async def test_who_may_only_ask_learns_no_role_path_rule_or_approver_of_anybody_else(
    asking_root: Path, authz_replica: Make, authz_client: Any, tenant_factory: Make, person: Make
) -> None:
    tenant, replica = await tenant_factory(), await authz_replica()
    operator, asker, auditor = (
        authz_client(replica, tenant.tenant_id, source=source)
        for source in ("cli", "asker", "auditor")
    )
    other = await person(tenant.tenant_id)
    revision = (await operator.grant(other, USER)).revision
    questions = [
        asked(other),
        asked("service:asker"),
        asked(other, "project:secret-plan"),
        asked(other, "project:held"),
    ]

    async def told(client: Any) -> list[pb.Decision]:
        batch = await client.authz.BatchCheck(
            pb.BatchCheckRequest(questions=questions, at_least=revision)
        )
        assert batch.policy_revision
        assert batch.revision
        one_by_one = [
            (await client.authz.Check(pb.CheckRequest(question=question))).decision
            for question in questions
        ]
        assert list(batch.decisions) == one_by_one
        return one_by_one

    bare, whole = await told(asker), await told(auditor)
    assert [(one.effect, one.reason) for one in bare] == [(one.effect, one.reason) for one in whole]
    assert [pb.Effect.Name(one.effect) for one in bare] == [
        "EFFECT_ALLOW",
        "EFFECT_ALLOW",
        "EFFECT_DENY",
        "EFFECT_NEEDS_APPROVAL",
    ]
    # About itself it is told all, about others what came out.
    assert list(bare[1].role_path) == ["service:asker", USER]
    assert bare[1].rule.file == "roles/roles.csv"
    for number in (0, 2, 3):
        about_other = bare[number]
        assert {field.name for field, _ in about_other.ListFields()} == {"effect", "reason"}
        assert list(whole[number].role_path) == [other, USER]
        assert whole[number].rule.line
    assert [list(need.roles) for need in whole[3].approvals] == [["role:PLATFORM_ADMIN"]]

    with pytest.raises(PermissionDenied):
        await asker.authz.Explain(pb.ExplainRequest(question=questions[0]))

"""What a policy's conditions see of how the person who asks signed in."""

from typing import Any

import pytest

from argy.api.authz.v1.authz_pb2 import EFFECT_ALLOW, BatchCheckRequest, CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub

CHECK = "authz.decision:check"


async def may_purge(
    world: Any, person: Any, token: str, *, subject: str = "", claim: float | None = None
) -> list[bool]:
    """The answers of Check and BatchCheck; ``claim`` is an age that the caller makes up."""
    stub: Any = AuthzServiceStub(world.channel(person.tenant))
    question = Question(subject=subject or person.subject, action="purge", resource="project:alpha")
    if claim is not None:
        context: Any = question.context
        context.update({"auth": {"age_s": claim}, "ticket": "T-1"})
    metadata = (("authorization", f"Bearer {token}"),)
    single = await stub.Check(CheckRequest(question=question), metadata=metadata)
    batch = await stub.BatchCheck(BatchCheckRequest(questions=[question]), metadata=metadata)
    decisions = (single.decision, *batch.decisions)
    return [decision.effect == EFFECT_ALLOW for decision in decisions]


@pytest.mark.parametrize("claim", [None, 0.0, 9_000.0], ids=["silent", "younger", "older"])
@pytest.mark.parametrize(("age_s", "allowed"), [(200, True), (400, False)])
async def test_the_age_of_a_proof_is_the_token_s_whatever_the_caller_says(
    world: Any, ada: Any, age_s: int, allowed: bool, claim: float | None
) -> None:
    token = await world.sign_in(ada.tenant, ada.user_id, auth_age_s=age_s)
    assert await may_purge(world, ada, token, claim=claim) == [allowed, allowed]


async def test_a_proof_is_its_own_person_s(world: Any, ada: Any) -> None:
    other = await world.person(ada.tenant, "role:PLATFORM_USER")
    assert await may_purge(world, ada, ada.token, subject=other.subject) == [False, False]
    assert await may_purge(world, other, other.token) == [True, True]


async def test_a_personal_access_token_proves_no_sign_in(world: Any, ada: Any) -> None:
    made = await world.make_token(ada, CHECK)
    assert await may_purge(world, ada, made.secret) == [False, False]

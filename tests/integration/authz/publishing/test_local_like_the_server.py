"""The same question with the same token: the same answer here as at the server."""

import itertools
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import pytest
from signed_in import URL, Bearer, SignedIn, everybody

from argy.api.authz.v1.authz_pb2 import CheckRequest, Effect, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.authz.replication.tokens import ReplicatedTokens
from argy.base.errors import InvalidArgument, PermissionDenied, Unavailable
from argy.base.ids import uuid7
from argy.client import Authorizer, Caller, LocalAuthorizer, PolicyTrust
from argy.rpc.claims import ACR_PROVISIONAL

RULES: Final = (
    "p, role:PLATFORM_USER, *, authz.decision:*, check, allow, true\n"
    "p, role:PLATFORM_USER, *, project:*, ship, allow, true\n"
    "p, role:PLATFORM_USER, *, project:*, purge, allow, has(ctx.auth) && ctx.auth.age_s <= 300\n"
    "p, role:PLATFORM_USER, *, project:*, sign, allow,"
    " \"has(ctx.auth) && 'passkey' in ctx.auth.methods\"\n"
    "p, role:PLATFORM_USER, *, project:*, sleep, allow, has(ctx.auth) && ctx.auth.age_s > 300\n"
    "p, role:PLATFORM_USER, *, project:*, divide, allow, ctx.a / ctx.b > 1\n"
    "p, role:PLATFORM_USER, *, project:*, add, allow, ctx.a + 1.0 <= ctx.b\n"
    "p, role:PLATFORM_USER, *, project:*, tell, allow, string(ctx.a) == '3'\n"
    "p, role:PLATFORM_USER, *, project:*, find, allow, ctx.a in ctx.list\n"
)
FORGED: Final = {"auth": {"age_s": 1.0, "acr": "urn:argy:acr:passkey", "methods": ["passkey"]}}
STALE_FORGED: Final = {"auth": {"age_s": 9_000.0}}
ASKING: Final = "authz.decision:check"
AGES_S: Final = {"fresh": 10, "stale": 4_000}
SCOPES: Final = {
    "whole": "",
    "covering": f"{ASKING} project:ship project:purge project:sign project:sleep",
    "other": f"{ASKING} project:ship",
    "openid": "openid profile",
}
CONTEXTS: Final[dict[str, dict[str, Any] | None]] = {
    "none": None,
    "forged": FORGED,
    "forged_old": STALE_FORGED,
    "other": {"why": "x"},
}
ACTIONS: Final = ("ship", "purge", "sign", "sleep", "abolish")


@dataclass(frozen=True)
class Tenant:
    """What a token is for."""

    tenant_id: UUID
    slug: str = "acme"


@dataclass
class Both:
    """One tenant with one person, at the server and in a process of a service's own."""

    tenant: Tenant
    subject: str
    signed_in: SignedIn
    channel: Any
    local: LocalAuthorizer
    remote: Authorizer

    def token(self, age: str, scope: str) -> str:
        return self.signed_in.token(
            self.tenant, self.subject, age_s=AGES_S[age], scope=SCOPES[scope]
        )

    async def there(
        self, token: str, action: str, context: dict[str, Any] | None
    ) -> tuple[str, str]:
        """Effect and reason at the server; without a token a service asks about the person."""
        asked = Question(subject=self.subject, action=action, resource="project:alpha")
        if context is not None:
            asked.context.update(context)
        channel: Any = Bearer(self.channel, token) if token else self.channel
        stub: Any = AuthzServiceStub(channel)
        decision = (await stub.Check(CheckRequest(question=asked))).decision
        return Effect.Name(decision.effect).removeprefix("EFFECT_"), decision.reason

    def here(self, token: str, action: str, context: dict[str, Any] | None) -> tuple[str, str]:
        """The same in this process."""
        asked = (action, "project:alpha")
        where: Any = {"tenant_id": self.tenant.tenant_id, "context": context}
        if not token:
            answer = self.local.check(self.subject, *asked, **where)
            return answer.effect, answer.reason
        try:
            answer = self.local.check_token(token, *asked, **where)
        except PermissionDenied as refused:
            return "DENY", refused.reason
        return answer.effect, answer.reason


@pytest.fixture
async def both(world: Any) -> AsyncIterator[Both]:
    signed_in = everybody()
    replica = await world.replica(signed_in=signed_in)
    replica.authz.replication.use_tokens(
        ReplicatedTokens(keys=signed_in.keys, revocations=signed_in.revocations, public_url=URL)
    )
    await world.settle(replica)
    await world.publish(replica, RULES)
    tenant = Tenant(await world.tenant("acme"))
    user = uuid7()
    await world.execute(
        "INSERT INTO directory.user_account (tenant_id, user_id, email, display_name)"
        " VALUES ($1, $2, 'eva@example.test', 'Eva')",
        tenant.tenant_id,
        user,
    )
    subject = f"user:{user}"
    await world.grant(replica, tenant.tenant_id, subject, "role:PLATFORM_USER")
    connection = await world.connection(replica)
    trust = PolicyTrust(world.control.public(), world.author.public())
    async with LocalAuthorizer(
        connection, tenants=[tenant.tenant_id], trust=trust, report=False
    ) as local:
        made = Both(
            tenant,
            subject,
            signed_in,
            connection.channel(tenant.tenant_id),
            local,
            Authorizer(connection, timeout_s=10),
        )
        await world.until(lambda: _verifies(made))
        yield made


def _verifies(both: Both) -> bool:
    """Whether the replica was told of tokens; it is ready for decisions before."""
    try:
        both.local.verify_token(both.token("fresh", "whole"), tenant_id=both.tenant.tenant_id)
    except Unavailable:
        return False
    return True


async def test_the_answers_are_the_same(both: Both) -> None:
    answers = {}
    for age, scope, about in itertools.product(AGES_S, SCOPES, CONTEXTS):
        token = both.token(age, scope)
        for action in ACTIONS:
            here = both.here(token, action, CONTEXTS[about])
            assert here == await both.there(token, action, CONTEXTS[about]), (
                age,
                scope,
                about,
                action,
            )
            answers[age, scope, about, action] = here[0]
    for about, action in itertools.product(CONTEXTS, ACTIONS):
        assert both.here("", action, CONTEXTS[about]) == await both.there(
            "", action, CONTEXTS[about]
        )
    # And they are what they should be: a context says nothing of one's own sign-in.
    for scope, about in itertools.product(SCOPES, CONTEXTS):
        allowed = {
            age: {a for a in ACTIONS if answers[age, scope, about, a] == "ALLOW"} for age in AGES_S
        }
        if scope == "other":
            assert allowed == {"fresh": {"ship"}, "stale": {"ship"}}
        else:
            assert allowed == {
                "fresh": {"ship", "purge", "sign"},
                "stale": {"ship", "sign", "sleep"},
            }


async def test_a_number_means_the_same_here_as_there(both: Both) -> None:
    rng = random.Random(11)  # noqa: S311 - reproducible facts
    numbers = (0, 1, 2, 3, 3.0, 2.5, -7, 2**53, 1e300, True)
    seen = set()
    for _ in range(12):
        a, b, *some = rng.choices(numbers, k=4)
        context = {"a": a, "b": b, "list": some}
        for action in ("divide", "add", "tell", "find"):
            here = both.here("", action, context)
            assert here == await both.there("", action, context), (action, context)
            seen.add(here)
    assert {effect for effect, _ in seen} == {"ALLOW", "DENY"}
    where: Any = {"tenant_id": both.tenant.tenant_id, "context": {"a": {"n": 2**53 + 1}}}
    with pytest.raises(InvalidArgument, match=r"context\.a\.n"):
        both.local.check(both.subject, "add", "project:alpha", **where)
    with pytest.raises(InvalidArgument, match=r"context\.a\.n"):
        await both.remote.check(both.subject, "add", "project:alpha", **where)


async def test_a_token_of_one_org_is_refused_outside_of_it_here_as_there(both: Both) -> None:
    bound = both.signed_in.token(both.tenant, both.subject, org=str(uuid7()))
    for action in ACTIONS:
        assert both.here(bound, action, None) == ("DENY", "ORG_NOT_IN_TOKEN")
        with pytest.raises(PermissionDenied) as refused:
            await both.there(bound, action, None)
        assert refused.value.reason == "ORG_NOT_IN_TOKEN"


async def test_nothing_is_decided_for_a_provisional_session_here_as_there(both: Both) -> None:
    """Whoever reads a mailbox and holds no passkey may do nothing, also in services' processes."""
    token = both.signed_in.token(both.tenant, both.subject, acr=ACR_PROVISIONAL)
    for action in ACTIONS:
        assert both.here(token, action, None) == ("DENY", "PASSKEY_REQUIRED")
        with pytest.raises(PermissionDenied) as refused:
            await both.there(token, action, None)
        assert refused.value.reason == "PASSKEY_REQUIRED"
    claims = both.local.verify_token(token, tenant_id=both.tenant.tenant_id)
    with pytest.raises(PermissionDenied) as refused:
        await Caller.of(claims).require(both.remote, "ship", "project:alpha")
    assert refused.value.reason == "PASSKEY_REQUIRED"


async def test_a_scope_that_does_not_cover_asking_is_refused_by_the_server(both: Both) -> None:
    """In a process of one's own nobody asks: there the question's own scope alone counts."""
    token = both.signed_in.token(both.tenant, both.subject, scope="project:ship")
    assert both.here(token, "ship", None)[0] == "ALLOW"
    assert both.here(token, "sign", None) == ("DENY", "SCOPE_INSUFFICIENT")
    with pytest.raises(PermissionDenied) as refused:
        await both.there(token, "ship", None)
    assert refused.value.reason == "SCOPE_INSUFFICIENT"


async def test_what_is_required_with_a_token_is_refused_by_raising(both: Both) -> None:
    where: Any = {"tenant_id": both.tenant.tenant_id}
    fresh, stale = both.token("fresh", "whole"), both.token("stale", "whole")
    assert both.local.require_token(fresh, "purge", "project:alpha", **where).allowed
    with pytest.raises(PermissionDenied) as refused:
        both.local.require_token(stale, "purge", "project:alpha", context=FORGED, **where)
    assert refused.value.reason == "ACCESS_DENIED"


async def test_a_guard_asks_about_a_person_as_their_token_says(both: Both) -> None:
    for age, scope, action in itertools.product(AGES_S, SCOPES, ACTIONS):
        token = both.token(age, scope)
        claims = both.local.verify_token(token, tenant_id=both.tenant.tenant_id)
        effect = both.here(token, action, None)[0]
        try:
            await Caller.of(claims).require(both.remote, action, "project:alpha")
        except PermissionDenied:
            assert effect == "DENY", (age, scope, action)
        else:
            assert effect == "ALLOW", (age, scope, action)


async def test_a_token_of_one_org_does_not_speak_for_another(both: Both) -> None:
    claims = both.local.verify_token(both.token("fresh", "whole"), tenant_id=both.tenant.tenant_id)
    elsewhere = Caller.of(replace(claims, org_id=uuid7()), uuid7())
    with pytest.raises(PermissionDenied) as refused:
        await elsewhere.require(both.remote, "ship", "project:alpha")
    assert refused.value.reason == "ORG_NOT_IN_TOKEN"

"""What callers ask about themselves: by what the platform knows of them, not by what they say."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from signed_in import Bearer, SignedIn

from argy.api.authz.v1 import authz_pb2 as pb
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.policy.compare.replay import SCOPES, Event, replay
from argy.policy.export import Held, TenantFacts
from argy.rpc.client import SignedChannel
from argy.rpc.pair_keys import RootKeys

Make = Callable[..., Awaitable[Any]]
CALLER = "role:CALLER"
RECENT = "has(ctx.auth) && ctx.auth.age_s <= 300"
RULES = f"""
p, role:CALLER, *, project:*, purge, allow, {RECENT}
p, role:CALLER, *, project:*, ship, allow, true
p, role:CALLER, *, authz.decision:*, *, allow, true
"""
SERVICES = f"""
p, service:shop, *, authz.decision:*, *, allow, true
p, service:shop, *, project:*, purge, allow, {RECENT}
p, service:shop, *, authz.subject:*, act_for, allow, true
"""
FRESH, STALE = 10, 4_000
FORGED = {"auth": {"age_s": 1.0, "acr": "urn:argy:acr:passkey", "methods": ["passkey"]}}
ASKING = ("authz.decision:check", "authz.decision:explain")


class Asker:
    """Asks one question in every way that there is."""

    def __init__(self, channel: Any, subject: str) -> None:
        self.stub: Any = AuthzServiceStub(channel)
        self.subject = subject

    async def answers(
        self, action: str, *, subject: str = "", context: dict[str, Any] | None = None
    ) -> set[tuple[bool, str]]:
        """Whether it is allowed, and the reason: by Check, BatchCheck and Explain."""
        asked = pb.Question(
            subject=subject or self.subject, action=action, resource="project:alpha"
        )
        if context is not None:
            asked.context.update(context)
        one = (await self.stub.Check(pb.CheckRequest(question=asked))).decision
        many = (await self.stub.BatchCheck(pb.BatchCheckRequest(questions=[asked]))).decisions
        why = (await self.stub.Explain(pb.ExplainRequest(question=asked))).decision
        return {(told.effect == pb.EFFECT_ALLOW, told.reason) for told in (one, *many, why)}

    async def listed(self, action: str, context: dict[str, Any] | None = None) -> bool:
        """Whether the asker is among those who may."""
        request = pb.ListSubjectsRequest(action=action, resource="project:alpha")
        if context is not None:
            request.context.update(context)
        return self.subject in (await self.stub.ListSubjects(request)).subjects


class Place:
    """A tenant with one person, who may come with any credential."""

    def __init__(self, replica: Any, tenant: Any, subject: str, signed_in: SignedIn) -> None:
        self.replica, self.tenant = replica, tenant
        self.subject, self._signed_in = subject, signed_in
        self.channel = SignedChannel(
            replica.target,
            source="shop",
            keys=RootKeys(replica.ring),
            tenant_id=tenant.tenant_id,
            unsafe_plaintext=True,
            timeout_s=10,
        )

    def by_token(self, age_s: int, scope: str = "") -> Asker:
        token = self._signed_in.token(self.tenant, self.subject, age_s=age_s, scope=scope)
        return Asker(Bearer(self.channel, token), self.subject)

    def by_personal(self, *scopes: str) -> Asker:
        secret = self._signed_in.personal(self.subject, *scopes)
        return Asker(Bearer(self.channel, secret), self.subject)

    def by_service(self) -> Asker:
        channel = self.channel.for_tenant(self.tenant.tenant_id, subject=self.subject)
        return Asker(channel, self.subject)

    def service(self) -> Asker:
        return Asker(self.channel, "service:shop")


@pytest.fixture
async def place(
    authz_replica: Make,
    authz_client: Callable[..., Any],
    tenant_factory: Make,
    person: Make,
    policy_root: Any,
) -> Any:
    with (policy_root / "roles" / "roles.csv").open("a") as file:
        file.write(RULES)
    with (policy_root / "services.csv").open("a") as file:
        file.write(SERVICES)
    signed_in, tenant = SignedIn(), await tenant_factory()
    replica = await authz_replica(tokens=signed_in.verifier, credentials=signed_in)
    subject = await person(tenant.tenant_id)
    await authz_client(replica, tenant.tenant_id).grant(subject, CALLER)
    made = Place(replica, tenant, subject, signed_in)
    yield made
    await made.channel.close()


ALLOWED, DENIED = {(True, "ALLOWED_BY_RULE")}, {(False, "NO_MATCHING_RULE")}
LIMITED = {(False, "SCOPE_INSUFFICIENT")}


@pytest.mark.parametrize("context", [None, FORGED, {"why": "x"}], ids=["none", "forged", "other"])
async def test_a_made_up_sign_in_changes_nothing_about_oneself(
    place: Place, context: dict[str, Any] | None
) -> None:
    for asker, expected in (
        (place.by_token(FRESH), ALLOWED),
        (place.by_token(STALE), DENIED),
        (place.by_personal("project:purge", *ASKING), DENIED),
        (place.by_service(), DENIED),
        (place.service(), DENIED),
    ):
        assert await asker.answers("purge", context=context) == expected
        assert await asker.listed("purge", context) is (expected == ALLOWED)


async def test_of_others_a_service_says_how_they_signed_in(place: Place) -> None:
    shop = place.service()
    assert await shop.answers("purge", subject=place.subject) == DENIED
    assert await shop.answers("purge", subject=place.subject, context=FORGED) == ALLOWED


async def test_a_credential_is_not_told_yes_beyond_its_scopes(place: Place) -> None:
    scope = " ".join(("project:purge", *ASKING))
    for asker in (place.by_token(FRESH, scope), place.by_personal(*ASKING)):
        assert await asker.answers("ship") == LIMITED
        assert not await asker.listed("ship")
    assert await place.by_token(FRESH, scope).answers("purge") == ALLOWED
    assert await place.by_personal("project:ship", *ASKING).answers("ship") == ALLOWED
    assert await place.by_service().answers("ship") == ALLOWED
    # Of others its scopes say nothing: that one may ask is in them.
    shop = await place.by_personal(*ASKING).answers("purge", subject="service:shop", context=FORGED)
    assert shop == ALLOWED


async def test_the_log_tells_the_sign_in_that_the_decision_saw(
    place: Place, audit_events: Make
) -> None:
    await place.by_token(FRESH).answers("purge", context=FORGED | {"why": "x"})
    await place.by_personal("project:purge", *ASKING).answers("purge", context=FORGED)
    await place.by_personal(*ASKING).answers("ship", context=FORGED)
    await place.replica.authz.log.drain()
    await place.replica.lane.drain()
    told = [
        item
        for event in await audit_events(place.tenant.tenant_id, "authz.decision.check")
        for item in json.loads(event["detail"])["decisions"]
    ]
    # Check, BatchCheck and Explain of each.
    known = [item["context"] for item in told if item["effect"] == "ALLOW"]
    assert [context["why"] for context in known] == ["x", "x", "x"]
    assert all(FRESH <= context["auth"]["age_s"] < STALE for context in known)
    denied = [item for item in told if item["effect"] == "DENY"]
    assert [item["context"] for item in denied] == [{}] * 6
    reasons = [item["reason"] for item in denied]
    assert sorted(reasons) == ["NO_MATCHING_RULE"] * 3 + ["SCOPE_INSUFFICIENT"] * 3


async def test_a_replay_sees_the_sign_in_of_then(place: Place, audit_events: Make) -> None:
    """Hours later a fresh proof is still as fresh as it was when the decision was made."""
    await place.by_token(FRESH).answers("purge", context=FORGED)
    await place.by_token(STALE).answers("purge", context=FORGED)
    await place.by_personal(*ASKING).answers("ship")
    await place.replica.authz.log.drain()
    await place.replica.lane.drain()
    rows = await audit_events(place.tenant.tenant_id, "authz.decision.check")
    events = [
        msgspec.convert(
            {
                "actor": row["actor"],
                "action": "authz.decision.check",
                "occur_time": "2026-12-24T18:00:00Z",
                "detail": json.loads(row["detail"]),
            },
            Event,
        )
        for row in rows
    ]
    facts = TenantFacts(place.tenant.slug, [Held(place.subject, CALLER)])
    report = replay(events, facts.snapshot(place.replica.authz.holder.current), {})
    assert (report.same, report.flipped, report.undecidable) == (6, 0, {SCOPES: 3})

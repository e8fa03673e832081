"""The access stage: permissions of calls, and what conditions see of how a caller signed in."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from argy.api.authz.v1.authz_pb2 import CheckRequest, Question
from argy.authn.credentials.rights import Rights
from argy.authz.access import LocalAccess, answer, decide, explain, subjects
from argy.authz.domain import TenantFacts
from argy.authz.view import LazyContext, TenantView
from argy.base.errors import PermissionDenied
from argy.policy import Assignment, compile_policy
from argy.policy.loader import parse_policy
from argy.rpc.access import (
    AccessDecider,
    RemoteAccess,
    access_question,
    auth_facts,
    own_facts,
)
from argy.rpc.call import Call
from argy.rpc.claims import Claims
from argy.rpc.declarations import Method
from argy.store.tenants import TenantInfo

MODEL = (Path(__file__).parents[3] / "policy" / "model.conf").read_text()
TENANT = UUID("01900000-0000-7000-8000-000000000001")
EVA = "user:eva"
NOW_S = 1_800_000_000
RECENT = "has(ctx.auth) && ctx.auth.age_s <= 300"
BY_PASSKEY = "'passkey' in ctx.auth.methods && ctx.auth.acr == 'urn:argy:acr:passkey'"
SINCE = f"ctx.auth.auth_time_s >= {NOW_S - 100}"


class Clock:
    """A clock that stands."""

    def now_ms(self) -> int:
        """The time in milliseconds."""
        return NOW_S * 1000


class Views:
    """One tenant's view, loaded or not yet."""

    def __init__(self, rule: str, *, loaded: bool) -> None:
        text = f'p, role:R, *, thing:*, end, allow, "{rule}"\n'
        policy = compile_policy(parse_policy({"model.conf": MODEL, "roles/all.csv": text}))
        self._view = TenantView(
            TenantFacts(TENANT, "acme", 1, (Assignment(EVA, "role:R"),)), policy
        )
        self._loaded = loaded

    def peek(self, _tenant_id: UUID) -> TenantView | None:
        """The view when it is loaded."""
        return self._view if self._loaded else None

    async def get(self, _tenant_id: UUID) -> TenantView:
        """The view."""
        return self._view


def call(age_s: int | None, methods: tuple[str, ...] = ("passkey",)) -> Call:
    """A call of Eva's, with a token whose proof is so old; None for no token."""
    made = Call(Method("/x/Y", "x.Y", "x", CheckRequest, False), b"", NOW_S * 1000)
    made.tenant_id, made.caller = TENANT, EVA
    made.tenant = TenantInfo(TENANT, "acme", "ACTIVE")
    if age_s is not None:
        made.claims = Claims(
            subject=EVA,
            tenant_id=TENANT,
            org_id=None,
            session_id="s",
            client_id="edge",
            acr=f"urn:argy:acr:{methods[0]}",
            amr=methods,
            auth_time_s=NOW_S - age_s,
            scope="",
            token_id="j",
            family_id="",
            revision="",
            issued_at_s=NOW_S,
            expires_at_s=NOW_S + 600,
        )
    return made


async def permit(access: AccessDecider, asked: Call) -> None:
    """Have the call let in, at once or after a while."""
    waiting = access.permit(asked, "thing:end", platform=False)
    if waiting is not None:
        await waiting


async def may(rule: str, asked: Call, *, loaded: bool) -> bool:
    """Whether the rule lets the call in."""
    views: Any = Views(rule, loaded=loaded)
    try:
        await permit(LocalAccess(views, Clock()), asked)
    except PermissionDenied:
        return False
    return True


Door = Callable[[TenantView, Call], Awaitable[object]]
ASKED = Question(subject=EVA, action="end", resource="thing:1")


async def decide_it(view: TenantView, asked: Call) -> object:
    return decide(view, asked, "", "thing:1", "end", None, NOW_S * 1000)


async def answer_it(view: TenantView, asked: Call) -> object:
    return answer(view, asked, ASKED, NOW_S * 1000)


async def explain_it(view: TenantView, asked: Call) -> object:
    return explain(view, asked, ASKED, NOW_S * 1000)


async def list_it(view: TenantView, asked: Call) -> object:
    return await subjects(view, asked, "thing:1", "end", None, NOW_S * 1000)


@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "not_yet"])
@pytest.mark.parametrize(
    ("rule", "asked", "allowed"),
    [
        (RECENT, call(300), True),
        (RECENT, call(301), False),
        (RECENT, call(None), False),
        (BY_PASSKEY, call(9_000), True),
        (BY_PASSKEY, call(1, ("magic_link",)), False),
        (BY_PASSKEY, call(None), False),
        (SINCE, call(100), True),
        (SINCE, call(101), False),
    ],
)
async def test_conditions_see_how_and_when_the_caller_signed_in(
    rule: str, asked: Call, allowed: bool, loaded: bool
) -> None:
    assert await may(rule, asked, loaded=loaded) is allowed


@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "not_yet"])
async def test_a_sign_in_is_as_old_as_at_arrival_until_a_call_that_lasts_is_asked_again(
    *, loaded: bool
) -> None:
    views: Any = Views(RECENT, loaded=loaded)
    access, view = LocalAccess(views, Clock()), await views.get(TENANT)
    asked = call(350)
    asked.received_ms = (NOW_S - 100) * 1000
    asked.method = replace(asked.method, permission="thing:end")
    await permit(access, asked)
    assert decide(view, asked, "", "thing:1", "end", None, NOW_S * 1000).allowed
    assert answer(view, asked, Question.FromString(ASKED.SerializeToString()), NOW_S * 1000).allowed
    with pytest.raises(PermissionDenied):
        access.readmit(view, asked)


@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "not_yet"])
async def test_a_provisional_session_is_let_in_by_no_rule(*, loaded: bool) -> None:
    views: Any = Views("true", loaded=loaded)
    asked = call(1, ("provisional",))
    with pytest.raises(PermissionDenied) as refused:
        await permit(LocalAccess(views, Clock()), asked)
    assert refused.value.reason == "PASSKEY_REQUIRED"


async def test_a_server_without_authz_does_not_even_ask_for_a_provisional_session() -> None:
    nobody: Any = None
    with pytest.raises(PermissionDenied) as refused:
        await permit(RemoteAccess(nobody), call(1, ("provisional",)))
    assert refused.value.reason == "PASSKEY_REQUIRED"


@pytest.mark.parametrize("door", [decide_it, answer_it, explain_it, list_it])
async def test_nothing_is_decided_about_a_provisional_session_itself(door: Door) -> None:
    views: Any = Views("true", loaded=True)
    view, asked = await views.get(TENANT), call(1, ("provisional",))
    with pytest.raises(PermissionDenied) as refused:
        await door(view, asked)
    assert refused.value.reason == "PASSKEY_REQUIRED"
    await door(view, call(1))


def test_a_server_without_authz_tells_it_the_same() -> None:
    asked = call(7)
    question = access_question(asked, "thing:end", "-")
    assert (question.subject, question.action, question.resource) == (EVA, "end", "thing:-")
    told = dict(LazyContext(question.context))
    assert told == auth_facts(asked.claims, NOW_S * 1000)
    assert told["auth"] == {
        "acr": "urn:argy:acr:passkey",
        "methods": ["passkey"],
        "auth_time_s": NOW_S - 7,
        "age_s": 7,
    }
    assert not access_question(call(None), "thing:end", "-").HasField("context")


@pytest.mark.parametrize("remote", [True, False], ids=["remote", "here"])
async def test_a_permission_beyond_the_scopes_is_refused_wherever_it_is_asked(
    remote: bool,
) -> None:
    asked = call(7)
    asked.scopes = frozenset({"thing:read"})
    nothing: Any = None
    views: Any = Views("true", loaded=True)
    access = RemoteAccess(nothing) if remote else LocalAccess(views, Clock())
    with pytest.raises(PermissionDenied) as refused:
        await permit(access, asked)
    assert refused.value.reason == "SCOPE_INSUFFICIENT"


@pytest.mark.parametrize(
    ("subject", "age_s", "scopes", "held"),
    [
        (EVA, 7, None, True),
        (EVA, 301, None, False),
        (EVA, None, None, False),
        (EVA, 7, frozenset({"thing:end"}), True),
        (EVA, 7, frozenset({"thing:read"}), False),
        # Somebody else's sign-in is not the caller's.
        ("user:zoe", 7, None, False),
    ],
    ids=["fresh", "old", "no_token", "in_scope", "beyond_scope", "another"],
)
async def test_what_somebody_holds_is_what_they_may_do_with_what_they_came_with(
    subject: str, age_s: int | None, scopes: frozenset[str] | None, held: bool
) -> None:
    asked = call(age_s)
    asked.scopes, asked.source, asked.org_id = scopes, "edge", None
    views: Any = Views(RECENT, loaded=True)
    rights = Rights(LocalAccess(views, Clock()))
    assert await rights.holds(asked, subject, "thing:end") is held


def test_of_oneself_nothing_is_believed_that_was_sent() -> None:
    forged: dict[str, object] = {"auth": {"age_s": 1.0}, "why": "x"}
    assert own_facts(forged, None, NOW_S * 1000) == {"why": "x"}
    assert own_facts(None, None, NOW_S * 1000) is None
    known = auth_facts(call(7).claims, NOW_S * 1000)
    assert known is not None
    assert own_facts(forged, call(7).claims, NOW_S * 1000) == {"why": "x", **known}


def test_nobody_is_taken_for_fresher_than_they_are() -> None:
    ages = []
    for late_ms in (-1, 0, 1, 999, 1000):
        facts: Any = auth_facts(call(300).claims, NOW_S * 1000 + late_ms)
        ages.append(facts["auth"]["age_s"])
    assert ages == [300.0, 300.0, 301.0, 301.0, 301.0]
    ahead: Any = auth_facts(call(-5).claims, NOW_S * 1000)
    assert ahead["auth"]["age_s"] == 0.0

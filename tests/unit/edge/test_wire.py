"""Requests of the Authorization API, read by the letter of the specification."""

from typing import Any

import pytest

from argy.api.authz.v1.authz_pb2 import (
    EFFECT_ALLOW,
    EFFECT_DENY,
    EFFECT_NEEDS_APPROVAL,
    EFFECT_UNSPECIFIED,
    ApprovalRequirement,
    Decision,
    Effect,
    RuleRef,
)
from argy.edge.authzen.domain import Evaluation, Semantic
from argy.edge.authzen.wire import (
    Misshapen,
    Unaskable,
    UnknownType,
    decision_json,
    read_batch,
    read_evaluation,
    read_search,
)

ALICE = {"type": "user", "id": "alice@acme.example"}
READ = {"name": "can_read"}
ITEM = {"type": "todo", "id": "1"}
ASKED = {"subject": ALICE, "action": READ, "resource": ITEM}


def test_the_three_become_our_names() -> None:
    assert read_evaluation(ASKED) == Evaluation("user:alice@acme.example", "can_read", "todo:1", {})


def test_unknown_members_are_ignored_at_every_level() -> None:
    body = {
        "subject": {**ALICE, "identity": "x"},
        "action": {**READ, "x": 1},
        "resource": {**ITEM, "userID": "y"},
        "more": {"a": []},
    }
    assert read_evaluation(body) == read_evaluation(ASKED)


def test_properties_stand_beside_the_context_under_reserved_names() -> None:
    body = {
        "subject": {**ALICE, "properties": {"department": "Sales"}},
        "action": {**READ, "properties": {"method": "GET"}},
        "resource": {**ITEM, "properties": {"ownerID": "bob"}},
        "context": {"time": "1985-10-26T01:22-07:00"},
    }
    assert read_evaluation(body).facts == {
        "time": "1985-10-26T01:22-07:00",
        "subject": {"department": "Sales"},
        "action": {"method": "GET"},
        "resource": {"ownerID": "bob"},
    }


@pytest.mark.parametrize("name", ["subject", "action", "resource"])
def test_a_context_is_the_callers_own_until_properties_take_its_place(name: str) -> None:
    body: dict[str, Any] = {**ASKED, "context": {name: {"role": "admin"}, "time": 1}}
    assert read_evaluation(body).facts == body["context"]
    body[name] = {**body[name], "properties": {"role": "user"}}
    assert read_evaluation(body).facts == {name: {"role": "user"}, "time": 1}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"subject": None}, "/subject"),
        ({"subject": "user:alice"}, "/subject"),
        ({"subject": []}, "/subject"),
        ({"subject": {"id": "x"}}, "/subject/type"),
        ({"subject": {"type": "user"}}, "/subject/id"),
        ({"subject": {"type": "user", "id": 7}}, "/subject/id"),
        ({"subject": {"type": "user", "id": ""}}, "/subject/id"),
        ({"subject": {"type": None, "id": "x"}}, "/subject/type"),
        ({"subject": {**ALICE, "properties": []}}, "/subject/properties"),
        ({"action": {}}, "/action/name"),
        ({"action": "can_read"}, "/action"),
        ({"resource": {"type": "todo"}}, "/resource/id"),
        ({"resource": {"type": "todo", "id": True}}, "/resource/id"),
        ({"context": None}, "/context"),
        ({"context": "now"}, "/context"),
    ],
)
def test_what_is_misshapen_is_refused_and_named(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Misshapen) as refused:
        read_evaluation({**ASKED, **change})
    assert refused.value.field == pointer


@pytest.mark.parametrize("name", ["subject", "action", "resource"])
def test_what_is_missing_is_refused_and_named(name: str) -> None:
    with pytest.raises(Misshapen) as refused:
        read_evaluation({key: value for key, value in ASKED.items() if key != name})
    assert refused.value.field == f"/{name}"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"subject": {"type": "role", "id": "PLATFORM_ADMIN"}}, "/subject/type"),
        ({"subject": {"type": "user:x", "id": "y"}}, "/subject/type"),
        ({"subject": {"type": "User", "id": "a"}}, "/subject/type"),
        ({"subject": {"type": "x" * 65, "id": "a"}}, "/subject/type"),
        ({"subject": {"type": "user", "id": "a\nb"}}, "/subject/id"),
        ({"subject": {"type": "user", "id": "a\n"}}, "/subject/id"),
        ({"subject": {"type": "user", "id": "e\u0301"}}, "/subject/id"),
        ({"subject": {"type": "user", "id": "é" * 158}}, "/subject/id"),
        ({"action": {"name": "a\u202eb"}}, "/action/name"),
        ({"action": {"name": "a\nb"}}, "/action/name"),
        ({"action": {"name": " a"}}, "/action/name"),
        ({"action": {"name": "x" * 65}}, "/action/name"),
        ({"resource": {"type": "todo:x", "id": "1"}}, "/resource/type"),
        ({"resource": {"type": "todo", "id": "e\u0301"}}, "/resource/id"),
        ({"resource": {"type": "todo", "id": "a\u200bb"}}, "/resource/id"),
        ({"resource": {"type": "todo", "id": "é" * 254}}, "/resource/id"),
        ({"resource": {"type": "todo", "id": "x" * 600}}, "/resource/id"),
    ],
)
def test_what_can_not_be_asked_is_refused_and_named(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Unaskable) as refused:
        read_evaluation({**ASKED, **change})
    assert refused.value.field == pointer


@pytest.mark.parametrize(
    ("kind", "name"),
    [("user", "a b"), ("identity", "auth0|x:é"), ("workload", "spiffe://a/b"), ("user", "x" * 315)],
)
def test_subjects_of_others_are_asked_about_as_they_are(kind: str, name: str) -> None:
    asked = read_evaluation({**ASKED, "subject": {"type": kind, "id": name}})
    assert asked.subject == f"{kind}:{name}"


@pytest.mark.parametrize("name", ["subject", "resource"])
@pytest.mark.parametrize("kind", ["Spaceship", "a:b", "x" * 65])
def test_a_type_that_nothing_can_have_is_told_apart(name: str, kind: str) -> None:
    with pytest.raises(UnknownType) as refused:
        read_search({**ASKED, name: {"type": kind}}, name)
    assert refused.value.field == f"/{name}/type"


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("GET", "/todos/{todoId}"),
        ("s3:GetObject", "arn:aws:s3:::bucket/key"),
        ("*", "*"),
        ("läs", "a b%2Fc"),
    ],
)
def test_identifiers_of_others_are_asked_as_they_are(action: str, resource: str) -> None:
    change = {"action": {"name": action}, "resource": {"type": "todo", "id": resource}}
    asked = read_evaluation({**ASKED, **change})
    assert (asked.action, asked.resource) == (action, f"todo:{resource}")


def test_a_batch_takes_each_default_as_a_whole() -> None:
    body = {
        "subject": {**ALICE, "properties": {"a": 1}},
        "action": READ,
        "context": {"time": 1},
        "evaluations": [
            {"resource": ITEM},
            {"resource": ITEM, "action": {"name": "can_edit"}, "context": {}},
            {"resource": ITEM, "subject": {"type": "user", "id": "bob"}},
        ],
    }
    batch = read_batch(body)
    assert batch is not None
    assert list(batch.items) == [
        Evaluation(
            "user:alice@acme.example", "can_read", "todo:1", {"time": 1, "subject": {"a": 1}}
        ),
        Evaluation("user:alice@acme.example", "can_edit", "todo:1", {"subject": {"a": 1}}),
        Evaluation("user:bob", "can_read", "todo:1", {"time": 1}),
    ]
    assert batch.semantic is Semantic.EXECUTE_ALL


def test_an_item_takes_which_entity_is_meant_from_the_default_and_nothing_else() -> None:
    body = {
        "subject": {**ALICE, "properties": {"a": 1}},
        "action": READ,
        "resource": {"type": "todo", "id": "9", "properties": {"b": 1}},
        "evaluations": [{"resource": {"id": "1"}}, {"subject": {"properties": {}}}],
    }
    batch = read_batch(body)
    assert batch is not None
    assert list(batch.items) == [
        Evaluation("user:alice@acme.example", "can_read", "todo:1", {"subject": {"a": 1}}),
        Evaluation(
            "user:alice@acme.example", "can_read", "todo:9", {"subject": {}, "resource": {"b": 1}}
        ),
    ]


@pytest.mark.parametrize("body", [ASKED, {**ASKED, "evaluations": []}])
def test_without_evaluations_a_batch_is_a_single_evaluation(body: dict[str, Any]) -> None:
    assert read_batch(body) is None


def test_an_item_that_can_not_be_asked_is_that_item_s_error() -> None:
    batch = read_batch({**ASKED, "evaluations": [{}, {"action": {"name": "\t"}}, {}]})
    assert batch is not None
    first, second, third = batch.items
    assert isinstance(first, Evaluation)
    assert first == third
    assert isinstance(second, Unaskable)
    assert second.field == "/evaluations/1/action/name"


@pytest.mark.parametrize(
    ("item", "pointer"),
    [
        (1, "/evaluations/1"),
        ({"action": READ, "resource": ITEM}, "/evaluations/1/subject"),
        ({**ASKED, "subject": {}}, "/evaluations/1/subject/type"),
    ],
)
def test_a_misshapen_item_is_that_items_error(item: Any, pointer: str) -> None:
    batch = read_batch({"evaluations": [ASKED, item, ASKED]})
    assert batch is not None
    first, second, third = batch.items
    assert first == third == read_evaluation(ASKED)
    assert isinstance(second, Misshapen)
    assert second.field == pointer


def test_a_default_that_can_not_be_asked_is_named_where_it_stands() -> None:
    batch = read_batch({**ASKED, "subject": {"type": "role", "id": "X"}, "evaluations": [{}]})
    assert batch is not None
    (item,) = batch.items
    assert isinstance(item, Unaskable)
    assert item.field == "/subject/type"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"evaluations": {}}, "/evaluations"),
        ({"evaluations": [{}] * 1001}, "/evaluations"),
        ({"subject": 1, "evaluations": [ASKED]}, "/subject"),
        ({**ASKED, "options": [], "evaluations": [{}]}, "/options"),
        (
            {**ASKED, "options": {"evaluations_semantic": "all"}, "evaluations": [{}]},
            "/options/evaluations_semantic",
        ),
        (
            {**ASKED, "options": {"evaluations_semantic": ["execute_all"]}, "evaluations": [{}]},
            "/options/evaluations_semantic",
        ),
    ],
)
def test_a_misshapen_batch_is_refused_whole(body: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Misshapen) as refused:
        read_batch(body)
    assert refused.value.field == pointer


def test_unknown_options_are_ignored() -> None:
    batch = read_batch(
        {
            **ASKED,
            "options": {"another": 1, "evaluations_semantic": "deny_on_first_deny"},
            "evaluations": [{}],
        }
    )
    assert batch is not None
    assert batch.semantic is Semantic.DENY_ON_FIRST_DENY


def test_a_search_ignores_the_id_of_what_it_looks_for() -> None:
    assert read_search(ASKED, "subject").subject == "user:"
    assert (
        read_search({**ASKED, "subject": {"type": "user", "id": 7}}, "subject").subject == "user:"
    )
    assert read_search({**ASKED, "resource": {"type": "todo"}}, "resource").resource == "todo:"
    assert read_search({"subject": ALICE, "resource": ITEM}, "action").action == ""
    assert read_search({**ASKED, "action": 7}, "action").action == ""


@pytest.mark.parametrize(
    ("kind", "body", "pointer"),
    [
        ("subject", {**ASKED, "subject": {}}, "/subject/type"),
        ("resource", {**ASKED, "resource": {"id": "1"}}, "/resource/type"),
        ("action", {"resource": ITEM}, "/subject"),
        ("action", {**ASKED, "page": "x"}, "/page"),
        ("action", {**ASKED, "page": {"token": 1}}, "/page/token"),
        ("action", {**ASKED, "page": {"token": "x" * 5000}}, "/page/token"),
        ("action", {**ASKED, "page": {"limit": -1}}, "/page/limit"),
        ("action", {**ASKED, "page": {"limit": True}}, "/page/limit"),
        ("action", {**ASKED, "page": {"limit": 1.5}}, "/page/limit"),
        ("action", {**ASKED, "page": {"limit": "5"}}, "/page/limit"),
    ],
)
def test_a_misshapen_search_is_refused(kind: str, body: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Misshapen) as refused:
        read_search(body, kind)
    assert refused.value.field == pointer


def test_a_limit_is_bounded() -> None:
    assert read_search({**ASKED, "page": {"limit": 10**9}}, "action").page.limit == 1000


@pytest.mark.parametrize("effect", [EFFECT_DENY, EFFECT_NEEDS_APPROVAL, EFFECT_UNSPECIFIED])
def test_nothing_but_an_allow_is_true(effect: Effect.ValueType) -> None:
    told = decision_json(Decision(effect=effect, reason="X"), "p", "r")
    assert told["decision"] is False


def test_an_allow_tells_what_it_stood_on() -> None:
    decision = Decision(
        effect=EFFECT_ALLOW,
        reason="ALLOWED_BY_RULE",
        rule=RuleRef(file="roles/x.csv", line=7),
        role_path=["user:a", "role:B"],
    )
    assert decision_json(decision, "p", "r") == {
        "decision": True,
        "context": {
            "reason": "ALLOWED_BY_RULE",
            "effect": "ALLOW",
            "rule": "roles/x.csv:7",
            "role_path": ["user:a", "role:B"],
            "policy_revision": "p",
            "revision": "r",
        },
    }


def test_what_needs_approval_says_which() -> None:
    needed = ApprovalRequirement(
        rule=RuleRef(file="approvals/a.csv", line=3), approvals=2, roles=["role:C"], expires_in_s=60
    )
    decision = Decision(effect=EFFECT_NEEDS_APPROVAL, reason="NEEDS_APPROVAL", approvals=[needed])
    context = decision_json(decision, "p", "r")["context"]
    assert context["effect"] == "NEEDS_APPROVAL"
    assert context["approvals"] == [
        {"approvals": 2, "roles": ["role:C"], "expires_in_s": 60, "rule": "approvals/a.csv:3"}
    ]

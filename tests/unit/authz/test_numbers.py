"""A number means the same on every path: a double, or it is refused by name."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given, settings
from hypothesis import strategies as st

from argy.authz.view import LazyContext
from argy.base.errors import InvalidArgument
from argy.base.facts import inexact, refuse_inexact
from argy.cli.decide import parse_facts
from argy.edge.authzen.strict_json import parse_object
from argy.policy import (
    Assignment,
    Decision,
    PolicyError,
    TenantSnapshot,
    compile_policy,
    parse_policy,
)
from argy.policy.cases.answers import Asker
from argy.policy.cases.questions import read_cases
from argy.policy.compare.replay import Event, Replay
from argy.policy.conditions import Condition, ConditionError, Facts

CONDITIONS = [
    Condition(text)
    for text in (
        "ctx.a / ctx.b > 1",
        "ctx.a + 1 <= 3",
        "ctx.a + 1.0 <= 3.0",
        "ctx.a % 2 == 0",
        "int(ctx.a) % 2 == 0",
        "string(ctx.a) == '3'",
        "ctx.a == ctx.b",
        "ctx.a == 9007199254740993",
        "ctx.list.exists(x, x > ctx.a)",
        "ctx.inner.deep[0] < 2",
        "ctx.a in ctx.list",
    )
]
NUMBERS = (
    st.integers(-9, 9)
    | st.integers(-(2**54), 2**54)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
)
CONTEXTS = st.fixed_dictionaries(
    {
        "a": NUMBERS,
        "b": NUMBERS,
        "list": st.lists(NUMBERS, max_size=3),
        "inner": st.fixed_dictionaries({"deep": st.lists(NUMBERS, min_size=1, max_size=2)}),
    }
)


def outcome(condition: Condition, context: Any) -> bool | str:
    try:
        return condition.holds(Facts("user:ada", "acme", "", "doc:x", "read", context, 0))
    except ConditionError as error:
        return str(error)


@given(CONTEXTS)
def test_what_a_wire_brings_and_what_comes_without_one_decide_alike(context: Any) -> None:
    """The server decides on a Struct; LocalAuthorizer, cases, coverage and mutation on a dict."""
    wire = Struct()
    wire.update(context)
    if inexact(context, "context"):
        with pytest.raises(InvalidArgument, match="no double holds"):
            refuse_inexact(context)
        for condition in CONDITIONS:
            assert "no double holds" in str(outcome(condition, context))
        return
    for condition in CONDITIONS:
        assert outcome(condition, context) == outcome(condition, LazyContext(wire)), condition.text


SNAPSHOT = TenantSnapshot(
    compile_policy(
        parse_policy(
            {
                "model.conf": (Path(__file__).parents[3] / "policy" / "model.conf").read_text(),
                "roles/a.csv": "\n".join(
                    f'p, role:A, *, doc:{number}, read, allow, "{condition.text}"'
                    for number, condition in enumerate(CONDITIONS)
                ),
            }
        )
    ),
    "acme",
    [Assignment("user:ada", "role:A")],
)


def by_case(context: Any, obj: str) -> Decision:
    """What `argy policy test` decides; coverage and mutation ask the same."""
    case = {"ask": f"user:ada read {obj}", "context": context, "expect": "ALLOW"}
    suite = {
        "tenant": "acme",
        "assignments": [{"subject": "user:ada", "role": "role:A"}],
        "cases": [case],
    }
    try:
        (questions,) = read_cases({"cases/a.yaml": json.dumps(suite)})
    except PolicyError as error:
        raise InvalidArgument(str(error)) from error
    return Asker(SNAPSHOT.policy, questions).decide(questions.questions[0])


def by_replay(context: Any, obj: str) -> Decision:
    """What `argy policy replay` decides of an event; its report has the effect alone."""
    asked = {"subject": "user:ada", "action": "read", "resource": obj, "effect": "ALLOW"}
    event = {"actor": "service:a", "action": "authz.decision.check", "record_time": 0,
             "detail": {"decisions": [{**asked, "context": context}]}}  # fmt: skip
    replay = Replay(SNAPSHOT, {})
    replay.take(msgspec.convert(json.loads(json.dumps(event)), Event, strict=False))
    return Decision(replay.report.same == 1, "")


def check(context: Any, obj: str) -> Decision:
    return SNAPSHOT.check("user:ada", "", obj, "read", context, 0)


def by_command(context: Any, obj: str) -> Decision:
    """`argy check` and `argy policy explain`."""
    return check(parse_facts(json.dumps(context)), obj)


def by_edge(context: Any, obj: str) -> Decision:
    """An AuthZEN request's body, and then the wire."""
    wire = Struct()
    wire.update(parse_object(json.dumps(context).encode()))
    return check(LazyContext(wire), obj)


PATHS = (by_case, by_replay, by_command, by_edge)


@given(CONTEXTS)
@settings(max_examples=30, deadline=None)
def test_every_path_decides_alike_or_refuses_by_name(context: Any) -> None:
    if inexact(context, "context"):
        for path in PATHS:
            with pytest.raises(InvalidArgument, match="exact"):
                path(context, "doc:0")
        return
    for number in range(len(CONDITIONS)):
        obj = f"doc:{number}"
        wanted = check(context, obj).allowed
        told = {path.__name__: path(context, obj).allowed for path in PATHS}
        assert told == dict.fromkeys(told, wanted), CONDITIONS[number].text


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ("ctx.used / ctx.quota > 1", {"used": 3, "quota": 2}, True),
        ("ctx.used + 1.0 <= 3.0", {"used": 2}, True),
        ("int(ctx.n) % 2 == 0", {"n": 4}, True),
        ("string(ctx.n) == '3'", {"n": 3}, True),
        ("ctx.n <= 3", {"n": 3}, True),
        ("ctx.flag", {"flag": True}, True),
    ],
)
def test_a_number_is_a_double(condition: str, context: dict[str, Any], expected: bool) -> None:
    assert outcome(Condition(condition), context) is expected


def test_arithmetic_with_an_integer_says_what_to_write() -> None:
    assert "write 1.0" in str(outcome(Condition("ctx.used + 1 <= 3"), {"used": 2}))


def test_an_integer_that_no_double_holds_is_refused_where_it_is() -> None:
    context = {"a": [{"n": 9007199254740993}]}
    with pytest.raises(InvalidArgument) as caught:
        refuse_inexact(context)
    assert caught.value.field == "context.a.0.n"
    assert "ctx.a.0.n" in str(outcome(Condition("ctx.a[0].n > 1"), context))
    refuse_inexact({"n": 9007199254740992, "b": True, "f": 0.1})

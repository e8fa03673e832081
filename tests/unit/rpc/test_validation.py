"""The rules that the protos declare, held against requests."""

from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.struct_pb2 import Struct

from argy.api.audit.v1.audit_pb2 import Event, RecordEventsRequest
from argy.api.authz.v1.assignment_pb2 import GrantRoleRequest
from argy.api.authz.v1.authz_pb2 import BatchCheckRequest, CheckRequest, Question
from argy.api.directory.v1.tenant_pb2 import CreateOrgRequest, GetOrgRequest, ListOrgsRequest
from argy.api.directory.v1.user_pb2 import SetUserStateRequest
from argy.base.errors import InvalidArgument
from argy.rpc.validation import compile_rules

GOOD = Question(subject="user:a", action="read", resource="project:x")


def problems(message: Any) -> dict[str, str]:
    """Field → what is wrong with it; empty for a good message."""
    try:
        compile_rules(message.DESCRIPTOR)(message)
    except InvalidArgument as error:
        return {violation.field: violation.description for violation in error.violations}
    return {}


def test_good_requests_pass() -> None:
    assert problems(CheckRequest(question=GOOD)) == {}
    assert problems(BatchCheckRequest(questions=[GOOD] * 1000)) == {}
    assert problems(GetOrgRequest(org_id=str(uuid4()))) == {}
    assert problems(CreateOrgRequest(slug="sales", display_name="Sales")) == {}


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("GET", "path:/todos/{todoId}"),
        ("s3:GetObject", "aws:arn:aws:s3:::bucket/key"),
        ("*", "project:*"),
        ("läs", "fil:a b%2Fc"),
        ("x" * 64, f"doc:{'é' * 254}"),
    ],
)
def test_identifiers_of_others_pass(action: str, resource: str) -> None:
    assert problems(Question(subject="user:a", action=action, resource=resource)) == {}


@pytest.mark.parametrize(
    "text",
    [
        "a\nb",
        "a\tb",
        "a\x7fb",
        "a\u202eb",
        "a\u200fb",
        "a\u200bb",
        "a\u2028b",
        "a\u3164b",
        "a ",
        "e\u0301",
        "a\u00a0b",
        "\ue000",
        "é" * 256,
    ],
)
def test_what_hides_or_has_two_forms_is_no_identifier(text: str) -> None:
    asked = Question(subject="user:a", action=text, resource=f"doc:{text}")
    assert set(problems(asked)) == {"action", "resource"}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (CheckRequest(), "question"),
        (BatchCheckRequest(), "questions"),
        (BatchCheckRequest(questions=[GOOD] * 1001), "questions"),
        (GetOrgRequest(), "org_id"),
        (GetOrgRequest(org_id=str(uuid4()).upper()), "org_id"),
        (GetOrgRequest(org_id=uuid4().hex), "org_id"),
        (GetOrgRequest(org_id=f"{uuid4()}\n"), "org_id"),
        (CreateOrgRequest(slug="Sales", display_name="S"), "slug"),
        (CreateOrgRequest(slug="s" * 64, display_name="S"), "slug"),
        (CreateOrgRequest(slug="sales\n", display_name="S"), "slug"),
        (CreateOrgRequest(slug="sales", display_name="S" * 201), "display_name"),
        (CreateOrgRequest(slug="sales", display_name="S\x00"), "display_name"),
        (ListOrgsRequest(page_size=1001), "page_size"),
        (ListOrgsRequest(page_size=-1), "page_size"),
        (ListOrgsRequest(page_token="x" * 5000), "page_token"),
        (GrantRoleRequest(subject="X:x", role="role:X", reason="r"), "subject"),
        (SetUserStateRequest(user_id=str(uuid4()), reason="r"), "state"),
        (SetUserStateRequest(user_id=str(uuid4()), reason="r", state=99), "state"),  # type: ignore[arg-type]
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_field_at_fault_is_named(message: Any, field: str) -> None:
    assert list(problems(message)) == [field]


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "a",
        "user:",
        ":a",
        "User:a",
        "a b:c",
        "user:a\n",
        "user:e\u0301",
        "*",
        "user:" + "é" * 160,
    ],
)
def test_a_subject_is_a_kind_and_an_id(subject: str) -> None:
    asked = Question(subject=subject, action="read", resource="project:x")
    assert list(problems(CheckRequest(question=asked))) == ["question.subject"]


def test_the_path_leads_to_the_item() -> None:
    bad = Question(subject="user:a", action="", resource="nothing")
    found = problems(BatchCheckRequest(questions=[GOOD, bad, GOOD, bad]))
    assert set(found) == {
        "questions[1].action", "questions[1].resource",
        "questions[3].action", "questions[3].resource",
    }  # fmt: skip


def test_what_was_accepted_before_hides_nothing() -> None:
    validate = compile_rules(BatchCheckRequest.DESCRIPTOR)
    context = Struct()
    context.update({"long": "x" * 70_000})
    for bad in (
        Question(subject="user:a", action="read"),
        Question(subject="project", action="read", resource="project:x"),
        Question(subject="user:a", action="read", resource="project:x", context=context),
    ):
        validate(BatchCheckRequest(questions=[GOOD, GOOD]))
        with pytest.raises(InvalidArgument) as caught:
            validate(BatchCheckRequest(questions=[GOOD, bad]))
        assert [violation.field[:12] for violation in caught.value.violations] == ["questions[1]"]


def test_the_violations_told_are_bounded() -> None:
    assert len(problems(BatchCheckRequest(questions=[Question()] * 1000))) == 20


def test_a_context_is_bounded_in_bytes() -> None:
    facts = Struct()
    facts.update({"text": "x" * 70_000})
    asked = Question(subject="user:a", action="read", resource="project:x", context=facts)
    assert list(problems(CheckRequest(question=asked))) == ["question.context"]


def test_events_are_bounded_in_number() -> None:
    event = Event(actor="user:a", action="a.b.c", resource="project:x", outcome=1)  # type: ignore[arg-type]
    assert problems(RecordEventsRequest(events=[event])) == {}
    assert list(problems(RecordEventsRequest())) == ["events"]
    assert list(problems(RecordEventsRequest(events=[event] * 10_000))) == ["events"]

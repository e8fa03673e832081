"""Batches: decided as each question alone would be, and told whole to the audit log."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from argy.api.authz.v1.authz_pb2 import BatchCheckRequest, Question
from argy.authz.access import CONTEXT_TAG, answer, answers
from argy.authz.decision_log import DecisionLog
from argy.authz.domain import TenantFacts
from argy.authz.view import TenantView
from argy.policy import Assignment, compile_policy
from argy.policy.loader import parse_policy
from argy.rpc.call import Call
from argy.rpc.claims import Claims
from argy.rpc.declarations import Method
from argy.store.tenants import TenantInfo
from argy.trail.records import AuditRecord

MODEL = (Path(__file__).parents[3] / "policy" / "model.conf").read_text()
RULES = """\
p, role:R, *, thing:*, read, allow, true
p, role:R, *, thing:prod-*, read, deny, true
p, role:R, *, thing:*, end, allow, "has(ctx.sure) && ctx.sure"
p, role:R, *, thing:*, see, allow, "has(ctx.auth) && ctx.auth.age_s <= 300"
"""
TENANT = UUID("01900000-0000-7000-8000-000000000001")
EVA, BOB = "user:eva", "user:bob"
NOW_S = 1_800_000_000
VIEW = TenantView(
    TenantFacts(TENANT, "acme", 1, (Assignment(EVA, "role:R"), Assignment(BOB, "role:R"))),
    compile_policy(parse_policy({"model.conf": MODEL, "roles/all.csv": RULES})),
)


def question(subject: str, action: str, resource: str, context: dict[str, Any] | None) -> Question:
    made = Question(subject=subject, action=action, resource=resource)
    if context is not None:
        made.context.SetInParent()
        ParseDict(context, made.context)
    return made


def call(questions: list[Question], *, signed_in: bool, scopes: frozenset[str] | None) -> Call:
    body = BatchCheckRequest(questions=questions).SerializeToString()
    made = Call(Method("/x/Y", "x.Y", "x", BatchCheckRequest, False), body, NOW_S * 1000)
    made.tenant_id, made.caller = TENANT, EVA
    made.tenant, made.scopes = TenantInfo(TENANT, "acme", "ACTIVE"), scopes
    if signed_in:
        made.claims = Claims(
            subject=EVA,
            tenant_id=TENANT,
            org_id=None,
            session_id="s",
            client_id="edge",
            acr="urn:argy:acr:passkey",
            amr=("passkey",),
            auth_time_s=NOW_S - 10,
            scope="",
            token_id="j",
            family_id="",
            revision="",
            issued_at_s=NOW_S,
            expires_at_s=NOW_S + 600,
        )
    return made


class Lane:
    """Keeps what it is given."""

    def full(self, tenant_id: UUID) -> bool:
        return False

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []

    def put(self, tenant_id: UUID, rec: AuditRecord) -> None:
        self.records.append(rec)


CONTEXTS = st.sampled_from(
    [None, {}, {"sure": True}, {"sure": False}, {"auth": {"age_s": 1}}, {'"': '"'}]
)
# 26 to 28 characters of an id make lengths of 34 bytes, which are written as the tag is.
NAMES = st.one_of(
    st.sampled_from(["1", "prod-1"]), st.integers(26, 28).map(lambda length: "x" * length)
)
QUESTIONS = st.lists(
    st.builds(
        question,
        st.sampled_from([EVA, BOB, "user:nobody"]),
        st.sampled_from(["read", "end", "see", "none"]),
        NAMES.map("thing:{}".format),
        CONTEXTS,
    ),
    min_size=1,
    max_size=8,
)
SCOPES = st.sampled_from([None, frozenset({"thing:read", "thing:end"})])


@given(QUESTIONS, st.booleans(), SCOPES)
def test_a_batch_is_decided_as_each_question_alone(
    questions: list[Question], signed_in: bool, scopes: frozenset[str] | None
) -> None:
    asking = call(questions, signed_in=signed_in, scopes=scopes)
    alone = [
        answer(VIEW, call([one], signed_in=signed_in, scopes=scopes), one, NOW_S * 1000)
        for one in BatchCheckRequest.FromString(asking.body).questions
    ]
    asked, decisions = answers(VIEW, asking, questions, NOW_S * 1000)
    assert decisions == alone
    assert asked == [(one.subject, one.action, one.resource) for one in questions]


@given(QUESTIONS, st.booleans())
async def test_the_log_tells_every_question_with_the_context_that_was_seen(
    questions: list[Question], signed_in: bool
) -> None:
    asking = call(questions, signed_in=signed_in, scopes=None)
    asked, decisions = answers(VIEW, asking, questions, NOW_S * 1000)
    lane = Lane()
    log = DecisionLog(lane)
    log.put(asking, VIEW, questions, asked, decisions, log.require_room(asking, questions))
    await log.close()
    (record,) = lane.records
    assert record.detail is not None
    told = json.loads(bytes(record.detail["decisions"]))
    assert [(one["subject"], one["action"], one["resource"]) for one in told] == asked
    assert [one["effect"] for one in told] == [one.effect for one in decisions]
    assert [one["reason"] for one in told] == [one.reason for one in decisions]
    contexts = [json.loads(bytes(one)) for one in record.detail.get("contexts", [])]
    for one, of in zip(told, questions, strict=True):
        if "context_at" in one:
            one["context"] = contexts[one["context_at"]]
        assert ("context" in one) is of.HasField("context")
        if signed_in and of.subject == EVA:
            assert one["context"]["auth"]["acr"] == "urn:argy:acr:passkey"
        elif of.HasField("context"):
            seen = Struct()
            ParseDict(one["context"], seen)
            assert seen == of.context


@pytest.mark.parametrize("context", [{}, {"a": 1.0}, {"a": {"b": ["c"]}}])
def test_a_context_can_be_told_by_its_tag(context: dict[str, Any]) -> None:
    field = Question.DESCRIPTOR.fields_by_name["context"]
    assert bytes([field.number << 3 | 2]) == CONTEXT_TAG
    plain = question(BOB, "read", "thing:1", None)
    assert CONTEXT_TAG not in call([plain], signed_in=False, scopes=None).body
    with_one = [plain, question(BOB, "read", "thing:1", context)]
    assert CONTEXT_TAG in call(with_one, signed_in=False, scopes=None).body

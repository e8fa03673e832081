"""Statements: what was signed opens, and nothing else does; each kind keeps its rules."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.base.dsse import SigningKeys, UntrustedSignature, seal
from argy.base.errors import ArgyError
from argy.policy.statements import (
    ACTIVATION_TYPE,
    APPROVAL_TYPE,
    MAX_APPROVALS,
    Activation,
    Approval,
    PolicyUntrusted,
    open_activation,
    open_approval,
    seal_activation,
    seal_approval,
)

KEYS = SigningKeys.generate("control")
TRUSTED = KEYS.public()
PROPOSAL = "01a20bd9-649c-7dd4-8c65-d7adda492d78"


def approval(approver: str = "user:cora", **changes: Any) -> Approval:
    said = {
        "proposal_id": PROPOSAL,
        "bundle_digest": "b" * 64,
        "diff_digest": "d" * 64,
        "author": "user:eva",
        "approver": approver,
        "time_ms": 7,
    }
    return Approval(**{**said, **changes})


def text_of(*given: Approval) -> tuple[str, ...]:
    return tuple(base64.b64encode(seal_approval(one, KEYS)).decode() for one in given)


def activation(**changes: Any) -> Activation:
    said = {
        "sequence": 5,
        "kind": "PROPOSAL",
        "origin": "PROPOSAL",
        "bundle_digest": "b" * 64,
        "policy_revision": "a" * 64,
        "previous_digest": "c" * 64,
        "activated_by": "user:ada",
        "reason": "",
        "time_ms": 8,
        "proposal_id": PROPOSAL,
        "author": "user:eva",
        "diff_digest": "d" * 64,
        "approvals_needed": 1,
        "approvals": text_of(approval()),
    }
    return Activation(**{**said, **changes})


ENVELOPE = seal_activation(activation(), KEYS)


def test_what_was_signed_opens() -> None:
    assert open_activation(ENVELOPE, TRUSTED) == activation()
    assert open_approval(seal_approval(approval(), KEYS), TRUSTED) == approval()


@given(st.integers(0, len(ENVELOPE) - 1), st.integers(1, 255))
def test_an_altered_statement_never_opens_as_another(at: int, flip: int) -> None:
    altered = bytearray(ENVELOPE)
    altered[at] ^= flip
    try:
        opened = open_activation(bytes(altered), TRUSTED)
    except ArgyError:
        return
    assert opened == activation()  # base64 and JSON have spare spellings of the same


@given(st.binary(max_size=300))
def test_signed_nonsense_is_no_statement(payload: bytes) -> None:
    with pytest.raises(PolicyUntrusted):
        open_activation(seal(payload, payload_type=ACTIVATION_TYPE, keys=KEYS), TRUSTED)
    with pytest.raises(PolicyUntrusted):
        open_approval(seal(payload, payload_type=APPROVAL_TYPE, keys=KEYS), TRUSTED)


def test_an_approval_is_no_activation() -> None:
    with pytest.raises(UntrustedSignature):
        open_activation(seal_approval(approval(), KEYS), TRUSTED)


def test_an_unknown_field_is_refused() -> None:
    payload = b'{"unknown":1}'
    with pytest.raises(PolicyUntrusted):
        open_approval(seal(payload, payload_type=APPROVAL_TYPE, keys=KEYS), TRUSTED)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sequence": 0}, "NOT_THE_FIRST"),
        ({"kind": "BOOTSTRAP"}, "NOT_THE_FIRST"),
        ({"kind": "FOLDER"}, "ORIGIN_MISMATCH"),
        ({"kind": "ROLLBACK"}, "NOT_EARLIER"),
        ({"kind": "ROLLBACK", "restores": 5}, "NOT_EARLIER"),
        ({"restores": 1}, "NOT_EARLIER"),
        ({"kind": "ROLLBACK", "restores": 1}, "NO_PROPOSAL"),
        ({"proposal_id": ""}, "NO_PROPOSAL"),
        ({"approvals": ()}, "APPROVALS_TOO_FEW"),
        ({"approvals": (), "approvals_needed": 0}, "APPROVALS_TOO_FEW"),
        ({"escalates": True}, "APPROVALS_TOO_FEW"),
        ({"approvals": text_of(approval(), approval(time_ms=9)), "approvals_needed": 2},
         "APPROVALS_TOO_FEW"),
        ({"diff_digest": "e" * 64}, "APPROVAL_OF_ANOTHER"),
        ({"bundle_digest": "e" * 64}, "APPROVAL_OF_ANOTHER"),
        ({"author": "user:cora"}, "APPROVAL_OF_ANOTHER"),
        ({"approvals": text_of(approval("user:eva"))}, "APPROVED_BY_AUTHOR"),
        ({"approvals": text_of(approval("agent:cora"))}, "APPROVED_BY_NOBODY"),
        ({"approvals": text_of(approval()) * (MAX_APPROVALS + 1)}, "POLICY_UNTRUSTED"),
        ({"approvals": ("%",)}, "POLICY_UNTRUSTED"),
    ],
)  # fmt: skip
def test_each_kind_keeps_its_rules(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(PolicyUntrusted) as refused:
        seal_activation(activation(**changes), KEYS)
    assert refused.value.reason == reason


def test_an_approval_that_another_signed_does_not_count() -> None:
    stranger = SigningKeys.generate("control")
    forged = base64.b64encode(seal_approval(approval(), stranger)).decode()
    with pytest.raises(UntrustedSignature):
        seal_activation(activation(approvals=(forged,)), KEYS)


@pytest.mark.parametrize("text", ["AAA", "a~b", "\u00e9A=="], ids=["short", "letter", "ascii"])
def test_an_approval_that_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(PolicyUntrusted, match="not base64"):
        seal_activation(activation(approvals=(text,)), KEYS)


def test_two_approvals_satisfy_an_escalation() -> None:
    both = text_of(approval(), approval("user:carl"))
    made = activation(approvals=both, approvals_needed=2, escalates=True)
    assert open_activation(seal_activation(made, KEYS), TRUSTED) == made

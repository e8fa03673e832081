"""Whom a record is about stands in its column, whatever kind of event it is."""

from typing import Any

import pytest

from argy.rpc.call import Call
from argy.trail.records import AuditRecord

ADA, BOB = "user:ada", "user:bob"


def call_of(caller: str) -> Call:
    method: Any = None
    call = Call(method, b"", 0)
    call.source, call.caller = "edge", caller
    return call


@pytest.mark.parametrize(
    ("resource", "given", "about"),
    [
        (BOB, {}, BOB),
        (ADA, {}, ""),
        ("user:-", {}, ""),
        ("credential:1", {"subject": BOB}, BOB),
        ("credential:1", {}, ""),
        (BOB, {"subject": "service:billing"}, "service:billing"),
    ],
)
def test_who_is_acted_on_is_the_subject(resource: str, given: dict[str, str], about: str) -> None:
    made = AuditRecord.of(call_of(ADA), "directory.user.disable", resource, **given)
    assert (made.actor, made.subject) == (ADA, about)

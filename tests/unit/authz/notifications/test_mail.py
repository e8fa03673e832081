"""Notifications by mail: what people wrote in them is quoted, on one line and no address."""

from uuid import uuid4

import pytest
from hostile_text import CORPUS, links, steering

from argy.authz.notifications.notifier import Notification
from argy.authz.notifications.sinks import mail_of

SENDER, TO = "argy@example.test", ("ops@example.test",)


def text_of(reason: str, resource: str = "deployment:prod-1") -> str:
    """The body of a mail about a request."""
    told = Notification(
        kind="approval.requested",
        tenant_id=uuid4(),
        tenant="acme",
        resource="authz.approval:7",
        time_ms=0,
        data={
            "subject": "user:7",
            "resource": resource,
            "reason": reason,
            "needs": [{"approvals": 2, "roles": ["role:LEAD"]}],
        },
    )
    return str(mail_of(told, sender=SENDER, recipients=TO).get_content())


@pytest.mark.parametrize("text", CORPUS)
def test_a_hostile_reason_is_quoted_and_becomes_no_address(text: str) -> None:
    body = text_of(text)
    assert body.count("\n") == text_of("x").count("\n")
    assert steering(body.replace("\n", "")) == []
    (line,) = [line for line in body.splitlines() if line.startswith("reason: ")]
    assert links(line) == []
    assert line.startswith("reason: \u201c")
    assert line.endswith("\u201d")


def test_a_resource_that_is_a_domain_becomes_no_link_and_our_names_stay() -> None:
    body = text_of("x", "evil.example:443/path")
    assert "resource: evil[.]example[:]443/path\n" in body
    assert "approval.requested: authz.approval:7\n" in body
    assert '"role:LEAD"' in body
    assert "subject: user:7\n" in body

"""Mail that tells people what happened to their ways in."""

import os
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from smtp_inbox import Inbox, mail_server

from argy.authn.mail.notices import NoticeKind, SecurityNotices
from argy.authn.sessions.domain import DeviceInfo
from argy.base.ids import uuid7

NAMES = {
    "passkey_added": "A new passkey",
    "passkey_blocked": "A passkey was blocked",
    "passkey_removed": "A passkey was removed",
    "sign_in_reset": "Your sign-in was reset",
    "token_made": "A new access token",
}


async def _person(db_factory: Any, tenant: Any) -> tuple[Any, str]:
    db, user_id = await db_factory("argy_directory", max_size=2), uuid7()
    email = f"{os.urandom(6).hex()}@example.test"
    async with db.tenant(tenant.tenant_id) as tx:
        await tx.execute(
            "INSERT INTO directory.user_account (tenant_id, user_id, email, display_name)"
            " VALUES ($1, $2, $3, 'Ada')",
            tenant.tenant_id,
            user_id,
            email,
        )
    return user_id, email


def _call(tenant: Any) -> Any:
    return SimpleNamespace(tenant_id=tenant.tenant_id, tenant=tenant)


@pytest.mark.parametrize("kind", get_args(NoticeKind))
async def test_a_person_hears_of_a_change_and_what_to_do(
    post: Any, tenant_factory: Any, db_factory: Any, kind: Any
) -> None:
    tenant, inbox = await tenant_factory(), Inbox()
    user_id, email = await _person(db_factory, tenant)
    device = DeviceInfo(ip="192.0.2.7", user_agent="Browser/1\r\nBcc: eve@example.test")
    async with mail_server(inbox) as port, post.replica(port) as outbox:
        notices = SecurityNotices(post.db, outbox)
        await notices.tell(_call(tenant), user_id, kind, device, name="Key\nof Ada")
        await outbox.drain()
    assert inbox.recipients == [email]
    text = inbox.mails[0].content.decode().replace("=\r\n", "")
    assert f"Subject: {NAMES[kind]} at {tenant.slug}" in text
    assert "Key of Ada" in text
    assert "192.0.2.7" in text
    assert "\nBcc" not in text
    assert "tell your administrator" in text
    assert "http" not in text


async def test_nobody_hears_of_another_tenants_person(
    post: Any, tenant_factory: Any, db_factory: Any
) -> None:
    tenant, other = await tenant_factory(), await tenant_factory()
    user_id, _ = await _person(db_factory, tenant)
    outbox = post.outbox(post.smtp(1))
    notices = SecurityNotices(post.db, outbox)
    await notices.tell(_call(other), user_id, "token_made", name="Token")
    assert await post.queue().size() == 0

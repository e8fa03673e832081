"""What can't be sent ends, and its tenant's audit log tells of it without the link."""

import asyncio
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from smtp_inbox import Inbox, mail_server

from argy.authn.mail.delivery import Pace
from argy.authn.mail.outbox import MAX_WAIT_MS
from argy.authn.mail.queue import Taken
from argy.authn.mail.sinks import MailSettings, sink_of
from argy.local.dev_ca import ensure_dev_certificates


async def _told(post: Any, tenant: Any, mail: Any, caplog: pytest.LogCaptureFixture) -> Any:
    (record,) = await post.records(tenant)
    assert record["resource"] == f"user:{mail.user_id}"
    for told in (str(dict(record)), caplog.text):
        assert post.secret not in told
        assert mail.to not in told
    return record["reason"], json.loads(record["detail"])


@pytest.fixture(autouse=True)
def loud(caplog: pytest.LogCaptureFixture) -> None:
    """Look at every line of the log."""
    caplog.set_level(logging.DEBUG, logger="argy")


async def test_a_permanent_refusal_is_not_tried_again(
    post: Any, tenant_factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tenant, mail = await tenant_factory(), post.mail()
    inbox = Inbox(99, answer=f"550 no {post.secret} for {mail.to}")
    async with mail_server(inbox) as port, post.replica(port) as sender:
        await sender.put(tenant.tenant_id, mail)
        await sender.drain()
    assert inbox.attempts == 1
    reason, detail = await _told(post, tenant, mail, caplog)
    assert reason == "MAIL_REFUSED"
    assert detail == {
        "mail": str(mail.id),
        "kind": "sign_in",
        "tries": 1,
        "why": "SMTPDataError 550",
    }


async def test_an_address_that_is_read_as_another_gets_nothing(
    post: Any, tenant_factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Decoded, this name is another mailbox's."""
    tenant, mail, inbox = await tenant_factory(), post.mail("=?utf-8?q?ada?=@example.test"), Inbox()
    async with mail_server(inbox) as port, post.replica(port) as sender:
        await sender.put(tenant.tenant_id, mail)
        await sender.drain()
    assert inbox.attempts == 0
    assert (await _told(post, tenant, mail, caplog))[0] == "MAIL_REFUSED"


async def test_a_passing_refusal_is_tried_again_and_only_so_often(
    post: Any, tenant_factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tenant, mail, inbox = await tenant_factory(), post.mail(), Inbox(99)
    async with mail_server(inbox) as port, post.replica(port, tries=4) as sender:
        await sender.put(tenant.tenant_id, mail)
        await sender.drain()
    assert inbox.attempts == 4
    reason, detail = await _told(post, tenant, mail, caplog)
    assert (reason, detail["why"]) == ("MAIL_TRIED_IN_VAIN", "SMTPDataError 451")


async def test_a_mail_server_that_never_answers_holds_no_sender_beyond_an_attempt(
    post: Any, tenant_factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tenant, mail = await tenant_factory(), post.mail()
    inbox = Inbox(held=(mail.to,))
    async with (
        asyncio.timeout(60),
        mail_server(inbox) as port,
        post.replica(port, tries=2, attempt_s=2.0) as sender,
    ):
        await sender.put(tenant.tenant_id, mail)
        await sender.drain()
    assert inbox.attempts == 2
    reason, detail = await _told(post, tenant, mail, caplog)
    assert (reason, detail["why"]) == ("MAIL_TRIED_IN_VAIN", "no answer within 2 s")


async def test_a_mail_server_that_does_not_answer_to_quit_gets_a_mail_once(
    post: Any, tenant_factory: Any
) -> None:
    tenant, inbox = await tenant_factory(), _Clinging()
    async with asyncio.timeout(60), mail_server(inbox) as port, post.replica(port) as sender:
        await sender.put(tenant.tenant_id, post.mail())
        await sender.drain()
        assert inbox.left
    assert inbox.recipients == ["ada@example.test"]
    assert sender.counts == {"sent": 1}


async def test_a_mail_server_that_comes_back_gets_what_waited(
    post: Any, tenant_factory: Any
) -> None:
    tenant, inbox = await tenant_factory(), Inbox(2)
    async with mail_server(inbox) as port, post.replica(port) as sender:
        await sender.put(tenant.tenant_id, post.mail())
        await sender.drain()
    assert inbox.recipients == ["ada@example.test"]
    assert (sender.counts["sent"], sender.counts["retried"]) == (1, 2)


async def test_wrong_credentials_of_ours_are_no_refusal_of_the_mail(
    post: Any, tenant_factory: Any, tmp_path: Path
) -> None:
    """5yz to AUTH is about whoever runs the platform, who can put it right while mail waits."""
    tenant, inbox = await tenant_factory(), Inbox()
    made = ensure_dev_certificates(tmp_path / "ca", now=datetime.now(UTC))
    options = {
        "tls_context": made.server_context(),
        "require_starttls": True,
        "authenticator": lambda *_: AuthResult(success=False, handled=False),
    }
    async with mail_server(inbox, **options) as port:
        url = f"smtp://argy:{post.secret}@127.0.0.1:{port}"
        settings = MailSettings(smtp_url=url, sender="argy@example.test", ca=made.ca_file)
        sender = post.outbox(sink_of(settings), tries=2)
        await sender.start()
        await sender.put(tenant.tenant_id, post.mail())
        await sender.drain()
        await sender.close()
    (record,) = await post.records(tenant)
    assert record["reason"] == "MAIL_TRIED_IN_VAIN"
    assert json.loads(record["detail"])["why"] == "SMTPAuthenticationError 535"


async def test_an_expired_link_is_dropped_and_counted(
    post: Any, tenant_factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tenant, inbox, mail = await tenant_factory(), Inbox(), post.mail()
    async with mail_server(inbox) as port:
        sender = post.outbox(post.smtp(port))
        ends_at_ms = post.clock.now_ms() + 600_000
        await sender.put(tenant.tenant_id, mail, ends_at_ms=ends_at_ms)
        post.clock.advance(600_000)
        await sender.start()
        await sender.drain()
        await sender.close()
    assert inbox.attempts == 0
    assert sender.counts == {"MAIL_EXPIRED": 1}
    assert (await _told(post, tenant, mail, caplog))[0] == "MAIL_EXPIRED"


async def test_no_mail_waits_longer_than_a_day(post: Any, tenant_factory: Any) -> None:
    tenant, inbox = await tenant_factory(), Inbox()
    async with mail_server(inbox) as port:
        sender = post.outbox(post.smtp(port))
        week = post.clock.now_ms() + 7 * MAX_WAIT_MS
        await sender.put(tenant.tenant_id, post.mail(kind="invitation"), ends_at_ms=week)
        await sender.put(tenant.tenant_id, post.mail(kind="notice"))
        post.clock.advance(MAX_WAIT_MS)
        await sender.start()
        await sender.drain()
        await sender.close()
    assert sender.counts == {"MAIL_EXPIRED": 2}


async def test_a_message_that_kills_whoever_takes_it_ends(
    post: Any, tenant_factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tenant, inbox, mail, queue = await tenant_factory(), Inbox(), post.mail(), post.queue()
    async with mail_server(inbox) as port:
        sender = post.outbox(post.smtp(port), tries=3)
        await sender.put(tenant.tenant_id, mail)
        (lane,) = await queue.lanes()
        for _ in range(3):
            assert isinstance(await queue.take(lane, lease_s=0.0), Taken)
        await sender.start()
        await sender.drain()
        await sender.close()
    assert inbox.attempts == 0
    assert (await _told(post, tenant, mail, caplog))[0] == "MAIL_TRIED_IN_VAIN"


async def test_what_is_not_recorded_yet_is_not_forgotten(post: Any, tenant_factory: Any) -> None:
    tenant, inbox = await tenant_factory(), Inbox(99, answer="550 no")
    async with mail_server(inbox) as port:
        sender = post.outbox(post.smtp(port))
        await sender.put(tenant.tenant_id, post.mail())
        pool, post.db._pool = post.db._pool, _Nothing()
        await sender.start()
        while not sender.counts["retried"]:
            await sender._idle.wait()
        post.db._pool = pool
        await sender.drain()
        await sender.close()
    (record,) = await post.records(tenant)
    assert record["reason"] == "MAIL_REFUSED"


async def test_what_can_never_be_recorded_ends_all_the_same(
    post: Any, tenant_factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tenant, inbox = await tenant_factory(), Inbox(99, answer="550 no")
    async with mail_server(inbox) as port, post.replica(port, tries=1) as sender:
        pool, post.db._pool = post.db._pool, _Nothing()
        await sender.put(tenant.tenant_id, post.mail())
        await sender.drain()
        post.db._pool = pool
    assert await post.queue().size() == 0
    assert "leaves no record" in caplog.text
    assert post.secret not in caplog.text


async def test_a_full_queue_refuses_links_then_notices_and_records_what_was_lost(
    post: Any, tenant_factory: Any
) -> None:
    tenant, other = await tenant_factory(), await tenant_factory()
    queue = post.queue(max_of_tenant=10)
    outbox = post.outbox(post.smtp(1), queue)
    for _ in range(10):
        await outbox.put(tenant.tenant_id, post.mail())
    for _ in range(2):
        await outbox.put(tenant.tenant_id, post.mail(kind="notice"))
    await outbox.put(tenant.tenant_id, None)
    await outbox.put(other.tenant_id, post.mail())
    await outbox.close()
    assert await queue.size() == 11
    kinds = [json.loads(row["detail"])["kind"] for row in await post.records(tenant)]
    assert sorted(kinds) == ["notice", "sign_in"]
    assert {row["reason"] for row in await post.records(tenant)} == {"MAIL_FULL"}
    assert await post.records(other) == []


async def test_the_queue_is_bounded_in_all(post: Any, tenant_factory: Any) -> None:
    tenants = [await tenant_factory() for _ in range(3)]
    queue, inbox = post.queue(max_in_all=10), Inbox()
    async with mail_server(inbox) as port:
        outbox = post.outbox(post.smtp(port), queue)
        for number in range(12):
            await outbox.put(tenants[number % 3].tenant_id, post.mail())
        assert await queue.size() == 9
        await outbox.start()
        await outbox.drain()
        # What was sent leaves its place to others.
        await outbox.put(tenants[0].tenant_id, post.mail())
        await outbox.drain()
        await outbox.close()
    assert len(inbox.mails) == 10
    assert outbox.counts["MAIL_FULL"] == 3


def test_pauses_grow_and_end_at_a_bound() -> None:
    pace = Pace()
    pauses = [pace.pause_s(tries) for tries in range(1, pace.tries)]
    for tries, pause in enumerate(pauses):
        longest = min(900.0, 2.0 * 3**tries)
        assert longest / 2 <= pause <= longest
    assert len({pace.pause_s(5) for _ in range(20)}) > 1
    assert pace.lease_s > pace.attempt_s


class _Clinging(Inbox):
    """Lets nobody go."""

    left = False

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.left = True
        await self.release.wait()
        return "221 Bye"


class _Nothing:
    """A pool whose database is away."""

    async def acquire(self, **_: Any) -> Any:
        raise OSError

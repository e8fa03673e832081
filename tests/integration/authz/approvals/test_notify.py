"""Mail and webhook on real servers; what they do wrong never reaches a caller."""

import asyncio
import hashlib
import hmac
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from aiosmtpd.smtp import AuthResult
from smtp_inbox import Inbox, mail_server

from argy.authz.notifications.notifier import MAX_QUEUED, Notification, Notifier, Sink
from argy.authz.notifications.sinks import SinkSettings, sinks_of
from argy.base.errors import InvalidArgument
from argy.local.dev_ca import ensure_dev_certificates

KEY = "a key that only the two of them know"
TENANT = UUID("01920000-0000-7000-8000-000000000001")
ADDRESSES: dict[str, Any] = {
    "sender": "argy@example.test",
    "recipients": "ops@example.test, sec@example.test",
}
Make = Callable[..., Awaitable[Any]]


def notification(kind: str = "approval.requested", **data: object) -> Notification:
    return Notification(
        kind=kind,
        tenant_id=TENANT,
        tenant="acme",
        resource="authz.approval:7",
        time_ms=1_780_000_000_000,
        data={"subject": "user:eva", "reason": "it is time", **data},
    )


class Hook:
    """A small HTTP server; ``answer`` makes the bytes that it sends for each request."""

    def __init__(self, answer: Callable[[int], bytes | None] | None = None) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.release = asyncio.Event()
        self._answer = answer or (lambda _n: b"HTTP/1.1 204 No Content\r\n\r\n")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines if line)
            }
            body = await reader.readexactly(int(headers["content-length"]))
            self.requests.append((first, headers, body))
            self.asked.set()
            answer = self._answer(number)
            if answer is None:
                await self.release.wait()
            else:
                writer.write(answer)
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def listening(serve: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def notifying(*sinks: Sink, **options: Any) -> AsyncIterator[Notifier]:
    notifier = Notifier(sinks, **{"backoff_s": (0.0, 0.0), "attempt_timeout_s": 5.0, **options})
    await notifier.start()
    try:
        yield notifier
    finally:
        await notifier.close()


def webhook(port: int, path: str = "/hook?a=b", **fields: Any) -> Sink:
    url = fields.pop("url", f"http://127.0.0.1:{port}{path}")
    (sink,) = sinks_of(SinkSettings(webhook_url=url, webhook_key=KEY, **fields))
    return sink


@pytest.fixture
def server_tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """The TLS of a server on this machine, and the CA that vouches for it."""
    made = ensure_dev_certificates(tmp_path / "ca", now=datetime.now(UTC))
    return made.server_context(), made.ca_file


async def test_the_webhook_gets_a_signed_cloud_event() -> None:
    hook = Hook()
    async with listening(hook.serve) as port, notifying(webhook(port)) as notifier:
        sent = notification()
        notifier.tell(sent)
        await notifier.drain()
        assert (notifier.delivered, notifier.lost) == (1, 0)
    ((first, headers, body),) = hook.requests
    assert first == "POST /hook?a=b HTTP/1.1"
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    event = json.loads(body)
    assert {**event, "data": None} == {
        "specversion": "1.0",
        "id": str(sent.id),
        "source": "/argy/authz",
        "type": "argy.approval.requested",
        "subject": "authz.approval:7",
        "time": "2026-05-28T20:26:40.000+00:00",
        "datacontenttype": "application/json",
        "data": None,
    }
    assert event["data"] == {
        "tenant_id": str(TENANT),
        "tenant": "acme",
        "subject": "user:eva",
        "reason": "it is time",
    }
    time, code = (part.split("=", 1)[1] for part in headers["x-argy-signature"].split(","))
    wanted = hmac.new(KEY.encode(), f"{time}.".encode() + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(code, wanted)


async def test_the_webhook_over_tls_proves_the_server(
    server_tls: tuple[ssl.SSLContext, Path],
) -> None:
    context, ca = server_tls
    hook = Hook()
    async with listening(hook.serve, context) as port:
        url = f"https://127.0.0.1:{port}/"
        async with notifying(webhook(port, url=url, ca=ca)) as notifier:
            notifier.tell(notification())
            await notifier.drain()
            assert notifier.delivered == 1
        async with notifying(webhook(port, url=url)) as notifier:
            notifier.tell(notification())
            await notifier.drain()
            assert (notifier.delivered, notifier.lost) == (0, 1)
    assert len(hook.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 " + b"2" * 100_000,
        b"",
    ],
)
async def test_nothing_but_2xx_is_success(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    hook = Hook(lambda _n: answer)
    async with listening(hook.serve) as port, notifying(webhook(port)) as notifier:
        notifier.tell(notification())
        await notifier.drain()
        assert (notifier.delivered, notifier.lost) == (0, 1)
    assert hook.connections == 3, "one attempt and two more"
    assert "approval.requested about authz.approval:7 was not delivered" in caplog.text


async def test_it_is_tried_again_with_the_same_id() -> None:
    hook = Hook(lambda n: b"HTTP/1.1 503 Later\r\n\r\n" if n < 3 else b"HTTP/1.1 200 OK\r\n\r\n")
    async with listening(hook.serve) as port, notifying(webhook(port)) as notifier:
        notifier.tell(notification())
        await notifier.drain()
        assert (notifier.delivered, notifier.lost) == (1, 0)
    assert len({json.loads(body)["id"] for _, _, body in hook.requests}) == 1


async def test_a_sink_that_hangs_holds_up_nobody(
    town: Make, caplog: pytest.LogCaptureFixture
) -> None:
    hook, inbox = Hook(lambda _n: None), Inbox()
    async with listening(hook.serve) as port, mail_server(inbox) as mail_port:
        (mail,) = sinks_of(
            SinkSettings(smtp_url=f"unsafe-smtp://127.0.0.1:{mail_port}", **ADDRESSES)
        )
        async with notifying(webhook(port), mail, attempt_timeout_s=60.0, max_queued=2) as notifier:
            home = await town(notify=notifier.tell)
            dev = await home.person("role:DEV")
            first = await dev.ask("thing:prod-0")
            assert first.approval_id
            await hook.asked.wait()
            for number in range(1, 6):
                assert (await dev.ask(f"thing:prod-{number}")).approval_id
            assert notifier.lost >= 3, "one under way, two wait, the others are counted"
            await inbox.reached.wait()
            hook.release.set()
    assert "the queue is full" in caplog.text
    assert inbox.mails, "the mail server is not held up by the webhook"


async def test_a_flood_of_requests_does_not_hide_a_broken_glass() -> None:
    hook = Hook(lambda _n: None)
    async with (
        listening(hook.serve) as port,
        notifying(webhook(port), attempt_timeout_s=60.0, max_queued=20) as notifier,
    ):
        for _ in range(30):
            notifier.tell(notification())
        lost = notifier.lost
        assert lost >= 10
        notifier.tell(replace(notification(), kind="break_glass"))
        assert notifier.lost == lost
        hook.release.set()


async def test_a_sink_that_is_away_changes_nothing_for_callers(town: Make) -> None:
    async with listening(Hook().serve) as port:
        pass
    async with notifying(webhook(port)) as notifier:
        home = await town(notify=notifier.tell)
        dev = await home.person("role:DEV")
        assert (await dev.ask("thing:prod-1")).approval_id
        await notifier.drain()
        assert (notifier.delivered, notifier.lost) == (0, 1)


async def test_what_is_told_and_when(town: Make) -> None:
    hook = Hook()
    async with listening(hook.serve) as port, notifying(webhook(port)) as notifier:
        home = await town(notify=notifier.tell)
        dev, lead, second = [await home.person(r) for r in ("role:DEV", "role:LEAD", "role:LEAD")]
        approval = await dev.ask("thing:prod-1")
        await dev.ask("thing:prod-1")
        await lead.approve(approval)
        await second.approve(approval)
        rejected = await dev.ask("thing:prod-2")
        await lead.reject(rejected)
        await dev.elevate("role:BOSS", 600, break_glass=True)
        await dev.elevate("role:OPERATOR", 600)
        await notifier.drain()
    events = [json.loads(body) for _, _, body in hook.requests]
    assert [event["type"] for event in events] == [
        "argy.approval.requested",
        "argy.approval.granted",
        "argy.approval.requested",
        "argy.approval.rejected",
        "argy.break_glass",
        "argy.elevation.given",
    ]
    asked = events[0]
    assert asked["subject"] == f"authz.approval:{approval.approval_id}"
    assert asked["data"]["needs"] == [{"approvals": 2, "roles": ["role:LEAD", "role:CHECKER"]}]
    assert asked["data"]["tenant"] == home.tenant.slug
    assert events[4]["data"]["role"] == "role:BOSS"


async def test_mail_by_starttls_and_by_tls(server_tls: tuple[ssl.SSLContext, Path]) -> None:
    context, ca = server_tls
    inbox = Inbox()

    word = "w@rd/of:ours"
    quoted = quote(word, safe="")

    def authenticate(*arguments: Any) -> AuthResult:
        data = arguments[-1]
        return AuthResult(success=(data.login, data.password) == (b"argy", word.encode()))

    options = {"auth_require_tls": True, "auth_required": True, "authenticator": authenticate}
    async with mail_server(inbox, tls_context=context, require_starttls=True, **options) as port:
        (sink,) = sinks_of(
            SinkSettings(smtp_url=f"smtp://argy:{quoted}@127.0.0.1:{port}", ca=ca, **ADDRESSES)
        )
        async with notifying(sink) as notifier:
            notifier.tell(notification(reason="line one\r\nBcc: evil@example.test\u202e", more=[1]))
            await notifier.drain()
            assert notifier.delivered == 1
    (mail,) = inbox.mails
    assert inbox.encrypted == [True]
    assert mail.mail_from == "argy@example.test"
    assert mail.rcpt_tos == ["ops@example.test", "sec@example.test"]
    text = mail.content.decode()
    assert "Subject: [Argy] approval.requested in acme" in text
    assert "\nBcc:" not in text
    assert "\u202e" not in text


async def test_mail_is_not_sent_in_the_clear_to_a_server_without_tls() -> None:
    inbox = Inbox()
    async with mail_server(inbox) as port:
        (sink,) = sinks_of(SinkSettings(smtp_url=f"smtp://127.0.0.1:{port}", **ADDRESSES))
        async with notifying(sink) as notifier:
            notifier.tell(notification())
            await notifier.drain()
            assert (notifier.delivered, notifier.lost) == (0, 1)
    assert inbox.mails == []


async def test_mail_that_the_server_refuses_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox(refuse=9, answer="550 not from you")
    async with mail_server(inbox) as port:
        (sink,) = sinks_of(SinkSettings(smtp_url=f"unsafe-smtp://127.0.0.1:{port}", **ADDRESSES))
        async with notifying(sink) as notifier:
            notifier.tell(notification())
            await notifier.drain()
            assert (notifier.delivered, notifier.lost) == (0, 1)
    assert "not from you" in caplog.text


async def test_a_mail_server_that_never_answers_holds_up_no_later_notification() -> None:
    inbox = Inbox(held=("ops@example.test",))
    async with mail_server(inbox) as port:
        (sink,) = sinks_of(SinkSettings(smtp_url=f"unsafe-smtp://127.0.0.1:{port}", **ADDRESSES))
        notifier = Notifier([sink], backoff_s=(0.0, 0.0), attempt_timeout_s=0.2)
        await notifier.start()
        notifier.tell(notification())
        await notifier.drain()
        assert (notifier.delivered, notifier.lost) == (0, 1)
        await notifier.close()


async def test_what_is_left_at_the_end_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    hook = Hook(lambda _n: None)
    async with listening(hook.serve) as port:
        notifier = Notifier([webhook(port)], attempt_timeout_s=60.0)
        await notifier.start()
        for _ in range(3):
            notifier.tell(notification())
        await hook.asked.wait()
        await notifier.close()
        assert (notifier.delivered, notifier.lost) == (0, 3)
        hook.release.set()
    assert caplog.text.count("the process is stopping") == 3
    assert MAX_QUEUED == 1_000


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"webhook_url": "http://hooks.example.test/"}, "ARGY_NOTIFY_WEBHOOK_URL"),
        ({"webhook_url": "ftp://127.0.0.1/"}, "ARGY_NOTIFY_WEBHOOK_URL"),
        ({"webhook_url": "https://user:p@example.test/"}, "ARGY_NOTIFY_WEBHOOK_URL"),
        ({"webhook_url": "https://example.test/\r\nX: y"}, "ARGY_NOTIFY_WEBHOOK_URL"),
        ({"webhook_url": "https://example.test:0/"}, "ARGY_NOTIFY_WEBHOOK_URL"),
        ({"webhook_url": "https://[::1"}, "ARGY_NOTIFY_WEBHOOK_URL"),
        ({"webhook_url": ""}, "ARGY_NOTIFY_WEBHOOK_URL"),
        ({"webhook_key": "short"}, "ARGY_NOTIFY_WEBHOOK_KEY"),
        ({"webhook_key": ""}, "ARGY_NOTIFY_WEBHOOK_KEY"),
        ({"smtp_url": "unsafe-smtp://a:b@mail.example.test"}, "ARGY_NOTIFY_SMTP_URL"),
        ({"smtp_url": "mail.example.test:25"}, "ARGY_NOTIFY_SMTP_URL"),
        ({"smtp_url": "smtps://mail.example.test/path"}, "ARGY_NOTIFY_SMTP_URL"),
        ({"smtp_url": ""}, "ARGY_NOTIFY_SMTP_URL"),
        ({"sender": ""}, "ARGY_NOTIFY_FROM"),
        ({"sender": "a@b.test\r\nBcc: c@d.test"}, "ARGY_NOTIFY_FROM"),
        ({"recipients": "nobody"}, "ARGY_NOTIFY_TO"),
        ({"recipients": ""}, "ARGY_NOTIFY_TO"),
        ({"recipients": ",".join(f"a{n}@b.test" for n in range(51))}, "ARGY_NOTIFY_TO"),
    ],
)
def test_settings_that_are_refused(fields: dict[str, str], field: str) -> None:
    sound = {
        "smtp_url": "smtps://mail.example.test",
        "webhook_url": "https://example.test/hook",
        "webhook_key": KEY,
        **ADDRESSES,
    }
    assert len(sinks_of(SinkSettings(**sound))) == 2
    with pytest.raises(InvalidArgument) as refused:
        sinks_of(SinkSettings(**{**sound, **fields}))
    assert refused.value.field == field
    assert KEY not in refused.value.message


def test_without_settings_there_is_no_sink() -> None:
    assert sinks_of(SinkSettings()) == []

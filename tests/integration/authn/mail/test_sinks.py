"""Sign-in mail by STARTTLS to a real server or into a folder; silent in the log."""

import json
import logging
import stat
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from smtp_inbox import Inbox, mail_server

from argy.authn.mail.message import Mail, MailError
from argy.authn.mail.sinks import FolderSink, MailSettings, sink_of
from argy.authn.mail.texts import passkey_added, sign_in_link
from argy.authn.sessions.accounts import Account
from argy.authn.sessions.domain import DeviceInfo
from argy.base.errors import InvalidArgument
from argy.base.ids import uuid7, uuid7_millis
from argy.local.dev_ca import ensure_dev_certificates

ADA = Account(uuid7(), "ada@example.test", "Ada", True)
SECRET = "s" * 43


def link(**device: str) -> Mail:
    url = f"https://id.example.test/acme/link/{SECRET}"
    return sign_in_link(ADA, "acme", url, DeviceInfo(**device), 10)


async def test_mail_goes_by_starttls_and_the_log_holds_no_secret(
    post: Any, tenant_factory: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="argy")
    made = ensure_dev_certificates(tmp_path / "ca", now=datetime.now(UTC))
    inbox = Inbox(refuse=1)
    options = {"tls_context": made.server_context(), "require_starttls": True}
    async with mail_server(inbox, **options) as port:
        sink = sink_of(
            MailSettings(
                smtp_url=f"smtp://127.0.0.1:{port}",
                sender="Argy <sign-in@example.test>",
                ca=made.ca_file,
            )
        )
        outbox = post.outbox(sink)
        await outbox.start()
        mail = link(ip="192.0.2.1", user_agent="B\r\nBcc: evil@example.test\u202e")
        await outbox.put((await tenant_factory()).tenant_id, mail)
        await outbox.drain()
        await outbox.close()
        assert (outbox.counts["sent"], outbox.counts["retried"]) == (1, 1)
    (taken,) = inbox.mails
    assert inbox.encrypted == [True]
    assert taken.rcpt_tos == ["ada@example.test"]
    message = message_from_bytes(taken.content, policy=policy.default)
    assert message["Subject"] == "Sign in to acme"
    assert message["Bcc"] is None
    assert message["Date"].datetime == datetime.fromtimestamp(uuid7_millis(mail.id) // 1_000, UTC)
    body = message.get_content()
    assert f"/acme/link/{SECRET}\n" in body.replace("\r\n", "\n")
    assert "\u202e" not in body
    assert SECRET not in caplog.text
    assert SECRET not in repr(link())


async def test_a_server_without_the_right_certificate_gets_nothing(tmp_path: Path) -> None:
    made = ensure_dev_certificates(tmp_path / "ca", now=datetime.now(UTC))
    other = ensure_dev_certificates(tmp_path / "other", now=datetime.now(UTC))
    inbox = Inbox()
    async with mail_server(inbox, tls_context=made.server_context()) as port:
        sink = sink_of(
            MailSettings(
                smtp_url=f"smtp://127.0.0.1:{port}", sender="a@example.test", ca=other.ca_file
            )
        )
        with pytest.raises((MailError, OSError)):
            await sink.deliver(link())
    assert inbox.mails == []


async def test_a_server_whose_starttls_was_stripped_gets_nothing(tmp_path: Path) -> None:
    made = ensure_dev_certificates(tmp_path / "ca", now=datetime.now(UTC))
    inbox = Inbox()
    async with mail_server(inbox) as port:
        sink = sink_of(
            MailSettings(
                smtp_url=f"smtp://127.0.0.1:{port}", sender="a@example.test", ca=made.ca_file
            )
        )
        with pytest.raises(MailError):
            await sink.deliver(link())
    assert inbox.attempts == 0


@pytest.mark.parametrize(
    "local",
    ["eve,ada", "eve;ada", "<ada", "(eve)ada", '"ada', "eve,<ada", "eve:ada", "eve>ada", "ada,"],
)
async def test_an_address_is_one_mailbox_whatever_its_name_is_made_of(
    post: Any, local: str
) -> None:
    """Unquoted, each of these is a mailbox of somebody else, or several."""
    inbox = Inbox()
    async with mail_server(inbox) as port:
        await post.smtp(port).deliver(post.mail(f"{local}@example.test"))
    (taken,) = inbox.mails
    quoted = local.replace('"', '\\"')
    assert taken.rcpt_tos == [f'"{quoted}"@example.test']
    (told,) = message_from_bytes(taken.content, policy=policy.default)["To"].addresses
    assert (told.username, told.domain) == (local, "example.test")


async def test_the_folder_takes_again_what_a_killed_writer_began(tmp_path: Path) -> None:
    folder, mail = tmp_path / "mail", link()
    folder.mkdir()
    (folder / f".{mail.id}").write_text("{")
    await FolderSink(folder).deliver(mail)
    assert [path.name for path in folder.iterdir()] == [f"{mail.id}.json"]


async def test_the_folder_is_private_and_keeps_the_newest(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    sink = FolderSink(folder)
    mails = [passkey_added(ADA, "acme", f"Key {number}") for number in range(203)]
    for mail in mails:
        await sink.deliver(mail)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{mail.id}.json" for mail in mails[3:]]
    kept = folder / names[-1]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    told = json.loads(kept.read_text())
    assert (told["to"], told["tenant"], told["kind"]) == ("ada@example.test", "acme", "notice")


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ({}, "ARGY_MAIL_SMTP_URL"),
        ({"smtp_url": "http://mail.test"}, "ARGY_MAIL_SMTP_URL"),
        ({"smtp_url": "smtp://"}, "ARGY_MAIL_SMTP_URL"),
        ({"smtp_url": "smtp://mail.test:x"}, "ARGY_MAIL_SMTP_URL"),
        ({"smtp_url": "unsafe-smtp://u:p@mail.test"}, "ARGY_MAIL_SMTP_URL"),
        ({"smtp_url": "smtp://mail.test"}, "ARGY_MAIL_FROM"),
        ({"smtp_url": "smtp://mail.test", "sender": "nobody"}, "ARGY_MAIL_FROM"),
        ({"smtp_url": "smtp://mail.test", "sender": "a@b.c\nBcc: x@y.z"}, "ARGY_MAIL_FROM"),
        ({"smtp_url": "smtp://mail.test", "unsafe_folder": Path("x")}, "ARGY_UNSAFE_MAIL_DIR"),
    ],
)
def test_what_is_missing_or_unsafe_is_named(written: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        sink_of(MailSettings(**written))
    assert refused.value.field == field

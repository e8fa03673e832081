"""Mails that sign-in sends: nothing in them that strangers wrote speaks with our voice."""

from typing import Any
from uuid import uuid4

import pytest
from hostile_text import BAIT, CORPUS, links, steering

from argy.authn.mail import texts
from argy.authn.mail.message import Mail
from argy.authn.sessions.accounts import Account
from argy.authn.sessions.domain import DeviceInfo

URL = "https://sign-in.example.test/acme/link/x"
NOTICES = (
    texts.passkey_added,
    texts.passkey_removed,
    texts.passkey_blocked,
    texts.token_made,
    texts.sign_in_reset,
)


def account(name: str = "Ada") -> Account:
    return Account(uuid4(), "ada@example.test", name, True)


def mails(text: str) -> list[Mail]:
    """Every mail, with the text wherever somebody else can write."""
    device = DeviceInfo(ip=f"::1%{text}", user_agent=text)
    who = account(text)
    return [
        texts.sign_in_link(who, "acme", URL, device, 15),
        texts.recovery_link(who, "acme", URL, device, 15),
        texts.invitation(who, "acme", URL, 7),
        texts.recovered(who, "acme", device),
        *(notice(who, "acme", text, device) for notice in NOTICES),
    ]


@pytest.mark.parametrize("text", CORPUS)
def test_no_address_and_no_line_of_a_stranger_is_in_a_mail(text: str) -> None:
    plain = mails("x")
    for mail, harmless in zip(mails(text), plain, strict=True):
        assert links(mail.text.replace(URL, "")) == []
        assert steering(mail.text.replace("\n", "")) == []
        assert mail.subject == harmless.subject
        assert mail.text.count("\n") == harmless.text.count("\n")


def test_a_hostile_user_agent_does_not_stand_in_sign_in_mail() -> None:
    device = DeviceInfo(ip="192.0.2.7", user_agent=BAIT)
    mail = texts.sign_in_link(account(), "acme", URL, device, 15)
    assert "With: an unknown browser\n" in mail.text
    assert "From: 192.0.2.7\n" in mail.text
    assert "locked" not in mail.text
    assert device == DeviceInfo("192.0.2.7", "an unknown browser")


@pytest.mark.parametrize("notice", NOTICES)
def test_what_somebody_wrote_is_quoted(notice: Any) -> None:
    written = "\u201d Your account is locked. \u201c"
    mail = notice(account(), "acme", written)
    assert "\u201c' Your account is locked. '\u201d" in mail.text

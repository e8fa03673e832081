"""What pages say, and where a sign-in may lead."""

import re
from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from argy.base.errors import ArgyError, FailedPrecondition, NotFound, ResourceExhausted
from argy.edge.pages.dev_mail import mail_of
from argy.edge.pages.visit import next_page
from argy.edge.pages.words import device_name, moment, sentence, shown, told, used, ways

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/150.0.0.0 Safari/537.36"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (CHROME, "Chrome on Linux"),
        (CHROME + " Edg/150.0", "Edge on Linux"),
        (SAFARI, "Safari on iPhone"),
        ("argy-cli/0.1 (Linux)", "argy on Linux"),
        ("", "an unknown browser"),
        ("<b>", "an unknown browser"),
    ],
)
def test_devices_have_short_names(agent: str, name: str) -> None:
    assert device_name(agent) == name


def test_times_are_for_people() -> None:
    assert shown(moment(Timestamp(seconds=1_795_577_100))) == "25 Nov 2026, 03:25 UTC"
    assert shown(moment(Timestamp())) == "never"


def test_messages_are_sentences() -> None:
    assert sentence("the link was used") == "The link was used."
    assert sentence("Really?") == "Really?"
    assert sentence(" ") == ""


@pytest.mark.parametrize(
    ("error", "title", "retry"),
    [
        (NotFound("x", reason="TENANT_UNKNOWN"), "No such organization", False),
        (NotFound("x"), "Nothing here", False),
        (ResourceExhausted("x"), "Too many attempts", True),
        (FailedPrecondition("x"), "That is not possible now", False),
        (ArgyError("x"), "Something went wrong here", False),
    ],
)
def test_errors_are_told_in_words(error: ArgyError, title: str, retry: bool) -> None:
    words = told(error)
    assert (words.title, words.retry) == (title, retry)
    assert words.advice


@pytest.mark.parametrize(
    ("asked", "page"),
    [
        ("/acme/device?user_code=WDJB-MJHT", "device?user_code=WDJB-MJHT"),
        ("/acme/device", "device"),
        ("/acme/security", "security"),
        ("", "security"),
        ("device", "security"),
        ("/other/device", "security"),
        ("//evil.example/acme/device", "security"),
        ("https://evil.example/acme/device", "security"),
        ("/acme/../other/device", "security"),
        ("/acme/device?user_code=a&next=b", "security"),
        ("/acme/device\n", "security"),
        ("/acme/link/secret", "security"),
        ("/acme/sign-out", "security"),
    ],
)
def test_a_sign_in_leads_to_pages_of_the_same_tenant_alone(asked: str, page: str) -> None:
    assert next_page("acme", asked) == page


def test_only_links_into_our_pages_can_be_followed() -> None:
    text = "Go to https://localhost:1/acme/link/AB_c-9 not https://evil.example/x\n"
    written = {"to": "alice@acme.example", "subject": "Sign in", "text": text, "time_ms": 0}
    mail = mail_of(written, re.compile("(https://localhost:1/[A-Za-z0-9/_.?=&%-]+)"))
    assert (mail.to, mail.subject) == ("alice@acme.example", "Sign in")
    assert [text for text, follow in mail.parts if follow] == [
        "https://localhost:1/acme/link/AB_c-9"
    ]


def test_use_and_ways_are_told_as_people_say_them() -> None:
    assert used(None) == "never used"
    assert used(datetime(2026, 11, 25, 14, 5, tzinfo=UTC)) == "used 25 Nov 2026, 14:05 UTC"
    assert ways(["passkey", "magic_link", "hardware_key"]) == (
        "passkey, link in a mail, hardware key"
    )

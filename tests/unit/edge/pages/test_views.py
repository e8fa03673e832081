"""The templates: each renders, nothing in them runs, values are escaped, fields have labels."""

from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hostile_text import BAIT, CORPUS, steering

from argy.api.authn.v1.credential_pb2 import CreatePersonalAccessTokenResponse, Credential
from argy.api.authn.v1.device_pb2 import DescribeDeviceCodeResponse
from argy.api.authn.v1.magic_link_pb2 import DescribeLinkResponse
from argy.api.authn.v1.passkey_pb2 import Passkey
from argy.api.authn.v1.session_pb2 import Device, SecurityNotice, Session
from argy.base.errors import NotFound
from argy.edge.pages import words
from argy.edge.pages.dev_mail import Mail
from argy.edge.pages.security import Known
from argy.edge.pages.views import HEADERS, Views
from argy.edge.platform import Tenant
from argy.edge.sessions import SignedIn

EVIL = "\"><script>alert('x')</script>"
NOW = Timestamp(seconds=1_795_577_100)
DEVICE = Device(ip=EVIL, user_agent=EVIL)
SESSION = Session(session_id=str(uuid4()), methods=["passkey"], device=DEVICE, create_time=NOW)
CREDENTIAL = Credential(name=EVIL, prefix=EVIL, scopes=[EVIL], expire_time=NOW)
TENANT = Tenant(uuid4(), "acme", EVIL)
HAPPENED = SecurityNotice(
    notice_id=EVIL, kind="token_made", name=EVIL, device=DEVICE, create_time=NOW, seen_time=NOW
)
SIGNED_IN = SignedIn(
    session=SESSION, access_token="", email=EVIL, display_name=EVIL, notices=[HAPPENED] * 4
)
OF_TENANT = {"tenant": TENANT, "signed_in": SIGNED_IN, "csrf": EVIL, "happened": [HAPPENED]}
VIEWS = Views()

PAGES: dict[str, dict[str, Any]] = {
    "start.html": {"wrong": True, "slugs": ["acme"], "page": "enrol", "to": EVIL},
    "error.html": {
        "error": words.told(NotFound(EVIL)),
        "reference": EVIL,
        "slug": EVIL,
    },
    "dev_mail.html": {
        "mails": [Mail(EVIL, EVIL, datetime.now(UTC), ((EVIL, False), ("https://x/", True)))]
    },
    "sign_in.html": {**OF_TENANT, "after": EVIL, "email": EVIL, "error": EVIL},
    "mail_sent.html": OF_TENANT,
    "link.html": {
        **OF_TENANT,
        "link": DescribeLinkResponse(
            purpose="sign_in", device=DEVICE, create_time=NOW, masked_email=EVIL
        ),
        "other": True,
        "purpose": EVIL,
        "mine": True,
        "elsewhere": True,
    },
    "enrol.html": OF_TENANT,
    "prove.html": OF_TENANT,
    "step_up.html": {**OF_TENANT, "action": EVIL, "again": [(EVIL, EVIL)], "doing": EVIL},
    "device.html": {**OF_TENANT, "code": EVIL, "error": EVIL},
    "device_decide.html": {
        **OF_TENANT,
        "asked": DescribeDeviceCodeResponse(client_id=EVIL, device=DEVICE, create_time=NOW),
        "client": EVIL,
        "scopes": [EVIL],
        "code": EVIL,
        "elsewhere": True,
    },
    "device_done.html": {**OF_TENANT, "approved": True},
    "security.html": {
        **OF_TENANT,
        "notice": EVIL,
        "error": EVIL,
        "made": CreatePersonalAccessTokenResponse(credential=CREDENTIAL, secret=EVIL),
        "days": (7, 30),
        "known": Known(EVIL, EVIL, [EVIL]),
        "passkeys": [Passkey(passkey_id=EVIL, name=EVIL, create_time=NOW, blocked=True)],
        "sessions": [SESSION, SESSION],
        "tokens": [CREDENTIAL],
        "told": [HAPPENED],
    },
}


class Elements(HTMLParser):
    """Every element with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, *tags: str) -> Iterator[dict[str, str | None]]:
        return (attributes for tag, attributes in self.found if tag in tags)


def elements(name: str) -> Elements:
    return Elements(bytes(VIEWS.page(name, **PAGES[name]).body).decode())


def test_every_template_is_tried_here() -> None:
    assert set(PAGES) | {"base.html", "tenant.html"} == set(VIEWS.templates())


@pytest.mark.parametrize("name", PAGES)
def test_nothing_runs_or_styles_but_our_own_files(name: str) -> None:
    page = elements(name)
    assert all((script["src"] or "").startswith("/-/static/") for script in page.of("script"))
    assert not list(page.of("style", "iframe", "object", "embed", "base"))
    for _, attributes in page.found:
        assert not [key for key in attributes if key.startswith("on") or key == "style"]


@pytest.mark.parametrize("name", PAGES)
def test_fields_have_labels_and_none_is_for_a_password(name: str) -> None:
    page = elements(name)
    labelled = {label["for"] for label in page.of("label")}
    for field in page.of("input", "select", "textarea"):
        assert field.get("type") != "password"
        assert field.get("type") == "hidden" or field["id"] in labelled


@pytest.mark.parametrize("name", PAGES)
def test_forms_that_change_something_carry_their_token(name: str) -> None:
    html = bytes(VIEWS.page(name, **PAGES[name]).body).decode()
    for form in html.split("<form ")[1:]:
        if 'method="post"' in form:
            assert 'name="csrf"' in form.split("</form>")[0]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_a_language_a_title_one_heading_and_a_main_part(name: str) -> None:
    page = elements(name)
    assert [html["lang"] for html in page.of("html")] == ["en"]
    assert (
        len(list(page.of("title"))) == len(list(page.of("h1"))) == len(list(page.of("main"))) == 1
    )


def test_what_a_browser_may_do_is_little() -> None:
    policy = HEADERS["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert HEADERS["cache-control"] == "no-store"


@pytest.mark.parametrize("text", CORPUS)
def test_hostile_names_steer_no_page_and_become_no_link(text: str) -> None:
    device = Device(ip="192.0.2.7", user_agent=text)
    happened = SecurityNotice(
        notice_id="1", kind="passkey_registered", name=text, device=device, create_time=NOW
    )
    session = Session(session_id="1", methods=["passkey"], device=device, create_time=NOW)
    signed_in = SignedIn(
        session=session, access_token="", email="a", display_name=text, notices=[happened]
    )
    credential = Credential(name=text, prefix="p", scopes=["s"], expire_time=NOW)

    def page(shown: str) -> str:
        values = {
            **PAGES["security.html"],
            "tenant": Tenant(uuid4(), "acme", shown),
            "signed_in": signed_in,
            "csrf": "c",
            "happened": [happened],
            "notice": "",
            "error": shown,
            "made": None,
            "passkeys": [Passkey(passkey_id="1", name=shown, create_time=NOW)],
            "sessions": [session],
            "tokens": [credential],
            "told": [happened],
        }
        return bytes(VIEWS.page("security.html", **values).body).decode()

    html = page(text)
    assert steering(html.replace("\n", "")) == []
    links = [attributes["href"] or "" for attributes in Elements(html).of("a", "link")]
    assert all(link.startswith(("/acme/", "/-/static/", "#")) for link in links)
    # As many elements as with a harmless name, so that no name is markup.
    assert len(Elements(html).found) == len(Elements(page("Ada")).found)
    assert 'content="telephone=no, date=no, address=no, email=no"' in html


def test_a_hostile_user_agent_stands_on_no_page() -> None:
    for name, values in PAGES.items():
        body = bytes(VIEWS.page(name, **_with_agent(values, BAIT)).body).decode()
        assert "Confirm at" not in body


def _with_agent(values: dict[str, Any], agent: str) -> dict[str, Any]:
    """The values of a page, where a device came with this header."""
    device = Device(ip="192.0.2.7", user_agent=agent)
    told = dict(values)
    if "link" in told:
        told["link"] = DescribeLinkResponse(purpose="sign_in", device=device, create_time=NOW)
    if "asked" in told:
        told["asked"] = DescribeDeviceCodeResponse(device=device, create_time=NOW)
    if "sessions" in told:
        told["sessions"] = [Session(session_id="1", device=device, create_time=NOW)]
    return told

"""People by e-mail address and groups by name, wherever a command takes a subject."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

Rows = Callable[..., list[dict[str, Any]]]
ACME = ("--tenant", "acme")
ASKED = ("deploy", "project:alpha")
USAGE = 2


@pytest.fixture
def dana(rows: Rows) -> tuple[str, str]:
    """Somebody new in acme: the address and the subject."""
    mail = f"Dana.{uuid.uuid4().hex[:8]}@acme.example"
    (made,) = rows("user", "create", mail, *ACME)
    return mail, f"user:{made['user_id']}"


def test_a_person_is_named_by_the_address_wherever_a_subject_is_taken(
    argy: Any, rows: Rows, dana: tuple[str, str]
) -> None:
    mail, subject = dana
    granted = argy("grant", mail, "PLATFORM_ENGINEER", "-m", "a test", *ACME)
    assert granted.returncode == 0, granted.stderr
    # In capitals, with the kind, by the id: always the same person, and shown by the address.
    for name in (mail.upper(), f"user:{mail}", subject, subject.removeprefix("user:")):
        asked = argy("check", name, *ASKED, *ACME)
        assert asked.returncode == 0, asked.stderr
        assert f"path  {mail} → role:PLATFORM_ENGINEER" in asked.stdout
        assert "in    tenant acme" in asked.stdout
    assert mail in argy("explain", mail, *ASKED, *ACME).stdout
    assert json.loads(argy("check", mail, *ASKED, *ACME, "--json").stdout)["subject"] == subject
    (held,) = rows("roles", mail, *ACME)
    assert (held["subject"], held["subject_name"]) == (subject, mail)
    table = argy("roles", mail, *ACME).stdout
    assert (mail in table, subject in table) == (True, False)

    what = (mail, "promote", "deployment:prod-names")
    (request,) = rows("approval", "request", *what, "-m", "a test", *ACME)
    assert (request["subject"], request["requester_name"]) == (subject, mail)
    told = argy("approval", "list", mail, "--as", mail, *ACME)
    assert (mail in told.stdout, f"for {mail}" in told.stderr) == (True, True), told.stderr
    assert f"asked by {mail}" in argy("approval", "show", request["approval_id"], *ACME).stdout

    policy = ("policy", "why-not", mail, *ASKED, "--live", *ACME)
    assert argy(*policy).returncode == 0
    seen = rows("audit", "tail", "--actor", mail, "-n", "5", *ACME)
    assert all(subject in {event["actor"], event.get("on_behalf_of")} for event in seen), seen
    assert seen
    assert mail in argy("audit", "tail", "--actor", mail, "-n", "5", *ACME).stdout
    assert argy("revoke", mail, "PLATFORM_ENGINEER", "-m", "a test", *ACME).returncode == 0
    assert rows("roles", mail, *ACME) == []
    again = argy("revoke", mail, "PLATFORM_ENGINEER", "-m", "a test", *ACME)
    assert (again.returncode, "ASSIGNMENT_NOT_FOUND" in again.stderr) == (4, True)


def test_a_group_is_named_by_its_short_name(argy: Any, rows: Rows, dana: tuple[str, str]) -> None:
    mail, _ = dana
    slug = f"crew-{uuid.uuid4().hex[:8]}"
    rows("group", "create", slug, "--name", "Crew", *ACME)
    (added,) = rows("group", "add", slug, mail, *ACME)
    rows("grant", f"group:{slug}", "PLATFORM_ENGINEER", "-m", "a test", *ACME)
    asked = argy("check", mail, *ASKED, "--at-least", added["revision"], *ACME)
    assert f"path  {mail} → group:{slug} → role:PLATFORM_ENGINEER" in asked.stdout
    assert argy("check", f"group:{slug}", *ASKED, *ACME).returncode == 0
    assert argy("policy", "why-not", f"group:{slug}", *ASKED, "--live", *ACME).returncode == 0
    assert f"group:{slug}" in argy("roles", *ACME).stdout


@pytest.mark.parametrize(
    "name",
    [
        "nobody@acme.example",
        "user:nobody@acme.example",
        "user:01a20be9-0000-7000-8000-000000000000",
        "01a20be9-0000-7000-8000-000000000000",
        "group:no-such",
        "group:01a20be9-0000-7000-8000-000000000000",
        "user:alice",
        "alice",
        "role:PLATFORM_USER",
        "service:",
    ],
)
def test_who_is_unknown_is_told_as_unknown_and_not_as_denied(argy: Any, name: str) -> None:
    for command in (
        ("check", name, *ASKED),
        ("explain", name, *ASKED),
        ("grant", name, "PLATFORM_USER", "-m", "x"),
        ("approval", "request", name, "promote", "deployment:prod-x", "-m", "x"),
        ("approval", "list", "--as", name),
    ):
        done = argy(*command, *ACME)
        assert done.returncode == USAGE, done.stdout + done.stderr
        assert "SUBJECT_" in done.stderr
        assert done.stdout == ""


def test_a_person_is_named_as_another_system_does(argy: Any, rows: Rows) -> None:
    sub = f"auth0|{uuid.uuid4().hex}"
    (made,) = rows(
        "user", "create", f"{uuid.uuid4().hex}@acme.example", *ACME, "--external-id", sub
    )
    assert made["external_id"] == sub
    (granted,) = rows("grant", f"user:{sub}", "PLATFORM_ENGINEER", "-m", "a test", *ACME)
    assert granted["subject"] == f"user:{made['user_id']}"
    assert argy("check", f"user:{sub}", *ASKED, *ACME).returncode == 0


def test_whom_no_directory_lists_is_named_where_the_tenant_has_such(argy: Any, rows: Rows) -> None:
    tenant = f"t-{uuid.uuid4().hex[:8]}"
    rows("tenant", "create", tenant)
    there = ("--tenant", tenant)
    assert argy("grant", "workload:build", "PLATFORM_USER", "-m", "x", *there).returncode == USAGE
    assert rows("tenant", "foreign-subjects", tenant) == [{"foreign_subjects": "off"}]
    assert argy("tenant", "foreign-subjects", tenant, "on").returncode == USAGE
    on = rows("tenant", "foreign-subjects", tenant, "on", "-m", "builds")
    assert on == [{"foreign_subjects": "on"}]
    rows("grant", "workload:build", "PLATFORM_ENGINEER", "-m", "x", *there)
    assert argy("check", "workload:build", *ASKED, *there).returncode == 0
    for nobody in ("user:01a20be9-0000-7000-8000-000000000000", "role:PLATFORM_USER", "workload"):
        assert argy("check", nobody, *ASKED, *there).returncode == USAGE
    (event,) = [
        event
        for event in rows("audit", "tail", *there, "-n", "50")
        if event["action"] == "authz.assignment_settings.update"
    ]
    assert event["detail"]["foreign_subjects"] is True
    assert argy("tenant", "foreign-subjects", tenant, "off", "-m", "x").returncode == 0
    assert argy("check", "workload:build", *ASKED, *there).returncode == USAGE


def test_the_tenant_that_was_asked_is_named(argy: Any, dana: tuple[str, str]) -> None:
    mail, _ = dana
    done = argy("check", mail, *ASKED)
    assert done.returncode == USAGE
    assert f"there is no subject '{mail}' in the tenant platform" in done.stderr
    live = argy("policy", "why-not", "nobody@acme.example", *ASKED, "--live", *ACME)
    assert (live.returncode, "in the tenant acme" in live.stderr) == (USAGE, True)
    for command in (("user", "invite"), ("audit", "tail", "--actor")):
        assert argy(*command, "nobody@acme.example", *ACME).returncode == USAGE

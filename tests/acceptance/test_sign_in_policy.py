"""``argy sign-in-policy``: how people of a tenant sign in, from a terminal."""

import json
import uuid
from pathlib import Path
from typing import Any

import attestation
import pytest

SET = ("sign-in-policy", "set")
SHOW = ("sign-in-policy", "show")
MODEL = str(uuid.UUID(int=7))


@pytest.fixture
def tenant(rows: Any) -> str:
    """A tenant of the test's own, with a user who has no passkey."""
    slug = f"t-{uuid.uuid4().hex[:12]}"
    rows("tenant", "create", slug, "--name", "A tenant")
    rows("user", "create", "ada@example.com", "--name", "Ada", "--tenant", slug)
    return slug


def _json(done: Any) -> Any:
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def _refused(done: Any, code: int, *told: str) -> None:
    assert done.returncode == code, done.stderr
    for part in told:
        assert part in done.stderr
    assert done.stdout == ""


def test_the_defaults_are_shown(argy: Any, tenant: str) -> None:
    assert _json(argy(*SHOW, "--tenant", tenant, "--json")) == {
        "links": "on",
        "passkey_aaguids": [],
        "passkey_attestation": "none",
        "passkey_attestation_roots": [],
        "session_idle_minutes": 0,
        "session_max_minutes": 0,
        "users_without_passkey": 1,
        "passkeys_outside_policy": 0,
        "etag": "0",
    }
    text = argy(*SHOW, "--tenant", tenant).stdout
    assert "links by mail     on\nmodels            any\n" in text
    assert "without passkey   1 active people\n" in text


def test_what_is_not_named_stays(argy: Any, tenant: str, tmp_path: Path) -> None:
    both = tmp_path / "roots.pem"
    both.write_text(attestation.authority("One").pem + attestation.authority("Two").pem)
    where = ("--tenant", tenant, "--json")
    argy(*SET, "--idle", "20", "--max", "480", *where)
    made = _json(
        argy(*SET, "--attestation", "required", "--aaguid", MODEL, "--root", str(both), *where)
    )
    assert (made["session_idle_minutes"], made["session_max_minutes"]) == (20, 480)
    assert (made["passkey_aaguids"], made["passkey_attestation"]) == ([MODEL], "required")
    assert [name.split(",")[0] for name in made["passkey_attestation_roots"]] == [
        "CN=One", "CN=Two",
    ]  # fmt: skip
    back = _json(argy(*SET, "--attestation", "none", "--aaguid", "any", "--root", "none", *where))
    assert (back["passkey_aaguids"], back["passkey_attestation_roots"]) == ([], [])
    assert (back["session_idle_minutes"], back["etag"]) == (20, "3")


def test_links_are_turned_off_only_by_who_knows_whom_it_leaves_out(
    argy: Any, rows: Any, tenant: str
) -> None:
    off = (*SET, "--links", "off", "--tenant", tenant)
    _refused(argy(*off), 5, "1 active people have no passkey", "--yes", "PEOPLE_WITHOUT_PASSKEY")
    assert _json(argy(*SHOW, "--tenant", tenant, "--json"))["links"] == "on"
    assert _json(argy(*off, "--yes", "--json"))["links"] == "off"
    _refused(argy("user", "invite", "ada@example.com", "--tenant", tenant), 5, "LINKS_OFF")
    # Off already: nobody more is left out by another change.
    assert _json(argy(*SET, "--idle", "5", "--tenant", tenant, "--json"))["links"] == "off"


def test_errors_say_what_to_do(argy: Any, tenant: str, tmp_path: Path) -> None:
    where = ("--tenant", tenant)
    _refused(argy(*SET, *where), 2, "say what to change")
    _refused(argy(*SET, "--links", "maybe", *where), 2, "--links is on or off")
    _refused(argy(*SET, "--attestation", "yes", *where), 2, "--attestation is none or required")
    _refused(argy(*SET, "--aaguid", "yubikey", *where), 2, "--aaguid is the UUID of a model")
    _refused(argy(*SET, "--idle", "31", *where), 2, "0 to 30, the platform's limit")
    _refused(
        argy(*SET, "--attestation", "required", *where),
        2,
        "policy.passkey_aaguids must name the models",
        "policy.passkey_attestation_roots: must name the authorities",
    )
    missing, empty, leaf = (tmp_path / name for name in ("no.pem", "empty.pem", "leaf.pem"))
    empty.write_text("nothing")
    leaf.write_text(attestation.certify("Leaf", None, ca=False).pem)
    _refused(argy(*SET, "--root", str(missing), *where), 2, "can't be read")
    _refused(argy(*SET, "--root", str(empty), *where), 2, "has no certificate in PEM")
    _refused(argy(*SET, "--root", str(leaf), *where), 2, "must be the certificate of an authority")
    assert _json(argy(*SHOW, *where, "--json"))["etag"] == "0"

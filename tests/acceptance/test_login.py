"""A person at a terminal: ``argy login`` against a running platform, and what follows from it.

The terminal has the edge's address and its CA, and nothing else of the platform.
"""

import asyncio
import json
import os
import secrets
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
from mail_folder import link_to

from argy.api.authn.v1.device_pb2 import DecideDeviceCodeRequest
from argy.api.authn.v1.device_pb2_grpc import DeviceServiceStub
from argy.api.authn.v1.magic_link_pb2 import RedeemLinkRequest, RequestLinkRequest
from argy.api.authn.v1.magic_link_pb2_grpc import MagicLinkServiceStub
from argy.api.authn.v1.session_pb2 import CheckSessionRequest, Device
from argy.api.authn.v1.session_pb2_grpc import SessionServiceStub
from argy.api.authz.v1.authz_pb2 import CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.base.errors import PermissionDenied, Unauthenticated
from argy.client import Connection

ARGY: Final = Path(sys.executable).with_name("argy")
GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
PATIENCE_S: Final = 60.0


def _here() -> Device:
    return Device(ip=f"2001:db8:{secrets.token_hex(2)}::1", user_agent="Browser/1")


@dataclass
class Terry:
    """Somebody of Acme, who signs in by links as the edge's pages do."""

    platform: Any
    email: str
    user_id: str
    used: set[str] = field(default_factory=set)
    """The links that were followed."""

    @property
    def tenant_id(self) -> UUID:
        return UUID(self.platform.ready["edge"]["tenant_id"])

    def connect(self) -> Connection:
        keys = str(self.platform.home / "keys" / "edge.json")
        return Connection(
            replace(self.platform.endpoint, source="edge", keys_file=keys), timeout_s=30
        )

    async def decide(self, user_code: str, *, approved: bool = True) -> None:
        """Sign in and decide about a device."""
        token = await self.access_token(await self.sign_in())
        async with self.connect() as connection:
            devices: Any = DeviceServiceStub(connection.channel(self.tenant_id))
            await devices.DecideDeviceCode(
                DecideDeviceCodeRequest(user_code=user_code, approved=approved, device=_here()),
                metadata=(("authorization", f"Bearer {token}"),),
            )

    async def sign_in(self) -> str:
        """Sign in by a link; the secret of the session."""
        here = _here()
        async with self.connect() as connection:
            links: Any = MagicLinkServiceStub(connection.channel(self.tenant_id))
            asked = await links.RequestLink(RequestLinkRequest(email=self.email, device=here))
            redeemed = await links.RedeemLink(
                RedeemLinkRequest(
                    secret=await self._link(), browser_secret=asked.browser_secret, device=here
                )
            )
            return str(redeemed.session.secret)

    async def access_token(self, secret: str) -> str:
        """An access token of a session; raises Unauthenticated when it is over."""
        async with self.connect() as connection:
            sessions: Any = SessionServiceStub(connection.channel(self.tenant_id))
            checked = await sessions.CheckSession(CheckSessionRequest(secret=secret))
            return str(checked.access_token)

    async def may_check(self, token: str) -> bool:
        """Ask for a decision with a personal access token."""
        async with self.connect() as connection:
            stub: Any = AuthzServiceStub(connection.channel(self.tenant_id))
            question = Question(subject="user:x", action="read", resource="project:alpha")
            answer = await stub.Check(
                CheckRequest(question=question), metadata=(("authorization", f"Bearer {token}"),)
            )
            return bool(answer.decision.effect)

    async def _link(self) -> str:
        link = await link_to(self.platform.home / "mail", self.email, used=self.used)
        self.used.add(link)
        return link


@pytest.fixture
def terry(platform: Any, rows: Any, argy: Any) -> Terry:
    email = f"t{secrets.token_hex(6)}@acme.example"
    (made,) = rows("user", "create", email, "--tenant", "acme", "--name", "Terry")
    user = f"user:{made['user_id']}"
    granted = argy("grant", user, "PLATFORM_USER", "--tenant", "acme", "-m", "a test")
    assert granted.returncode == 0, granted.stderr
    return Terry(platform, email, made["user_id"])


@dataclass
class Terminal:
    """``argy`` with a home of its own."""

    home: Path
    env: dict[str, str]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [ARGY, *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            check=False,
        )

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    async def login(
        self, decide: Callable[[str], Awaitable[None]], *options: str
    ) -> tuple[int, list[dict[str, Any]], str]:
        """Run ``argy login`` while ``decide`` acts on the code that it shows."""
        process = await asyncio.create_subprocess_exec(
            ARGY, "login", "--json", *options, env=self.env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        shown = json.loads(await process.stdout.readline() or "null")
        assert shown, (await process.communicate())[1].decode()
        await decide(shown["user_code"])
        out, errors = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        told = [shown, *(json.loads(line) for line in out.decode().splitlines())]
        return process.returncode or 0, told, errors.decode()


@pytest.fixture
def terminal(platform: Any, tmp_path: Path) -> Terminal:
    edge = platform.ready["edge"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARGY_")}
    home = tmp_path / "terminal"
    return Terminal(
        home,
        {
            **kept,
            "ARGY_HOME": str(home),
            "ARGY_EDGE_URL": edge["url"],
            "ARGY_EDGE_CA_FILE": edge["ca_file"],
            "NO_COLOR": "1",
        },
    )


@pytest.fixture
async def http(platform: Any) -> AsyncIterator[httpx.AsyncClient]:
    edge = platform.ready["edge"]
    context = ssl.create_default_context(cafile=edge["ca_file"])
    async with httpx.AsyncClient(
        verify=context, base_url=edge["url"], timeout=PATIENCE_S
    ) as client:
        yield client


async def test_a_person_signs_in_works_and_signs_out(
    terminal: Terminal, terry: Terry, http: httpx.AsyncClient
) -> None:
    code, told, errors = await terminal.login(terry.decide)
    assert code == 0, errors
    assert told[0]["verification_uri"].endswith("/acme/device")
    assert told[0]["user_code"] in told[0]["verification_uri_complete"]
    assert told[1]["signed_in"] is True
    file = terminal.home / "login.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    held = json.loads(file.read_text())
    assert held["access_token"] not in str(told)
    who = terminal.json("whoami")
    assert (who["subject"], who["email"]) == (f"user:{terry.user_id}", terry.email)
    assert terry.email in terminal.run("whoami").stdout

    scope = "authz.decision:check"
    made = terminal.json("token", "create", "ci", "--scope", scope, "--days", "7")
    assert await terry.may_check(made["secret"])
    listed = terminal.run("token", "list").stdout
    assert made["id"] in listed
    assert made["secret"] not in listed
    fresh = terminal.json("token", "rotate", made["id"])
    with pytest.raises(Unauthenticated):
        await terry.may_check(made["secret"])
    assert await terry.may_check(fresh["secret"])
    assert terminal.json("token", "revoke", made["id"])["revoked"] is True
    with pytest.raises(Unauthenticated):
        await terry.may_check(fresh["secret"])

    beyond = terminal.run("token", "create", "x", "-s", "policy:approve")
    assert beyond.returncode == 3
    assert "SCOPE_BEYOND_RIGHTS" in beyond.stderr
    assert terminal.run("api-key", "create", "x", "--agent", "a", "-s", scope).returncode == 3

    assert terminal.json("logout")["signed_in"] is False
    assert not file.exists()
    assert terminal.run("whoami").returncode == 3
    refused = await http.get(
        "/acme/whoami", headers={"authorization": f"Bearer {held['access_token']}"}
    )
    assert refused.status_code == 401
    again = {
        "grant_type": "refresh_token",
        "refresh_token": held["refresh_token"],
        "client_id": "argy-cli",
    }
    answer = await http.post("/acme/oauth/token", data=again)
    assert answer.json()["error"] == "invalid_grant"


async def test_sessions_are_listed_and_ended_from_the_terminal(
    terminal: Terminal, terry: Terry, http: httpx.AsyncClient
) -> None:
    code, _, errors = await terminal.login(terry.decide)
    assert code == 0, errors
    secrets_of = [await terry.sign_in() for _ in range(2)]

    done = terminal.run("session", "list", "--json")
    assert done.returncode == 0, done.stderr
    listed = [json.loads(line) for line in done.stdout.splitlines()]
    newest, _, current, approving = listed
    assert [row["methods"] for row in listed] == ["magic_link"] * 2 + ["device", "magic_link"]
    assert [row["current"] for row in listed] == [False, False, True, False]
    table = terminal.run("session", "list")
    assert table.returncode == 0, table.stderr
    for row in listed:
        assert row["id"][:8] in table.stdout

    assert terminal.json("session", "end", newest["id"]) == {"ended": 1}
    with pytest.raises(Unauthenticated) as over:
        await terry.access_token(secrets_of[1])
    assert over.value.reason == "SESSION_OVER"
    assert await terry.access_token(secrets_of[0])
    again = terminal.run("session", "end", newest["id"])
    assert again.returncode != 0
    assert "SESSION_UNKNOWN" in again.stderr
    assert terminal.run("session", "end").returncode == 2
    assert terminal.run("session", "end", approving["id"], "--others").returncode == 2

    assert terminal.json("session", "end", "--others") == {"ended": 2}
    with pytest.raises(Unauthenticated):
        await terry.access_token(secrets_of[0])
    assert terminal.json("session", "list")["id"] == current["id"]

    held = json.loads((terminal.home / "login.json").read_text())
    assert terminal.json("session", "end", current["id"]) == {"ended": 1}
    bearer = {"authorization": f"Bearer {held['access_token']}"}
    async with asyncio.timeout(PATIENCE_S):
        # Every process heeds it within half a second.
        while (await http.get("/acme/sessions", headers=bearer)).status_code != 401:
            pass
    assert terminal.run("session", "list").returncode == 3


async def test_an_old_access_token_is_refreshed_also_by_two_commands_at_once(
    terminal: Terminal, terry: Terry
) -> None:
    code, _, errors = await terminal.login(terry.decide)
    assert code == 0, errors
    file = terminal.home / "login.json"
    held = json.loads(file.read_text())
    file.write_text(json.dumps({**held, "expires_at": 0.0}))
    both = await asyncio.gather(*(asyncio.to_thread(terminal.json, "whoami") for _ in range(2)))
    assert both[0]["subject"] == both[1]["subject"] == f"user:{terry.user_id}"
    assert json.loads(file.read_text())["refresh_token"] != held["refresh_token"]


async def test_a_new_login_ends_the_one_that_it_replaces_and_a_refused_one_does_not(
    terminal: Terminal, terry: Terry, http: httpx.AsyncClient
) -> None:
    code, _, errors = await terminal.login(terry.decide)
    assert code == 0, errors
    file = terminal.home / "login.json"
    first = json.loads(file.read_text())

    async def refuse(user_code: str) -> None:
        await terry.decide(user_code, approved=False)

    assert (await terminal.login(refuse))[0] == 3
    assert json.loads(file.read_text()) == first
    assert terminal.json("whoami")["subject"] == f"user:{terry.user_id}"

    code, _, errors = await terminal.login(terry.decide)
    assert (code, errors) == (0, "")
    bearer = {"authorization": f"Bearer {first['access_token']}"}
    async with asyncio.timeout(PATIENCE_S):
        # Every process heeds it within half a second.
        while (await http.get("/acme/whoami", headers=bearer)).status_code != 401:
            pass
    again = {
        "grant_type": "refresh_token",
        "refresh_token": first["refresh_token"],
        "client_id": "argy-cli",
    }
    answer = await http.post("/acme/oauth/token", data=again)
    assert answer.json()["error"] == "invalid_grant"
    assert terminal.json("whoami")["subject"] == f"user:{terry.user_id}"


@pytest.mark.parametrize("damage", ["edge", "file"])
async def test_a_replaced_login_that_can_not_be_ended_is_told(
    terminal: Terminal, terry: Terry, damage: str
) -> None:
    code, _, errors = await terminal.login(terry.decide)
    assert code == 0, errors
    file = terminal.home / "login.json"
    # An edge that is gone, and a file that nobody can read.
    spoilt = {**json.loads(file.read_text()), "edge": "https://localhost:1"}
    file.write_text(json.dumps(spoilt) if damage == "edge" else "{")
    code, told, errors = await terminal.login(terry.decide)
    assert code == 0, errors
    assert told[-1]["signed_in"] is True
    assert "the login before could not be ended" in errors
    assert terminal.json("whoami")["subject"] == f"user:{terry.user_id}"


async def test_a_refused_login_says_so(terminal: Terminal, terry: Terry) -> None:
    async def refuse(user_code: str) -> None:
        await terry.decide(user_code, approved=False)

    code, _, errors = await terminal.login(refuse)
    assert code == 3
    assert "LOGIN_DENIED" in errors
    assert not (terminal.home / "login.json").exists()


async def test_polling_too_fast_and_redeeming_twice_over_http(
    terry: Terry, http: httpx.AsyncClient
) -> None:
    begun = (
        await http.post("/acme/oauth/device_authorization", data={"client_id": "argy-cli"})
    ).json()
    poll = {
        "grant_type": GRANT,
        "device_code": begun["device_code"],
        "client_id": "argy-cli",
    }
    first = await http.post("/acme/oauth/token", data=poll)
    assert (first.status_code, first.json()["error"]) == (400, "authorization_pending")
    async with asyncio.timeout(PATIENCE_S):
        # On a machine that stood still between the two the second was not too fast.
        while (fast := await http.post("/acme/oauth/token", data=poll)).json() == first.json():
            pass
    assert fast.json()["error"] == "slow_down"
    other = await http.post("/acme/oauth/token", data={**poll, "client_id": "other"})
    assert other.json()["error"] == "expired_token"

    begun = (
        await http.post("/acme/oauth/device_authorization", data={"client_id": "argy-cli"})
    ).json()
    await terry.decide(begun["user_code"])
    poll["device_code"] = begun["device_code"]
    granted = await http.post("/acme/oauth/token", data=poll)
    assert granted.status_code == 200
    assert granted.headers["cache-control"] == "no-store"
    assert granted.json()["token_type"] == "Bearer"
    again = await http.post("/acme/oauth/token", data=poll)
    assert again.json()["error"] == "expired_token"
    assert "access_token" not in again.json()


async def test_no_secret_reaches_a_log(terminal: Terminal, terry: Terry, platform: Any) -> None:
    code, told, errors = await terminal.login(terry.decide)
    assert code == 0, errors
    held = json.loads((terminal.home / "login.json").read_text())
    made = terminal.json("token", "create", "ci", "-s", "authz.decision:check")
    assert await terry.may_check(made["secret"])
    logs = [file.read_text() for file in (platform.home / "log").iterdir() if file.is_file()]
    assert len(logs) >= 2
    code_shown = told[0]["user_code"]
    for secret in (made["secret"], held["access_token"], held["refresh_token"], code_shown):
        assert all(secret not in log for log in logs)


async def test_the_terminal_shows_code_address_and_picture(
    terminal: Terminal, terry: Terry
) -> None:
    process = await asyncio.create_subprocess_exec(
        ARGY, "login", env=terminal.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or "Waiting" not in lines[-1]:
        lines.append((await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode())
        assert lines[-1], (await process.communicate())[1].decode()
    shown = "".join(lines)
    assert "▀" in shown
    assert "/acme/device and enter the code" in shown
    (code,) = [line.strip() for line in lines if len(line.strip()) == 9 and "-" in line]
    await terry.decide(code)
    out, errors = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0, errors.decode()
    assert f"signed in to acme as {terry.email}" in out.decode()


def test_without_an_edge_or_over_plain_http_nothing_is_sent(terminal: Terminal) -> None:
    terminal.env["ARGY_EDGE_URL"] = "http://localhost:1"
    assert terminal.run("login").returncode == 2
    terminal.env.pop("ARGY_EDGE_URL")
    done = terminal.run("login")
    assert done.returncode == 2
    assert "NO_EDGE" in done.stderr


def test_an_edge_whose_certificate_nobody_vouches_for_is_refused(terminal: Terminal) -> None:
    terminal.env.pop("ARGY_EDGE_CA_FILE")
    done = terminal.run("login")
    assert done.returncode == 6
    assert "EDGE_UNTRUSTED" in done.stderr


@pytest.mark.parametrize("secret", ["argy_pat_x", "argy_pat_" + "a" * 43 + "_000000"])
async def test_a_made_up_token_is_refused(terry: Terry, secret: str) -> None:
    with pytest.raises((Unauthenticated, PermissionDenied)) as refused:
        await terry.may_check(secret)
    assert refused.value.reason == "CREDENTIAL_INVALID"


async def test_who_signed_in_acts_and_an_engineer_makes_nobody_administrator(
    terminal: Terminal, terry: Terry, platform: Any, argy: Any
) -> None:
    user = f"user:{terry.user_id}"
    engineer = argy("grant", user, "PLATFORM_ENGINEER", "--tenant", "acme", "-m", "a test")
    assert engineer.returncode == 0, engineer.stderr
    place = platform.endpoint
    there = {
        "ARGY_TARGET": place.target,
        "ARGY_CLIENT_KEYS_FILE": place.keys_file,
        "ARGY_CA_FILE": place.ca_file,
    }
    terminal.env |= there
    unsigned = terminal.run("whoami")
    assert (unsigned.returncode, "until then service:cli acts" in unsigned.stderr) == (3, True)
    told = terminal.run("approval", "list", "--tenant", "acme", "--as", user)
    assert (told.returncode, told.stderr) == (0, f"acting service:cli, for {user}\n")
    code, _, errors = await terminal.login(terry.decide)
    assert code == 0, errors

    admin = ("grant", user, "PLATFORM_ADMIN", "-m", "because I can")
    for refused in (terminal.run(*admin), terminal.run(*admin, "--tenant", "acme")):
        assert refused.returncode == 3
        assert "ACCESS_DENIED" in refused.stderr
    assert terminal.run("check", user, "deploy", "project:alpha").returncode == 0
    asked = terminal.json("approval", "request", user, "promote", "deployment:prod-t", "-m", "x")
    assert asked["requester"] == user
    # What is another tenant's is refused; the service does not do it in their place.
    theirs = (("tenant", "list"), ("user", "list", "--tenant", "platform"), ("policy", "history"))
    for elsewhere in theirs:
        refused = terminal.run(*elsewhere)
        assert refused.returncode == 5
        assert "SIGNED_IN_ELSEWHERE" in refused.stderr
    assert "SIGNED_IN" in terminal.run("approval", "list", "--as", "alice@acme.example").stderr
    terminal.env["ARGY_AS_SERVICE"] = "1"
    assert terminal.run("tenant", "list").returncode == 0
    assert terminal.json("whoami") == {"subject": "service:cli"}
    del terminal.env["ARGY_AS_SERVICE"]

    made = terminal.json(
        "token", "create", "ci", "-s", "authz.decision:check", "-s", "project:deploy"
    )
    assert terminal.json("logout")["signed_in"] is False
    terminal.env |= {"ARGY_TOKEN": made["secret"], "ARGY_TENANT": "acme"}
    assert terminal.json("whoami")["subject"] == user
    assert terminal.run("check", user, "deploy", "project:alpha").returncode == 0
    assert "SCOPE_INSUFFICIENT" in terminal.run(*admin).stderr
    foreign = terminal.run("check", user, "read", "project:x", "--tenant", "platform")
    assert (foreign.returncode, "CREDENTIAL_INVALID" in foreign.stderr) == (3, True)
    assert made["secret"] not in foreign.stderr
    del terminal.env["ARGY_TENANT"]
    assert "TENANT_REQUIRED" in terminal.run("check", user, "read", "project:x").stderr
    events = argy(
        "audit", "tail", "--tenant", "acme", "-n", "200", "--actor", user, "--json"
    ).stdout
    assert {e["action"] for e in map(json.loads, events.splitlines())} >= {
        "authz.decision.check",
        "authz.approval.request",
    }

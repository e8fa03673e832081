"""Decisions in the caller's own process: the same answers, current, and never silently stale."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from link_sign_in import Person, signed_in

from argy.api.authz.v1.assignment_pb2 import (
    GrantRoleRequest,
    ListRoleAssignmentsRequest,
    RevokeRoleRequest,
)
from argy.api.authz.v1.assignment_pb2_grpc import AssignmentServiceStub
from argy.api.directory.v1.tenant_pb2 import ListTenantsRequest
from argy.api.directory.v1.tenant_pb2_grpc import TenantServiceStub
from argy.base.dsse import SigningKeys, TrustedKeys
from argy.base.errors import (
    ArgyError,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    Unavailable,
)
from argy.base.ids import PLATFORM_TENANT_ID
from argy.client import (
    Authorizer,
    Connection,
    Endpoint,
    LocalAuthorizer,
    PolicyTrust,
    ReplicaState,
)

ARGY = Path(sys.executable).with_name("argy")
PATIENCE_S = 60.0
AT_ONCE_S = 0.1
QUESTION = ("deploy", "project:alpha")

Local = Callable[..., Awaitable[LocalAuthorizer]]


def trust_of(home: Path) -> PolicyTrust:
    keys = home / "keys"
    control = SigningKeys.load(keys / "policy.json").public()
    return PolicyTrust(control, TrustedKeys.load(keys / "policy-trusted.json"), unsafe_folder=True)


def endpoint_of(home: Path, tmp_path: Path, source: str) -> Endpoint:
    issued = tmp_path / f"{source}.json"
    ring = home / "keys" / "signing-keys.json"
    subprocess.run([ARGY, "keys", "issue", ring, "--source", source, "--out", issued], check=True)
    about = Endpoint(**json.loads((home / "up.json").read_text())["endpoint"])
    return Endpoint(about.target, source, str(issued), ca_file=about.ca_file)


async def until(what: Callable[[], bool]) -> float:
    """Wait until something is so; how many seconds that took."""
    started = time.monotonic()
    while not what():
        if time.monotonic() - started > PATIENCE_S:
            pytest.fail("it did not come to that in time")
        await asyncio.sleep(0.005)
    return time.monotonic() - started


@pytest.fixture
async def operator(platform: Any) -> AsyncIterator[Connection]:
    async with Connection(platform.endpoint, timeout_s=10) as connection:
        yield connection


@pytest.fixture
async def local(platform: Any, tmp_path: Path) -> AsyncIterator[Local]:
    """Start a local authorizer as a service: ``local(tenant, source="example")``."""
    started: list[LocalAuthorizer] = []
    connections: list[Connection] = []

    async def start(*tenants: UUID, source: str = "example", **options: Any) -> LocalAuthorizer:
        connection = Connection(endpoint_of(platform.home, tmp_path, source), timeout_s=10)
        connections.append(connection)
        options = {"trust": trust_of(platform.home), "max_silence_s": PATIENCE_S, **options}
        made = LocalAuthorizer(connection, tenants=tenants, **options)
        started.append(made)
        await made.start()
        return made

    yield start
    for made in started:
        await made.close()
    for connection in connections:
        await connection.close()


@pytest.fixture
def acme(rows: Callable[..., list[dict[str, Any]]]) -> UUID:
    return next(UUID(row["tenant_id"]) for row in rows("tenant", "list") if row["slug"] == "acme")


async def test_it_decides_as_the_platform_does(
    operator: Connection, local: Local, acme: UUID, people: dict[str, str]
) -> None:
    authorizer = await local(acme)
    await authorizer.ready(PATIENCE_S)
    remote = Authorizer(operator, timeout_s=10)
    for subject in (*people.values(), "user:nobody", "service:demo", "role:PLATFORM_ADMIN"):
        for action, resource in (QUESTION, ("read", "module:net"), ("read", "secret:db")):
            mine = authorizer.check(subject, action, resource, tenant_id=acme)
            if subject.startswith("role:"):
                assert not mine.allowed
                continue
            theirs = await remote.check(subject, action, resource, tenant_id=acme)
            assert mine == theirs
    (status,) = authorizer.status()
    assert (status.state, status.tenant, status.problem) == (ReplicaState.CURRENT, "acme", "")


async def test_a_revoked_grant_refuses_within_a_second(
    operator: Connection, local: Local, acme: UUID, record_property: Callable[..., None]
) -> None:
    authorizer = await local(acme)
    await authorizer.ready(PATIENCE_S)
    subject = f"agent:{uuid4().hex}"
    roles: Any = AssignmentServiceStub(operator.channel(acme))

    def allowed() -> bool:
        return authorizer.check(subject, *QUESTION, tenant_id=acme).allowed

    assert not allowed()
    granted = await roles.GrantRole(
        GrantRoleRequest(subject=subject, role="role:PLATFORM_ENGINEER", reason="on call")
    )
    record_property("grant_seen_s", await until(allowed))
    started = time.monotonic()
    await roles.RevokeRole(
        RevokeRoleRequest(assignment_id=granted.assignment.assignment_id, reason="over")
    )
    await until(lambda: not allowed())
    took_s = time.monotonic() - started
    record_property("revocation_seen_s", took_s)
    sys.stdout.write(f"revoked and refused within {took_s * 1000:.0f} ms\n")
    with pytest.raises(PermissionDenied):
        authorizer.require(subject, *QUESTION, tenant_id=acme)


async def test_what_was_decided_is_in_the_audit_log(
    local: Local, acme: UUID, people: dict[str, str], rows: Callable[..., list[dict[str, Any]]]
) -> None:
    authorizer = await local(acme)
    await authorizer.ready(PATIENCE_S)
    resource = f"project:{uuid4().hex}"
    for _ in range(500):
        authorizer.check(people["Alice"], "deploy", resource, tenant_id=acme)
    authorizer.check(people["Bob"], "deploy", resource, tenant_id=acme, context={"mfa": True})
    await authorizer.close()
    about = ("--resource", "authz.decision:local")
    found = rows("audit", "tail", "--tenant", "acme", "-n", "1000", *about)
    told = [
        item
        for event in found
        for item in event["detail"]["decisions"]
        if item["resource"] == resource
    ]
    by_effect = {item["effect"]: item for item in told}
    assert by_effect["ALLOW"]["count"] == 500
    assert by_effect["ALLOW"]["subject"] == people["Alice"]
    assert by_effect["ALLOW"]["rule"].startswith("roles/engineer.csv:")
    assert (by_effect["DENY"]["count"], by_effect["DENY"]["context"]) == (1, {"mfa": True})


@pytest.mark.parametrize(
    ("resource", "context"),
    [
        ("project:\ud800", {}),
        ("project:\0", {}),
        ("project:x", {"text": "\0"}),
        ("project:x", {"n": float("nan")}),
    ],
)
async def test_what_no_log_can_hold_does_not_end_the_report_of_all_decisions(
    local: Local, acme: UUID, resource: str, context: dict[str, Any]
) -> None:
    authorizer = await local(acme)
    await authorizer.ready(PATIENCE_S)
    authorizer.check("user:mallory", "read", resource, tenant_id=acme, context=context)
    await until(lambda: authorizer.reported == 1)
    authorizer.check("user:alice", "read", "project:x", tenant_id=acme)
    await until(lambda: authorizer.reported == 2)


async def test_a_number_that_no_double_holds_is_refused_as_by_the_server(
    local: Local, acme: UUID
) -> None:
    authorizer = await local(acme)
    await authorizer.ready(PATIENCE_S)
    for number in (10**400, 2**53 + 1):
        with pytest.raises(InvalidArgument) as refused:
            authorizer.check("user:a", "read", "p:x", tenant_id=acme, context={"n": number})
        assert (refused.value.reason, refused.value.field) == ("NUMBER_INEXACT", "context.n")


async def test_a_suspended_tenant_does_not_hold_back_what_others_logs_must_have(
    local: Local, acme: UUID, rows: Callable[..., list[dict[str, Any]]]
) -> None:
    slug = f"gone-{uuid4().hex[:8]}"
    gone = UUID(rows("tenant", "create", slug)[0]["tenant_id"])
    authorizer = await local(gone, acme, on_stale="serve")
    await authorizer.ready(PATIENCE_S)
    rows("tenant", "suspend", slug, "--reason", "test")
    authorizer.check("user:alice", "read", "project:x", tenant_id=gone)
    authorizer.check("user:alice", "read", "project:x", tenant_id=acme)
    await until(lambda: authorizer.reported == 1)
    rows("tenant", "resume", slug, "--reason", "test")
    await until(lambda: authorizer.reported == 2)


async def test_a_tenant_that_is_not_replicated_is_refused(
    local: Local, acme: UUID, people: dict[str, str]
) -> None:
    authorizer = await local(acme)
    await authorizer.ready(PATIENCE_S)
    with pytest.raises(FailedPrecondition) as refused:
        authorizer.check(people["Alice"], *QUESTION, tenant_id=uuid4())
    assert refused.value.reason == "TENANT_NOT_REPLICATED"
    with pytest.raises(PermissionDenied) as foreign:
        authorizer.check(people["Alice"], *QUESTION, tenant_id=acme, org_id=uuid4())
    assert foreign.value.reason == "ORG_NOT_IN_TENANT"
    await authorizer.remove(acme)
    with pytest.raises(FailedPrecondition):
        authorizer.check(people["Alice"], *QUESTION, tenant_id=acme)


async def test_a_service_without_the_permission_gets_no_copy(local: Local, acme: UUID) -> None:
    authorizer = await local(acme, source="demo")
    await until(lambda: "ACCESS_DENIED" in authorizer.status()[0].problem)
    with pytest.raises(Unavailable, match="ACCESS_DENIED") as refused:
        await authorizer.ready(AT_ONCE_S)
    assert refused.value.reason == "REPLICA_NOT_READY"
    with pytest.raises(Unavailable) as loading:
        authorizer.check("user:x", *QUESTION, tenant_id=acme)
    assert loading.value.reason == "REPLICA_LOADING"


async def test_a_policy_that_another_control_plane_signed_is_not_used(
    local: Local, acme: UUID
) -> None:
    nobody = PolicyTrust(SigningKeys.generate("other").public(), TrustedKeys({}))
    authorizer = await local(acme, trust=nobody)
    await until(lambda: "SIGNATURE_UNTRUSTED" in authorizer.status()[0].problem)
    with pytest.raises(Unavailable, match="SIGNATURE_UNTRUSTED"):
        await authorizer.ready(AT_ONCE_S)


async def test_silence_is_visible_and_closes_it_until_the_platform_speaks_again(
    platform_factory: Callable[..., Any], tmp_path: Path
) -> None:
    platform = platform_factory()
    server = platform.server()
    who = platform.ready["checks"][0]["subject"]
    connection = Connection(endpoint_of(platform.home, tmp_path, "example"), timeout_s=10)
    cli = Connection(platform.endpoint, timeout_s=10)
    tenant = await tenant_of(cli)
    options: Any = {"tenants": [tenant], "trust": trust_of(platform.home), "max_silence_s": 1.5}

    def allows(authorizer: LocalAuthorizer) -> bool:
        try:
            return authorizer.check(who, *QUESTION, tenant_id=tenant).allowed
        except Unavailable:
            return False

    async with (
        connection,
        cli,
        LocalAuthorizer(connection, **options) as closed,
        LocalAuthorizer(connection, on_stale="serve", **options) as open_,
    ):
        # A server that is slow to speak makes it stale as well, for as long.
        await until(lambda: allows(closed))
        server.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: closed.status()[0].state is ReplicaState.STALE)
            await until(lambda: open_.status()[0].state is ReplicaState.STALE)
            with pytest.raises(Unavailable) as stale:
                closed.check(who, *QUESTION, tenant_id=tenant)
            assert stale.value.reason == "REPLICA_STALE"
            assert open_.check(who, *QUESTION, tenant_id=tenant).allowed
        finally:
            server.send_signal(signal.SIGCONT)
        await until(lambda: allows(closed))

        # The server is killed, and another one takes its place on the same port.
        port = int(platform.endpoint.target.rpartition(":")[2])
        server.send_signal(signal.SIGKILL)
        await until(lambda: closed.status()[0].state is ReplicaState.STALE)
        assert closed.status()[0].problem
        await asyncio.to_thread(platform.process.wait, 60)
        await asyncio.to_thread(lambda: platform_factory(platform.home, ARGY_UP_PORT=str(port)))
        await until(lambda: allows(closed))


async def tenant_of(cli: Connection) -> UUID:
    stub: Any = TenantServiceStub(cli.channel(PLATFORM_TENANT_ID))
    found = await stub.ListTenants(ListTenantsRequest(slug="acme"))
    return UUID(found.tenants[0].tenant_id)


async def test_a_new_policy_is_followed(
    platform_factory: Callable[..., Any], tmp_path: Path
) -> None:
    policy = tmp_path / "policy"
    shutil.copytree(Path(__file__).parents[2] / "policy", policy)
    platform = platform_factory(tmp_path / "home", "--policy", str(policy))
    who = platform.ready["checks"][1]["subject"]
    connection = Connection(endpoint_of(platform.home, tmp_path, "example"), timeout_s=10)
    cli = Connection(platform.endpoint, timeout_s=10)
    tenant = await tenant_of(cli)
    trust = trust_of(platform.home)
    async with (
        connection,
        cli,
        LocalAuthorizer(connection, tenants=[tenant], trust=trust) as authorizer,
    ):
        before = authorizer.check(who, *QUESTION, tenant_id=tenant)
        assert not before.allowed
        with (policy / "roles" / "user.csv").open("a") as file:
            file.write("p, role:PLATFORM_USER, *, project:alpha, deploy, allow, true\n")
        await until(lambda: authorizer.check(who, *QUESTION, tenant_id=tenant).allowed)
        after = authorizer.check(who, *QUESTION, tenant_id=tenant)
        assert after.policy_revision != before.policy_revision
        remote = await Authorizer(cli).check(who, *QUESTION, tenant_id=tenant)
        assert remote == after
        held: Any = AssignmentServiceStub(cli.channel(tenant))
        assert (await held.ListRoleAssignments(ListRoleAssignmentsRequest(subject=who))).assignments


@pytest.fixture
async def person(
    platform: Any, acme: UUID, rows: Callable[..., list[dict[str, Any]]], argy: Any
) -> AsyncIterator[Person]:
    email = f"l{uuid4().hex[:12]}@acme.example"
    (made,) = rows("user", "create", email, "--tenant", "acme", "--name", "Lena")
    subject = f"user:{made['user_id']}"
    granted = argy("grant", subject, "PLATFORM_ENGINEER", "--tenant", "acme", "-m", "a test")
    assert granted.returncode == 0, granted.stderr
    async with signed_in(platform, acme, email=email, subject=subject) as lena:
        yield lena


def refusal(what: Callable[[], object]) -> str:
    """The reason of a refusal; empty when there was none."""
    try:
        what()
    except ArgyError as error:
        return error.reason
    return ""


async def test_a_token_is_verified_here_and_refused_within_a_second_of_its_sessions_end(
    local: Local, acme: UUID, person: Person, record_property: Callable[..., None]
) -> None:
    authorizer = await local(acme)
    await authorizer.ready(PATIENCE_S)
    token = person.access_token

    def outcome() -> str:
        return refusal(lambda: authorizer.verify_token(token, tenant_id=acme))

    await until(lambda: not outcome())
    claims = authorizer.verify_token(token, tenant_id=acme)
    assert (claims.subject, claims.tenant_id) == (person.subject, acme)
    assert authorizer.check_token(token, *QUESTION, tenant_id=acme).allowed
    assert not authorizer.check_token(token, "abolish", "project:alpha", tenant_id=acme).allowed

    started = time.monotonic()
    await person.end_session(claims.session_id)
    ended = time.monotonic()
    await until(lambda: outcome() != "")
    took_s = time.monotonic() - ended
    assert outcome() == "TOKEN_REVOKED"
    assert refusal(lambda: authorizer.check_token(token, *QUESTION, tenant_id=acme)) == (
        "TOKEN_REVOKED"
    )
    record_property("ended_session_seen_s", took_s)
    sys.stdout.write(
        f"session ended, its token refused within {took_s * 1000:.0f} ms of the answer,"
        f" {(time.monotonic() - started) * 1000:.0f} ms of the question\n"
    )


async def test_a_token_of_a_withdrawn_signing_key_is_refused_here_too(
    local: Local, acme: UUID, person: Person, argy: Any, keeper: dict[str, str]
) -> None:
    authorizer = await local(acme)
    await authorizer.ready(PATIENCE_S)

    def outcome() -> str:
        return refusal(lambda: authorizer.verify_token(person.access_token, tenant_id=acme))

    await until(lambda: not outcome())
    done = await asyncio.to_thread(argy, "keys", "rotate-access", "--withdraw", "--json", **keeper)
    assert done.returncode == 0, done.stderr
    header = json.loads(urlsafe_b64decode(person.access_token.partition(".")[0] + "=="))
    assert header["kid"] in json.loads(done.stdout)["withdrawn"]
    await until(lambda: outcome() != "")
    assert outcome() == "TOKEN_KEY_UNKNOWN"


async def test_tokens_that_are_not_the_platforms_for_this_tenant_are_refused(
    local: Local, acme: UUID, person: Person, rows: Callable[..., list[dict[str, Any]]]
) -> None:
    other = UUID(rows("tenant", "create", f"other-{uuid4().hex[:8]}")[0]["tenant_id"])
    authorizer = await local(acme, other)
    await authorizer.ready(PATIENCE_S)
    token = person.access_token
    header, payload, signature = token.split(".")

    def outcome(given: str, tenant_id: UUID = acme) -> str:
        return refusal(lambda: authorizer.verify_token(given, tenant_id=tenant_id))

    await until(lambda: not outcome(token))
    await until(lambda: not outcome(token, other).startswith("REVOCATIONS_"))
    assert outcome(token, other) == "TOKEN_OF_ANOTHER_TENANT"
    kid = json.loads(urlsafe_b64decode(header + "=="))["kid"]
    said = json.dumps({"alg": "none", "typ": "at+jwt", "kid": kid}).encode()
    unsigned = urlsafe_b64encode(said).rstrip(b"=").decode()
    assert outcome(f"{unsigned}.{payload}.{signature}") == "TOKEN_ALGORITHM_REFUSED"
    assert outcome(f"{unsigned}.{payload}.") == "TOKEN_MALFORMED"
    assert outcome(f"{header}.{payload}.") == "TOKEN_MALFORMED"
    assert outcome(f"{header}.{payload}") == "TOKEN_MALFORMED"
    other_bytes = "B" if signature[0] == "A" else "A"
    assert outcome(f"{header}.{payload}.{other_bytes}{signature[1:]}") == (
        "TOKEN_SIGNATURE_INVALID"
    )
    assert outcome(token, uuid4()) == "TENANT_NOT_REPLICATED"


async def test_a_token_is_refused_by_a_stale_replica_even_by_one_that_serves_stale_decisions(
    platform: Any, local: Local, acme: UUID, person: Person
) -> None:
    authorizer = await local(acme, on_stale="serve", max_silence_s=1.5)
    await authorizer.ready(PATIENCE_S)

    def outcome() -> str:
        return refusal(lambda: authorizer.verify_token(person.access_token, tenant_id=acme))

    await until(lambda: not outcome())
    server = platform.server()
    server.send_signal(signal.SIGSTOP)
    try:
        await until(lambda: outcome() == "REVOCATIONS_STALE")
        assert authorizer.check(person.subject, *QUESTION, tenant_id=acme).allowed
    finally:
        server.send_signal(signal.SIGCONT)
    await until(lambda: not outcome())

"""A person is disabled at one replica: a second later nothing of theirs is good at any, for ever.

Two whole servers share Postgres and Redis, and the edge stands before one of them. The second is
the contract's, so that the polls give up when it has passed; what the machine stalled meanwhile,
as the calls of somebody else show, is not counted.
"""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import pytest
from edge_client import EdgeClient, bearer, new_device
from ports import reserved_port

from argy.api.authn.v1 import credential_pb2 as credentials_pb
from argy.api.authn.v1 import device_pb2 as devices_pb
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.api.authn.v1.device_pb2_grpc import DeviceServiceStub
from argy.api.authn.v1.token_pb2 import RefreshTokensRequest, Tokens
from argy.api.authn.v1.token_pb2_grpc import TokenServiceStub
from argy.api.authz.v1.authz_pb2 import CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.api.directory.v1.user_pb2 import (
    USER_STATE_ACTIVE,
    USER_STATE_DISABLED,
    SetUserStateRequest,
    UserState,
)
from argy.api.directory.v1.user_pb2_grpc import UserServiceStub
from argy.base.errors import ArgyError, PermissionDenied, Unauthenticated
from argy.client import Connection

CONTRACT_S: Final = 1.0
START_S: Final = 60.0
USUAL_CALLS: Final = 20
CLIENT: Final = "argy-cli"
CHECK: Final = "authz.decision:check"


@dataclass
class Place:
    """One server, as the edge calls it."""

    name: str
    connection: Connection
    edge: EdgeClient
    tenant_id: UUID

    def stub(self, kind: Callable[[Any], Any]) -> Any:
        return kind(self.connection.channel(self.tenant_id))

    async def connect_device(self, approver: str) -> str:
        """A device that somebody has let in; its code."""
        devices = self.stub(DeviceServiceStub)
        asked = devices_pb.AuthorizeDeviceRequest(client_id=CLIENT, device=new_device())
        begun = await devices.AuthorizeDevice(asked)
        decided = devices_pb.DecideDeviceCodeRequest(
            user_code=begun.user_code, approved=True, device=new_device()
        )
        await devices.DecideDeviceCode(decided, metadata=bearer(approver))
        return str(begun.device_code)

    async def redeem(self, code: str) -> Tokens:
        """The tokens of a device; raises Unauthenticated when it gets none."""
        asked = devices_pb.RedeemDeviceCodeRequest(device_code=code, client_id=CLIENT)
        answer = await self.stub(DeviceServiceStub).RedeemDeviceCode(asked)
        if answer.poll != devices_pb.DEVICE_POLL_GRANTED:
            raise Unauthenticated(devices_pb.DevicePoll.Name(answer.poll))
        tokens: Tokens = answer.tokens
        return tokens

    async def refresh(self, token: str) -> Tokens:
        request = RefreshTokensRequest(refresh_token=token, client_id=CLIENT)
        tokens: Tokens = (await self.stub(TokenServiceStub).RefreshTokens(request)).tokens
        return tokens

    async def make_token(self, access: str) -> str:
        request = credentials_pb.CreatePersonalAccessTokenRequest(
            name="script", scopes=[CHECK], days=7
        )
        stub = self.stub(CredentialServiceStub)
        made = await stub.CreatePersonalAccessToken(request, metadata=bearer(access))
        return str(made.secret)

    async def check(self, token: str) -> None:
        """Ask for a decision: the token's person needs a permission for that."""
        question = Question(subject="user:x", action="read", resource="project:alpha")
        await self.stub(AuthzServiceStub).Check(
            CheckRequest(question=question), metadata=bearer(token)
        )


@dataclass
class Held:
    """What one person holds; families and codes are used up, so that each place has its own."""

    session: str
    access: str
    device_access: str
    personal: str
    families: dict[str, str] = field(default_factory=dict)
    pending: dict[str, list[str]] = field(default_factory=dict)

    def attempts(self, place: Place) -> dict[str, Callable[[], Awaitable[object]]]:
        """Each thing's use at a place, by name."""

        async def refresh() -> None:
            got = await place.refresh(self.families[place.name])
            self.families[place.name] = got.refresh_token

        code = self.pending[place.name].pop()
        return {
            "browser session": lambda: place.edge.session(self.session),
            "access token": lambda: place.edge.first_call(self.access),
            "access token, with a permission": lambda: place.check(self.access),
            "device's access token": lambda: place.edge.first_call(self.device_access),
            "refresh token": refresh,
            "device that was let in": lambda: place.redeem(code),
            "personal access token": lambda: place.check(self.personal),
        }


@pytest.fixture
def second(platform: Any, tmp_path: Path, run_server: Callable[..., None]) -> str:
    """A second server just like the platform's; its target."""
    server, port = platform.server(), reserved_port()
    env = {**server.environ(), "ARGY_LISTEN": f"127.0.0.1:{port}"}
    run_server(server.cmdline(), env | {"ARGY_SPOOL_DIR": str(tmp_path / "spool")})
    return f"localhost:{port}"


@pytest.fixture
async def places(platform: Any, second: str) -> AsyncIterator[list[Place]]:
    """The two servers."""
    told = platform.ready["edge"]
    keys = str(platform.home / "keys" / "edge.json")
    one = replace(platform.endpoint, source="edge", keys_file=keys)
    async with AsyncExitStack() as stack:
        made = []
        for name, endpoint in (("one", one), ("two", replace(one, target=second))):
            connection = await stack.enter_async_context(Connection(endpoint, timeout_s=30))
            client = EdgeClient(
                connection, told["tenant_id"], origin=told["url"], mail=platform.home / "mail"
            )
            made.append(Place(name, connection, client, UUID(told["tenant_id"])))
        async with asyncio.timeout(START_S):
            while not await made[1].connection.serving(timeout_s=1):  # noqa: ASYNC110
                await asyncio.sleep(0)
        yield made


@pytest.fixture
async def http(platform: Any) -> AsyncIterator[httpx.AsyncClient]:
    edge = platform.ready["edge"]
    context = ssl.create_default_context(cafile=edge["ca_file"])
    async with httpx.AsyncClient(verify=context, base_url=edge["url"], timeout=START_S) as client:
        yield client


@pytest.fixture
def new_person(rows: Any, argy: Any) -> Callable[[], tuple[str, str]]:
    """Make somebody of Acme who may ask for decisions; id and address."""

    def make() -> tuple[str, str]:
        email = f"d{uuid4().hex[:12]}@acme.example"
        (made,) = rows("user", "create", email, "--tenant", "acme", "--name", "Dora")
        user = f"user:{made['user_id']}"
        done = argy("grant", user, "PLATFORM_USER", "--tenant", "acme", "-m", "a test")
        assert done.returncode == 0, done.stderr
        return str(made["user_id"]), email

    return make


async def signed_in(place: Place, email: str) -> tuple[Any, str, str]:
    """A passkey, and a session's secret and access token."""
    device = await place.edge.enrol(email)
    begun = await place.edge.begin()
    secret = await place.edge.finish(begun.ceremony_id, device.get(begun.options_json))
    return device, secret, await place.edge.session(secret)


async def holdings(places: list[Place], secret: str, access: str) -> Held:
    first = places[0]
    connected = await first.redeem(await first.connect_device(access))
    held = Held(secret, access, connected.access_token, await first.make_token(access))
    for place in places:
        tokens = await place.redeem(await place.connect_device(access))
        held.families[place.name] = tokens.refresh_token
        held.pending[place.name] = [await place.connect_device(access) for _ in range(2)]
    return held


async def refused(
    attempt: Callable[[], Awaitable[object]],
    kinds: tuple[type[ArgyError], ...] = (Unauthenticated,),
) -> bool:
    try:
        await attempt()
    except kinds:
        return True
    return False


async def took_s(attempt: Callable[[], Awaitable[object]]) -> float:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await attempt()
    return loop.time() - began_s


async def until_refused(
    attempt: Callable[[], Awaitable[object]],
    *,
    began_s: float,
    usual_s: float,
    control: Callable[[], Awaitable[object]],
) -> float:
    """Try until it is refused; after how many seconds that was.

    Gives up when the contract's second has passed, longer by what somebody else's calls took more
    than usual.
    """
    loop = asyncio.get_running_loop()
    ends_s = began_s + CONTRACT_S
    while True:
        tried_s = loop.time()
        # Their permissions end with the commit, before the token does.
        if await refused(attempt, (Unauthenticated, PermissionDenied)):
            return max(tried_s - began_s, 0.0)
        ends_s += max(await took_s(control) - usual_s, 0.0)
        if tried_s > ends_s:
            raise TimeoutError(f"still good {tried_s - began_s:.3f} s later")


async def set_state(
    platform: Any, tenant_id: UUID, user_id: str, state: UserState.ValueType
) -> None:
    async with Connection(platform.endpoint, timeout_s=30) as operator:
        stub: Any = UserServiceStub(operator.channel(tenant_id))
        request = SetUserStateRequest(user_id=user_id, state=state, reason="a test")
        await stub.SetUserState(request)


async def test_whoever_is_disabled_at_one_replica_is_refused_at_both_within_a_second_and_for_good(
    platform: Any,
    places: list[Place],
    http: httpx.AsyncClient,
    new_person: Callable[[], tuple[str, str]],
) -> None:
    first = places[0]
    user_id, email = new_person()
    device, secret, access = await signed_in(first, email)
    held = await holdings(places, secret, access)
    _, other = new_person()
    _, _, control = await signed_in(first, other)

    async def whoami() -> None:
        answer = await http.get("/acme/whoami", headers={"authorization": f"Bearer {access}"})
        if answer.status_code == 401:
            raise Unauthenticated(answer.text)
        assert answer.status_code == 200, answer.text

    tries = {f"{name} at {place.name}": attempt
             for place in places for name, attempt in held.attempts(place).items()}  # fmt: skip
    tries["access token at the edge"] = whoami
    for name, attempt in tries.items():
        if "let in" not in name:
            assert not await refused(attempt), name
    controls = {place.name: lambda place=place: place.edge.first_call(control) for place in places}
    usual_s = max([await took_s(call) for _ in range(USUAL_CALLS) for call in controls.values()])

    await set_state(platform, first.tenant_id, user_id, USER_STATE_DISABLED)
    began_s = asyncio.get_running_loop().time()
    delays = await asyncio.gather(
        *(
            until_refused(
                attempt,
                began_s=began_s,
                usual_s=usual_s,
                control=controls.get(name.rpartition(" ")[2], controls["one"]),
            )
            for name, attempt in tries.items()
        )
    )
    for name, delay_s in zip(tries, delays, strict=True):
        sys.stdout.write(f"{name}: refused after {delay_s * 1000:.0f} ms\n")

    await set_state(platform, first.tenant_id, user_id, USER_STATE_ACTIVE)
    for place in places:
        for name, attempt in held.attempts(place).items():
            assert await refused(attempt), f"{name} at {place.name} was revived"
    assert await refused(whoami)
    # Whoever signs in anew may do so at both, once no clock can take it for a sign-in of before.
    begun = await first.edge.begin()
    fresh = await first.edge.finish(begun.ceremony_id, device.get(begun.options_json))
    async with asyncio.timeout(START_S):
        for place in places:

            async def use(place: Place = place) -> None:
                await place.edge.first_call(await place.edge.session(fresh))

            while await refused(use):
                pass

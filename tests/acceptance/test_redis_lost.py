"""Redis is killed and comes back empty: people sign in again; nothing crashes or lets them by."""

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import psutil
import pytest
from edge_client import EdgeClient, bearer, new_device
from ports import reserved_port

from argy.api.authn.v1.device_pb2 import DecideDeviceCodeRequest
from argy.api.authn.v1.device_pb2_grpc import DeviceServiceStub
from argy.api.directory.v1.user_pb2 import CreateUserRequest
from argy.api.directory.v1.user_pb2_grpc import UserServiceStub
from argy.base.errors import ArgyError, Unauthenticated, Unavailable
from argy.cli.signed_in import Login, load, save
from argy.client import Connection
from argy.local.valkey import EmbeddedValkey

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
BACK_S: Final = 60.0
ARGY: Final = Path(sys.executable).with_name("argy")


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey that the test kills."""
    # It comes back on the same port, so nothing else may take that meanwhile.
    valkey = EmbeddedValkey(tmp_path / "valkey", durable=False, port=reserved_port())
    yield valkey
    valkey.stop()


@pytest.fixture
def own_platform(valkey: EmbeddedValkey, platform_factory: Any) -> Any:
    """A platform on that Valkey."""
    return platform_factory(ARGY_REDIS_URL=valkey.start())


@pytest.fixture
async def http(own_platform: Any) -> AsyncIterator[httpx.AsyncClient]:
    edge = own_platform.ready["edge"]
    context = ssl.create_default_context(cafile=edge["ca_file"])
    async with httpx.AsyncClient(verify=context, base_url=edge["url"], timeout=BACK_S) as client:
        yield client


@pytest.fixture
async def edge(own_platform: Any) -> AsyncIterator[Connection]:
    """The services as the edge reaches them."""
    keys = str(own_platform.home / "keys" / "edge.json")
    endpoint = replace(own_platform.endpoint, source="edge", keys_file=keys)
    async with Connection(endpoint, timeout_s=30) as connection:
        yield connection


@pytest.fixture
async def email(own_platform: Any) -> str:
    """Somebody of Acme."""
    tenant_id = UUID(own_platform.ready["edge"]["tenant_id"])
    address = f"r{uuid4().hex[:12]}@acme.example"
    async with Connection(own_platform.endpoint, timeout_s=30) as connection:
        stub: Any = UserServiceStub(connection.channel(tenant_id))
        await stub.CreateUser(CreateUserRequest(email=address, display_name="Rita"))
    return address


async def _tokens(http: httpx.AsyncClient, edge: Connection, tenant: str, token: str) -> Any:
    """Tokens of a terminal that somebody with an access token lets in."""
    client = {"client_id": "argy-cli"}
    begun = (await http.post("/acme/oauth/device_authorization", data=client)).json()
    devices: Any = DeviceServiceStub(edge.channel(UUID(tenant)))
    await devices.DecideDeviceCode(
        DecideDeviceCodeRequest(user_code=begun["user_code"], approved=True, device=new_device()),
        metadata=bearer(token),
    )
    redeem = {"grant_type": GRANT, "device_code": begun["device_code"], **client}
    granted = await http.post("/acme/oauth/token", data=redeem)
    assert granted.status_code == 200, granted.text
    return granted.json()


async def _refresh(http: httpx.AsyncClient, token: str) -> httpx.Response:
    fields = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "argy-cli"}
    return await http.post("/acme/oauth/token", data=fields)


async def _whoami(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.get("/acme/whoami", headers={"authorization": f"Bearer {token}"})


async def _reason(attempt: Awaitable[object], kind: type[ArgyError]) -> str:
    with pytest.raises(kind) as refused:
        await attempt
    return refused.value.reason


def _lasting(platform: Any) -> set[int]:
    """The platform's processes, without those that the database starts and ends as it likes."""
    lasting = set()
    for process in platform.family():
        with suppress(psutil.NoSuchProcess):
            parent = process.parent()
            if parent is None or parent.name() != "postgres":
                lasting.add(process.pid)
    return lasting


async def _other_than(
    attempt: Callable[[], Awaitable[object]], kind: type[ArgyError] | None
) -> ArgyError | None:
    """Try until it ends another way than by ``kind``, or for None by an error; that error."""
    async with asyncio.timeout(BACK_S):
        while True:
            try:
                await attempt()
            except ArgyError as error:
                if kind is None or not isinstance(error, kind):
                    return error
            else:
                if kind is not None:
                    return None


async def test_redis_killed_and_empty_means_sign_in_again(
    own_platform: Any,
    valkey: EmbeddedValkey,
    http: httpx.AsyncClient,
    edge: Connection,
    email: str,
    tmp_path: Path,
) -> None:
    told = own_platform.ready["edge"]
    client = EdgeClient(
        edge, told["tenant_id"], origin=told["url"], mail=own_platform.home / "mail"
    )
    device = await client.enrol(email)
    pending = await client.begin()
    begun = await client.begin()
    secret = await client.finish(begun.ceremony_id, device.get(begun.options_json))
    token = await client.session(secret)
    await client.first_call(token)
    terminal = await _tokens(http, edge, told["tenant_id"], token)
    assert (await _whoami(http, terminal["access_token"])).status_code == 200
    server, family = own_platform.server(), _lasting(own_platform)

    (killed,) = psutil.Process(valkey.guard_pid).children()
    killed.kill()
    killed.wait(BACK_S)

    # A copy of the deny list may be believed for half a second more.
    away = await _other_than(lambda: client.first_call(token), None)
    assert isinstance(away, Unavailable)
    assert away.reason == "REVOCATIONS_AWAY"
    assert await _reason(client.session(secret), Unavailable) == "SESSIONS_AWAY"
    assertion = device.get(pending.options_json)
    assert await _reason(client.finish(pending.ceremony_id, assertion), Unavailable)
    assert await _reason(client.begin(), Unavailable)
    assert await _reason(client.ask_link(email), Unavailable)
    assert (await _whoami(http, terminal["access_token"])).status_code == 503
    assert (await _refresh(http, terminal["refresh_token"])).status_code == 503

    valkey.stop()
    shutil.rmtree(valkey.folder / "data")
    port = valkey.port
    valkey.start()
    assert valkey.port == port

    over = await _other_than(lambda: client.session(secret), Unavailable)
    assert isinstance(over, Unauthenticated)
    assert over.reason == "SESSION_OVER"
    # For some seconds no change is made: a call of before could be made again.
    over = await _other_than(lambda: client.finish(pending.ceremony_id, assertion), Unavailable)
    assert isinstance(over, Unauthenticated)
    assert over.reason == "CEREMONY_OVER"
    # Before and after the next list exists: a token of before is on none that anybody knows.
    refused = await _other_than(lambda: client.first_call(token), Unavailable)
    assert isinstance(refused, Unauthenticated)
    assert refused.reason == "TOKEN_REVOCATION_UNKNOWN"
    begun = await client.begin()
    fresh = await client.finish(begun.ceremony_id, device.get(begun.options_json))
    await client.first_call(await client.session(fresh))
    assert await _reason(client.first_call(token), Unauthenticated) == "TOKEN_REVOCATION_UNKNOWN"
    assert (await _whoami(http, terminal["access_token"])).status_code == 401

    # A terminal whose token is refused takes its refresh token: nobody has to sign in there.
    held = Login(
        edge=told["url"],
        ca_file=told["ca_file"],
        tenant="acme",
        access_token=terminal["access_token"],
        refresh_token=terminal["refresh_token"],
        expires_at=time.time() + terminal["expires_in"],
        scope="",
    )
    save(held, tmp_path, None)
    terminal_process = await asyncio.create_subprocess_exec(
        ARGY, "whoami", env={**os.environ, "ARGY_HOME": str(tmp_path)}, stderr=subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(terminal_process.communicate(), BACK_S)
    assert terminal_process.returncode == 0, errors
    renewed = load(tmp_path, None)
    assert renewed.refresh_token != held.refresh_token
    assert (await _whoami(http, renewed.access_token)).status_code == 200

    assert own_platform.process.poll() is None
    assert own_platform.server() == server
    assert _lasting(own_platform) == family

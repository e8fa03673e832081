"""Sign-in through the running platform, and whether asking for a link tells who exists.

Calls go straight to the services, as the edge makes them; every step but signing is one call.
"""

import asyncio
import random
import statistics
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID, uuid4

import uvloop
from authenticator import Authenticator
from edge_client import EdgeClient
from stand import Stand, make_tenants, standing
from table import Row

from argy.api.directory.v1.user_pb2 import CreateUserRequest
from argy.api.directory.v1.user_pb2_grpc import UserServiceStub
from argy.client.connection import Connection

Tell = Callable[[str], None]
A = TypeVar("A")
B = TypeVar("B")
PEOPLE = 8
LINKS_EACH = 5
"""Links that one address gets before it must wait."""
STEPS = {
    "begin": "begin: a challenge",
    "sign": "sign: the authenticator, at the client",
    "finish": "finish: verify, open a session, audit",
    "session": "session: look it up, sign an access token",
    "token": "token: a first call with it, verified",
}


@dataclass(frozen=True)
class Step:
    """One step of many ceremonies, one after the other."""

    seconds: list[float]
    server_s: float


def ceremonies(count: int, links: int, tell: Tell) -> list[Row]:
    """``count`` ceremonies, then ``links`` for known and as many for unknown addresses."""
    with standing() as stand:
        return uvloop.run(_measure(stand, count, links, tell))


async def _measure(stand: Stand, count: int, links: int, tell: Tell) -> list[Row]:
    tell("sign-in ceremonies")
    tenant, *asked = await make_tenants(stand.endpoint, 3)
    async with _edge(stand) as connection:
        client = _client(stand, connection, tenant)
        emails = await _people(stand, tenant, PEOPLE)
        devices = [await client.enrol(email) for email in emails]
        rows = [await _rate(stand, client, devices, count), *await _steps(stand, client, devices)]
        tell("links for known and unknown addresses")
        known: list[float] = []
        unknown: list[float] = []
        for tenant_id in asked:
            share = links // len(asked)
            people = await _people(stand, tenant_id, -(-share // LINKS_EACH))
            await _ask(_client(stand, connection, tenant_id), people, share, known, unknown)
    return [*rows, *_compared(known, unknown)]


@asynccontextmanager
async def _edge(stand: Stand) -> AsyncIterator[Connection]:
    keys = str(stand.folder / "keys" / "edge.json")
    endpoint = replace(stand.endpoint, source="edge", keys_file=keys)
    async with Connection(endpoint, timeout_s=30) as connection:
        yield connection


def _client(stand: Stand, connection: Connection, tenant_id: str) -> EdgeClient:
    return EdgeClient(connection, tenant_id, origin=stand.edge_url, mail=stand.folder / "mail")


async def _people(stand: Stand, tenant_id: str, count: int) -> list[str]:
    async with Connection(stand.endpoint, timeout_s=30) as connection:
        stub: Any = UserServiceStub(connection.channel(UUID(tenant_id)))
        emails = [f"p{uuid4().hex[:12]}@bench.example" for _ in range(count)]
        for email in emails:
            await stub.CreateUser(CreateUserRequest(email=email, display_name="Bench"))
        return emails


async def _rate(stand: Stand, client: EdgeClient, devices: list[Authenticator], count: int) -> Row:
    """Whole ceremonies, as many at a time as there are people."""

    async def one_after_another(device: Authenticator, times: int) -> None:
        for _ in range(times):
            await client.sign_in(device)

    each = count // len(devices)
    await asyncio.gather(*(one_after_another(device, 2) for device in devices))
    began, cpu_s = time.perf_counter(), _server_s(stand)
    await asyncio.gather(*(one_after_another(device, each) for device in devices))
    wall_s, cpu_s = time.perf_counter() - began, _server_s(stand) - cpu_s
    done = each * len(devices)
    return Row(
        f"sign-in ceremonies, {len(devices)} at a time, one server process",
        f"{done / wall_s:,.0f}/s",
        f"{cpu_s / done * 1e3:.2f} ms of server processor each: "
        f"{done / cpu_s:,.0f}/s a core; server busy {cpu_s / wall_s:.0%}",
    )


async def _steps(stand: Stand, client: EdgeClient, devices: list[Authenticator]) -> list[Row]:
    """Where the time of ceremonies goes, step by step, one call at a time."""
    used = [device for _ in range(25) for device in devices]
    begun, begins = await _timed(stand, used, lambda _: client.begin())

    async def sign(both: tuple[Authenticator, Any]) -> str:
        return both[0].get(both[1].options_json)

    signed, signs = await _timed(stand, list(zip(used, begun, strict=True)), sign)
    secrets, finishes = await _timed(
        stand,
        list(zip(begun, signed, strict=True)),
        lambda both: client.finish(both[0].ceremony_id, both[1]),
    )
    tokens, checks = await _timed(stand, secrets, client.session)
    _, calls = await _timed(stand, tokens, client.first_call)
    steps = dict(zip(STEPS, (begins, signs, finishes, checks, calls), strict=True))
    whole_s = sum(statistics.median(step.seconds) for step in steps.values())
    return [
        Row(
            f"  {STEPS[name]}",
            f"median {_ms(statistics.median(step.seconds))}, p90 {_ms(_p90(step.seconds))}",
            f"{statistics.median(step.seconds) / whole_s:.0%} of {_ms(whole_s)}, one ceremony"
            f" at a time; server processor {_ms(step.server_s / len(step.seconds))}",
        )
        for name, step in steps.items()
    ]


async def _timed(
    stand: Stand, given: list[A], work: Callable[[A], Awaitable[B]]
) -> tuple[list[B], Step]:
    found, seconds, before = [], [], _server_s(stand)
    for one in given:
        began = time.perf_counter()
        found.append(await work(one))
        seconds.append(time.perf_counter() - began)
    return found, Step(seconds, _server_s(stand) - before)


async def _ask(
    client: EdgeClient, people: list[str], share: int, known: list[float], unknown: list[float]
) -> None:
    """Ask for ``share`` links each, in an order by chance, and keep how long each answer took.

    By chance, for what one answer leaves behind, such as its mail, then meets both kinds alike.
    Addresses of both kinds are asked for equally often.
    """
    nobody = [f"n{uuid4().hex[:12]}@bench.example" for _ in people]
    order = [(known, people[number % len(people)]) for number in range(share)]
    order += [(unknown, nobody[number % len(nobody)]) for number in range(share)]
    random.shuffle(order)
    for _ in range(10):
        await client.ask_link(f"w{uuid4().hex[:12]}@bench.example")
    for kept, email in order:
        began = time.perf_counter()
        await client.ask_link(email)
        kept.append(time.perf_counter() - began)


def _compared(known: list[float], unknown: list[float]) -> Iterable[Row]:
    for name, times in (("known", known), ("unknown", unknown)):
        yield Row(
            f"ask for a link, {name} address, {len(times)} times",
            f"median {_ms(statistics.median(times))}, p90 {_ms(_p90(times))}",
            "",
        )
    distance = ks_distance(known, unknown)
    critical = 1.36 * ((len(known) + len(unknown)) / (len(known) * len(unknown))) ** 0.5
    yield Row(
        "  known against unknown, interleaved by chance",
        f"{statistics.median(known) / statistics.median(unknown):.3f} × the median",
        f"Kolmogorov–Smirnov distance {distance:.3f}; alike distributions stay below "
        f"{critical:.3f} in 95 of 100 runs",
    )


def ks_distance(one: list[float], other: list[float]) -> float:
    """The two-sample Kolmogorov–Smirnov statistic: how far the distribution functions part."""
    first, second = sorted(one), sorted(other)
    return max(
        abs(bisect_right(first, at) / len(first) - bisect_right(second, at) / len(second))
        for at in (*first, *second)
    )


def _server_s(stand: Stand) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in stand.servers))


def _p90(times: list[float]) -> float:
    return statistics.quantiles(times, n=10)[-1]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"

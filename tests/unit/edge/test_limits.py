"""How many of its slow bodies are waited for, whoever's they are."""

import asyncio
from typing import Any

import pytest

from argy.base.errors import Unavailable
from argy.edge.limits import Bounds, limits
from argy.edge.request import Message, Receive, Scope, Send, state_of
from argy.edge.room import KnownNetworks

BOUNDS = Bounds(requests=8)


async def reading(_scope: Scope, receive: Receive, _send: Send) -> None:
    """An application that reads its body."""
    await receive()


async def unsent() -> Message:
    """A body that does not come."""
    never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await never


async def nothing(_message: Message) -> None:
    """Nobody who reads the answer."""


def request_from(address: str) -> Scope:
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    state_of(scope).client_ip = address
    return scope


async def waiting_for(*addresses: str) -> str:
    """Let the bodies of some addresses be waited for; the reason why the last one is not, if so."""
    app = limits(reading, BOUNDS, KnownNetworks())
    *held, last = [
        asyncio.ensure_future(app(request_from(one), unsent, nothing)) for one in addresses
    ]
    done, _ = await asyncio.wait([last], timeout=0)
    for task in [*held, last]:
        task.cancel()
    found = await asyncio.gather(*held, last, return_exceptions=True)
    refused = found[-1]
    return refused.reason if last in done and isinstance(refused, Unavailable) else ""


@pytest.mark.parametrize(
    "addresses",
    [
        ["192.0.2.1"] * 3,
        ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"],
    ],
    ids=["one address", "slow bodies from all of an IPv6 /64"],
)
async def test_one_network_can_not_take_every_place(addresses: list[str]) -> None:
    assert await waiting_for(*addresses) == "TOO_BUSY"


async def test_other_networks_are_waited_for() -> None:
    assert await waiting_for("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1") == ""
    assert await waiting_for("192.0.2.1", "192.0.2.1", "192.0.2.2") == ""


async def test_dribbled_bodies_of_many_networks_take_nobody_elses_place() -> None:
    strangers = [f"198.51.{number}.1" for number in range(20) for _ in range(2)]
    assert await waiting_for(*strangers, "192.0.2.1") == ""


async def test_a_request_that_is_all_there_waits_for_no_body() -> None:
    app = limits(reading, BOUNDS, KnownNetworks())

    async def sent() -> Message:
        return {"type": "http.request", "body": b"all", "more_body": False}

    held = [
        asyncio.ensure_future(app(request_from(f"198.51.{number}.1"), unsent, nothing))
        for number in range(40)
    ]
    await asyncio.wait(held, timeout=0)
    for _ in range(20):
        await app(request_from("192.0.2.1"), sent, nothing)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)

"""One tenant at full speed, and what another notices of it.

The hostile one sends the cheapest thing that makes the most of it, over HTTP: batches of a thousand
empty questions that share one context. The other asks one question after the other. Both windows in
turn, so that whatever else the machine does falls on both.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from uuid import UUID

import httpx
from stand import Stand, make_tenants, standing
from table import Row

from argy.api.authz.v1.authz_pb2 import CheckRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.base.errors import ArgyError
from argy.client.connection import Connection

CONNECTIONS = 4
BODY = json.dumps(
    {
        "subject": {"type": "user", "id": "a"},
        "action": {"name": "read"},
        "resource": {"type": "x", "id": "y"},
        "context": {"text": "x" * 1_900},
        "evaluations": [{}] * 1_000,
    }
).encode()
Tell = Callable[[str], None]


@dataclass
class Seen:
    """What one of the two saw."""

    latencies_s: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def p99_s(self) -> float:
        return quantiles(self.latencies_s, n=100)[98]


async def _ask(stand: Stand, tenant_id: UUID, seconds: float, seen: Seen) -> None:
    request = CheckRequest(
        question=Question(subject=stand.subject, action="read", resource="project:alpha")
    )
    async with Connection(stand.endpoint, timeout_s=30) as connection:
        stub: Any = AuthzServiceStub(connection.channel(tenant_id))
        await stub.Check(request)
        ends_s = time.perf_counter() + seconds
        while (began_s := time.perf_counter()) < ends_s:
            try:
                await stub.Check(request)
            except ArgyError:
                seen.refused += 1
            seen.latencies_s.append(time.perf_counter() - began_s)
            await asyncio.sleep(0.005)


def another(rounds: int, seconds: float, tell: Tell) -> Iterator[Row]:
    """What another tenant notices, in median, p99 and refusals."""
    with standing() as stand:
        # The edge's token speaks in the demonstration's tenant alone.
        hostile, (other,) = stand.tenant_id, asyncio.run(make_tenants(stand.endpoint, 1))
        alone, beside = Seen(), Seen()
        answers: list[str] = []
        for number in range(rounds):
            tell(f"alone, round {number + 1} of {rounds}")
            asyncio.run(_ask(stand, UUID(other), seconds, alone))
            tell(f"beside a hostile tenant, round {number + 1} of {rounds}")
            attack = subprocess.Popen(
                [sys.executable, __file__, stand.edge_url, str(stand.folder), hostile],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert attack.stdout is not None
            attack.stdout.readline()
            asyncio.run(_ask(stand, UUID(other), seconds, beside))
            told, _ = attack.communicate("")
            answers.append(told.strip())
    before, after = median(alone.latencies_s), median(beside.latencies_s)
    yield Row(
        "Check of a tenant, alone",
        f"median {before * 1e3:.2f} ms, p99 {alone.p99_s * 1e3:.2f} ms",
        "1",
    )
    yield Row(
        "the same, beside a hostile tenant",
        f"median {after * 1e3:.2f} ms, p99 {beside.p99_s * 1e3:.2f} ms; {beside.refused} of"
        f" {len(beside.latencies_s)} refused; the hostile one was answered {'; '.join(answers)}",
        f"{after / before:.2f} × in median, {beside.p99_s / alone.p99_s:.2f} × in p99",
        "none refused, ≤ 2 ×",
    )


async def _attack(edge_url: str, folder: Path, tenant_id: str) -> None:
    """Send batches until standard input ends."""
    headers = {
        "authorization": f"Bearer {(folder / 'keys' / 'edge-token').read_text().strip()}",
        "content-type": "application/json",
        "x-tenant-id": tenant_id,
    }
    answers: dict[int, int] = {}
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    verify = str(folder / "tls" / "ca.pem")
    async with httpx.AsyncClient(verify=verify, base_url=edge_url, timeout=60) as http:

        async def send() -> None:
            while not ended.done():
                answer = await http.post("/access/v1/evaluations", content=BODY, headers=headers)
                answers[answer.status_code] = answers.get(answer.status_code, 0) + 1

        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    sys.stdout.write(", ".join(f"{count} × {status}" for status, count in answers.items()))


if __name__ == "__main__":
    asyncio.run(_attack(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))

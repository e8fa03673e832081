"""Decisions in the caller's own process: a replica of the running platform, with its reports."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from stand import Stand, standing
from table import Row

from argy.base.dsse import SigningKeys, TrustedKeys
from argy.client import Connection, LocalAuthorizer, PolicyTrust

ROUNDS = 5
"""The fastest counts: what the machine does besides only adds."""


def _trust(home: Path) -> PolicyTrust:
    keys = home / "keys"
    control = SigningKeys.load(keys / "policy.json").public()
    return PolicyTrust(control, TrustedKeys.load(keys / "policy-trusted.json"), unsafe_folder=True)


async def _measure(stand: Stand, checks: int, report: bool) -> tuple[float, float]:
    """Microseconds a decision, and microseconds of processor to report one."""
    tenant = UUID(stand.tenant_id)
    async with Connection(stand.endpoint, timeout_s=30) as connection:
        authorizer = LocalAuthorizer(
            connection, tenants=[tenant], trust=_trust(stand.folder), report=report
        )
        await authorizer.start()
        await authorizer.ready()
        resources = [f"project:p{number}" for number in range(100)]
        check, subject = authorizer.check, stand.subject
        best = float("inf")
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for number in range(checks):
                check(subject, "deploy", resources[number % 100], tenant_id=tenant)
            best = min(best, (time.perf_counter() - started) / checks)
        before = time.process_time()
        await authorizer.close()
        spent = time.process_time() - before
        if report and authorizer.reported < ROUNDS * checks:
            raise SystemExit(f"only {authorizer.reported} decisions were reported")
    return best * 1e6, spent / (ROUNDS * checks) * 1e6


def replicated(checks: int) -> Iterator[Row]:
    """A decision of ``LocalAuthorizer``, unreported and reported."""
    with standing() as stand:
        bare, _ = asyncio.run(_measure(stand, checks, report=False))
        told, reporting = asyncio.run(_measure(stand, checks, report=True))
    yield Row("decision by LocalAuthorizer", f"{bare:.2f} µs", "unreported", "≤ 2 µs")
    yield Row(
        "decision by LocalAuthorizer, reported",
        f"{told:.2f} µs",
        f"and {reporting:.2f} µs later, to fold and send",
        "≤ 2 µs",
    )

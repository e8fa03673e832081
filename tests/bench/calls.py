"""Signed calls through the front door, against a bare echo in the same run."""

import asyncio
from collections.abc import Callable, Iterator
from statistics import median

from load import BATCH, Load
from stand import Rate, Stand, make_tenants, measure, standing
from table import Row

CONCURRENCY = 64
Tell = Callable[[str], None]


def _load(stand: Stand, kind: str, calls: int, tenants: list[str] | None = None) -> Load:
    if kind in ("echo", "tuned"):
        echo = stand.echo if kind == "echo" else stand.tuned_echo
        return Load("echo", echo.target, stand.endpoint.ca_file, calls, CONCURRENCY)
    return Load(
        kind,
        stand.endpoint.target,
        stand.endpoint.ca_file,
        calls,
        CONCURRENCY if kind == "check" else CONCURRENCY // 4,
        stand.subject,
        tenants or [stand.tenant_id],
        stand.endpoint.keys_file,
    )


def _median(rates: list[Rate]) -> Rate:
    return Rate(
        median(rate.per_s for rate in rates),
        median(rate.server_us for rate in rates),
        median(rate.client_us for rate in rates),
    )


def against_echo(calls: int, rounds: int, tell: Tell) -> Iterator[Row]:
    """Echo, signed Check and signed BatchCheck in turn; the median of the rounds."""
    with standing() as stand:
        kinds = {"echo": calls, "tuned": calls, "check": calls, "batch": calls // 8}
        rates: dict[str, list[Rate]] = {kind: [] for kind in kinds}
        for number in range(rounds):
            for kind, count in kinds.items():
                tell(f"{kind}, round {number + 1} of {rounds}")
                rates[kind].append(measure(stand, _load(stand, kind, count)))
        echo, tuned, check, batch = (_median(rates[kind]) for kind in kinds)
        yield Row(
            "bare echo over TLS",
            f"{echo.per_s:,.0f}/s; server {echo.server_us:.0f} µs, client {echo.client_us:.0f} µs",
            "1",
        )
        yield Row(
            "the same, scheduled as the servers are",
            f"{tuned.per_s:,.0f}/s; server {tuned.server_us:.0f} µs",
            f"{tuned.per_s / echo.per_s:.2f} × echo's rate",
        )
        yield Row(
            "signed Check over TLS",
            f"{check.per_s:,.0f}/s; server {check.server_us:.0f} µs,"
            f" client {check.client_us:.0f} µs",
            f"{check.per_s / echo.per_s:.2f} × echo's rate;"
            f" {echo.server_us / check.server_us:.2f} × by server processor;"
            f" {check.per_s / tuned.per_s:.2f} × the echo so scheduled",
            "≥ 0.8 ×",
        )
        yield Row(
            f"signed BatchCheck of {BATCH}",
            f"{batch.per_s * BATCH:,.0f} decisions/s; server {batch.server_us:.0f} µs a call",
            f"{BATCH / batch.server_us * 1e6:,.0f} decisions/s a core",
            "≥ 200,000",
        )


def by_tenants(counts: tuple[int, ...], calls: int, tell: Tell) -> Iterator[Row]:
    """Check on one tenant, then on many at random: the cost must not grow."""
    with standing() as stand:
        tenants = [stand.tenant_id]
        first = None
        for count in counts:
            tell(f"making {count:,} tenants")
            tenants += asyncio.run(make_tenants(stand.endpoint, count - len(tenants)))
            tell(f"checks on {count:,} tenants")
            # Every tenant is loaded once; what is compared is the cost after that.
            measure(stand, _load(stand, "check", max(calls, 6 * count), tenants))
            rate = measure(stand, _load(stand, "check", calls, tenants))
            first = first or rate.server_us
            yield Row(
                f"signed Check on {count:,} tenants",
                f"{rate.per_s:,.0f}/s; server {rate.server_us:.0f} µs",
                f"{rate.server_us / first:.2f} × the first",
                "flat",
            )


def by_processes(most: int, calls: int, tell: Tell) -> Iterator[Row]:
    """Check with several server processes on one port."""
    first = None
    for processes in range(1, most + 1):
        with standing(processes) as stand:
            tell(f"{processes} server processes")
            rate = measure(stand, _load(stand, "check", calls))
        first = first or rate.per_s
        yield Row(
            f"signed Check, --processes {processes}",
            f"{rate.per_s:,.0f}/s",
            f"{rate.per_s / first:.2f} × one",
        )

"""``argy policy shadow``, ``shadow-report``: a proposal on live traffic, while another decides."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import typer

from argy.api.authz.v1 import policy_pb2 as pb
from argy.cli.policy.proposals import Id, policy_stub
from argy.cli.terminal import PLATFORM, Terminal, asking
from argy.cli.times import parse_duration

_FOLLOW_S = 2.0
_SHOWN = 3
"""Samples told of those that are alike; --json has all."""


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("shadow")(shadow)
    app.command("shadow-report")(shadow_report)


@asking(tenant=PLATFORM, as_=True)
async def shadow(
    terminal: Terminal,
    proposal_id: Id,
    lasts: Annotated[str, typer.Option("--for", help="How long: 30m, 8h, 7d.")] = "1h",
    rate: Annotated[
        int, typer.Option(min=1, max=100_000, help="Evaluations a second and replica, at most.")
    ] = 1_000,
) -> None:
    """Have every replica evaluate a proposal beside the policy in force; nobody notices."""
    duration_s = int(parse_duration(lasts, "for").total_seconds())
    stub = await policy_stub(terminal)
    response = await stub.StartShadow(
        pb.StartShadowRequest(proposal_id=proposal_id, duration_s=duration_s, max_per_second=rate)
    )
    until = response.proposal.shadow_end_time.ToJsonString()
    value = {"proposal_id": proposal_id, "until": until, "max_per_second": rate}
    told = f"until {until}; see `argy policy shadow-report {proposal_id}`"
    terminal.output.result(value, lambda: told)


@asking(tenant=PLATFORM)
async def shadow_report(
    terminal: Terminal,
    proposal_id: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
) -> None:
    """Show which decisions the proposal would have made differently."""
    stub, told = await policy_stub(terminal), None
    while True:
        report = await stub.GetShadowReport(pb.GetShadowReportRequest(proposal_id=proposal_id))
        value = _json(report)
        if value != told:
            told = value
            terminal.output.result(value, partial(_text, report))
        if not follow:
            return
        await asyncio.sleep(_FOLLOW_S)


def _json(report: pb.GetShadowReportResponse) -> dict[str, Any]:
    names = ("evaluated", "skipped", "allow_to_deny", "deny_to_allow", "other", "replicas")
    return {
        **{name: getattr(report, name) for name in names},
        "updated": report.update_time.ToJsonString() if report.HasField("update_time") else "",
        "samples": [
            {
                "tenant_id": one.tenant_id,
                "org": one.org,
                "caller": one.caller,
                "subject": one.subject,
                "action": one.action,
                "resource": one.resource,
                "before": one.before,
                "after": one.after,
                "rule_before": one.rule_before,
                "rule_after": one.rule_after,
                "time": one.time.ToJsonString(),
            }
            for one in report.samples
        ],
    }


def _text(report: pb.GetShadowReportResponse) -> str:
    differ = report.allow_to_deny + report.deny_to_allow + report.other
    told = [
        f"{differ:,} of {report.evaluated:,} decisions would differ"
        f"  ({report.skipped:,} were not evaluated; replicas: {report.replicas})",
        f"  ALLOW → not allowed  {report.allow_to_deny:,}",
        f"  not allowed → ALLOW  {report.deny_to_allow:,}",
        f"  other                {report.other:,}",
    ]
    for alike in _alike(report.samples):
        one = alike[0]
        where = f"{one.tenant_id}/{one.org}" if one.org else one.tenant_id
        rules = f"{one.rule_before or 'no rule'} → {one.rule_after or 'no rule'}"
        told.append(f"  {one.before} → {one.after}  by {rules}")
        told.append(f"      tenant {where}, asked by {one.caller}; {len(alike)} samples, such as")
        told += [f"      {each.subject} {each.action} {each.resource}" for each in alike[:_SHOWN]]
    return "\n".join(told)


def _alike(samples: Sequence[Any]) -> list[list[Any]]:
    """The samples that differ in the question alone, put together; the most first."""
    found: dict[tuple[str, ...], list[Any]] = {}
    for one in samples:
        key = (one.before, one.after, one.rule_before, one.rule_after, one.tenant_id, one.org)
        found.setdefault((*key, one.caller), []).append(one)
    return sorted(found.values(), key=len, reverse=True)

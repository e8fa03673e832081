"""``argy policy explain`` and ``argy policy why-not``: one decision under any revision."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from argy.base.errors import InvalidArgument
from argy.cli.decide import parse_facts
from argy.cli.options import (
    DEFAULT_FOLDER,
    Action,
    Assignments,
    Context,
    Folder,
    Json,
    Live,
    Resource,
    Subject,
    Tenant,
)
from argy.cli.output import Exit, Output
from argy.cli.policy.impact import live_facts
from argy.cli.policy.render import Format, reported
from argy.cli.policy.sources import read_proposed
from argy.cli.times import parse_moment

if TYPE_CHECKING:
    from argy.policy.export import TenantFacts
    from argy.policy.rules import Explanation, Rule
    from argy.policy.snapshot import TenantSnapshot
    from argy.policy.why_not import WhyNot

OrgName = Annotated[str, typer.Option("--org", help="The org's slug.")]
At = Annotated[str, typer.Option("--at", help="When: 2026-01-07T10:00:00Z; now if not given.")]
AnyRevision = Annotated[
    str, typer.Option("--revision", help="A git revision, or another policy folder.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("explain")(explain)
    app.command("why-not")(why_not)


def explain(
    subject: Subject,
    action: Action,
    resource: Resource,
    assignments: Assignments = None,
    live: Live = False,
    tenant: Tenant = "",
    org: OrgName = "",
    context: Context = "{}",
    revision: AnyRevision = "",
    at: At = "",
    folder: Folder = DEFAULT_FOLDER,
    json_output: Json = False,
) -> None:
    """Show every rule that takes part in a decision under a revision, and the nearest misses.

    `argy explain` asks the platform itself; this decides here. Exit code 0 is
    ALLOW, 1 is not.
    """
    from argy.policy.explain import explain as explained

    with reported(Format.JSON if json_output else Format.TEXT):
        snapshot, facts = _snapshot(folder, revision, assignments, tenant, live=live)
        subject, now_ms = _subject(facts, subject, live=live), _moment(at)
        found = explained(snapshot, subject, org, resource, action, parse_facts(context), now_ms)
        Output(as_json=json_output).result(
            _explained(found), lambda: "\n".join(_explanation(found, facts))
        )
    if not found.decision.allowed:
        raise typer.Exit(Exit.DENIED)


def why_not(
    subject: Subject,
    action: Action,
    resource: Resource,
    assignments: Assignments = None,
    live: Live = False,
    tenant: Tenant = "",
    org: OrgName = "",
    context: Context = "{}",
    revision: AnyRevision = "",
    at: At = "",
    folder: Folder = DEFAULT_FOLDER,
    json_output: Json = False,
) -> None:
    """Find the smallest grant, or the fact, that would let SUBJECT do ACTION to RESOURCE.

    Exit code 0 when it is allowed already, 1 when it is not.
    """
    with reported(Format.JSON if json_output else Format.TEXT):
        from argy.policy.why_not import why_not as find

        snapshot, facts = _snapshot(folder, revision, assignments, tenant, live=live)
        subject, now_ms = _subject(facts, subject, live=live), _moment(at)
        found = find(snapshot, subject, org, resource, action, parse_facts(context), now_ms)
        Output(as_json=json_output).result(
            _answer(found), lambda: "\n".join(_advice(found, facts, subject, org))
        )
    if found.verdict != "allowed":
        raise typer.Exit(Exit.DENIED)


def _snapshot(
    folder: Path, revision: str, assignments: Path | None, tenant: str, *, live: bool
) -> "tuple[TenantSnapshot, TenantFacts]":
    from argy.cli.policy.live import require_one_source
    from argy.policy.export import read_facts

    require_one_source([assignments] if assignments else (), live, [tenant] if tenant else ())
    _, policy = read_proposed(folder, revision)
    facts = read_facts(assignments) if assignments is not None else live_facts(tenant)
    if not live and tenant and tenant != facts.tenant:
        raise InvalidArgument(
            f"{assignments} is about tenant {facts.tenant}, not {tenant}", field="tenant"
        )
    return facts.snapshot(policy), facts


def _subject(facts: "TenantFacts", name: str, *, live: bool) -> str:
    """The subject that a name stands for by the facts: as ``Subjects.find``, without asking.

    Raises:
        InvalidArgument: ``SUBJECT_UNKNOWN``. A file may leave people out, so that ids in it are
            taken for what they say.
    """
    kind, _, rest = name.partition(":")
    if "@" in name:
        address = f"<{rest if kind == 'user' else name}>".casefold()
        found = (
            each for each, called in facts.names.items() if called.casefold().endswith(address)
        )
    elif kind == "group" and name not in facts.groups:
        found = (each for each in facts.groups if facts.names.get(each) == rest)
    elif live and kind == "user":
        found = (each for each in facts.names if each == name)
    else:
        return name
    if subject := next(found, ""):
        return subject
    raise InvalidArgument(
        f"there is no subject '{name}' in the tenant {facts.tenant}",
        reason="SUBJECT_UNKNOWN",
        field="subject",
    )


def _moment(at: str) -> int:
    from argy.policy.export import milliseconds

    if not at:
        return time.time_ns() // 1_000_000
    return milliseconds(parse_moment(at, "at")) or 0


def _rule(rule: "Rule | None") -> str:
    return f"{rule.file}:{rule.line}" if rule else ""


def _explained(found: "Explanation") -> dict[str, Any]:
    decision = found.decision
    return {
        "effect": decision.effect,
        "reason": decision.reason,
        "rule": _rule(decision.rule),
        "role_path": list(decision.role_path),
        "roles": list(found.roles),
        "matches": [
            {
                "rule": _rule(match.rule),
                "text": match.rule.text,
                "effect": match.effect,
                "matched": match.matched,
                "detail": match.detail,
                "role_path": list(match.role_path),
            }
            for match in found.matches
        ],
        "approvals": [
            {"rule": f"{match.rule.file}:{match.rule.line}", "matched": match.matched,
             "detail": match.detail}
            for match in found.approvals
        ],
    }  # fmt: skip


def _explanation(found: "Explanation", facts: "TenantFacts") -> list[str]:
    decision = found.decision
    lines = [f"{decision.effect}  {decision.reason}  {_rule(decision.rule)}".rstrip()]
    lines.append(f"  roles here: {', '.join(found.roles) or 'none'}")
    for match in found.matches:
        mark = "matched" if match.matched else "missed "
        lines.append(f"  {mark}  {_rule(match.rule)}  {match.rule.text}")
        lines.append(f"           {match.detail}")
        if match.role_path:
            lines.append(f"           {' → '.join(map(facts.named, match.role_path))}")
    for line in found.approvals:
        mark = "asks   " if line.matched else "missed "
        lines.append(f"  {mark}  {line.rule.file}:{line.rule.line}  {line.rule.text}")
        lines.append(f"           {line.detail}")
    return lines


def _answer(found: "WhyNot") -> dict[str, Any]:
    return {
        **_explained(found.explanation),
        "verdict": found.verdict,
        "grants": [
            {
                "roles": list(grant.roles),
                "org": grant.org,
                "effect": grant.effect,
                "rule": _rule(grant.rule),
                "adds": grant.adds,
                "condition": grant.condition,
            }
            for grant in found.grants
        ],
        "conditions": [
            {"rule": _rule(item.rule), "condition": item.text, "must_be": item.must_be,
             "now": item.now}
            for item in found.conditions
        ],
        "denied_by": [_rule(rule) for rule in found.denied_by],
    }  # fmt: skip


_VERDICTS = {
    "allowed": "it is allowed already",
    "approval": "a rule allows it; what asks above must approve first",
    "grant": "the smallest grant that would allow it:",
    "condition": "a fact decides:",
    "denied": "no grant can allow it: these rules deny it to a role that is held",
    "disabled": "the subject is disabled; no grant counts until it is active again",
    "impossible": "no role of this policy allows it here",
}


def _advice(found: "WhyNot", facts: "TenantFacts", subject: str, org: str) -> list[str]:
    where = f"org {org} of {facts.tenant}" if org else f"tenant {facts.tenant}"
    lines = _explanation(found.explanation, facts)
    lines += ["", f"{facts.named(subject)} in {where}: {_VERDICTS[found.verdict]}"]
    for number, grant in enumerate(found.grants):
        which = "  →" if not number else "  or"
        needs = f", if {grant.condition}" if grant.condition else ""
        effect = "" if grant.effect == "ALLOW" else f" ({grant.effect})"
        more = f"also allows {grant.adds - 1} other kinds of question" if grant.adds > 1 else ""
        lines.append(f"{which} {' and '.join(grant.roles)} in {where}{needs}{effect}")
        lines.append(f"       by {_rule(grant.rule) or 'default'}{f'; {more}' if more else ''}")
    for item in found.conditions:
        lines.append(f"  → {_rule(item.rule)} must be {str(item.must_be).lower()}: {item.text}")
        lines.append(f"       it is {item.now}")
    lines.extend(f"  denies  {_rule(rule)}  {rule.text}" for rule in found.denied_by)
    return lines

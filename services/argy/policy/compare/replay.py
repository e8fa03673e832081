"""Recorded decisions, decided again under another policy: which of them would be different.

The audit log holds what was asked (``argy.authz.decision_log``, ``argy.client.decision_report``),
with the context unless that was too large. The answer under the proposed policy stands on the
tenant's assignments as they are now, at the time of the question. With the policy that is in force
as a second opinion, what differs already because assignments changed since is told as ``drifted``,
not as a flip.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from argy.base.errors import InvalidArgument
from argy.base.facts import refuse_inexact
from argy.policy.export import milliseconds
from argy.policy.globs import compiled_glob
from argy.policy.rules import APPROVED, SCOPE_INSUFFICIENT, ApprovalRule, Decision, Rule
from argy.policy.snapshot import TenantSnapshot

ACTION: Final = "authz.decision.check"
"""The action of the audit events that hold decisions."""
MAX_GROUPS: Final = 10_000
"""Groups of flips that are told apart; the others are counted together."""
MAX_EXAMPLES: Final = 3

CONTEXT: Final = "the context was not recorded"
SCOPES: Final = "the scopes of the caller's credential decided"
ORG: Final = "the org is not in the assignments"


class Recorded(msgspec.Struct, frozen=True):
    """One decision as the audit log tells it."""

    subject: str
    action: str
    resource: str
    effect: str
    reason: str = ""
    rule: str = ""
    context: dict[str, Any] | None = None
    context_at: float | None = None
    """Where in the event's ``contexts`` it stands instead, where several share one."""
    context_omitted: bool = False
    count: float = 1
    """How often it was asked: an in-process authorizer folds equal questions together."""
    at_ms: float = 0
    """When, if that isn't the event's time; numbers of a protobuf Struct are floats."""


class Detail(msgspec.Struct, frozen=True):
    """What an event says about the decisions of one call."""

    decisions: Sequence[Recorded] = ()
    contexts: Sequence[dict[str, Any]] = ()
    policy_revision: str = ""


class Event(msgspec.Struct, frozen=True):
    """An audit event as ``argy audit`` prints it; other fields don't matter here."""

    actor: str
    action: str
    org_id: str = ""
    occur_time: datetime | None = None
    record_time: datetime | None = None
    detail: Detail = Detail()

    @property
    def at_ms(self) -> int:
        """When it was asked, milliseconds since the Unix epoch."""
        return milliseconds(self.occur_time or self.record_time) or 0


@dataclass(frozen=True, slots=True, order=True)
class Example:
    """One question that would be answered differently."""

    action: str
    resource: str
    org: str
    at_ms: int
    before: str
    """Reason and rule, as recorded."""
    after: str


@dataclass(slots=True)
class Flips:
    """Flips of one kind, asked by one service about one subject."""

    before: str
    after: str
    actor: str
    subject: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What a replay found."""

    decisions: int = 0
    same: int = 0
    drifted: int = 0
    undecidable: dict[str, int] = field(default_factory=dict)
    """Reason to how many."""
    flips: dict[tuple[str, str, str, str], Flips] = field(default_factory=dict)
    untold: int = 0
    """Flips beyond ``MAX_GROUPS``."""

    @property
    def flipped(self) -> int:
        """How many would be answered differently."""
        return sum(group.count for group in self.flips.values()) + self.untold

    def kinds(self) -> dict[str, int]:
        """How many flips there are of each kind: ``ALLOW → DENY``."""
        found: dict[str, int] = {}
        for group in self.flips.values():
            kind = f"{group.before} → {group.after}"
            found[kind] = found.get(kind, 0) + group.count
        return dict(sorted(found.items()))

    def groups(self) -> list[Flips]:
        """The flips, the most frequent first."""
        return sorted(
            self.flips.values(),
            key=lambda item: (-item.count, item.actor, item.subject, item.before, item.after),
        )


class Replay:
    """Takes events one by one and keeps count.

    ``orgs`` maps an org's UUID to its slug; ``base`` decides under the policy in force.
    """

    def __init__(
        self,
        proposed: TenantSnapshot,
        orgs: Mapping[str, str],
        base: TenantSnapshot | None = None,
    ) -> None:
        self._proposed = proposed
        self._base = base
        self._orgs = orgs
        self.report = Report()

    def take(self, event: Event) -> None:
        """Decide again what an event tells of; events of other actions are passed over.

        Raises:
            InvalidArgument: ``NUMBER_INEXACT``: nobody can have asked with such a context.
        """
        if event.action != ACTION:
            return
        org = self._orgs.get(event.org_id, "") if event.org_id else ""
        known = bool(org) or not event.org_id
        at_ms = event.at_ms
        contexts = event.detail.contexts
        for recorded in event.detail.decisions:
            if recorded.context_at is not None and recorded.context_at < len(contexts):
                recorded = msgspec.structs.replace(
                    recorded, context=contexts[int(recorded.context_at)]
                )
            count = int(recorded.count)
            self.report.decisions += count
            if known:
                self._decide(event.actor, org, recorded, int(recorded.at_ms) or at_ms, count)
            else:
                self._undecidable(ORG, count)

    def _decide(self, actor: str, org: str, asked: Recorded, at_ms: int, count: int) -> None:
        report = self.report
        if asked.reason == SCOPE_INSUFFICIENT:
            # No policy was asked, then or now.
            self._undecidable(SCOPES, count)
            return
        if asked.context_omitted and any(
            takes_context(snapshot, asked.subject, org, asked.resource, asked.action, at_ms)
            for snapshot in (self._proposed, self._base)
            if snapshot is not None
        ):
            self._undecidable(CONTEXT, count)
            return
        refuse_inexact(asked.context)
        question = (asked.subject, org, asked.resource, asked.action, asked.context, at_ms)
        decision = self._proposed.check(*question)
        after = decision.effect
        # What an approver allowed once is asked for again: that is no change of policy.
        redeemed = asked.reason == APPROVED and after == "NEEDS_APPROVAL"
        if after == asked.effect or redeemed:
            report.same += count
            return
        if self._base is not None and self._base.check(*question).effect == after:
            report.drifted += count
            return
        key = (asked.effect, after, actor, asked.subject)
        group = report.flips.get(key)
        if group is None:
            if len(report.flips) >= MAX_GROUPS:
                report.untold += count
                return
            group = report.flips[key] = Flips(*key)
        group.count += count
        if len(group.examples) < MAX_EXAMPLES:
            before = f"{asked.reason} {asked.rule}".strip()
            example = Example(asked.action, asked.resource, org, at_ms, before, _why(decision))
            if all((e.action, e.resource, e.org) != (example.action, example.resource, example.org)
                   for e in group.examples):  # fmt: skip
                group.examples.append(example)

    def _undecidable(self, reason: str, count: int) -> None:
        self.report.undecidable[reason] = self.report.undecidable.get(reason, 0) + count


def _why(decision: Decision) -> str:
    rule = decision.rule
    return f"{decision.reason} {rule.file}:{rule.line}" if rule else decision.reason


def takes_context(
    snapshot: TenantSnapshot, subject: str, org: str, obj: str, act: str, now_ms: int
) -> bool:
    """Whether the answer may depend on the facts of the request; in doubt it does."""
    policy = snapshot.policy
    held = snapshot.holding(subject, org, now_ms)
    if held.fixed is not None:
        return False
    if not policy.compiled:
        return True
    kind = obj.partition(":")[0]
    lines: list[Rule | ApprovalRule] = [
        item.rule for item in policy.candidates(held.view.paths, held.view.domain, kind, act)
    ]
    lines += [gate.rule for gate in policy.gates(held.view.domain, kind, act)]
    return any("ctx" in line.condition and compiled_glob(line.obj).matches(obj) for line in lines)


_DECODER: Final = msgspec.json.Decoder(Event)


def read_event(line: bytes, number: int) -> Event | None:
    """One line of a file of events; ``None`` for an empty one.

    Raises:
        InvalidArgument: when it is no audit event, naming the line.
    """
    if not line.strip():
        return None
    try:
        return _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(
            f"line {number} is not an audit event: {error}", field="events"
        ) from error


def replay(
    events: Iterable[Event],
    proposed: TenantSnapshot,
    orgs: Mapping[str, str],
    base: TenantSnapshot | None = None,
) -> Report:
    """Decide all of ``events`` again; see ``Replay``."""
    run = Replay(proposed, orgs, base)
    for event in events:
        run.take(event)
    return run.report

"""One tenant that a local authorizer answers for."""

import asyncio
import time
from typing import Final

from argy.base.errors import Unavailable
from argy.client.approvals import need_of
from argy.client.authorizer import Answer
from argy.client.replica import ReplicaState, TenantReplica
from argy.policy import Decision, TenantSnapshot

_MAX_ANSWERS: Final = 65_536


class ReplicatedTenant:
    """A replica with what makes answering from it cheap."""

    __slots__ = ("answers", "changed", "fresh_until_s", "loud", "replica", "task")

    def __init__(self, replica: TenantReplica) -> None:
        """Nothing is answered yet."""
        self.replica = replica
        self.answers: dict[int, tuple[Decision, Answer]] = {}
        """Answers by the identity of their decision, which the entry keeps alive."""
        self.fresh_until_s = float("-inf")
        self.changed = asyncio.Event()
        self.loud = ReplicaState.LOADING
        """The state that was logged last."""
        self.task: asyncio.Task[None] | None = None

    def answer(self, snapshot: TenantSnapshot, decision: Decision) -> Answer:
        """What a decision is to who asked; remembered."""
        rule = decision.rule
        answer = Answer(
            allowed=decision.allowed,
            effect=decision.effect,
            reason=decision.reason,
            rule="" if rule is None else f"{rule.file}:{rule.line}",
            role_path=decision.role_path,
            policy_revision=snapshot.policy.revision,
            revision=self.replica.token,
            approvals=tuple(need_of(line) for line in decision.approvals),
        )
        if len(self.answers) >= _MAX_ANSWERS:
            self.answers = {}
        self.answers[id(decision)] = (decision, answer)
        return answer

    def unusable(self) -> Unavailable:
        """Why there is no answer: ``REPLICA_LOADING`` or ``REPLICA_STALE``."""
        replica = self.replica
        if replica.snapshot is None:
            return Unavailable(
                f"tenant {replica.tenant_id} is not here yet", reason="REPLICA_LOADING"
            )
        return Unavailable(
            f"nothing was heard of tenant {replica.tenant_id} for"
            f" {time.monotonic() - replica.heard_s:.1f} s: {replica.problem or 'silence'}",
            reason="REPLICA_STALE",
        )

"""The records of sign-in: who did what from where, and how it ended; never a secret."""

from dataclasses import asdict
from typing import Final
from uuid import UUID

from argy.authn.sessions.domain import DeviceInfo
from argy.base.clock import Clock
from argy.base.errors import ArgyError
from argy.rpc.call import Call
from argy.store.database import Database, Tx
from argy.trail.records import AuditRecord, Outcome, record

NOBODY: Final = "user:-"
"""The resource of a ceremony of somebody who is not known."""


def subject_of(user_id: UUID | None) -> str:
    """A person as subject and as resource."""
    return NOBODY if user_id is None else f"user:{user_id}"


class SignInLog:
    """Writes the records of ceremonies."""

    __slots__ = ("_clock", "_db")

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def done(
        self,
        tx: Tx,
        call: Call,
        action: str,
        resource: str,
        *,
        actor: str = "",
        subject: str = "",
        device: DeviceInfo | None = None,
        outcome: Outcome = "SUCCESS",
        reason: str = "",
        **detail: object,
    ) -> None:
        """Record in the transaction of the change; counts as the call's audit.

        ``actor`` is the person who just proved who they are, where the call can't tell yet;
        ``subject`` whom it is about, where that is neither they nor the resource.
        """
        told = {**detail, **({} if device is None else {"device": asdict(device)})}
        await record(
            tx,
            AuditRecord.of(
                call,
                action,
                resource,
                actor=actor,
                subject=subject,
                outcome=outcome,
                reason=reason,
                detail=told or None,
                occurred_at_ms=self._clock.now_ms(),
            ),
            call,
        )

    async def refused(
        self,
        call: Call,
        action: str,
        resource: str,
        error: ArgyError,
        *,
        device: DeviceInfo | None = None,
        passkey: str = "",
    ) -> None:
        """Record a ceremony that failed, in a transaction of its own."""
        async with self._db.tenant(call.tenant_id) as tx:
            await self.done(
                tx,
                call,
                action,
                resource,
                device=device,
                outcome="DENIED",
                reason=error.reason,
                passkey=passkey,
            )

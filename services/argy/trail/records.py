"""Write audit events: in the transaction of the change they tell of, or many at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from argy.base.errors import InvalidArgument
from argy.base.ids import uuid7, uuid7_millis
from argy.rpc.call import Call
from argy.store.database import Tx
from argy.store.queries import Queries

Outcome = Literal["SUCCESS", "FAILURE", "DENIED"]

MAX_DETAIL_BYTES: Final = 32_768
_ENCODER: Final = msgspec.json.Encoder()
_Q: Final = Queries.load(__package__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Who did what to which resource, and how it ended.

    ``actor``, ``on_behalf_of`` and ``subject`` are subjects (``user:<uuid>``), ``resource`` is
    ``<type>:<id>``. The actor proved to be who they are; ``on_behalf_of`` is whom a service named
    without a proof, ``via`` the service that called for the actor, ``subject`` whom the event is
    about, ``permission`` what a decision was asked (``type:action``). ``id`` is a UUIDv7 and is
    chosen here, so that writing the record again does not make a second event; its time is
    ``occurred_at_ms`` unless the caller gave one.
    """

    actor: str
    action: str
    resource: str
    outcome: Outcome = "SUCCESS"
    reason: str = ""
    org_id: UUID | None = None
    on_behalf_of: str = ""
    via: str = ""
    subject: str = ""
    permission: str = ""
    request_id: str = ""
    trace_id: str = ""
    detail: Mapping[str, Any] | None = None
    occurred_at_ms: int | None = None
    id: UUID = field(default_factory=uuid7)

    @classmethod
    def of(
        cls, call: Call, action: str, resource: str, *, actor: str = "", **more: Any
    ) -> "AuditRecord":
        """The record of what a call did; ``more`` are further fields.

        ``actor`` is who just proved to be somebody, where the call can't tell yet. What is done to
        another person is about them, unless ``subject`` says otherwise.
        """
        who = actor or call.actor
        another = resource.startswith("user:") and resource not in (who, "user:-")
        more["subject"] = more.get("subject") or (resource if another else "")
        service = f"service:{call.source}"
        given: dict[str, Any] = {
            "org_id": call.org_id,
            "on_behalf_of": call.acts_for,
            "via": "" if who == service else service,
            "request_id": call.request_id,
            "trace_id": call.trace_id,
        }
        return cls(actor=who, action=action, resource=resource, **(given | more))

    def detail_json(self) -> str | None:
        """Return the detail as compact JSON, in which what is no number (NaN) is null.

        Raises:
            InvalidArgument: if it is not JSON or over ``MAX_DETAIL_BYTES``.
        """
        if self.detail is None:
            return None
        try:
            text = _ENCODER.encode(self.detail)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgument("The detail is not JSON", field="detail") from error
        if len(text) > MAX_DETAIL_BYTES:
            raise InvalidArgument("The detail is too long", field="detail")
        return text.decode()

    def row(self) -> tuple[object, ...]:
        """Return the values in the order of the insert queries, without the tenant."""
        occurred = uuid7_millis(self.id) if self.occurred_at_ms is None else self.occurred_at_ms
        return (
            self.id,
            self.org_id,
            self.actor,
            self.on_behalf_of,
            self.via,
            self.subject,
            self.permission,
            self.action,
            self.resource,
            self.outcome,
            self.reason,
            occurred,
            self.request_id,
            self.trace_id,
            self.detail_json(),
        )


async def record(tx: Tx, rec: AuditRecord, call: Call | None = None) -> UUID:
    """Write one event in the given transaction: both are durable, or neither is.

    ``call`` is whose change it tells of: the call has its record then.
    """
    await tx.execute(_Q.insert_event, tx.tenant_id, *rec.row())
    if call is not None:
        call.mark_audited()
    return rec.id


async def record_many(tx: Tx, recs: Sequence[AuditRecord]) -> list[UUID]:
    """Write events in one statement; an id that exists is not written twice. Returns the ids."""
    if recs:
        columns = [list(column) for column in zip(*(rec.row() for rec in recs), strict=True)]
        await tx.execute(_Q.insert_events, tx.tenant_id, *columns)
    return [rec.id for rec in recs]

"""Decisions in this process: microseconds, no network, and never silently out of date.

The platform streams its policy (signed, verified here) and the facts of the tenants that this
service serves; each decision is the engine's own, on the same snapshots as the platform's. What is
decided is reported to the audit log in batches. When the stream falls silent the replica is stale
after ``max_silence_s``: visible in ``status``, and by default the end of its answers. Access tokens
are verified here too, against the keys and the ended sessions that the same stream tells.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from argy.base.errors import PermissionDenied
from argy.base.facts import refuse_inexact
from argy.client.authorizer import Answer, permitted
from argy.client.connection import Connection
from argy.client.decision_report import MAX_PENDING, DecisionReport, OnFull
from argy.client.replica import ReplicaStatus
from argy.client.replicated_tenants import ReplicatedTenants
from argy.client.token_replica import check_limits
from argy.policy.statements import PolicyTrust
from argy.rpc.access import own_facts
from argy.rpc.claims import Claims
from argy.rpc.provisional import check_not_provisional

OnStale = Literal["refuse", "serve"]


class LocalAuthorizer:
    """Decides for the tenants that it replicates; an async context manager.

    async with LocalAuthorizer(
        connection, tenants=[tenant], trust=PolicyTrust(control, authors)
    ) as authorizer:
        authorizer.require("user:…", "refund", "invoice:7", tenant_id=tenant)

    The service needs ``authz.replica:read`` in each tenant, and ``audit.event:record`` to report.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        tenants: Sequence[UUID],
        trust: PolicyTrust,
        max_silence_s: float = 3.0,
        on_stale: OnStale = "refuse",
        report: bool = True,
        on_report_full: OnFull = "refuse",
    ) -> None:
        """Say what to replicate and whom to believe.

        Args:
            connection: the signed connection; stays the caller's to close.
            tenants: the tenants to replicate; ``add`` takes more later.
            trust: whose signatures put a policy in force: the public keys of the control plane, and
                of the authors and CI that sign bundles.
            max_silence_s: silence after which a replica is stale; the platform speaks each second.
            on_stale: ``refuse`` raises, ``serve`` answers from what was last known.
            report: whether decisions go to the audit log.
            on_report_full: ``refuse`` raises when decisions can't be reported, ``drop`` counts.
        """
        self._wanted = tuple(dict.fromkeys(tenants))
        self._max_silence_s = max_silence_s
        self._serve_stale = on_stale == "serve"
        self._tenants = ReplicatedTenants(connection, trust, max_silence_s=max_silence_s)
        self._report = DecisionReport(connection, on_full=on_report_full) if report else None

    async def __aenter__(self) -> "LocalAuthorizer":
        """Start, and wait until every tenant is here."""
        await self.start()
        try:
            await self.ready()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def start(self) -> None:
        """Begin to replicate and to report."""
        if self._report is not None:
            self._report.start()
        for tenant_id in self._wanted:
            self.add(tenant_id)
        self._tenants.start()

    def add(self, tenant_id: UUID) -> None:
        """Replicate another tenant; ``ready`` waits for it."""
        self._tenants.add(tenant_id)

    async def remove(self, tenant_id: UUID) -> None:
        """Forget a tenant; questions about it are refused from now on."""
        await self._tenants.remove(tenant_id)

    async def ready(self, timeout_s: float = 10.0) -> None:
        """Wait until every tenant's replica is current.

        Raises:
            Unavailable: ``REPLICA_NOT_READY``, naming what is missing and why.
        """
        await self._tenants.ready(timeout_s)

    async def close(self) -> None:
        """Stop replicating; what was decided is reported first, for five seconds at most."""
        await self._tenants.close()
        if self._report is not None:
            await self._report.close()

    @property
    def reported(self) -> int:
        """Decisions that the audit log has."""
        return 0 if self._report is None else self._report.reported

    @property
    def lost(self) -> int:
        """Decisions that the audit log will never have."""
        return 0 if self._report is None else self._report.lost

    def status(self) -> list[ReplicaStatus]:
        """Every replica as it is now."""
        return self._tenants.status()

    def check(
        self,
        subject: str,
        action: str,
        resource: str,
        *,
        tenant_id: UUID,
        org_id: UUID | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Decide one question; see ``Authorizer.check`` for what the arguments are.

        Raises:
            FailedPrecondition: ``TENANT_NOT_REPLICATED``.
            InvalidArgument: ``NUMBER_INEXACT``.
            PermissionDenied: ``ORG_NOT_IN_TENANT``.
            Unavailable: ``REPLICA_LOADING`` or ``REPLICA_STALE``; treat it as a refusal.
            ResourceExhausted: ``DECISION_LOG_FULL``, when nothing more can be reported.
        """
        tenant = self._tenants.of(tenant_id)
        replica = tenant.replica
        snapshot = replica.snapshot
        if snapshot is None or (time.monotonic() > tenant.fresh_until_s and not self._serve_stale):
            raise tenant.unusable()
        org = ""
        if org_id is not None:
            org = replica.orgs.get(org_id, "")
            if not org:
                raise PermissionDenied(
                    "The organization does not belong to the tenant",
                    reason="ORG_NOT_IN_TENANT",
                    field="org_id",
                )
        if context:
            refuse_inexact(context)
        report = self._report
        full = report is not None and len(report.pending) >= MAX_PENDING
        if full and report is not None:
            report.overflow(tenant_id)
        now_ms = time.time_ns() // 1_000_000
        decision = snapshot.check(subject, org, resource, action, context, now_ms)
        known = tenant.answers.get(id(decision))
        answer = known[1] if known is not None else tenant.answer(snapshot, decision)
        if report is not None and not full:
            report.pending.append(
                (tenant_id, org_id, subject, action, resource, context, decision, answer, now_ms)
            )
        return answer

    def require(
        self,
        subject: str,
        action: str,
        resource: str,
        *,
        tenant_id: UUID,
        org_id: UUID | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Like ``check``, but a refusal is raised, so that it can't be forgotten.

        Raises:
            PermissionDenied: with reason ``ACCESS_DENIED`` unless the decision is ALLOW.
        """
        answer = self.check(
            subject, action, resource, tenant_id=tenant_id, org_id=org_id, context=context
        )
        return permitted(answer, action, resource)

    def verify_token(self, token: str, *, tenant_id: UUID) -> Claims:
        """Whose access token this is, if it is good and was not ended.

        An ended session is known here within a second. What was last known is never good enough
        for a token: ``on_stale`` is about decisions alone. Works from the first moment that the
        platform says what was ended, which may be just after ``ready``.

        Raises:
            FailedPrecondition: ``TENANT_NOT_REPLICATED``.
            Unauthenticated: with a reason that starts with ``TOKEN_``: not signed by the platform
                with RS256, of another tenant, expired, ended.
            Unavailable: ``REVOCATIONS_UNKNOWN`` when the platform never said what was ended,
                ``REVOCATIONS_STALE`` when it fell silent; treat it as a refusal.
        """
        tokens = self._tenants.of(tenant_id).replica.tokens
        return tokens.verify(token, max_silence_s=self._max_silence_s)

    def check_token(
        self,
        token: str,
        action: str,
        resource: str,
        *,
        tenant_id: UUID,
        org_id: UUID | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Verify an access token, and decide for whose it is; its scopes and its org limit it.

        Conditions see in ``ctx.auth`` what the token says of the sign-in, as they do where the
        platform decides; an ``auth`` in ``context`` is not believed.

        Raises:
            PermissionDenied: ``ORG_NOT_IN_TOKEN`` when the token is bound to another org,
                ``SCOPE_INSUFFICIENT`` when its scopes name permissions, and not this one as
                ``<type>:<action>``; ``PASSKEY_REQUIRED`` when a link opened its session and no
                passkey was proved in it yet; and as ``check``.
            Unauthenticated, Unavailable: as ``verify_token``; and as ``check``.
        """
        claims = self.verify_token(token, tenant_id=tenant_id)
        check_not_provisional(claims)
        check_limits(claims, action, resource, org_id)
        facts = own_facts(context, claims, time.time_ns() // 1_000_000)
        return self.check(
            claims.subject, action, resource, tenant_id=tenant_id, org_id=org_id, context=facts
        )

    def require_token(
        self,
        token: str,
        action: str,
        resource: str,
        *,
        tenant_id: UUID,
        org_id: UUID | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Like ``check_token``, but a refusal is raised, so that it can't be forgotten.

        Raises:
            PermissionDenied: ``ACCESS_DENIED`` unless it is ALLOW; and as ``check_token``.
        """
        answer = self.check_token(
            token, action, resource, tenant_id=tenant_id, org_id=org_id, context=context
        )
        return permitted(answer, action, resource)

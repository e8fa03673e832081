"""The tenants that this process replicates: each kept current, and loud when it falls silent."""

import asyncio
import logging
import time
from typing import Final
from uuid import UUID

from argy.base.errors import FailedPrecondition, Unavailable
from argy.client.connection import Connection
from argy.client.replica import PolicyReader, ReplicaState, ReplicaStatus, TenantReplica
from argy.client.replicated_tenant import ReplicatedTenant
from argy.client.replicator import Replicator
from argy.policy.statements import PolicyTrust

_LOG: Final = logging.getLogger("argy.client")


class ReplicatedTenants:
    """Replicas by tenant, with the tasks that keep them."""

    def __init__(self, connection: Connection, trust: PolicyTrust, *, max_silence_s: float) -> None:
        self._replicator = Replicator(connection, PolicyReader(trust), max_silence_s=max_silence_s)
        self._max_silence_s = max_silence_s
        self._tenants: dict[UUID, ReplicatedTenant] = {}
        self._watchdog: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch for silence."""
        self._watchdog = asyncio.create_task(self._watch_silence(), name="replica-watchdog")

    def add(self, tenant_id: UUID) -> None:
        """Replicate another tenant; ``ready`` waits for it."""
        if tenant_id in self._tenants:
            return
        tenant = self._tenants[tenant_id] = ReplicatedTenant(TenantReplica(tenant_id))
        following = self._replicator.keep(
            tenant.replica, lambda rebuilt: self._applied(tenant, rebuilt)
        )
        tenant.task = asyncio.create_task(following, name=f"replica:{tenant_id}")

    async def remove(self, tenant_id: UUID) -> None:
        """Forget a tenant; questions about it are refused from now on."""
        tenant = self._tenants.pop(tenant_id, None)
        if tenant is not None and tenant.task is not None:
            tenant.task.cancel()
            await asyncio.gather(tenant.task, return_exceptions=True)

    async def ready(self, timeout_s: float = 10.0) -> None:
        """Wait until every tenant's replica is current.

        Raises:
            Unavailable: ``REPLICA_NOT_READY``, naming what is missing and why.
        """
        ends_s = time.monotonic() + timeout_s
        for tenant in list(self._tenants.values()):
            while self._state(tenant) is not ReplicaState.CURRENT:
                tenant.changed.clear()
                try:
                    async with asyncio.timeout(ends_s - time.monotonic()):
                        await tenant.changed.wait()
                except TimeoutError:
                    problem = tenant.replica.problem or "nothing was received"
                    raise Unavailable(
                        f"tenant {tenant.replica.tenant_id} is not replicated: {problem}",
                        reason="REPLICA_NOT_READY",
                    ) from None

    async def close(self) -> None:
        """Stop replicating."""
        tasks = [tenant.task for tenant in self._tenants.values() if tenant.task is not None]
        tasks += [self._watchdog] if self._watchdog is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tenants.clear()

    def status(self) -> list[ReplicaStatus]:
        """Every replica as it is now."""
        now_s = time.monotonic()
        return [
            tenant.replica.status(now_s, self._max_silence_s) for tenant in self._tenants.values()
        ]

    def of(self, tenant_id: UUID) -> ReplicatedTenant:
        """One of them; raises FailedPrecondition ``TENANT_NOT_REPLICATED``."""
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            raise FailedPrecondition(
                f"tenant {tenant_id} is not replicated here", reason="TENANT_NOT_REPLICATED"
            )
        return tenant

    def _state(self, tenant: ReplicatedTenant) -> ReplicaState:
        return tenant.replica.state(time.monotonic(), self._max_silence_s)

    def _applied(self, tenant: ReplicatedTenant, rebuilt: bool) -> None:
        """Something was heard; ``rebuilt`` says whether answers may differ from now on."""
        if rebuilt:
            tenant.answers = {}
        tenant.fresh_until_s = tenant.replica.heard_s + self._max_silence_s
        tenant.changed.set()
        self._tell(tenant)

    async def _watch_silence(self) -> None:
        """Log a replica that falls silent, when it does."""
        while True:
            await asyncio.sleep(self._max_silence_s / 4)
            for tenant in self._tenants.values():
                self._tell(tenant)

    def _tell(self, tenant: ReplicatedTenant) -> None:
        state = self._state(tenant)
        if state is tenant.loud:
            return
        replica, tenant.loud = tenant.replica, state
        if state is ReplicaState.STALE:
            _LOG.error(
                "replica of tenant %s is stale: %s", replica.tenant_id, replica.problem or "silence"
            )
        else:
            _LOG.info("replica of tenant %s is %s", replica.tenant_id, state.value.lower())

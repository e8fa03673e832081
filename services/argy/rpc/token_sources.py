"""What verifying access tokens stands on: the keys, and what was ended."""

from typing import Protocol
from uuid import UUID

from argy.rpc.jwt import PublicKeys
from argy.rpc.revoked import Revoked


class KeySource(Protocol):
    """The public keys that verify, by ``kid``."""

    def peek(self) -> PublicKeys:
        """The keys that are known now; no I/O. A mapping is never changed, but replaced."""
        ...

    async def refreshed(self, kid: str) -> PublicKeys:
        """The keys, asked for again if ``kid`` is not among them; bounded in how often.

        Raises:
            Unavailable: when nobody can say.
        """
        ...

    async def confirmed(self) -> PublicKeys:
        """The keys, asked for after this was called; raises Unavailable."""
        ...


class Revocations(Protocol):
    """Which tokens were ended before their time."""

    def peek(self, tenant_id: UUID) -> Revoked | None:
        """The tenant's list if a copy is here that is fresh enough to be believed; no I/O."""
        ...

    async def get(self, tenant_id: UUID) -> Revoked:
        """The tenant's list; raises Unavailable when it can't be had."""
        ...

    async def renewed(self, tenant_id: UUID) -> Revoked:
        """The tenant's list, read after this was called; raises Unavailable."""
        ...

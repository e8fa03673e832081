"""Room that tenants share: whoever fills its share is refused alone."""

from collections import Counter
from typing import Final
from uuid import UUID

NOBODY: Final = UUID(int=0)
"""Whose what is that no tenant answers for."""


class Shares:
    """Bounds what each tenant holds by what is left for the others.

    A tenant may take more while it holds less than is free: one alone gets half of the room, each
    of n gets 1/(n+1), and as much stays free for whoever comes next (the dynamic threshold of
    shared buffers, Choudhury and Hahne 1998, with a factor of one).
    """

    __slots__ = ("_held", "_most", "total")

    def __init__(self, most: int) -> None:
        """``most`` is the room as a whole, in any unit."""
        self._most = most
        self._held: Counter[UUID] = Counter()
        self.total = 0

    def full(self, tenant_id: UUID) -> bool:
        """Whether a tenant holds its share."""
        return self._held[tenant_id] >= self._most - self.total

    def take(self, tenant_id: UUID, amount: int) -> None:
        """Count what a tenant takes; ``full`` is asked before."""
        self._held[tenant_id] += amount
        self.total += amount

    def give(self, tenant_id: UUID, amount: int) -> None:
        """Count what it gives back."""
        self._held[tenant_id] -= amount
        self.total -= amount
        if self._held[tenant_id] <= 0:
            del self._held[tenant_id]

"""The policy in force: one reference, swapped whole."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from argy.policy import CompiledPolicy
from argy.policy.bundle import Bundle
from argy.policy.statements import Activation

Subscriber = Callable[[], None]


@dataclass(frozen=True, slots=True, eq=False)
class InForce:
    """A policy with the activation that put it in force; without one in tools and tests only."""

    policy: CompiledPolicy
    activation: Activation | None = None
    bundle: Bundle | None = field(default=None, repr=False)
    statement: bytes = field(default=b"", repr=False)
    """The activation, signed."""
    envelope: bytes = field(default=b"", repr=False)
    """The bundle, signed."""

    @property
    def sequence(self) -> int:
        """The activation's sequence; 0 without one."""
        return 0 if self.activation is None else self.activation.sequence

    @property
    def digest(self) -> str:
        """The bundle's digest; empty without one."""
        return "" if self.bundle is None else self.bundle.digest


class PolicyHolder:
    """Holds the active policy. A reader takes the reference once and keeps it for its decision."""

    __slots__ = ("_in_force", "_subscribers")

    def __init__(self, policy: CompiledPolicy | InForce) -> None:
        self._in_force = _in_force(policy)
        self._subscribers: Final[list[Subscriber]] = []

    @property
    def in_force(self) -> InForce:
        """The active policy with its activation."""
        return self._in_force

    @property
    def current(self) -> CompiledPolicy:
        """The active policy."""
        return self._in_force.policy

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber`` after each activation."""
        self._subscribers.append(subscriber)

    def activate(self, policy: CompiledPolicy | InForce) -> None:
        """Put a policy in force; decisions under way finish on the one they began with."""
        self._in_force = _in_force(policy)
        for subscriber in self._subscribers:
            subscriber()


def _in_force(policy: CompiledPolicy | InForce) -> InForce:
    return policy if isinstance(policy, InForce) else InForce(policy)

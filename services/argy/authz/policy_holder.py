"""The policy in force: one reference, swapped whole."""

from collections.abc import Callable
from typing import Final

from argy.policy import CompiledPolicy

Subscriber = Callable[[], None]


class PolicyHolder:
    """Holds the active policy. A reader takes the reference once and keeps it for its decision."""

    __slots__ = ("_current", "_subscribers")

    def __init__(self, policy: CompiledPolicy) -> None:
        self._current = policy
        self._subscribers: Final[list[Subscriber]] = []

    @property
    def current(self) -> CompiledPolicy:
        """The active policy."""
        return self._current

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber`` after each activation."""
        self._subscribers.append(subscriber)

    def activate(self, policy: CompiledPolicy) -> None:
        """Put a policy in force; decisions under way finish on the one they began with."""
        self._current = policy
        for subscriber in self._subscribers:
            subscriber()

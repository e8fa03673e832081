"""A bound on the time that work on a policy may take: globs, matrices and domains multiply.

Whoever works on what others wrote does so within ``budget``; loops that such a text can lengthen
call what ``spender`` gives. Without a budget it costs nothing and bounds nothing.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ClassVar, Final

from argy.base.errors import InvalidArgument

Spend = Callable[[], None]


class OverBudget(InvalidArgument):
    """Work on a policy that took more time than it may."""

    default_reason: ClassVar[str] = "POLICY_TOO_COSTLY"


def _freely() -> None:
    """Spend without a bound."""


_SPEND: Final[ContextVar[Spend]] = ContextVar("argy_policy_budget", default=_freely)


@contextmanager
def budget(limit_s: float, clock: Callable[[], float] = time.thread_time) -> Iterator[None]:
    """Bound what is done inside to ``limit_s`` seconds of this thread's processor time.

    Raises:
        OverBudget: from the next call of a spender, once the time is over.
    """
    ends_s = clock() + limit_s

    def spend() -> None:
        if clock() > ends_s:
            raise OverBudget(
                f"the policy takes more than {limit_s:g} s of processor time to look at: "
                "ask fewer questions, use fewer stars and domains, or change less at once"
            )

    token = _SPEND.set(spend)
    try:
        yield
    finally:
        _SPEND.reset(token)


def spender() -> Spend:
    """What to call in loops; raises ``OverBudget`` when the budget around is used up."""
    return _SPEND.get()

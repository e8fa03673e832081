"""The call that a test of use cases makes, as its fixtures set it."""

from contextvars import ContextVar
from typing import Final

from argy.rpc.call import Call

CURRENT: Final[ContextVar[Call]] = ContextVar("current_call")

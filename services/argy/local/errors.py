"""Why a local server could not be started, and what to do about it."""

from argy.base.errors import FailedPrecondition


class LocalError(FailedPrecondition):
    """A local server or its files are not in a state to be used; the message says what to do."""

    default_reason = "LOCAL_START_FAILED"


class AlreadyRunning(LocalError):
    """Another live process owns the folder; ``pid`` is that process."""

    default_reason = "LOCAL_ALREADY_RUNNING"

    def __init__(self, message: str, *, pid: int) -> None:
        super().__init__(message)
        self.pid = pid

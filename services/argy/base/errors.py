"""The one error family: public message, stable reason, and the field or metadata that explains it.

Each subclass maps to exactly one gRPC status code (``argy.rpc.errors``). The message is shown to
the caller; whatever must stay private belongs in the log, attached as ``__cause__``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One request field that was refused, and what to send instead (``google.rpc.BadRequest``)."""

    field: str
    description: str


class ArgyError(Exception):
    """An error that a caller can act on.

    ``reason`` is UPPER_SNAKE and stable (AIP-193 ``ErrorInfo.reason``); ``field`` names the request
    field at fault; ``metadata`` adds public key/value detail.
    """

    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        violations: Sequence[FieldViolation] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.violations = tuple(violations) or (
            (FieldViolation(field, message),) if field is not None else ()
        )
        self.metadata = dict(metadata or {})
        self.retry_after_ms = retry_after_ms

    @property
    def field(self) -> str | None:
        """The first field at fault, if any."""
        return self.violations[0].field if self.violations else None


class InvalidArgument(ArgyError):
    """The request is malformed whatever the state of the system."""

    default_reason = "INVALID_ARGUMENT"


class Unauthenticated(ArgyError):
    """Who is calling could not be established."""

    default_reason = "UNAUTHENTICATED"


class PermissionDenied(ArgyError):
    """The caller is known and may not do this."""

    default_reason = "PERMISSION_DENIED"


class NotFound(ArgyError):
    """The resource does not exist in this tenant."""

    default_reason = "NOT_FOUND"


class AlreadyExists(ArgyError):
    """A resource with this identity exists."""

    default_reason = "ALREADY_EXISTS"


class FailedPrecondition(ArgyError):
    """The system's state refuses the call; retrying without changing it will not help."""

    default_reason = "FAILED_PRECONDITION"


class Aborted(ArgyError):
    """A concurrent change won; read again and retry."""

    default_reason = "ABORTED"


class ResourceExhausted(ArgyError):
    """A limit on size, rate or count was met."""

    default_reason = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(ArgyError):
    """The deadline passed before the answer was ready."""

    default_reason = "DEADLINE_EXCEEDED"


class Unavailable(ArgyError):
    """A part that this call needs is away; safe to retry with a fresh nonce."""

    default_reason = "UNAVAILABLE"


class Unimplemented(ArgyError):
    """The method is not served here."""

    default_reason = "UNIMPLEMENTED"

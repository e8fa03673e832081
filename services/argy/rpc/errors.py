"""Our errors as ``google.rpc.Status``, and back (AIP-193: exactly one ErrorInfo)."""

from collections.abc import Mapping
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from argy.base import errors as family
from argy.base.errors import ArgyError, FieldViolation

Context = grpc.aio.ServicerContext[Any, Any]

ERROR_DOMAIN: Final = "argy"
DETAILS_KEY: Final = "grpc-status-details-bin"

_CODES: Final[Mapping[type[ArgyError], grpc.StatusCode]] = {
    family.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    family.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    family.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    family.NotFound: grpc.StatusCode.NOT_FOUND,
    family.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    family.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    family.Aborted: grpc.StatusCode.ABORTED,
    family.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    family.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    family.Unavailable: grpc.StatusCode.UNAVAILABLE,
    family.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
}
_CLASSES: Final[Mapping[grpc.StatusCode, type[ArgyError]]] = {
    **{code: kind for kind, code in _CODES.items()},
    # Whoever gives up a call here gets asyncio's CancelledError: a call that comes back as
    # cancelled was ended by a server that stops.
    grpc.StatusCode.CANCELLED: family.Unavailable,
}


def status_code(error: ArgyError) -> grpc.StatusCode:
    """The gRPC status code of an error; INTERNAL for the base class itself."""
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return grpc.StatusCode.INTERNAL


def to_status(error: ArgyError) -> Status:
    """The error as ``google.rpc.Status`` with its details."""
    status = Status(code=Code.Value(status_code(error).name), message=error.message)
    details: list[Any] = [
        ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=error.metadata)
    ]
    if error.violations:
        details.append(
            BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(field=v.field, description=v.description)
                    for v in error.violations
                ]
            )
        )
    if error.retry_after_ms is not None:
        retry = RetryInfo()
        retry.retry_delay.FromMilliseconds(error.retry_after_ms)
        details.append(retry)
    for detail in details:
        status.details.add().Pack(detail)
    return status


async def abort(context: Context, error: ArgyError) -> NoReturn:
    """End the call with the error; never returns."""
    await context.abort(
        status_code(error),
        error.message,
        ((DETAILS_KEY, to_status(error).SerializeToString()),),
    )
    raise AssertionError("abort always raises")


def from_rpc_error(error: grpc.aio.AioRpcError) -> ArgyError:
    """The error that the server meant; the transport's own errors have reason ``TRANSPORT``."""
    kind = _CLASSES.get(error.code(), ArgyError)
    reason = "TRANSPORT"
    violations: list[FieldViolation] = []
    metadata: dict[str, str] = {}
    retry_after_ms: int | None = None
    for detail in _details(error):
        if detail.Is(ErrorInfo.DESCRIPTOR):
            info = ErrorInfo()
            detail.Unpack(info)
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Is(BadRequest.DESCRIPTOR):
            bad = BadRequest()
            detail.Unpack(bad)
            violations = [FieldViolation(v.field, v.description) for v in bad.field_violations]
        elif detail.Is(RetryInfo.DESCRIPTOR):
            retry = RetryInfo()
            detail.Unpack(retry)
            retry_after_ms = retry.retry_delay.ToMilliseconds()
    rebuilt = kind(
        error.details() or error.code().name,
        reason=reason,
        violations=violations,
        metadata=metadata,
        retry_after_ms=retry_after_ms,
    )
    rebuilt.__cause__ = error
    return rebuilt


def _details(error: grpc.aio.AioRpcError) -> list[AnyMessage]:
    trailing: Any = error.trailing_metadata()
    for key, value in trailing or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            status = Status()
            status.ParseFromString(value)
            return list(status.details)
    return []

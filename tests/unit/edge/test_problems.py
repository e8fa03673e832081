"""Errors as problem details, without what stands between the edge and the services."""

import json

import pytest

from argy.base import errors as family
from argy.base.errors import ArgyError, InvalidArgument, PermissionDenied, Unauthenticated
from argy.edge.problems import from_service, http_status, problem


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidArgument("x"), 400),
        (Unauthenticated("x"), 401),
        (PermissionDenied("x"), 403),
        (family.NotFound("x"), 404),
        (InvalidArgument("x", reason="METHOD_NOT_ALLOWED"), 405),
        (family.ResourceExhausted("x"), 429),
        (family.ResourceExhausted("x", reason="BODY_TOO_LARGE"), 413),
        (family.Unavailable("x"), 503),
        (ArgyError("x"), 500),
    ],
)
def test_each_error_has_one_status(error: ArgyError, status: int) -> None:
    assert http_status(error) == status


def test_a_problem_names_reason_fields_and_request() -> None:
    error = InvalidArgument("/subject is required", reason="INVALID_FIELD", field="/subject")
    start, body = problem(error, "req-1")
    told = json.loads(body["body"])
    assert told["reason"] == "INVALID_FIELD"
    assert told["status"] == start["status"] == 400
    assert told["request_id"] == "req-1"
    assert told["errors"] == [{"pointer": "/subject", "detail": "/subject is required"}]
    assert (b"content-type", b"application/problem+json") in start["headers"]


@pytest.mark.parametrize(
    "error",
    [
        family.Unavailable("failed to connect to ipv4:10.0.0.7:7443", reason="TRANSPORT"),
        PermissionDenied("proxy at 10.0.0.7 said no", reason="TRANSPORT"),
        Unauthenticated("key 'k1' is not live", reason="KEY_UNKNOWN"),
        ArgyError("asyncpg at 10.0.0.7", reason="INTERNAL"),
        family.DeadlineExceeded("Deadline of 10.0.0.7"),
        family.FailedPrecondition("10.0.0.7"),
    ],
)
def test_what_is_behind_the_edge_is_not_told(error: ArgyError) -> None:
    told = from_service(error, "req-1")
    assert http_status(told) >= 500
    assert "10.0.0.7" not in told.message
    assert "k1" not in told.message


def test_a_refusal_of_the_caller_passes_as_it_is() -> None:
    error = PermissionDenied("Permission 'check' denied", reason="ACCESS_DENIED")
    told = from_service(error, "req-1")
    assert (told.message, told.reason, http_status(told)) == (error.message, error.reason, 403)

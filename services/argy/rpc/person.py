"""What handlers ask of the person who calls: to be one, and to have proved it lately."""

from typing import Final
from uuid import UUID

from argy.base.errors import FailedPrecondition, PermissionDenied, Unauthenticated
from argy.rpc.call import Call
from argy.rpc.claims import Claims

STEP_UP_S: Final = 300
"""How long ago, in seconds, who changes how they sign in may have proved who they are."""
_USER: Final = "user:"


def require_person(call: Call) -> UUID:
    """The id of the user whose access token came with the call.

    Raises:
        Unauthenticated: ``PERSON_REQUIRED``, when a service or an agent calls, or a service that
            only says for whom it acts.
    """
    if call.claims is None or not call.caller.startswith(_USER):
        raise Unauthenticated(
            "this is for signed-in people: send authorization: Bearer <access token>",
            reason="PERSON_REQUIRED",
            field="authorization",
        )
    return UUID(call.caller.removeprefix(_USER))


def require_proof(call: Call) -> None:
    """Hold a call to a person's own access token or personal access token.

    Raises:
        PermissionDenied: ``PROOF_REQUIRED``, for a service, an agent, or whom a service names.
    """
    if not (call.credential and call.caller.startswith(_USER)):
        raise PermissionDenied(
            "people answer for this themselves: sign in with `argy login`, or send authorization: "
            "Bearer <a token of your own>",
            reason="PROOF_REQUIRED",
            field="authorization",
        )


def require_claims(call: Call) -> Claims:
    """What the access token says; raises as ``require_person`` does."""
    require_person(call)
    claims = call.claims
    assert claims is not None  # noqa: S101 - just checked
    return claims


def require_recent(call: Call, max_age_s: int = STEP_UP_S) -> None:
    """Hold a person to having proved who they are within ``max_age_s`` seconds (RFC 9470).

    Raises:
        Unauthenticated: as ``require_person``.
        FailedPrecondition: ``STEP_UP_REQUIRED``, with ``max_age_s``.
    """
    claims = require_claims(call)
    if call.received_ms // 1000 - claims.auth_time_s > max_age_s:
        raise FailedPrecondition(
            f"prove who you are once more: it was more than {max_age_s} s ago",
            reason="STEP_UP_REQUIRED",
            metadata={"max_age_s": str(max_age_s)},
        )

"""Who may change a person's own passkeys: that person, signed in themselves, and lately."""

from uuid import UUID

from argy.authn.sessions.domain import PROVISIONAL_AGE_S, PROVISIONAL_S
from argy.base.errors import PermissionDenied
from argy.rpc.call import Call
from argy.rpc.claims import ACR_PROVISIONAL
from argy.rpc.person import STEP_UP_S, require_claims, require_person, require_recent


def require_own_sign_in(call: Call) -> UUID:
    """The person who calls, signed in at a browser.

    Raises:
        Unauthenticated: ``PERSON_REQUIRED``.
        PermissionDenied: ``NOT_SIGNED_IN``, for a device that was let in, which must not become
            more than it was let in for, and for a token that is bound to an org.
    """
    user_id, claims = require_person(call), require_claims(call)
    if "device" in claims.amr or claims.org_id is not None:
        raise PermissionDenied("Sign in to change how you sign in", reason="NOT_SIGNED_IN")
    return user_id


def require_may_register(call: Call) -> UUID:
    """Whoever may register a passkey: with a recent proof, or in a provisional session.

    Of the latter nothing is left after ``PROVISIONAL_S``, though a token of it may last longer.

    Raises:
        FailedPrecondition: ``STEP_UP_REQUIRED``.
        And as ``require_own_sign_in``.
    """
    user_id = require_own_sign_in(call)
    provisional = require_claims(call).acr == ACR_PROVISIONAL
    require_recent(call, PROVISIONAL_AGE_S + PROVISIONAL_S if provisional else STEP_UP_S)
    return user_id


def proved_passkey(call: Call) -> bool:
    """Whether the proof of whoever calls is that of a passkey: no link renews one."""
    return "passkey" in require_claims(call).amr

"""Who may have a credential made, and what is told of it: held to by every way of making one."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from argy.authn.credentials.domain import (
    Credential,
    Kind,
    beyond_rights,
    expiry,
    unknown_credential,
)
from argy.authn.credentials.rights import Rights
from argy.authn.security_notices import store as security_notice_store
from argy.authn.sessions.domain import DeviceInfo
from argy.authn.sessions.service import require_tenant_scope
from argy.base.secret_token import new_token
from argy.rpc.access import ANY
from argy.rpc.call import Call
from argy.rpc.credentials import API_KEY, PAT
from argy.rpc.person import require_claims, require_recent
from argy.rpc.stages import ACT_FOR
from argy.store.database import Tx

_MAKE: Final[dict[Kind, str]] = {
    "KEY": "authn.api_key:create",
    "SERVICE": "authn.service_key:create",
}
_ASKED_OF: Final = {ACT_FOR: "user/-"}
"""Which resources of its type a scope is asked of, where it is held on some of them only."""


_SECRET_KIND: Final[dict[Kind, str]] = {"TOKEN": PAT, "KEY": API_KEY}


def random_secret(kind: Kind) -> str:
    """A new secret of a kind that has random ones."""
    return new_token(_SECRET_KIND[kind])


async def check_rights(
    rights: Rights, call: Call, kind: Kind, subject: str, scopes: Sequence[str], ends_at_ms: int
) -> None:
    """Each scope is held by its owner, and by whoever learns the secret for as long as it is good.

    A maker who is limited to scopes holds no others: it can't hand on more than it may. A personal
    access token hands nothing on: each use of it is held to what its owner may at that moment.

    Raises:
        PermissionDenied: ``SCOPE_BEYOND_RIGHTS``.
    """
    for scope in scopes:
        for who in dict.fromkeys((subject, call.caller)):
            if not await rights.holds(call, who, scope, _ASKED_OF.get(scope, ANY)):
                raise beyond_rights(scope, who)
    if kind != "TOKEN":
        asked = [(scope, _ASKED_OF.get(scope, ANY)) for scope in scopes]
        missing = await rights.missing(call, asked, ends_at_ms)
        if missing is not None:
            raise missing.refusal("SCOPE_BEYOND_RIGHTS", field="scopes")


async def check_may_rotate(
    rights: Rights, call: Call, found: Credential | None, now_ms: int
) -> None:
    """A token is rotated by its owner, a key by whoever may make one with its scopes.

    Raises:
        NotFound: ``CREDENTIAL_UNKNOWN``, also for another's.
        PermissionDenied: ``SCOPE_BEYOND_RIGHTS``.
    """
    if found is None:
        raise unknown_credential()
    if found.kind == "TOKEN":
        if found.subject != call.caller:
            raise unknown_credential()
    elif not await rights.holds(call, call.caller, _MAKE[found.kind]):
        raise unknown_credential()
    ends_at_ms = expiry(now_ms, found.lifetime_days)
    await check_rights(rights, call, found.kind, found.subject, found.scopes, ends_at_ms)


def check_maker(call: Call) -> None:
    """Whoever learns a secret acts in the whole tenant, as it does, and a person proved it lately.

    A right that is held in one org, or a token that is bound to it, would leave the org that way.

    Raises:
        PermissionDenied: ``TENANT_WIDE_ONLY``.
        Unauthenticated: ``PERSON_REQUIRED``.
        FailedPrecondition: ``STEP_UP_REQUIRED``.
    """
    require_tenant_scope(call)
    if call.caller.startswith("user:"):
        require_recent(call)


async def tell_of_token(
    tx: Tx, call: Call, user_id: UUID, made: Credential, device: DeviceInfo
) -> None:
    """Note for a person that a token of theirs was made, unless their sign-in was reset since."""
    claims = require_claims(call)
    await security_notice_store.require_not_reset(tx, user_id, claims.issued_at_s * 1_000)
    await security_notice_store.note(
        tx,
        user_id,
        "token_made",
        device,
        name=made.name,
        session_id=claims.session_id,
        now_ms=made.created_at_ms,
    )

"""What clients do with tokens: trade a refresh token, ask what a token is, end one."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from argy.authn.tokens import store as token_store
from argy.authn.tokens.domain import REFRESH_KIND, RefreshToken, Tokens, narrowed
from argy.authn.tokens.issuing import TokenIssuer
from argy.authn.tokens.revocation import RevocationList
from argy.base.clock import Clock
from argy.base.errors import Unauthenticated
from argy.base.secret_token import is_token, token_digest
from argy.rpc.call import Call
from argy.rpc.claims import AUDIENCE, Claims
from argy.rpc.credentials import API_KEY, PAT, CredentialVerifier
from argy.rpc.revoked import family_entry, token_entry
from argy.rpc.tokens import TokenVerifier
from argy.store.database import Database, Tx
from argy.trail.records import AuditRecord, Outcome, record

REUSED: Final = "REFRESH_TOKEN_REUSED"
INVALID: Final = "REFRESH_TOKEN_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a good token is (RFC 7662 §2.2). Times in Unix seconds; 0 when not known."""

    token_type: str
    subject: str
    scope: str = ""
    client_id: str = ""
    org_id: str = ""
    session_id: str = ""
    audience: str = ""
    token_id: str = ""
    issued_at_s: int = 0
    expires_at_s: int = 0


class TokenUse:
    """The use cases of tokens that were issued."""

    __slots__ = ("_clock", "_credentials", "_db", "_issuer", "_revocations", "_verifier")

    def __init__(
        self,
        *,
        db: Database,
        issuer: TokenIssuer,
        verifier: TokenVerifier,
        revocations: RevocationList,
        credentials: CredentialVerifier,
        clock: Clock,
    ) -> None:
        self._db = db
        self._issuer = issuer
        self._verifier = verifier
        self._revocations = revocations
        self._credentials = credentials
        self._clock = clock

    async def refresh(self, call: Call, token: str, client_id: str, scope: str = "") -> Tokens:
        """Trade a refresh token for new tokens; it is used up by one write, whoever else tries.

        One that was traded before was stolen, by whoever came first or second: its family ends.
        There is no grace, so a client sends one refresh at a time. ``scope`` narrows the access
        token; the family keeps what was granted (RFC 6749 §6).

        Raises:
            InvalidArgument: ``SCOPE_NOT_GRANTED``; the token is still good then.
            Unauthenticated: ``REFRESH_TOKEN_INVALID``, ``REFRESH_TOKEN_REUSED``, ``USER_DISABLED``.
            Unavailable: when a token could not be ended again.
        """
        if not is_token(token, kind=REFRESH_KIND):
            raise _invalid()
        digest, now_ms = token_digest(token), self._clock.now_ms()
        async with self._db.tenant(call.tenant_id) as tx:
            if not await token_store.lock_holder(tx, digest):
                raise _invalid()
            used = await token_store.use(tx, digest, client_id, now_ms)
            if used is not None:
                scope = narrowed(used.grant.scope, scope)
                tokens = await self._issuer.for_grant(
                    tx,
                    used.grant,
                    tenant=call.tenant.slug,
                    family_id=used.family_id,
                    ends=used.expires_at,
                    scope=scope,
                )
                await self._record(tx, call, "authn.token.refresh", used)
                return tokens
            found = await token_store.find(tx, digest)
            reused = found is not None and found.used and not found.revoked
            if found is not None and reused:
                await token_store.revoke_family(tx, found.family_id, now_ms)
                await self._record(tx, call, "authn.token.reuse", found, outcome="DENIED")
        if found is not None and found.used:
            # Also when an earlier reuse ended it: perhaps Redis was away then.
            await self._deny_family(call, found)
            raise Unauthenticated("The refresh token was used before: sign in again", reason=REUSED)
        raise _invalid()

    async def revoke(self, call: Call, token: str, client_id: str) -> None:
        """End a token: an access token alone, a refresh token with its family (RFC 7009 §2.1).

        A token that is none of ours, or another client's, is left as it is, and nobody is told.
        """
        if is_token(token, kind=REFRESH_KIND):
            await self._revoke_refresh(call, token, client_id)
        else:
            await self._revoke_access(call, token, client_id)
        # What is not known is not ended, and leaves no record.
        call.changed_nothing()

    async def describe(self, call: Call, token: str) -> Described | None:
        """What a token of this tenant is; None unless it is good now.

        Raises:
            Unavailable: when nobody can say.
        """
        try:
            if is_token(token, kind=REFRESH_KIND):
                return await self._describe_refresh(call, token)
            for kind, name in ((PAT, "personal_access_token"), (API_KEY, "api_key")):
                if is_token(token, kind=kind):
                    found = await self._credentials.verify(call.tenant_id, token)
                    return Described(
                        token_type=name,
                        subject=found.subject,
                        scope=" ".join(sorted(found.scopes)),
                        token_id=found.credential_id,
                    )
            claims = await self._claims(call, token)
        except Unauthenticated:
            return None
        async with self._db.tenant(call.tenant_id) as tx:
            if not await _active(tx, UUID(claims.subject.removeprefix("user:"))):
                return None
        return Described(
            token_type="access_token",  # noqa: S106 - the name of a kind
            subject=claims.subject,
            scope=claims.scope,
            client_id=claims.client_id,
            org_id=str(claims.org_id or ""),
            session_id=claims.session_id,
            audience=AUDIENCE,
            token_id=claims.token_id,
            issued_at_s=claims.issued_at_s,
            expires_at_s=claims.expires_at_s,
        )

    async def _claims(self, call: Call, token: str) -> Claims:
        return await self._verifier.verify_now(
            token, tenant_id=call.tenant_id, slug=call.tenant.slug
        )

    async def _describe_refresh(self, call: Call, token: str) -> Described | None:
        async with self._db.tenant(call.tenant_id) as tx:
            found = await token_store.find(tx, token_digest(token))
            if found is None or not found.good(self._clock.now_ms()):
                return None
            if not await _active(tx, found.grant.user_id):
                return None
        grant = found.grant
        return Described(
            token_type="refresh_token",  # noqa: S106 - the name of a kind
            subject=f"user:{grant.user_id}",
            scope=grant.scope,
            client_id=grant.client_id,
            org_id=str(grant.org_id or ""),
            session_id=str(grant.session_id),
            issued_at_s=int(found.created_at.timestamp()),
            expires_at_s=int(found.expires_at.timestamp()),
        )

    async def _revoke_refresh(self, call: Call, token: str, client_id: str) -> None:
        async with self._db.tenant(call.tenant_id) as tx:
            found = await token_store.find(tx, token_digest(token))
            if found is None or (client_id and found.grant.client_id != client_id):
                return
            await token_store.revoke_family(tx, found.family_id, self._clock.now_ms())
            await self._record(tx, call, "authn.token.revoke", found)
        await self._deny_family(call, found)

    async def _deny_family(self, call: Call, token: RefreshToken) -> None:
        """End the access tokens of a family that ended."""
        subject = f"user:{token.grant.user_id}"
        entry = family_entry(str(token.family_id))
        await self._revocations.deny_of(call.tenant_id, subject, entry)

    async def _revoke_access(self, call: Call, token: str, client_id: str) -> None:
        try:
            claims = await self._claims(call, token)
        except Unauthenticated:
            return
        if client_id and claims.client_id != client_id:
            return
        async with self._db.tenant(call.tenant_id) as tx:
            await record(
                tx,
                AuditRecord.of(
                    call,
                    "authn.token.revoke",
                    f"authn.token:{claims.token_id}",
                    actor=claims.subject,
                    detail={"client_id": claims.client_id},
                    occurred_at_ms=self._clock.now_ms(),
                ),
                call,
            )
            # Inside, so that the record is not kept of what did not happen.
            entry = token_entry(claims.token_id)
            await self._revocations.deny_of(call.tenant_id, claims.subject, entry)

    async def _record(
        self,
        tx: Tx,
        call: Call,
        action: str,
        token: RefreshToken,
        *,
        outcome: Outcome = "SUCCESS",
    ) -> None:
        """Record what its holder did with a refresh token, in the same transaction."""
        await record(
            tx,
            AuditRecord.of(
                call,
                action,
                f"authn.token_family:{token.family_id}",
                actor=f"user:{token.grant.user_id}",
                outcome=outcome,
                reason=REUSED if outcome == "DENIED" else "",
                detail={
                    "client_id": token.grant.client_id,
                    "session_id": str(token.grant.session_id),
                },
                occurred_at_ms=self._clock.now_ms(),
            ),
            call,
        )


async def _active(tx: Tx, user_id: UUID) -> bool:
    found = await token_store.find_subject(tx, user_id)
    return found is not None and found[0]


def _invalid() -> Unauthenticated:
    return Unauthenticated("The refresh token is not good: sign in again", reason=INVALID)

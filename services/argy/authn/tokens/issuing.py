"""Issues tokens to whom a ceremony has proved to be somebody."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from argy.authn.tokens import store as token_store
from argy.authn.tokens.domain import (
    ACCESS_S,
    REFRESH_KIND,
    REFRESH_S,
    Grant,
    Tokens,
    claims_of,
)
from argy.authn.tokens.revocation import RevocationList
from argy.authn.tokens.signing_keys import SigningKeys
from argy.base.clock import Clock
from argy.base.errors import Unauthenticated
from argy.base.ids import uuid7
from argy.base.secret_token import new_token, token_digest
from argy.store.database import Tx
from argy.store.times import to_time


class TokenIssuer:
    """Makes access tokens, and refresh tokens when asked. Who asks writes the audit record."""

    __slots__ = ("_clock", "_keys", "_public_url", "_revocations")

    def __init__(
        self, *, keys: SigningKeys, revocations: RevocationList, public_url: str, clock: Clock
    ) -> None:
        self._keys = keys
        self._revocations = revocations
        self._public_url = public_url.rstrip("/")
        self._clock = clock

    async def issue(
        self,
        tx: Tx,
        *,
        tenant: str,
        user_id: UUID,
        session_id: UUID,
        acr: str,
        amr: tuple[str, ...],
        auth_time_ms: int,
        client_id: str,
        scope: str = "",
        with_refresh: bool = False,
        org_id: UUID | None = None,
    ) -> Tokens:
        """Tokens for a person of ``tx``'s tenant, whose slug is ``tenant``.

        ``scope`` is separated by spaces. With ``with_refresh`` a family of refresh tokens begins,
        kept by ``tx``.

        Raises:
            Unauthenticated: ``USER_DISABLED``, also for a person who is gone.
            Unavailable: when a token could not be ended again (Redis is away).
        """
        grant = Grant(
            user_id=user_id,
            session_id=session_id,
            client_id=client_id,
            acr=acr,
            amr=amr,
            auth_time_ms=auth_time_ms,
            scope=scope,
            org_id=org_id,
        )
        family_id = uuid7() if with_refresh else None
        if with_refresh:
            await token_store.lock_owners(tx, user_id, org_id)
            await token_store.forget_ended(tx, user_id, self._clock.now_ms())
        return await self.for_grant(tx, grant, tenant=tenant, family_id=family_id)

    async def for_grant(
        self,
        tx: Tx,
        grant: Grant,
        *,
        tenant: str,
        family_id: UUID | None,
        ends: datetime | None = None,
        scope: str | None = None,
    ) -> Tokens:
        """Tokens of a family (None for an access token alone) that ends at ``ends``.

        ``scope`` is the access token's, where it is less than what was granted.
        Of a family the person is locked (``token_store.lock_owners``). Raises as ``issue``.
        """
        now_ms = self._clock.now_ms()
        found = await token_store.find_subject(tx, grant.user_id)
        if found is None or not found[0]:
            raise Unauthenticated("This person may not sign in", reason="USER_DISABLED")
        refresh_token = ""
        if family_id is not None:
            refresh_token = new_token(REFRESH_KIND)
            await token_store.insert(
                tx,
                grant,
                token_id=uuid7(),
                family_id=family_id,
                digest=token_digest(refresh_token),
                now_ms=now_ms,
                ends=ends or to_time(now_ms) + timedelta(seconds=REFRESH_S),
            )
        granted = grant if scope is None else replace(grant, scope=scope)
        claims = claims_of(
            granted,
            issuer=f"{self._public_url}/{tenant}",
            tenant_id=tx.tenant_id,
            family_id=family_id,
            revision=found[1],
            epoch=await self._revocations.epoch(tx.tenant_id),
            now_ms=now_ms,
        )
        return Tokens(self._keys.sign(claims), refresh_token, ACCESS_S, granted.scope)

"""Verifies access tokens in this process, by what the platform's stream says of a tenant's tokens.

The rules are those of the platform's own servers (``argy.rpc.tokens``); the keys and the list of
what was ended are the stream's, and as believable as the signed TLS connection that brought them.
"""

import time
from typing import Final
from uuid import UUID

from argy.api.authz.v1 import replication_pb2 as pb
from argy.base.clock import Clock
from argy.base.errors import FailedPrecondition, PermissionDenied, Unavailable
from argy.rpc.caller import limits_of
from argy.rpc.claims import Claims
from argy.rpc.credentials import check_scope
from argy.rpc.jwks import read_jwks
from argy.rpc.jwt import PublicKeys
from argy.rpc.revoked import Revoked
from argy.rpc.tokens import TokenVerifier

_MARGIN_MS: Final = 5_000
"""Entries are kept so much longer than they must be: clocks differ."""


class _Keys:
    """A ``KeySource`` that knows what it was told."""

    def __init__(self) -> None:
        self.known: PublicKeys = {}

    def peek(self) -> PublicKeys:
        return self.known

    async def refreshed(self, kid: str) -> PublicKeys:
        return self.known

    async def confirmed(self) -> PublicKeys:
        return self.known


class _Ended:
    """``Revocations`` of one tenant that know what they were told."""

    def __init__(self) -> None:
        self.known = Revoked("")

    def peek(self, tenant_id: UUID) -> Revoked:
        return self.known

    async def get(self, tenant_id: UUID) -> Revoked:
        return self.known

    async def renewed(self, tenant_id: UUID) -> Revoked:
        return self.known


class TokenReplica:
    """What is known of one tenant's tokens."""

    def __init__(self, tenant_id: UUID, clock: Clock) -> None:
        self.heard_s = float("-inf")
        """When the platform last said that this is current, by ``time.monotonic``."""
        self._tenant_id = tenant_id
        self._clock = clock
        self._keys, self._ended = _Keys(), _Ended()
        self._issuer = ""
        self._verifier: TokenVerifier | None = None
        self._based = False
        self._entries: dict[str, int] = {}
        self._new_keys: PublicKeys = {}

    def collect(self, change: pb.TenantRevocations, now_s: float) -> None:
        """Take a part; the last one makes the change count.

        Raises:
            FailedPrecondition: ``REPLICA_OUT_OF_STEP``; ask for everything anew.
            Unavailable: ``JWKS_MALFORMED``.
        """
        if change.reset:
            self._based, self._entries, self._new_keys = True, {}, {}
        if not self._based:
            raise FailedPrecondition("a change without its base", reason="REPLICA_OUT_OF_STEP")
        if change.jwks_json:
            self._new_keys = read_jwks(change.jwks_json)
        self._entries.update((item.entry, item.ends_at_ms) for item in change.ended)
        if change.complete:
            self._install(change.issuer, change.epoch)
            self.heard_s = now_s

    @property
    def entries(self) -> int:
        """How many entries of the list of what was ended are held."""
        return len(self._entries)

    def forget(self) -> None:
        """Say that the stream broke: changes may be missed, so everything must come anew."""
        self._based = False

    def verify(self, token: str, *, max_silence_s: float) -> Claims:
        """What a token of the tenant says, if it is good at this moment.

        Raises:
            Unauthenticated: with a reason that starts with ``TOKEN_``.
            Unavailable: ``REVOCATIONS_UNKNOWN`` or ``REVOCATIONS_STALE``.
        """
        verifier = self._verifier
        if verifier is None:
            raise Unavailable(
                f"nothing was heard of the tokens of tenant {self._tenant_id}",
                reason="REVOCATIONS_UNKNOWN",
            )
        silent_s = time.monotonic() - self.heard_s
        if silent_s > max_silence_s:
            raise Unavailable(
                f"which tokens of tenant {self._tenant_id} were ended was last heard"
                f" {silent_s:.1f} s ago",
                reason="REVOCATIONS_STALE",
            )
        found = verifier.verify(
            token, tenant_id=self._tenant_id, slug=self._issuer.rpartition("/")[2]
        )
        if isinstance(found, Claims):
            return found
        # What it asks for is here already, so that one step takes it to its end.
        try:
            next(iter(found.__await__()))
        except StopIteration as done:
            claims: Claims = done.value
            return claims
        raise AssertionError("a verification that stands on a replica waited")

    def _install(self, issuer: str, epoch: str) -> None:
        # An entry outlasts what it ends, and both are held to this clock.
        least_ms = self._clock.now_ms() - _MARGIN_MS
        self._entries = {name: end for name, end in self._entries.items() if end > least_ms}
        self._keys.known = self._new_keys
        if (epoch, self._entries) != (self._ended.known.epoch, self._ended.known.ends_ms):
            self._ended.known = Revoked(epoch, dict(self._entries))
        if self._verifier is None or issuer != self._issuer:
            self._issuer = issuer
            self._verifier = TokenVerifier(
                keys=self._keys,
                revocations=self._ended,
                public_url=issuer.rpartition("/")[0],
                clock=self._clock,
            )


def check_limits(claims: Claims, action: str, resource: str, org_id: UUID | None) -> None:
    """Hold a question to what the token of its subject is limited to.

    Raises:
        PermissionDenied: ``ORG_NOT_IN_TOKEN`` or ``SCOPE_INSUFFICIENT``.
    """
    if claims.org_id is not None and claims.org_id != org_id:
        raise PermissionDenied(
            "the access token is bound to another org", reason="ORG_NOT_IN_TOKEN", field="org_id"
        )
    scopes = limits_of(claims.scope)
    if scopes is not None:
        check_scope(scopes, f"{resource.partition(':')[0]}:{action}")

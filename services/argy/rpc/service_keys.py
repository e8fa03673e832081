"""Whether the service key behind a verified signature is still good, and for what.

Servers derive a service key's secret from the root themselves, so that only who has the secret
makes one ask authn: a stranger who makes up key ids asks nobody anything. What authn says is
remembered for a minute at most, asked again meanwhile, and while authn is away believed longer.

Revocation does not wait for that: every call looks at the deny list of the key's tenant, whose copy
is half a second old at most (``argy.rpc.revoked``). Each answer names the list that stood when it
was given; when the list was lost, nobody can say what had been on it, so that what is remembered
goes with it. Without the list no service key is good.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final, Protocol

from argy.api.authn.v1.credential_pb2 import VerifyServiceKeyRequest
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.base.clock import Clock
from argy.base.errors import ArgyError, PermissionDenied, Unauthenticated, Unavailable
from argy.base.secret_token import token_digest, token_of
from argy.rpc.call import Call
from argy.rpc.client import SignedChannel
from argy.rpc.pair_keys import RootKeys
from argy.rpc.revoked import Revoked, generation_entry, service_key_entry
from argy.rpc.service_key_id import SVC, ServiceKeyId
from argy.rpc.token_sources import Revocations

REFRESH_MS: Final = 30_000
"""From this age on an answer that is used is asked for again meanwhile."""
MAX_AGE_MS: Final = 60_000
"""An answer that is older is asked for again first."""
MAX_STALE_MS: Final = 540_000
"""To this age an answer is believed while authn is away: deny-list entries last longer."""
REFUSED_MS: Final = 5_000
"""How long a key that was refused is not asked about again."""
RETRY_MS: Final = 2_000
"""How long authn is left alone about a key that is remembered, after it could not be asked."""
AWAY_MS: Final = 250
"""How long authn is left alone about a key of which nothing is remembered."""
_MAX_KNOWN: Final = 10_000
_LOG: Final = logging.getLogger("argy.rpc")

_Name = tuple[ServiceKeyId, str]


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """What authn says of a service key that is good."""

    scopes: frozenset[str]
    """Permissions as ``type:action``; any other one is refused. Never empty."""
    expires_at_ms: int
    """When this secret ends, since the Unix epoch."""
    epoch: str
    """The deny list that stood when it was said."""


class KeyStandings(Protocol):
    """Who knows of service keys."""

    async def standing(self, key: ServiceKeyId, secret_hash: str) -> KeyStanding | None:
        """What a key is good for now; None when it is unknown, revoked, rotated out or over.

        ``secret_hash`` is ``token_digest`` of its secret as text, which binds all its parts.

        Raises:
            ArgyError: when nobody can say.
        """
        ...


@dataclass(slots=True)
class _Known:
    standing: KeyStanding | None
    """None when the key is not good, or when nobody could say."""
    asked_at_ms: int
    retry_at_ms: int = 0
    """Until then authn is not asked again, as it was away."""
    away: bool = False
    """Whether nobody could say."""

    def age(self, now_ms: int) -> int:
        # A clock that was set back makes an answer old, not young.
        age_ms = now_ms - self.asked_at_ms
        return age_ms if age_ms >= 0 else MAX_STALE_MS + 1

    def believed(self, now_ms: int) -> bool:
        """Whether it may be used without asking first."""
        age_ms = self.age(now_ms)
        if self.away:
            return age_ms <= MAX_STALE_MS and now_ms < self.retry_at_ms
        if self.standing is None:
            return age_ms <= REFUSED_MS
        return age_ms <= MAX_AGE_MS or (now_ms < self.retry_at_ms and age_ms <= MAX_STALE_MS)


class ServiceKeys:
    """What a server process knows of service keys; ``close`` ends the questions under way."""

    def __init__(
        self, *, roots: RootKeys, standings: KeyStandings, revocations: Revocations, clock: Clock
    ) -> None:
        self._roots = roots
        self._standings = standings
        self._revocations = revocations
        self._clock = clock
        self._known: OrderedDict[_Name, _Known] = OrderedDict()
        self._asks: dict[_Name, asyncio.Task[_Known]] = {}

    def admit(self, key: ServiceKeyId, service: str) -> frozenset[str] | Awaitable[frozenset[str]]:
        """The permissions of a key whose signature was verified; at once if nothing is asked.

        Raises (or the awaitable does):
            Unauthenticated: ``KEY_OVER`` when it was revoked or rotated out, or has ended.
            Unavailable: when nobody can say; never a yes.
        """
        name = key, service
        now_ms = self._clock.now_ms()
        known = self._known.get(name)
        if known is None or not known.believed(now_ms):
            return self._admit_slowly(name)
        if known.standing is None:
            raise _refusal(known)
        revoked = self._revocations.peek(key.tenant_id)
        if revoked is None or not revoked.epoch or revoked.epoch != known.standing.epoch:
            return self._admit_slowly(name)
        if known.age(now_ms) > REFRESH_MS and now_ms >= known.retry_at_ms:
            self._asking(name)
        return self._scopes(known.standing, revoked, key)

    async def close(self) -> None:
        """End the questions under way."""
        asks = list(self._asks.values())
        for ask in asks:
            ask.cancel()
        await asyncio.gather(*asks, return_exceptions=True)

    async def _admit_slowly(self, name: _Name) -> frozenset[str]:
        key = name[0]
        revoked = await self._revocations.get(key.tenant_id)
        known = self._known.get(name)
        if known is not None and known.standing and known.standing.epoch != revoked.epoch:
            # Perhaps of a list that began since the copy was read.
            revoked = await self._revocations.renewed(key.tenant_id)
            if known.standing.epoch != revoked.epoch:
                known = None
        if known is None or not known.believed(self._clock.now_ms()):
            known = await self._asked(name)
        if known.standing is None:
            raise _refusal(known)
        if known.standing.epoch != revoked.epoch:
            revoked = await self._revocations.renewed(key.tenant_id)
        if not revoked.epoch or known.standing.epoch != revoked.epoch:
            raise _away()
        return self._scopes(known.standing, revoked, key)

    def _scopes(self, standing: KeyStanding, revoked: Revoked, key: ServiceKeyId) -> frozenset[str]:
        ends = revoked.ends_ms
        if ends and (
            service_key_entry(key.credential_id) in ends
            or generation_entry(key.credential_id, key.generation) in ends
        ):
            raise _over()
        if standing.expires_at_ms <= self._clock.now_ms() or not standing.scopes:
            raise _over()
        return standing.scopes

    async def _asked(self, name: _Name) -> _Known:
        """Authn's answer, or while it is away the last one that is not too old."""
        try:
            return await asyncio.shield(self._asking(name))
        except ArgyError as error:
            known = self._known.get(name)
            if (
                known is None
                or known.standing is None
                or known.age(self._clock.now_ms()) > MAX_STALE_MS
            ):
                raise _away() from error
            return known
        except asyncio.CancelledError:
            ask = self._asks.get(name)
            if ask is not None and ask.cancelled():
                raise _away() from None
            raise

    def _asking(self, name: _Name) -> "asyncio.Task[_Known]":
        ask = self._asks.get(name)
        if ask is None:
            ask = asyncio.create_task(self._ask(name), name="service-key")
            self._asks[name] = ask
            ask.add_done_callback(lambda done: self._finished(name, done))
        return ask

    def _finished(self, name: _Name, done: "asyncio.Task[_Known]") -> None:
        self._asks.pop(name, None)
        if not done.cancelled():
            done.exception()  # who waits hears of it; a refresh in the background has nobody

    async def _ask(self, name: _Name) -> _Known:
        key, service = name
        # By when it was asked, not answered: whatever ended since is on the deny list long enough.
        asked_at_ms = self._clock.now_ms()
        secret = self._roots.service_secret(key, service)
        try:
            standing = await self._standings.standing(key, token_digest(token_of(SVC, secret)))
        except ArgyError as error:
            _LOG.warning("a service key can't be asked about: %s", error.message)
            now_ms = self._clock.now_ms()
            known = self._known.get(name)
            if known is not None and known.standing is not None:
                known.retry_at_ms = now_ms + RETRY_MS
            else:
                self._remember(name, _Known(None, asked_at_ms, now_ms + AWAY_MS, away=True))
            raise
        return self._remember(name, _Known(standing, asked_at_ms))

    def _remember(self, name: _Name, known: _Known) -> _Known:
        self._known[name] = known
        self._known.move_to_end(name)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return known


async def admit_key(service_keys: ServiceKeys | None, call: Call, key: ServiceKeyId) -> None:
    """Hold a call to the service key that signed it: where it may sign, whether, and for what.

    Raises:
        PermissionDenied: ``KEY_OF_ANOTHER_TENANT``.
        Unauthenticated: ``KEY_UNSUPPORTED`` without ``service_keys``, or as ``ServiceKeys.admit``.
        Unavailable: as ``ServiceKeys.admit``.
    """
    if not key.reaches(call.tenant_id, platform=call.method.platform):
        # Recorded with whose key it is: nothing is written to others' records with it.
        call.tenant_id, call.org_id = key.tenant_id, None
        raise PermissionDenied(
            "a service key signs calls for its own tenant only", reason="KEY_OF_ANOTHER_TENANT"
        )
    if service_keys is None:
        raise Unauthenticated("this server takes no service keys", reason="KEY_UNSUPPORTED")
    scopes = service_keys.admit(key, call.source)
    call.scopes = scopes if isinstance(scopes, frozenset) else await scopes


class RemoteKeyStandings:
    """Asks the authn service over a channel that the platform's own keys sign."""

    __slots__ = ("_channel", "_timeout_s")

    def __init__(self, channel: SignedChannel, *, timeout_s: float = 2.0) -> None:
        self._channel = channel
        self._timeout_s = timeout_s

    async def standing(self, key: ServiceKeyId, secret_hash: str) -> KeyStanding | None:
        """See ``KeyStandings``."""
        stub: Any = CredentialServiceStub(self._channel.for_tenant(key.tenant_id))
        answer = await stub.VerifyServiceKey(
            VerifyServiceKeyRequest(credential_id=str(key.credential_id), secret_hash=secret_hash),
            timeout=self._timeout_s,
        )
        if not answer.scopes:
            return None
        ends = answer.expire_time.ToDatetime(tzinfo=UTC)
        return KeyStanding(frozenset(answer.scopes), int(ends.timestamp() * 1000), answer.epoch)


def _refusal(known: _Known) -> ArgyError:
    return _away() if known.away else _over()


def _over() -> Unauthenticated:
    return Unauthenticated(
        "the service key is over: it was revoked, rotated out, or has ended", reason="KEY_OVER"
    )


def _away() -> Unavailable:
    return Unavailable(
        "whether a service key is good can't be told at the moment",
        reason="SERVICE_KEYS_AWAY",
        retry_after_ms=250,
    )

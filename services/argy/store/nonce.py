"""Each nonce once: the replay cache of signed calls, in Redis under the tenant's prefix.

A nonce lies in one set a minute of its expiry, ``t:{tenant}:nonce:<minute>``. The expiry follows
from the signed timestamp, so a replay always looks into the same set, and whole sets expire. Calls
that come while a pipeline is in flight share the next one, and so do those of a busy moment.

A Redis that was restarted, restored or promoted may have lost nonces. It is told by another
``run_id`` on the next connection: from then on a nonce that it calls new, of a call that may have
been made before, is not known to be new, until calls are signed late enough (five seconds later).
Of Redis Cluster, whose nodes change one by one, this is not asked.
"""

import asyncio
from typing import Final, Protocol
from uuid import UUID

from argy.base.clock import Clock, SystemClock
from argy.base.errors import ResourceExhausted, Unavailable
from argy.store.redis import REDIS_ERRORS, RedisStore, key
from argy.store.resp import RespConnection, RespError, command

BUCKET_MS: Final = 60_000
MARGIN_S: Final = 60
"""How long a bucket outlives its last nonce, for clocks that differ."""
PACE_S: Final = 0.002
"""How long a busy cache lets nonces gather: a pipeline costs as much as all else that a nonce does,
since it wakes Redis up and is woken by it, and calls that go on together wake gRPC's threads once.
A caller that is alone never waits for company."""
LONGEST_MS: Final = 40_000
"""From the first sight of a call to the expiry of its nonce at most: it may be signed 5 s ahead, is
good for 30 s, and its nonce is kept for 5 s more (``argy.rpc.signature``)."""
_RUN: Final = "return {ok = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')}"
_RECONNECT_PAUSE_S: Final = 0.05
_MAX_BUCKETS: Final = 20_000

_Item = tuple[UUID, int, bytes, int, "asyncio.Future[bool]"]
"""Tenant, bucket, nonce, its expiry in milliseconds, and who waits."""


class _Writer(Protocol):
    """Adds nonces to buckets; returns for each whether it was new."""

    lost_until_ms: int
    """Of nonces that expire by then, being new tells nothing: they may have been lost."""

    async def add(self, items: list[_Item]) -> list[bool]: ...

    def close(self) -> None: ...


class NonceCache:
    """Remembers nonces for every replica.

    At most ``max_pending`` calls wait; each waits ``timeout_ms`` at most. Redis away, slow or
    refusing means ``Unavailable``, never "not seen".
    """

    def __init__(
        self,
        store: RedisStore,
        *,
        timeout_ms: int = 250,
        max_pending: int = 10_000,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._writer: _Writer = (
            _ClusterWriter(store) if store.cluster else _RespWriter(store, self._clock)
        )
        self._timeout_s = timeout_ms / 1000
        self._max_pending = max_pending
        self._pending: list[_Item] = []
        self._flusher: asyncio.Task[None] | None = None

    def seen(self, tenant_id: UUID, nonce: bytes, expires_at_ms: int) -> "asyncio.Future[bool]":
        """Remember a 16-byte nonce until its expiry; the future tells whether it was there already.

        A nonce whose expiry has passed counts as seen: its bucket may be gone.

        Raises:
            Unavailable: ``REPLAY_CACHE_AWAY``; nothing is known about the nonce.
        """
        pending = self._pending
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if len(pending) >= self._max_pending:
            away = _away()
            away.__cause__ = ResourceExhausted("too many nonces wait")
            future.set_exception(away)
            return future
        if expires_at_ms <= self._clock.now_ms():
            future.set_result(True)
            return future
        pending.append((tenant_id, expires_at_ms // BUCKET_MS, nonce, expires_at_ms, future))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush(), name="nonces")
        return future

    async def _flush(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending, []
                try:
                    async with asyncio.timeout(self._timeout_s):
                        fresh = await self._writer.add(batch)
                except REDIS_ERRORS as error:
                    self._fail(batch, error)
                    continue
                lost_until_ms = self._writer.lost_until_ms
                for item, new in zip(batch, fresh, strict=True):
                    if item[4].done():
                        continue
                    if new and item[3] <= lost_until_ms:
                        item[4].set_exception(_away())
                    else:
                        item[4].set_result(not new)
                if len(batch) > 1:
                    await asyncio.sleep(PACE_S)
        finally:
            self._flusher = None
            self._fail([], None)

    def _fail(self, batch: list[_Item], error: BaseException | None) -> None:
        # Those that waited behind the failed pipeline have waited long enough.
        batch, self._pending = batch + self._pending, []
        for item in batch:
            if not item[4].done():
                away = _away()
                away.__cause__ = error
                item[4].set_exception(away)

    async def close(self) -> None:
        """Refuse what waits and close the connection."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        self._fail([], None)
        self._writer.close()


def _away() -> Unavailable:
    return Unavailable(
        "Replays can't be told apart at the moment", reason="REPLAY_CACHE_AWAY", retry_after_ms=250
    )


class _RespWriter:
    """One raw connection; commands are put together from prefixes made once a bucket."""

    def __init__(self, store: RedisStore, clock: Clock) -> None:
        self._url = store.url
        self._tls = store.tls_context()
        self._clock = clock
        self._run = b""
        self.lost_until_ms = 0
        self._connection: RespConnection | None = None
        self._retry_at = 0.0
        self._buckets: dict[tuple[UUID, int], bytes] = {}

    async def add(self, items: list[_Item]) -> list[bool]:
        connection = self._connection
        if connection is None or not connection.usable:
            connection = await self._connect()
        buckets = self._buckets
        if len(buckets) > _MAX_BUCKETS:
            buckets.clear()
        words: list[bytes] = []
        expiries: list[bytes] = []
        for tenant_id, minute, nonce, _, _ in items:
            prefix = buckets.get((tenant_id, minute))
            if prefix is None:
                bucket = key(tenant_id, "nonce", minute).encode()
                prefix = b"*3\r\n$4\r\nSADD\r\n$%d\r\n%b\r\n$16\r\n" % (len(bucket), bucket)
                buckets[tenant_id, minute] = prefix
                expiries.append(command(b"EXPIREAT", bucket, b"%d" % _expire_at_s(minute)))
            words.append(prefix + nonce)
        # Every SADD first: the replies' places then are the items' places.
        data = b"\r\n".join(words) + b"\r\n" + b"".join(expiries)
        try:
            replies = await connection.pipeline(data, len(items) + len(expiries))
            return [_is_new(reply) for reply in replies[: len(items)]]
        except BaseException:
            self.close()
            raise

    async def _connect(self) -> RespConnection:
        loop = asyncio.get_running_loop()
        if loop.time() < self._retry_at:
            raise RespError("Redis was away a moment ago")
        self.close()
        self._retry_at = loop.time() + _RECONNECT_PAUSE_S
        connection = self._connection = await RespConnection.connect(self._url, tls=self._tls)
        (run,) = await connection.pipeline(command(b"EVAL_RO", _RUN.encode(), b"0"), 1)
        if not run.startswith(b"+"):
            self.close()
            raise RespError("Redis does not say which run of it this is")
        if self._run not in (b"", run):
            self.lost_until_ms = self._clock.now_ms() + LONGEST_MS
        self._run = run
        self._retry_at = 0.0
        return connection

    def close(self) -> None:
        # A bucket whose EXPIREAT may be lost gets another.
        self._buckets.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _ClusterWriter:
    """redis-py's cluster pipeline, which finds each key's node."""

    lost_until_ms = 0

    def __init__(self, store: RedisStore) -> None:
        self._client = store.client

    async def add(self, items: list[_Item]) -> list[bool]:
        pipeline = self._client.pipeline()
        buckets: dict[tuple[UUID, int], str] = {}
        for tenant_id, minute, nonce, _, _ in items:
            bucket = buckets.get((tenant_id, minute))
            if bucket is None:
                bucket = buckets[tenant_id, minute] = key(tenant_id, "nonce", minute)
            pipeline.sadd(bucket, nonce)
        for (_, minute), bucket in buckets.items():
            pipeline.expireat(bucket, _expire_at_s(minute))
        replies = await pipeline.execute()
        return [reply == 1 for reply in replies[: len(items)]]

    def close(self) -> None:
        """Nothing: the client belongs to the store."""


def _expire_at_s(minute: int) -> int:
    return (minute + 1) * (BUCKET_MS // 1000) + MARGIN_S


def _is_new(reply: bytes) -> bool:
    if reply == b":1":
        return True
    if reply == b":0":
        return False
    raise RespError("Redis refused to remember a nonce")

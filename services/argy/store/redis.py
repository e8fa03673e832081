"""Redis (or Redis Cluster) where every key belongs to a tenant."""

import re
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from redis import asyncio as redis_asyncio
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoPermissionError, RedisError

from argy.base.errors import FailedPrecondition, InvalidArgument, Unavailable

_PART: Final = re.compile(r"[A-Za-z0-9._@+-]{1,200}")

REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)
"""What the client raises when Redis is away or refuses."""


def key(tenant_id: UUID, *parts: str | int) -> str:
    """Return ``t:{<tenant>}:a:b``: the only way to make a key.

    The braces are the hash tag of Redis Cluster: one tenant's keys share a slot, and no key can be
    taken for another tenant's. The first part is the key's kind, of which ``argy.store.redis_acl``
    says which service may use it, and how.

    Raises:
        InvalidArgument: for no part, or one that could end its place in the key.
    """
    texts = [str(part) for part in parts]
    for text in texts:
        if not _PART.fullmatch(text):
            raise InvalidArgument(f"{text!r} can't be part of a key", reason="MALFORMED_KEY")
    if not texts:
        raise InvalidArgument("A key needs a name after its tenant", reason="MALFORMED_KEY")
    return f"t:{{{tenant_id}}}:{':'.join(texts)}"


class RedisStore:
    """A client that was reached once, and the keys of tenants.

    Refuses a ``maxmemory-policy`` other than ``noeviction``: an evicted nonce could be replayed.
    """

    __slots__ = ("_client", "_cluster", "_tls_ca", "_url")

    def __init__(self, client: Any, *, url: str, cluster: bool, tls_ca: Path | None = None) -> None:
        self._client = client
        self._url = url
        self._cluster = cluster
        self._tls_ca = tls_ca

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        cluster: bool = False,
        tls_ca: Path | None = None,
        timeout_s: float = 2.0,
    ) -> "RedisStore":
        """Connect to ``redis://``, ``rediss://`` (TLS) or ``unix://``.

        ``tls_ca`` is a PEM file of the authorities to trust instead of the system's.

        Raises:
            InvalidArgument: for a malformed URL; nothing of it is in the message.
            Unavailable: if Redis can't be reached.
            FailedPrecondition: ``REDIS_EVICTS``, if it may evict keys or doesn't say (``+info``).
        """
        _refuse_malformed(url)
        options: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        if tls_ca is not None:
            options["ssl_ca_certs"] = str(tls_ca)
        client: Any = (
            RedisCluster.from_url(url, **options)
            if cluster
            else redis_asyncio.Redis.from_url(url, **options)
        )
        try:
            await client.ping()
            await _refuse_eviction(client, cluster=cluster)
        except REDIS_ERRORS as error:
            await client.aclose()
            raise Unavailable("Redis is away", reason="REDIS_AWAY") from error
        except FailedPrecondition:
            await client.aclose()
            raise
        return cls(client, url=url, cluster=cluster, tls_ca=tls_ca)

    @property
    def client(self) -> Any:
        """redis-py's client: ``Redis`` or ``RedisCluster``. Build keys with ``key`` only."""
        return self._client

    @property
    def cluster(self) -> bool:
        """Whether this is a Redis Cluster."""
        return self._cluster

    @property
    def url(self) -> str:
        """Where it is; holds the password, never log it."""
        return self._url

    def tls_context(self) -> ssl.SSLContext | None:
        """How to check the server's certificate; None when the URL asks for no TLS."""
        if urlsplit(self._url).scheme != "rediss":
            return None
        return ssl.create_default_context(cafile=self._tls_ca)

    def key(self, tenant_id: UUID, *parts: str | int) -> str:
        """Return a tenant's key, as the function ``key`` does."""
        return key(tenant_id, *parts)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def _refuse_malformed(url: str) -> None:
    try:
        parts = urlsplit(url)
        # A password that is not percent-encoded is cut at its first / ? or #: the port is read
        # from what is left, and the error would show it.
        sound = parts.port is None or parts.port > 0
    except ValueError:
        sound = False
    if not sound or parts.scheme not in ("redis", "rediss", "unix"):
        raise InvalidArgument(
            "the Redis URL is not redis[s]://[user:password@]host[:port][/db] or unix://…: "
            "percent-encode what is special in its password",
            field="redis_url",
        )


async def _refuse_eviction(client: Any, *, cluster: bool) -> None:
    where = {"target_nodes": RedisCluster.PRIMARIES} if cluster else {}
    try:
        told = await client.info("memory", **where)
    except NoPermissionError:
        told = {"maxmemory_policy": "unknown"}
    # Of several nodes the answers come by node.
    nodes = [told] if "maxmemory_policy" in told else told.values()
    policies = {str(node.get("maxmemory_policy", "unknown")) for node in nodes}
    if policies != {"noeviction"}:
        raise FailedPrecondition(
            f"Redis has maxmemory-policy {', '.join(sorted(policies))}: set it to noeviction (and "
            "let this user call INFO), for an evicted nonce could be replayed",
            reason="REDIS_EVICTS",
        )

"""What a server process is put together from, as its settings say."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from argy.authz.notifications.notifier import Notifier
from argy.authz.notifications.sinks import SinkSettings, sinks_of
from argy.authz.publishing.keys import PolicyKeys
from argy.base.errors import InvalidArgument
from argy.base.ids import PLATFORM_TENANT_ID
from argy.local.settings import Settings
from argy.rpc.client import SignedChannel
from argy.rpc.pair_keys import RootKeys
from argy.rpc.server import ServerConfig
from argy.rpc.tls import ClientTls, ServerTls
from argy.store.redis import RedisStore


async def notifier(stack: AsyncExitStack, settings: Settings) -> Notifier:
    """What tells people that something waits for them; it outlives the calls that hand it over."""
    sinks = sinks_of(
        SinkSettings(
            smtp_url=settings.notify_smtp_url,
            sender=settings.notify_from,
            recipients=settings.notify_to,
            webhook_url=settings.notify_webhook_url,
            webhook_key=settings.notify_webhook_key,
            ca=settings.notify_ca,
        )
    )
    made = Notifier(sinks)
    await made.start()
    stack.push_async_callback(made.close)
    return made


def redis_url(settings: Settings, service: str) -> str:
    """Redis as a service's own user, or as the one that all have; empty for neither."""
    return str(getattr(settings, f"{service}_redis_url")) or settings.redis_url


async def redis_stores(
    stack: AsyncExitStack, services: Sequence[str], settings: Settings
) -> dict[str, RedisStore]:
    """Redis for each service; those of one URL share its connections."""
    opened: dict[str, RedisStore] = {}
    for url in dict.fromkeys(redis_url(settings, name) for name in services):
        opened[url] = await RedisStore.open(url, cluster=settings.redis_cluster)
        stack.push_async_callback(opened[url].close)
    return {name: opened[redis_url(settings, name)] for name in services}


def policy_keys(settings: Settings) -> PolicyKeys:
    """The keys of policies; raises InvalidArgument without a ring."""
    ring = settings.policy_key_ring
    if ring is None:
        raise InvalidArgument("to serve authz set ARGY_POLICY_KEY_RING", field="services")
    return PolicyKeys.load(
        ring,
        settings.policy_trusted_keys,
        unsafe_folder=settings.unsafe_follow_policy_dir,
    )


def listening(settings: Settings, *, shared: bool) -> ServerConfig:
    """How the server listens; raises InvalidArgument for half a TLS pair."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        # Half a pair must not end as plaintext, whatever else is set.
        lacking = "ARGY_TLS_KEY" if settings.tls_cert else "ARGY_TLS_CERT"
        raise InvalidArgument(f"set {lacking} too: TLS needs both", field=lacking)
    tls = (
        ServerTls(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        if settings.tls_cert and settings.tls_key
        else None
    )
    return ServerConfig(
        listen=settings.listen,
        tls=tls,
        unsafe_plaintext=settings.unsafe_plaintext,
        reflection=settings.reflection,
        max_concurrent_calls=settings.max_calls,
        reuse_port=shared,
    )


def channel_to(
    stack: AsyncExitStack,
    target: str,
    ca: Path | None,
    services: Sequence[str],
    settings: Settings,
    keys: RootKeys,
) -> SignedChannel:
    """A signed channel to services that are elsewhere, closed with the stack."""
    channel = SignedChannel(
        target,
        source=services[0],
        keys=keys,
        tenant_id=PLATFORM_TENANT_ID,
        tls=ClientTls(ca) if ca else None,
        unsafe_plaintext=settings.unsafe_plaintext and ca is None,
    )
    stack.push_async_callback(channel.close)
    return channel

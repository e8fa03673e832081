"""Sign-in in a server process: hosted here, or asked for elsewhere by who verifies its tokens."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from argy.authn import main as authn
from argy.authn.mail.sinks import MailSettings, sink_of
from argy.authn.sessions.settings import SignInSettings, sign_in_settings
from argy.authn.tokens.revocation import RevocationMirror
from argy.authn.tokens.signing_keys import SigningKeys
from argy.authz.replication.tokens import ReplicatedTokens
from argy.base.clock import Clock
from argy.base.envelope import KeyRingKms
from argy.base.errors import InvalidArgument
from argy.local.settings import Settings
from argy.rpc.access import Decider
from argy.rpc.client import SignedChannel
from argy.rpc.credentials import CredentialVerifier, RemoteCredentials
from argy.rpc.jwks import RemoteKeys
from argy.rpc.page_token import PageTokens
from argy.rpc.pair_keys import RootKeys
from argy.rpc.service_keys import KeyStandings, RemoteKeyStandings, ServiceKeys
from argy.rpc.standing_keys import StandingKeys
from argy.rpc.token_sources import KeySource
from argy.rpc.tokens import TokenVerifier
from argy.store.database import Database
from argy.store.redis import RedisStore

_ENDING_CONNECTIONS = 2


@dataclass(frozen=True, slots=True)
class SignIn:
    """What the chain verifies callers with; ``parts`` are the services that are hosted here."""

    tokens: TokenVerifier | None = None
    credentials: CredentialVerifier | None = None
    service_keys: ServiceKeys | None = None
    parts: tuple[tuple[object, Any], ...] = ()
    replicated: ReplicatedTokens | None = None
    """What replicas verify tokens with."""


def check(settings: Settings) -> None:
    """Refuse to serve authn without what it needs; raises InvalidArgument, naming the setting."""
    _public_url(settings)
    KeyRingKms.from_settings(settings.kek_ring, settings.kek)
    sink_of(_mail(settings))
    _sign_in(settings)


async def host(
    stack: AsyncExitStack,
    settings: Settings,
    *,
    db: Database,
    redis: RedisStore,
    access: Decider,
    roots: RootKeys,
    pages: PageTokens,
    clock: Clock,
) -> SignIn:
    """Sign-in hosted in this process; ``db`` acts as argy_authn."""
    kek = KeyRingKms.from_settings(settings.kek_ring, settings.kek)
    keys = SigningKeys(db, kek, clock, bits=settings.signing_key_bits)
    await keys.start()
    stack.push_async_callback(keys.close)
    ending_db = await Database.open(settings.authn_dsn, role=db.role, max_size=_ENDING_CONNECTIONS)
    stack.push_async_callback(ending_db.close)
    mirror = _mirror(stack, redis)
    verifier, replicated = _verifier(settings, keys, mirror, clock)
    hosted = authn.assemble(
        db=db,
        ending_db=ending_db,
        redis=redis,
        keys=keys,
        roots=roots,
        verifier=verifier,
        access=access,
        pages=pages,
        clock=clock,
        mail=sink_of(_mail(settings)),
        kek=kek,
        settings=_sign_in(settings),
    )
    await hosted.start()
    stack.push_async_callback(hosted.close)
    service_keys = _service_keys(stack, roots, hosted.service_keys, mirror, clock)
    return SignIn(verifier, hosted.credentials, service_keys, hosted.services, replicated)


def elsewhere(
    stack: AsyncExitStack,
    settings: Settings,
    channel: SignedChannel | None,
    roots: RootKeys,
    redis: RedisStore,
    clock: Clock,
) -> SignIn:
    """What verifies the callers of a process beside sign-in; nothing when there is none."""
    if channel is None:
        return SignIn()
    keys = RemoteKeys(channel)
    stack.push_async_callback(keys.close)
    mirror = _mirror(stack, redis)
    verifier, replicated = _verifier(settings, keys, mirror, clock)
    service_keys = _service_keys(stack, roots, RemoteKeyStandings(channel), mirror, clock)
    return SignIn(verifier, RemoteCredentials(channel), service_keys, replicated=replicated)


def _mirror(stack: AsyncExitStack, redis: RedisStore) -> RevocationMirror:
    mirror = RevocationMirror(redis)
    stack.push_async_callback(mirror.close)
    return mirror


def _service_keys(
    stack: AsyncExitStack,
    roots: RootKeys,
    standings: KeyStandings,
    mirror: RevocationMirror,
    clock: Clock,
) -> ServiceKeys:
    made = ServiceKeys(roots=roots, standings=standings, revocations=mirror, clock=clock)
    stack.push_async_callback(made.close)
    return made


def _verifier(
    settings: Settings, keys: KeySource, mirror: RevocationMirror, clock: Clock
) -> tuple[TokenVerifier, ReplicatedTokens]:
    url = _public_url(settings)
    return (
        TokenVerifier(keys=keys, revocations=mirror, public_url=url, clock=clock),
        ReplicatedTokens(keys=StandingKeys(keys, mirror), revocations=mirror, public_url=url),
    )


def _public_url(settings: Settings) -> str:
    parts = urlsplit(settings.public_url)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise InvalidArgument(
            "set ARGY_PUBLIC_URL to the edge's https URL, without query and fragment",
            field="ARGY_PUBLIC_URL",
        )
    return settings.public_url.rstrip("/")


def _sign_in(settings: Settings) -> SignInSettings:
    return sign_in_settings(
        base_url=_public_url(settings),
        rp_id=settings.rp_id,
        rp_name=settings.rp_name,
        origins=settings.passkey_origins,
        idle_s=settings.session_idle_s,
        absolute_s=settings.session_max_s,
    )


def _mail(settings: Settings) -> MailSettings:
    return MailSettings(
        smtp_url=settings.mail_smtp_url,
        sender=settings.mail_from,
        ca=settings.mail_ca,
        unsafe_folder=settings.unsafe_mail_dir,
    )

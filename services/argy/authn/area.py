"""Sign-in, as a server process knows it: served there, or asked for by who verifies its tokens."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from argy.authn.mail.sinks import MailSettings, sink_of
from argy.authn.main import assemble
from argy.authn.sessions.settings import SignInSettings, sign_in_settings
from argy.authn.tokens.revocation import RevocationMirror
from argy.authn.tokens.signing_keys import SigningKeys
from argy.base.config import setting
from argy.base.envelope import KeyRingKms
from argy.base.errors import InvalidArgument
from argy.rpc.credentials import CredentialVerifier, RemoteCredentials
from argy.rpc.jwks import RemoteKeys
from argy.rpc.service_keys import KeyStandings, RemoteKeyStandings, ServiceKeys
from argy.rpc.standing_keys import StandingKeys
from argy.rpc.token_sources import KeySource
from argy.rpc.tokens import TokenVerifier
from argy.serving.area import Area, Deps, Services
from argy.serving.process import Callers, Process, Replicable
from argy.store.redis_acl import Purpose

_ENDING_CONNECTIONS: Final = 2
_REDIS: Final = (
    Purpose(
        ("revoked-state", "revoked", "revoked-by:*"),
        "eval hget hset hincrby expire zadd zcard zrange zrem zremrangebyscore del",
    ),
    Purpose(
        ("session:*", "user_sessions:*"), "eval get set del hget hgetall hset hdel hexists pexpire"
    ),
    Purpose(("ceremony:*",), "set getdel"),
    Purpose(("rate:*",), "eval get set"),
    Purpose(
        ("mail:*",),
        "eval time hget hset hdel hincrby pexpire zadd zcard zrange zrem zremrangebyscore zscore",
    ),
)


@dataclass(frozen=True, slots=True)
class AuthnSettings:
    """What it needs beside what every server has, and where it is when it is served elsewhere."""

    dsn: str = setting("AUTHN_DSN", "Postgres, as the sign-in service's login", default="")
    redis_url: str = setting("AUTHN_REDIS_URL", "as the sign-in service's user", default="")
    target: str = setting("AUTHN_TARGET", "authn, when it is served elsewhere", default="")
    ca: Path | None = setting("AUTHN_CA", "CA to trust for AUTHN_TARGET", default=None)
    public_url: str = setting(
        "PUBLIC_URL", "the edge's https URL: tokens name it; with none they are refused", default=""
    )
    kek_ring: Path | None = setting(
        "KEK_RING", "key ring file that seals secrets at rest; authn needs it, or ARGY_KEK",
        default=None,
    )  # fmt: skip
    kek: str = setting("KEK", "that ring's JSON itself", default="")
    signing_key_bits: int = setting(
        "SIGNING_KEY_BITS", "size of new keys of access tokens: 2048 or 3072", default=2048
    )
    rp_id: str = setting(
        "RP_ID", "domain of passkeys; the host of PUBLIC_URL by default", default=""
    )
    rp_name: str = setting("RP_NAME", "what passkeys are for, as browsers show it", default="Argy")
    passkey_origins: str = setting(
        "PASSKEY_ORIGINS", "more https origins where passkeys are used, with commas", default=""
    )
    session_idle_s: int = setting(
        "SESSION_IDLE_S", "seconds a session may rest; a tenant may set less", default=1_800
    )
    session_max_s: int = setting(
        "SESSION_MAX_S", "seconds a session lasts at most; a tenant may set less", default=43_200
    )
    mail_smtp_url: str = setting(
        "MAIL_SMTP_URL", "smtps:// (TLS) or smtp:// (STARTTLS) of sign-in mail", default=""
    )
    mail_from: str = setting("MAIL_FROM", "its sender", default="")
    mail_ca: Path | None = setting("MAIL_CA", "CA to trust for it; else the system's", default=None)
    unsafe_mail_dir: Path | None = setting(
        "UNSAFE_MAIL_DIR", "write sign-in mail to this folder instead: development", default=None
    )

    def edge_url(self) -> str:
        """The edge's URL without a slash at its end; raises InvalidArgument for any other."""
        parts = urlsplit(self.public_url)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
            raise InvalidArgument(
                "set ARGY_PUBLIC_URL to the edge's https URL, without query and fragment",
                field="ARGY_PUBLIC_URL",
            )
        return self.public_url.rstrip("/")

    def kms(self) -> KeyRingKms:
        """What seals secrets at rest; raises InvalidArgument without a ring."""
        return KeyRingKms.from_settings(self.kek_ring, self.kek)

    def sign_in(self) -> SignInSettings:
        """How people sign in."""
        return sign_in_settings(
            base_url=self.edge_url(),
            rp_id=self.rp_id,
            rp_name=self.rp_name,
            origins=self.passkey_origins,
            idle_s=self.session_idle_s,
            absolute_s=self.session_max_s,
        )

    def mail(self) -> MailSettings:
        """How sign-in mail goes."""
        return MailSettings(
            smtp_url=self.mail_smtp_url,
            sender=self.mail_from,
            ca=self.mail_ca,
            unsafe_folder=self.unsafe_mail_dir,
        )


def _check(settings: AuthnSettings) -> None:
    settings.edge_url()
    settings.kms()
    sink_of(settings.mail())
    settings.sign_in()


async def _assemble(deps: Deps[AuthnSettings]) -> Services:
    process, settings = deps.process, deps.settings
    kek = settings.kms()
    keys = SigningKeys(deps.db, kek, process.clock, bits=settings.signing_key_bits)
    await keys.start()
    process.closes(keys)
    ending_db = await process.database(settings.dsn, deps.db.role, max_size=_ENDING_CONNECTIONS)
    verifying = _Verifying(process, settings, keys)
    authn = assemble(
        db=deps.db,
        ending_db=ending_db,
        redis=deps.redis,
        keys=keys,
        roots=process.roots,
        verifier=verifying.tokens,
        access=process.access,
        pages=process.pages,
        clock=process.clock,
        mail=sink_of(settings.mail()),
        kek=kek,
        settings=settings.sign_in(),
    )
    await authn.start()
    process.closes(authn)
    process.callers = verifying.callers(authn.credentials, authn.service_keys)
    return authn.services


def _elsewhere(process: Process, settings: AuthnSettings) -> None:
    if not settings.target:
        return
    channel = process.channel_to(settings.target, settings.ca)
    keys = RemoteKeys(channel)
    process.closes(keys)
    verifying = _Verifying(process, settings, keys)
    process.callers = verifying.callers(RemoteCredentials(channel), RemoteKeyStandings(channel))


class _Verifying:
    """What a process verifies callers with, from the keys that sign their tokens."""

    def __init__(self, process: Process, settings: AuthnSettings, keys: KeySource) -> None:
        self._process = process
        self._mirror = RevocationMirror(process.redis)
        process.closes(self._mirror)
        url = settings.edge_url()
        self.tokens = TokenVerifier(
            keys=keys, revocations=self._mirror, public_url=url, clock=process.clock
        )
        self._replicable = Replicable(StandingKeys(keys, self._mirror), self._mirror, url)

    def callers(self, credentials: CredentialVerifier, standings: KeyStandings) -> Callers:
        service_keys = ServiceKeys(
            roots=self._process.roots,
            standings=standings,
            revocations=self._mirror,
            clock=self._process.clock,
        )
        self._process.closes(service_keys)
        return Callers(self.tokens, credentials, service_keys, self._replicable)


AREA: Final = Area(
    name="authn",
    settings=AuthnSettings,
    assemble=_assemble,
    check=_check,
    elsewhere=_elsewhere,
    redis=_REDIS,
    by_default=False,
)

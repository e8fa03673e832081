"""Puts sign-in together; decides nothing."""

from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor

from argy.api.authn.v1 import credential_pb2, device_pb2, token_pb2
from argy.authn.credentials.rights import Rights
from argy.authn.credentials.service import CredentialService
from argy.authn.credentials.usage import LastUsed
from argy.authn.credentials.use_cases import Credentials
from argy.authn.devices.service import DeviceService
from argy.authn.devices.tokens import DeviceTokens
from argy.authn.devices.use_cases import Devices
from argy.authn.limits import RateLimits
from argy.authn.mail.message import MailSink
from argy.authn.service_keys.end_watch import KeyEndWatch
from argy.authn.service_keys.use_cases import ServiceKeys
from argy.authn.sessions.audit import SignInLog
from argy.authn.sessions.settings import SignInSettings
from argy.authn.sign_in import SignIn, assemble_sign_in
from argy.authn.tokens.ending import TokenEndings
from argy.authn.tokens.issuing import TokenIssuer
from argy.authn.tokens.service import TokenService
from argy.authn.tokens.signing_keys import SigningKeys
from argy.authn.tokens.use_cases import TokenUse
from argy.base.clock import Clock
from argy.base.envelope import Kms
from argy.rpc.access import Decider
from argy.rpc.page_token import PageTokens
from argy.rpc.pair_keys import RootKeys
from argy.rpc.tokens import TokenVerifier
from argy.store.database import Database
from argy.store.redis import RedisStore


@dataclass(frozen=True, slots=True)
class Authn:
    """The parts. ``start`` before the server, ``close`` after it."""

    services: tuple[tuple[object, ServiceDescriptor], ...]
    credentials: Credentials
    """Verifies personal access tokens and API keys, in this process."""
    service_keys: ServiceKeys
    """Tells what service keys are good for, in this process."""
    issuer: TokenIssuer
    used: LastUsed
    sign_in: SignIn
    key_ends: KeyEndWatch

    async def start(self) -> None:
        """Begin what runs beside the calls."""
        await self.used.start()
        await self.sign_in.start()
        self.key_ends.start()

    async def close(self) -> None:
        """End it."""
        await self.key_ends.close()
        await self.sign_in.close()
        await self.used.close()


def assemble(
    *,
    db: Database,
    ending_db: Database,
    redis: RedisStore,
    keys: SigningKeys,
    roots: RootKeys,
    verifier: TokenVerifier,
    access: Decider,
    pages: PageTokens,
    clock: Clock,
    mail: MailSink,
    kek: Kms,
    settings: SignInSettings,
) -> Authn:
    """Wire the services; ``db`` and ``ending_db`` act as argy_authn, each with its connections."""
    log = SignInLog(db, clock)
    endings = TokenEndings(redis, clock, ending_db)
    issuer = TokenIssuer(keys=keys, revocations=endings, public_url=settings.base_url, clock=clock)
    sign_in = assemble_sign_in(
        db=db,
        redis=redis,
        clock=clock,
        settings=settings,
        mail=mail,
        kek=kek,
        issuer=issuer,
        revocations=endings,
        access=access,
    )
    used = LastUsed(db)
    service_keys = ServiceKeys(db=db, roots=roots, revocations=endings, used=used, clock=clock)
    credentials = Credentials(
        db=db,
        rights=Rights(access),
        used=used,
        log=log,
        clock=clock,
        service_keys=service_keys,
        notices=sign_in.notices,
    )
    devices = Devices(
        db=db,
        limits=RateLimits(redis, clock),
        issuer=DeviceTokens(issuer, sign_in.sessions),
        log=log,
        clock=clock,
    )
    use = TokenUse(
        db=db,
        issuer=issuer,
        verifier=verifier,
        revocations=endings,
        credentials=credentials,
        clock=clock,
    )
    services = (
        *sign_in.services,
        (TokenService(use, keys, endings), token_pb2.DESCRIPTOR.services_by_name["TokenService"]),
        (DeviceService(devices), device_pb2.DESCRIPTOR.services_by_name["DeviceService"]),
        (
            CredentialService(credentials, pages),
            credential_pb2.DESCRIPTOR.services_by_name["CredentialService"],
        ),
    )
    key_ends = KeyEndWatch(db, service_keys)
    return Authn(services, credentials, service_keys, issuer, used, sign_in, key_ends)

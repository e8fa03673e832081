"""Puts the device flow and the long-lived credentials together. Decides nothing."""

from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor

from argy.api.authn.v1 import credential_pb2, device_pb2
from argy.authn.credential_rights import Rights
from argy.authn.credential_service import CredentialService
from argy.authn.credential_usage import LastUsed
from argy.authn.credentials import Credentials
from argy.authn.device_limits import DeviceLimits
from argy.authn.device_service import DeviceService
from argy.authn.device_tokens import DeviceTokens
from argy.authn.devices import Devices
from argy.authn.session_audit import SignInLog
from argy.authn.sessions import Sessions
from argy.authn.token_issuing import TokenIssuer
from argy.base.clock import Clock
from argy.rpc.access import AccessDecider
from argy.rpc.page_token import PageTokens
from argy.store.database import Database
from argy.store.redis import RedisStore


@dataclass(frozen=True, slots=True)
class LongLived:
    """Credentials: the verifier of every server that hosts them. ``start`` and ``close`` it."""

    verifier: Credentials
    used: LastUsed
    service: tuple[object, ServiceDescriptor]

    async def start(self) -> None:
        """Begin to write when credentials were last used."""
        await self.used.start()

    async def close(self) -> None:
        """Stop, and write the rest."""
        await self.used.close()


def assemble_credentials(
    *, db: Database, clock: Clock, access: AccessDecider, pages: PageTokens
) -> LongLived:
    """Wire the service of credentials; ``db`` acts as argy_authn."""
    used = LastUsed(db)
    credentials = Credentials(
        db=db, rights=Rights(access), used=used, log=SignInLog(db, clock), clock=clock
    )
    service = credential_pb2.DESCRIPTOR.services_by_name["CredentialService"]
    return LongLived(credentials, used, (CredentialService(credentials, pages), service))


def device_service(
    *, db: Database, redis: RedisStore, clock: Clock, issuer: TokenIssuer, sessions: Sessions
) -> tuple[object, ServiceDescriptor]:
    """Wire the service of the device flow; ``db`` acts as argy_authn."""
    devices = Devices(
        db=db,
        limits=DeviceLimits(redis, clock),
        issuer=DeviceTokens(issuer, sessions),
        log=SignInLog(db, clock),
        clock=clock,
    )
    return DeviceService(devices), device_pb2.DESCRIPTOR.services_by_name["DeviceService"]

"""Puts sign-in together: passkeys, links by mail, sessions, policies. Decides nothing."""

from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor

from argy.api.authn.v1 import (
    magic_link_pb2,
    passkey_pb2,
    session_pb2,
    sign_in_policy_pb2,
)
from argy.authn.limits import RateLimits
from argy.authn.link_service import MagicLinkService
from argy.authn.links import Links
from argy.authn.mail import MailSink
from argy.authn.mail_queue import MailQueue
from argy.authn.notices import SecurityNotices
from argy.authn.outbox import Outbox
from argy.authn.passkey_challenges import Challenges
from argy.authn.passkey_service import PasskeyService
from argy.authn.passkey_sign_in import PasskeySignIn
from argy.authn.passkeys import Passkeys
from argy.authn.revocation import RevocationList
from argy.authn.security_notices import SeenNotices
from argy.authn.session_audit import SignInLog
from argy.authn.session_service import SessionService
from argy.authn.session_settings import SignInSettings
from argy.authn.session_store import SessionStore
from argy.authn.session_watch import SessionWatch
from argy.authn.sessions import Sessions
from argy.authn.sign_in_policies import SignInPolicies
from argy.authn.sign_in_policy_service import SignInPolicyService
from argy.authn.sign_in_reset import SignInReset
from argy.authn.token_issuing import TokenIssuer
from argy.base.clock import Clock
from argy.base.envelope import Kms
from argy.rpc.access import AccessDecider
from argy.store.database import Database
from argy.store.redis import RedisStore


@dataclass(frozen=True, slots=True)
class SignIn:
    """The parts. ``start`` before the server, ``close`` after it."""

    services: tuple[tuple[object, ServiceDescriptor], ...]
    sessions: Sessions
    outbox: Outbox
    notices: SecurityNotices
    watch: SessionWatch

    async def start(self) -> None:
        """Begin to send mail and to hear of disabled people."""
        await self.outbox.start()
        await self.watch.start()

    async def close(self) -> None:
        """Stop all that."""
        await self.watch.close()
        await self.outbox.close()


def assemble_sign_in(
    *,
    db: Database,
    redis: RedisStore,
    clock: Clock,
    settings: SignInSettings,
    mail: MailSink,
    kek: Kms,
    issuer: TokenIssuer,
    revocations: RevocationList,
    access: AccessDecider,
) -> SignIn:
    """Wire the services; ``db`` acts as argy_authn."""
    log = SignInLog(db, clock)
    outbox = Outbox(MailQueue(redis, kek), mail, db=db, clock=clock)
    sessions = Sessions(
        db=db,
        store=SessionStore(redis, settings.limits),
        revocations=revocations,
        log=log,
        clock=clock,
        limits=settings.limits,
    )
    notices = SecurityNotices(db, outbox)
    challenges, limits = Challenges(redis), RateLimits(redis, clock)
    passkeys = Passkeys(
        db=db,
        challenges=challenges,
        rp=settings.relying_party,
        limits=limits,
        log=log,
        notices=notices,
        clock=clock,
    )
    sign_in = PasskeySignIn(
        db=db,
        challenges=challenges,
        rp=settings.relying_party,
        sessions=sessions,
        limits=limits,
        log=log,
        notices=notices,
        clock=clock,
    )
    links = Links(
        db=db,
        limits=limits,
        sessions=sessions,
        log=log,
        outbox=outbox,
        clock=clock,
        base_url=settings.base_url,
    )
    reset = SignInReset(
        db=db,
        sessions=sessions,
        links=links,
        log=log,
        outbox=outbox,
        notices=notices,
        clock=clock,
    )
    policies = SignInPolicies(db=db, log=log, clock=clock, limits=settings.limits)
    services = (
        (
            PasskeyService(passkeys, sign_in),
            passkey_pb2.DESCRIPTOR.services_by_name["PasskeyService"],
        ),
        (MagicLinkService(links), magic_link_pb2.DESCRIPTOR.services_by_name["MagicLinkService"]),
        (
            SessionService(
                sessions,
                issuer,
                db,
                access,
                notices=SeenNotices(db=db, log=log, clock=clock),
                reset=reset,
            ),
            session_pb2.DESCRIPTOR.services_by_name["SessionService"],
        ),
        (
            SignInPolicyService(policies),
            sign_in_policy_pb2.DESCRIPTOR.services_by_name["SignInPolicyService"],
        ),
    )
    return SignIn(services, sessions, outbox, notices, SessionWatch(db, sessions))

"""Puts sign-in together: passkeys, links by mail, sessions, policies. Decides nothing."""

from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor

from argy.api.authn.v1 import (
    magic_link_pb2,
    passkey_pb2,
    session_pb2,
    sign_in_policy_pb2,
)
from argy.authn.credentials.rights import Rights
from argy.authn.limits import RateLimits
from argy.authn.links.service import MagicLinkService
from argy.authn.links.use_cases import Links
from argy.authn.mail.message import MailSink
from argy.authn.mail.notices import SecurityNotices
from argy.authn.mail.outbox import Outbox
from argy.authn.mail.queue import MailQueue
from argy.authn.passkeys.challenges import Challenges
from argy.authn.passkeys.service import PasskeyService
from argy.authn.passkeys.sign_in import PasskeySignIn
from argy.authn.passkeys.use_cases import Passkeys
from argy.authn.security_notices.use_cases import SeenNotices
from argy.authn.sessions.audit import SignInLog
from argy.authn.sessions.service import SessionService
from argy.authn.sessions.settings import SignInSettings
from argy.authn.sessions.store import SessionStore
from argy.authn.sessions.use_cases import Sessions
from argy.authn.sessions.watch import SessionWatch
from argy.authn.sign_in_policy.service import SignInPolicyService
from argy.authn.sign_in_policy.use_cases import SignInPolicies
from argy.authn.sign_in_reset import SignInReset
from argy.authn.tokens.issuing import TokenIssuer
from argy.authn.tokens.revocation import RevocationList
from argy.base.clock import Clock
from argy.base.envelope import Kms
from argy.rpc.access import Decider
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
    access: Decider,
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
        rights=Rights(access),
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
                notices=SeenNotices(db=db, sessions=sessions, log=log, clock=clock),
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

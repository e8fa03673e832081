"""Authorization, as a server process knows it."""

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argy.authz.main import assemble
from argy.authz.notifications.notifier import Notifier
from argy.authz.notifications.sinks import SinkSettings, sinks_of
from argy.authz.publishing.floor import PolicyFloor
from argy.authz.publishing.folder import begin
from argy.authz.publishing.keys import PolicyKeys
from argy.authz.replication.tokens import ReplicatedTokens
from argy.base.config import setting
from argy.base.errors import InvalidArgument
from argy.rpc.access import RemoteAccess
from argy.serving.area import Area, Deps, Services
from argy.serving.process import Process
from argy.store.redis_acl import Purpose

POLICY_FLOOR: Final = Purpose(("policy-floor",), "eval get set")


@dataclass(frozen=True, slots=True)
class AuthzSettings:
    """What it needs beside what every server has, and where it is when it is served elsewhere."""

    dsn: str = setting("AUTHZ_DSN", "Postgres, as authz' login", default="")
    redis_url: str = setting("AUTHZ_REDIS_URL", "as authz' user", default="")
    target: str = setting("AUTHZ_TARGET", "authz, when it is served elsewhere", default="")
    ca: Path | None = setting("AUTHZ_CA", "CA to trust for AUTHZ_TARGET", default=None)
    policy_dir: Path = setting(
        "POLICY_DIR", "the policy folder, until a first policy is in force", default=Path("policy")
    )
    policy_key_ring: Path | None = setting(
        "POLICY_KEY_RING", "key ring file that signs what comes in force; authz needs it",
        default=None,
    )  # fmt: skip
    policy_trusted_keys: Path | None = setting(
        "POLICY_TRUSTED_KEYS", "public keys whose bundles may be proposed", default=None
    )
    unsafe_follow_policy_dir: bool = setting(
        "UNSAFE_FOLLOW_POLICY_DIR", "activate a changed folder without review", default=False
    )
    notify_smtp_url: str = setting(
        "NOTIFY_SMTP_URL", "smtps:// (TLS) or smtp:// (STARTTLS) of what waits for people",
        default="",
    )  # fmt: skip
    notify_from: str = setting("NOTIFY_FROM", "the sender of that mail", default="")
    notify_to: str = setting("NOTIFY_TO", "its recipients, with commas between", default="")
    notify_webhook_url: str = setting(
        "NOTIFY_WEBHOOK_URL", "https:// that takes CloudEvents of what waits for people", default=""
    )
    notify_webhook_key: str = setting(
        "NOTIFY_WEBHOOK_KEY", "signs them: 32 characters or more", default=""
    )
    notify_ca: Path | None = setting(
        "NOTIFY_CA", "CA to trust for both; else the system's", default=None
    )

    def policy_keys(self) -> PolicyKeys:
        """The keys of policies; raises InvalidArgument without a ring."""
        if self.policy_key_ring is None:
            raise InvalidArgument("to serve authz set ARGY_POLICY_KEY_RING", field="services")
        return PolicyKeys.load(
            self.policy_key_ring,
            self.policy_trusted_keys,
            unsafe_folder=self.unsafe_follow_policy_dir,
        )

    def sinks(self) -> SinkSettings:
        """Who is told of what waits for people."""
        return SinkSettings(
            smtp_url=self.notify_smtp_url,
            sender=self.notify_from,
            recipients=self.notify_to,
            webhook_url=self.notify_webhook_url,
            webhook_key=self.notify_webhook_key,
            ca=self.notify_ca,
        )


def _check(settings: AuthzSettings) -> None:
    settings.policy_keys()


async def _assemble(deps: Deps[AuthzSettings]) -> Services:
    process, settings = deps.process, deps.settings
    keys, floor = settings.policy_keys(), PolicyFloor(deps.redis)
    # It outlives the calls that hand it something.
    notifier = Notifier(sinks_of(settings.sinks()))
    await notifier.start()
    process.closes(notifier)

    authz = assemble(
        db=deps.db,
        lane=process.lane,
        pages=process.pages,
        clock=process.clock,
        policy=await begin(deps.db, keys, settings.policy_dir, process.clock, floor),
        policy_keys=keys,
        policy_root=settings.policy_dir,
        policy_floor=floor,
        notify=notifier.tell,
    )
    await authz.start()
    process.closes(authz)
    process.access = authz.access
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, authz.poke)

    def tell_replicas() -> None:
        if found := process.callers.replicable:
            authz.replication.use_tokens(
                ReplicatedTokens(
                    keys=found.keys, revocations=found.revocations, public_url=found.public_url
                )
            )

    process.at_start.append(tell_replicas)
    return authz.services


def _elsewhere(process: Process, settings: AuthzSettings) -> None:
    if not settings.target:
        raise InvalidArgument("serve authz too, or set ARGY_AUTHZ_TARGET", field="services")
    process.access = RemoteAccess(process.channel_to(settings.target, settings.ca))


AREA: Final = Area(
    name="authz",
    settings=AuthzSettings,
    assemble=_assemble,
    check=_check,
    elsewhere=_elsewhere,
    redis=(POLICY_FLOOR,),
)

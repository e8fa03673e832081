"""A signed-in session: what it holds, and when it is over. Pure.

A session is known by the SHA-256 of its secret. It ends when it was not used for the idle limit,
and at its absolute limit whatever happens; a renewed proof moves neither of the two. Where a
passkey must be registered next, a session is provisional until one was proved in it. The link that
made it proves so little that it counts as a proof of long ago: it is good for registering a passkey
and for nothing that asks for a recent proof.
"""

import hashlib
import secrets
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address
from typing import Final, Literal
from uuid import UUID

from argy.base.user_agents import browser_of
from argy.rpc.claims import ACR_PROVISIONAL

Method = Literal["passkey", "magic_link", "device"]

ACR_PASSKEY: Final = "urn:argy:acr:passkey"
ACR_LINK: Final = "urn:argy:acr:link"
IDLE_S: Final = 1_800
ABSOLUTE_S: Final = 43_200
DEVICE_S: Final = 30 * 86_400
PROVISIONAL_S: Final = 900
"""How long a session lasts in which a passkey must be registered and was not used yet."""
PROVISIONAL_AGE_S: Final = 86_400
"""How old the proof of a provisional session counts from the beginning, in seconds."""
MAX_SESSIONS: Final = 100
"""Sessions of a user; one more ends the one that was not used for the longest time."""
TOUCH_MS: Final = 60_000
"""How exactly the last use is kept: a busy session is written once a minute."""
SECRET_BYTES: Final = 32
_METHODS: Final[tuple[Method, ...]] = ("passkey", "device", "magic_link")
"""Strongest first."""
_ACR: Final[dict[Method, str]] = {
    "passkey": ACR_PASSKEY,
    "device": ACR_LINK,
    "magic_link": ACR_LINK,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long sessions last, in seconds."""

    idle_s: int = IDLE_S
    absolute_s: int = ABSOLUTE_S
    device_s: int = DEVICE_S
    """Of a device that was let in by device flow: as long as its refresh tokens, used or not."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """From where somebody acts, as the edge saw it and as the browser says itself.

    Whatever it is made of, ``ip`` is an IP address or empty, and ``user_agent`` in words of ours:
    see ``browser_of``. So no header of a stranger is kept, mailed or shown.
    """

    ip: str = ""
    user_agent: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ip", _ip(self.ip))
        object.__setattr__(self, "user_agent", browser_of(self.user_agent))


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One place where somebody is signed in. Times are milliseconds since the Unix epoch."""

    session_id: UUID
    user_id: UUID
    methods: tuple[Method, ...]
    auth_time_ms: int
    device: DeviceInfo
    created_at_ms: int
    last_seen_ms: int
    expires_at_ms: int
    provisional: bool = False
    """Whether a passkey must be registered next, and was not proved in it yet."""
    known_since_ms: int | None = None
    """Since when the passkey or the mailbox is known as its person's; None: since it began."""

    @property
    def proof_since_ms(self) -> int:
        """Since when what its person proved themselves with is known as theirs."""
        return self.created_at_ms if self.known_since_ms is None else self.known_since_ms

    @property
    def acr(self) -> str:
        """The authentication context, as the strongest method gives it."""
        return ACR_PROVISIONAL if self.provisional else _ACR[self.methods[0]]

    @property
    def counts_from_ms(self) -> int:
        """The time of proof that its tokens tell, by which whoever asks for a recent one goes."""
        return self.auth_time_ms - (PROVISIONAL_AGE_S * 1_000 if self.provisional else 0)

    @property
    def of_device(self) -> bool:
        """Whether it stands for the tokens of a device, whose use it does not see."""
        return self.methods == ("device",)

    def over(self, now_ms: int, limits: Limits) -> bool:
        """Whether it has met one of its limits.

        The last use is known to the minute, so that a session is idle for up to a minute longer
        and never shorter.
        """
        idle_ms = now_ms - self.last_seen_ms
        idle = not self.of_device and idle_ms >= limits.idle_s * 1_000 + TOUCH_MS
        return idle or now_ms >= self.expires_at_ms

    def stale(self, now_ms: int) -> bool:
        """Whether its last use is to be written anew."""
        return now_ms - self.last_seen_ms >= TOUCH_MS

    def seen(self, now_ms: int) -> "Session":
        """The session, used now."""
        return replace(self, last_seen_ms=max(now_ms, self.last_seen_ms))

    def proved(
        self, method: Method, now_ms: int, limits: Limits, *, known_since_ms: int
    ) -> "Session":
        """The session after its person proved again who they are.

        A passkey makes a provisional session last as long as any other; what is known of its person
        goes back to that passkey then, and else to the oldest one that was proved in it.
        """
        held = {*self.methods, method}
        methods = tuple(name for name in _METHODS if name in held)
        proved = replace(self.seen(now_ms), methods=methods, auth_time_ms=now_ms)
        if method != "passkey":
            return proved
        ends_ms = max(self.expires_at_ms, self.created_at_ms + limits.absolute_s * 1_000)
        if not self.provisional:
            known_since_ms = min(known_since_ms, self.proof_since_ms)
        return replace(
            proved, expires_at_ms=ends_ms, provisional=False, known_since_ms=known_since_ms
        )

    def time_to_live_ms(self, now_ms: int, limits: Limits) -> int:
        """For how long the store must keep it at most; at least a millisecond."""
        left_ms = self.expires_at_ms - now_ms
        idle_ms = self.last_seen_ms + limits.idle_s * 1_000 + TOUCH_MS - now_ms
        return max(1, left_ms if self.of_device else min(left_ms, idle_ms))


def _ip(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    # A zone (RFC 4007) may be any text.
    return "" if isinstance(address, IPv6Address) and address.scope_id else str(address)


def new_session(
    *,
    session_id: UUID,
    user_id: UUID,
    method: Method,
    device: DeviceInfo,
    now_ms: int,
    limits: Limits,
    provisional: bool = False,
    known_since_ms: int | None = None,
) -> Session:
    """A session that begins now; a ``provisional`` one ends soon, unless a passkey is proved."""
    lasts_s = limits.device_s if method == "device" else limits.absolute_s
    if provisional:
        lasts_s = min(lasts_s, PROVISIONAL_S)
    return Session(
        session_id=session_id,
        user_id=user_id,
        methods=(method,),
        auth_time_ms=now_ms,
        device=device,
        created_at_ms=now_ms,
        last_seen_ms=now_ms,
        expires_at_ms=now_ms + lasts_s * 1_000,
        provisional=provisional,
        known_since_ms=known_since_ms,
    )


def new_secret() -> str:
    """256 random bits in base64url: 43 characters."""
    return secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    """What is kept of a secret of 256 random bits: its SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()

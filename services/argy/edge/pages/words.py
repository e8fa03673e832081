"""What pages say in words: times, devices, notices, and errors with what to do next."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from argy.api.authn.v1.session_pb2 import Device, SecurityNotice
from argy.base import errors as family
from argy.base.errors import ArgyError
from argy.base.foreign_text import quoted
from argy.base.user_agents import UNKNOWN, browser_of

NOTICES: Final = {
    "passkey-added": "The passkey was added.",
    "passkey-renamed": "The passkey was renamed.",
    "passkey-removed": "The passkey was removed.",
    "session-ended": "The session was ended.",
    "others-ended": "Every other session was ended.",
    "token-revoked": "The token was revoked.",
    "notices-seen": "Noted: it was you.",
}


_CLIENTS: Final = {"argy-cli": "the Argy command line"}
_EVENTS: Final = {
    "recovery_used": "Your account was recovered with a link from your mail",
    "passkey_registered": "A passkey was added: {name}",
    "passkey_removed": "A passkey was removed: {name}",
    "passkey_blocked": "A passkey was blocked, for it may have been copied: {name}",
    "token_made": "A personal access token was made: {name}",
    "device_let_in": "A device was let in: {name}",
    "sign_in_reset": "An administrator reset your sign-in",
    "signed_out_everywhere": "You were signed out on other devices",
}
_WAYS: Final = {"magic_link": "link in a mail"}
_DOING: Final = {
    "security/passkey/rename": "rename a passkey",
    "security/passkey/remove": "remove a passkey",
    "security/session/end": "end a session",
    "security/sessions/end-others": "end your other sessions",
    "security/sessions/end-all": "sign out everywhere",
    "security/notices/seen": "say that it was you",
    "security/token/create": "make a token that acts as you",
    "security/token/revoke": "revoke a token",
    "device/decision": "decide about a device",
}


@dataclass(frozen=True, slots=True)
class Told:
    """An error as a page tells it."""

    title: str
    detail: str
    advice: str
    retry: bool
    """Whether the same page may work again."""


_BY_REASON: Final = {
    "TOKEN_MISSING": ("Nothing to see here", "Check the address: this one is for programs."),
    "PATH_UNKNOWN": ("Nothing to see here", "Check the address."),
    "FORM_STALE": ("This page is out of date", "Go back, load the page again and repeat it."),
    "CROSS_SITE": (
        "This request came from elsewhere",
        "If you followed a link or a form of another site, close that site. Nothing was changed.",
    ),
    "TENANT_UNKNOWN": (
        "No such organization",
        "Check the address, or ask whoever invited you for the link to your sign-in page.",
    ),
    "PASSKEY_REQUIRED": (
        "Use your passkey first",
        "A link opened this visit. Sign in with your passkey, then repeat what you did.",
    ),
    "PLATFORM_UNAVAILABLE": ("Out of reach", "Wait a moment, then try again."),
}
_BY_KIND: Final = (
    (family.InvalidArgument, "That did not fit", "Correct what you entered and try again."),
    (family.Unauthenticated, "Please sign in", "Sign in again, then repeat what you did."),
    (
        family.PermissionDenied,
        "Not allowed",
        "If you need this, ask an administrator of your organization.",
    ),
    (family.NotFound, "Nothing here", "It may have ended or been used already. Start again."),
    (family.ResourceExhausted, "Too many attempts", "Wait a few minutes, then try again."),
    (
        family.FailedPrecondition,
        "That is not possible now",
        "Read the reason above; something else must change first.",
    ),
    (family.DeadlineExceeded, "That took too long", "Try again."),
    (family.Unavailable, "Out of reach", "Wait a moment, then try again."),
)
_UNFORESEEN: Final = (
    "Something went wrong here",
    "Try again. If it stays, tell your administrator the reference below.",
)
_RETRIED: Final = (
    family.ResourceExhausted,
    family.DeadlineExceeded,
    family.Unavailable,
)


def told(error: ArgyError) -> Told:
    """The error in words; what it says itself is public."""
    title, advice = _BY_REASON.get(error.reason) or next(
        ((title, advice) for kind, title, advice in _BY_KIND if isinstance(error, kind)),
        _UNFORESEEN,
    )
    return Told(title, sentence(error.message), advice, isinstance(error, _RETRIED))


def doing(path: str) -> str:
    """What a form at this path does: "remove a passkey"."""
    return _DOING.get(path.split("/", 2)[-1], "change something")


def sentence(text: str) -> str:
    """A message of a service as a sentence."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?…" else ".")


def device_name(user_agent: str) -> str:
    """In words of ours: "Chrome on Linux", "argy", "an unknown browser"."""
    return browser_of(user_agent) or UNKNOWN


def moment(stamp: Timestamp) -> datetime | None:
    """The time of a message, in UTC; None when it is absent."""
    if not (stamp.seconds or stamp.nanos):
        return None
    return datetime.fromtimestamp(stamp.seconds, UTC)


def used(time: datetime | None) -> str:
    """When something was used last: "used 25 Nov 2026, 14:05 UTC", or "never used"."""
    return f"used {shown(time)}" if time else "never used"


def client_name(client_id: str) -> str:
    """What a client of the device flow is called."""
    return _CLIENTS.get(client_id, client_id)


def event(notice: SecurityNotice) -> str:
    """What happened: "A passkey was added: “Laptop”"."""
    told = _EVENTS.get(notice.kind, "Something about your sign-in was changed")
    return told.format(name=_CLIENTS.get(notice.name) or quoted(notice.name))


def whence(device: Device) -> str:
    """From where: "from Chrome on Linux, 192.0.2.7"; empty when nobody knows."""
    known = [device_name(device.user_agent)] if device.user_agent else []
    told = ", ".join([*known, *([device.ip] if device.ip else [])])
    return f"from {told}" if told else ""


def ways(methods: Iterable[str]) -> str:
    """How somebody proved who they are: "passkey, link in a mail"."""
    return ", ".join(_WAYS.get(method, method.replace("_", " ")) for method in methods)


def shown(time: datetime | None) -> str:
    """A time for people: "25 Nov 2026, 14:05 UTC"."""
    return f"{time.day} {time:%b %Y, %H:%M} UTC" if time else "never"

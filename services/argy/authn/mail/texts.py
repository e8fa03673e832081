"""What our mails say. What people wrote themselves is in the text only, on one line and quoted.

A mail program makes no link of it, and it can't be taken for a sentence of ours.
"""

from typing import Final

from argy.authn.mail.message import Mail
from argy.authn.sessions.accounts import Account
from argy.authn.sessions.domain import DeviceInfo
from argy.base.foreign_text import in_mail, quoted

_UNKNOWN: Final = DeviceInfo()


def sign_in_link(account: Account, tenant: str, url: str, device: DeviceInfo, minutes: int) -> Mail:
    """The link that somebody asked for to sign in."""
    return _mail(
        account,
        tenant,
        "sign_in",
        f"Sign in to {tenant}",
        f"Somebody, we hope you, asked to sign in to {tenant}:",
        "",
        url,
        "",
        f"The link works once, for {minutes} minutes, and best in the browser that asked.",
        *_from(device),
        "",
        "Was it not you? Then do nothing: without the link nobody gets in.",
    )


def recovery_link(
    account: Account, tenant: str, url: str, device: DeviceInfo, minutes: int
) -> Mail:
    """The link for somebody who has passkeys and asked for a link all the same."""
    return _mail(
        account,
        tenant,
        "recovery",
        f"Get back into {tenant}",
        f"Somebody, we hope you, asked to sign in to {tenant} without your passkey:",
        "",
        url,
        "",
        f"The link works once, for {minutes} minutes; then you register a new passkey.",
        *_from(device),
        "",
        "Was it not you? Then do nothing, and tell your administrator.",
    )


def invitation(account: Account, tenant: str, url: str, days: int) -> Mail:
    """The first link that somebody gets."""
    return _mail(
        account,
        tenant,
        "invitation",
        f"You are invited to {tenant}",
        "Hello,",
        "",
        f"you have an account at {tenant}. Open this link and register a passkey:",
        "",
        url,
        "",
        f"The link works once, for {days} days.",
    )


def recovered(account: Account, tenant: str, device: DeviceInfo) -> Mail:
    """Tells that somebody got in by recovery."""
    return _notice(
        account,
        tenant,
        f"Your account at {tenant} was recovered",
        "Somebody signed in with a link from your mail and registers a new passkey.",
        *_from(device),
    )


def passkey_added(account: Account, tenant: str, name: str, device: DeviceInfo = _UNKNOWN) -> Mail:
    """Tells of a new passkey."""
    return _notice(
        account,
        tenant,
        f"A new passkey at {tenant}",
        f"A passkey was registered that signs in as you. Its name: {_theirs(name)}",
        *_from(device),
    )


def passkey_removed(
    account: Account, tenant: str, name: str, device: DeviceInfo = _UNKNOWN
) -> Mail:
    """Tells of a passkey that was removed."""
    return _notice(
        account,
        tenant,
        f"A passkey was removed at {tenant}",
        f"A passkey of yours signs in no more. Its name: {_theirs(name)}",
        *_from(device),
    )


def passkey_blocked(
    account: Account, tenant: str, name: str, device: DeviceInfo = _UNKNOWN
) -> Mail:
    """Tells of a passkey whose counter went back (WebAuthn Level 3 §6.1.1): it may be a copy."""
    return _notice(
        account,
        tenant,
        f"A passkey was blocked at {tenant}",
        "A passkey of yours was used as a copy would be, so it signs in no more."
        f" Its name: {_theirs(name)}",
        *_from(device),
        "",
        "Sign in another way, remove it on the page Security, and register a new one. If you do",
        "not know why this happened, somebody may have copied it: tell your administrator.",
    )


def token_made(account: Account, tenant: str, name: str, device: DeviceInfo = _UNKNOWN) -> Mail:
    """Tells of a new personal access token."""
    return _notice(
        account,
        tenant,
        f"A new access token at {tenant}",
        f"A personal access token was made that acts as you. Its name: {_theirs(name)}",
        *_from(device),
    )


def sign_in_reset(
    account: Account, tenant: str, reason: str, device: DeviceInfo = _UNKNOWN
) -> Mail:
    """Tells that an administrator took every way in away, to begin anew."""
    return _notice(
        account,
        tenant,
        f"Your sign-in was reset at {tenant}",
        "An administrator removed your passkeys and access tokens and signed you out everywhere.",
        f"Their reason: {_theirs(reason)}",
        *_from(device),
        "",
        "To get back in, open the invitation that comes in a mail of its own.",
    )


def _notice(account: Account, tenant: str, subject: str, *lines: str) -> Mail:
    return _mail(
        account,
        tenant,
        "notice",
        subject,
        *lines,
        "",
        "Was it not you? Then end all sessions and remove what you don't know, on the page",
        "Security, and tell your administrator.",
    )


def _mail(account: Account, tenant: str, kind: str, subject: str, *lines: str) -> Mail:
    return Mail(
        to=account.email,
        subject=subject,
        kind=kind,
        tenant=tenant,
        user_id=account.user_id,
        text=_text(*lines),
    )


def _from(device: DeviceInfo) -> tuple[str, ...]:
    if not device.ip and not device.user_agent:
        return ()
    return ("", f"From: {device.ip or 'unknown'}", f"With: {device.user_agent or 'unknown'}")


def _theirs(text: str) -> str:
    return quoted(in_mail(text))


def _text(*lines: str) -> str:
    return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in lines) + "\n"

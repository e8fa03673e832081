"""What our mails say. What people wrote themselves is in the text only, and on one line."""

from typing import Final

from argy.authn.mail import Mail
from argy.authn.session_accounts import Account
from argy.authn.session_domain import DeviceInfo

_MAX_AGENT: Final = 200


def sign_in_link(account: Account, tenant: str, url: str, device: DeviceInfo, minutes: int) -> Mail:
    """The link that somebody asked for to sign in."""
    return Mail(
        to=account.email,
        subject=f"Sign in to {tenant}",
        kind="sign_in",
        tenant=tenant,
        text=_text(
            f"Somebody, we hope you, asked to sign in to {tenant}:",
            "",
            url,
            "",
            f"The link works once, for {minutes} minutes, and best in the browser that asked.",
            *_from(device),
            "",
            "Was it not you? Then do nothing: without the link nobody gets in.",
        ),
    )


def recovery_link(
    account: Account, tenant: str, url: str, device: DeviceInfo, minutes: int
) -> Mail:
    """The link for somebody who has passkeys and asked for a link all the same."""
    return Mail(
        to=account.email,
        subject=f"Get back into {tenant}",
        kind="recovery",
        tenant=tenant,
        text=_text(
            f"Somebody, we hope you, asked to sign in to {tenant} without your passkey:",
            "",
            url,
            "",
            f"The link works once, for {minutes} minutes; then you register a new passkey.",
            *_from(device),
            "",
            "Was it not you? Then do nothing, and tell your administrator.",
        ),
    )


def invitation(account: Account, tenant: str, url: str, days: int) -> Mail:
    """The first link that somebody gets."""
    return Mail(
        to=account.email,
        subject=f"You are invited to {tenant}",
        kind="invitation",
        tenant=tenant,
        text=_text(
            f"Hello {account.display_name},",
            "",
            f"you have an account at {tenant}. Open this link and register a passkey:",
            "",
            url,
            "",
            f"The link works once, for {days} days.",
        ),
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


def passkey_added(account: Account, tenant: str, name: str) -> Mail:
    """Tells of a new passkey."""
    return _notice(account, tenant, f"A new passkey at {tenant}", f"Its name: {name}")


def passkey_removed(account: Account, tenant: str, name: str) -> Mail:
    """Tells of a passkey that was removed."""
    return _notice(account, tenant, f"A passkey was removed at {tenant}", f"Its name: {name}")


def _notice(account: Account, tenant: str, subject: str, *lines: str) -> Mail:
    return Mail(
        to=account.email,
        subject=subject,
        kind="notice",
        tenant=tenant,
        text=_text(
            *lines,
            "",
            "Was it not you? Then end all sessions and remove what you don't know, on the page My",
            "security, and tell your administrator.",
        ),
    )


def _from(device: DeviceInfo) -> tuple[str, ...]:
    if not device.ip and not device.user_agent:
        return ()
    return ("", f"From: {device.ip or 'unknown'}", f"With: {device.user_agent[:_MAX_AGENT]}")


def _text(*lines: str) -> str:
    return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in lines) + "\n"

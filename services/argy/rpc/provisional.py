"""What a provisional session may do: register a passkey, see where it is signed in, end itself.

One is opened by a link to a mailbox: a recovery, or an invitation before its passkey was made. That
proves so little that nothing is permitted to it, and nothing is decided for it, until a passkey was
proved in it. What it may call is listed here; every other method refuses it, whoever holds it.
"""

from typing import Final

from argy.base.errors import PermissionDenied
from argy.rpc.call import Call
from argy.rpc.claims import ACR_PROVISIONAL, Claims
from argy.rpc.declarations import Method

_AUTHN: Final = "/argy.api.authn.v1."
OPEN_TO_PROVISIONAL: Final = frozenset(
    _AUTHN + name
    for name in (
        # What it is for.
        "PasskeyService/BeginRegistration",
        "PasskeyService/FinishRegistration",
        # To see oneself, and to end itself: ``check_ends_itself``.
        "SessionService/ListSessions",
        "SessionService/EndSession",
        # Proofs that speak for themselves: whoever sends them needs no session at all.
        "PasskeyService/BeginSignIn",
        "PasskeyService/FinishSignIn",
        "MagicLinkService/RequestLink",
        "MagicLinkService/DescribeLink",
        "MagicLinkService/RedeemLink",
    )
)
"""The methods, by path, that a provisional session may call; all others refuse it."""


def check_not_provisional(claims: Claims | None) -> None:
    """Refuse who has not registered a passkey yet.

    Raises:
        PermissionDenied: ``PASSKEY_REQUIRED``.
    """
    if claims is not None and claims.acr == ACR_PROVISIONAL:
        raise PermissionDenied(
            "register a passkey first: a session that a link opened is good for nothing else",
            reason="PASSKEY_REQUIRED",
        )


def check_open(method: Method, claims: Claims | None) -> None:
    """Refuse a provisional session at a method that is not for one.

    Raises:
        PermissionDenied: ``PASSKEY_REQUIRED``.
    """
    if method.path not in OPEN_TO_PROVISIONAL:
        check_not_provisional(claims)


def check_ends_itself(call: Call, session_id: str) -> None:
    """Refuse a provisional session that would end another one of its person's.

    Raises:
        PermissionDenied: ``PASSKEY_REQUIRED``.
    """
    if call.claims is not None and call.claims.session_id != session_id:
        check_not_provisional(call.claims)

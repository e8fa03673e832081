"""What a service needs to know of approvals: what to ask for, and what it asked."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from argy.policy import ApprovalRule


@dataclass(frozen=True, slots=True)
class Need:
    """One line of the policy's approvals that must be met."""

    approvals: int
    """How many different people must agree."""
    roles: tuple[str, ...]
    """Each of them holds at least one of these."""
    rule: str
    """The line as ``file:line``."""
    expires_in_s: int
    """Seconds for which a request, granted or not, is good."""


@dataclass(frozen=True, slots=True)
class RequestedApproval:
    """An approval that was asked for, and where it stands."""

    approval_id: str
    state: str
    """``PENDING`` or ``GRANTED``: an open request for the same is returned, not doubled."""
    needs: tuple[Need, ...]
    expires_at: datetime


def need_of(rule: ApprovalRule) -> Need:
    """A line of the policy as what to ask for."""
    return Need(rule.approvals, rule.roles, f"{rule.file}:{rule.line}", rule.expires_s)


def request_digest(body: bytes) -> str:
    """What binds an approval to one request: its SHA-256, 64 hexadecimal digits.

    The same bytes must come when the approval is used, so take them from a canonical form.
    """
    return hashlib.sha256(body).hexdigest()

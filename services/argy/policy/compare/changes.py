"""What differs between two policies, as values."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

Kind = Literal["gained", "lost", "changed"]
EVERYBODY = "*"
"""The role of a change that reaches each subject, whatever it holds."""


@dataclass(frozen=True, slots=True, order=True)
class AccessChange:
    """One difference, for one role; ``argy.api.authz.v1.AccessChange`` mirrors it.

    Who inherits the role has the same change; it is told once, for the role at the top.
    """

    kind: Kind
    role: str
    """The role, or the service that the policy names; ``*`` for whoever is allowed."""
    domain: str
    """``*``, ``tenant`` or ``tenant/org``; each with what it holds, unless ``after`` excepts it."""
    resource: str
    action: str
    before: str
    """What held before: ``denied``, ``allowed``, ``allowed if …``, ``needs 2 approvals by …``."""
    after: str
    """What holds after; ``; except …`` names where the change is not."""
    rules: tuple[str, ...]
    """The rules to blame, ``file:line``: head's for a gain, base's for a loss. Where it is the
    other way round, or a change, ``base:`` or ``head:`` stands before."""
    escalation: bool
    """A gain of PLATFORM_ADMIN, of a wildcard, or of the right to give power away."""


@dataclass(frozen=True, slots=True)
class PolicyDiff:
    """Every change of meaning between two policies, sorted."""

    changes: tuple[AccessChange, ...] = ()
    other: tuple[str, ...] = ()
    """What no change of access can express, such as another model's text."""

    def digest(self) -> str:
        """SHA-256 over the canonical JSON of all of it, 64 hexadecimal digits.

        Two policies of the same meaning give the digest of the empty diff.
        """
        value = {"changes": [asdict(change) for change in self.changes], "other": self.other}
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def escalates(self) -> bool:
        """Whether any change gives power that two people must agree to."""
        return any(change.escalation for change in self.changes)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.changes or self.other)

"""The keys of one control plane: what it signs with, and whom it trusts."""

from dataclasses import dataclass, field
from pathlib import Path

from argy.base.dsse import SigningKeys, TrustedKeys
from argy.policy.statements import PolicyTrust


@dataclass(frozen=True, slots=True)
class PolicyKeys:
    """The signing keys of the control plane, and the trust of every replica that has them."""

    signing: SigningKeys = field(repr=False)
    trust: PolicyTrust

    @classmethod
    def of(
        cls, signing: SigningKeys, authors: TrustedKeys, *, unsafe_folder: bool = False
    ) -> "PolicyKeys":
        """The keys of a control plane that takes bundles of ``authors``."""
        return cls(signing, PolicyTrust(signing.public(), authors, unsafe_folder))

    @classmethod
    def load(cls, ring: Path, authors: Path | None, *, unsafe_folder: bool = False) -> "PolicyKeys":
        """Read both files; without ``authors`` nothing can be proposed.

        Raises:
            FailedPrecondition: when a file can't be read, or others may read the ring.
            InvalidArgument: when it is something else.
        """
        trusted = TrustedKeys({}) if authors is None else TrustedKeys.load(authors)
        return cls.of(SigningKeys.load(ring), trusted, unsafe_folder=unsafe_folder)

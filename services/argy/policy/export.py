"""One tenant's facts in a file: who holds which role, who is in which group, who is disabled.

``argy policy export`` writes it, ``impact``, ``why-not``, ``explain`` and ``replay`` read it:

    {"tenant": "acme",
     "assignments": [{"subject": "user:…", "role": "role:…", "org": "research",
                      "expires": "2026-12-31T00:00:00Z"}],
     "groups": {"group:…": ["user:…"]},
     "disabled": ["user:…"],
     "orgs": {"research": "<UUID>"},
     "names": {"user:…": "Ada <ada@example.com>"}}

``org`` is empty for the whole tenant, ``expires`` is absent for no end. All but ``tenant`` and
``assignments`` may be left out.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from argy.base.errors import InvalidArgument
from argy.policy.compiled import CompiledPolicy
from argy.policy.rules import Assignment, Membership
from argy.policy.snapshot import TenantSnapshot

MAX_BYTES: Final = 512 * 1024 * 1024
"""A million assignments are about 100 MB."""


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A role assignment."""

    subject: str
    role: str
    org: str = ""
    expires: datetime | None = None


class TenantFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What decisions about one tenant stand on, beside the policy."""

    tenant: str
    assignments: Sequence[Held]
    groups: dict[str, list[str]] = {}
    """Group to members."""
    disabled: list[str] = []
    orgs: dict[str, str] = {}
    """Slug to UUID, which is how the audit log names an org."""
    names: dict[str, str] = {}
    """Subject to what people call it."""

    def held(self) -> Iterator[Assignment]:
        """The assignments as the engine takes them."""
        for item in self.assignments:
            yield Assignment(item.subject, item.role, item.org, milliseconds(item.expires))

    def members(self) -> Iterator[Membership]:
        """The memberships as the engine takes them."""
        for group, members in self.groups.items():
            for member in members:
                yield Membership(group, member)

    def snapshot(self, policy: CompiledPolicy) -> TenantSnapshot:
        """The tenant's decisions under ``policy``.

        Raises:
            InvalidArgument: for a subject without a kind, or a group within a group.
        """
        return TenantSnapshot(
            policy, self.tenant, self.held(), self.members(), disabled=self.disabled
        )

    def named(self, subject: str) -> str:
        """The subject, with what people call it where that is known."""
        name = self.names.get(subject, "")
        return f"{name} ({subject})" if name else subject


def milliseconds(at: datetime | None) -> int | None:
    """Since the Unix epoch; a time without a zone is UTC."""
    if at is None:
        return None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def read_facts(path: Path) -> TenantFacts:
    """Read an assignments file.

    Raises:
        InvalidArgument: when it isn't one, naming the part at fault.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise InvalidArgument(f"{path} has more than {MAX_BYTES} bytes", field="assignments")
        return msgspec.json.decode(data, type=TenantFacts)
    except OSError as error:
        raise InvalidArgument(
            f"{path} can't be read ({error.strerror})", field="assignments"
        ) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(
            f"{path} is not an assignments file: {error}", field="assignments"
        ) from error


def facts_text(facts: TenantFacts) -> str:
    """The file's text: JSON, indented, the same facts always the same."""
    listed = sorted(
        facts.assignments,
        key=lambda item: (item.subject, item.role, item.org, str(item.expires or "")),
    )
    ordered = TenantFacts(
        tenant=facts.tenant,
        assignments=listed,
        groups={group: sorted(facts.groups[group]) for group in sorted(facts.groups)},
        disabled=sorted(facts.disabled),
        orgs=dict(sorted(facts.orgs.items())),
        names=dict(sorted(facts.names.items())),
    )
    return msgspec.json.format(msgspec.json.encode(ordered), indent=1).decode() + "\n"

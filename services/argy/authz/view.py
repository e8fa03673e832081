"""One tenant's facts under one policy, ready to answer from."""

from collections.abc import Iterator, Mapping
from typing import Any

from argy.authz.domain import TenantFacts
from argy.authz.wire import trailer
from argy.base.revisions import revision_token
from argy.policy import CompiledPolicy, TenantSnapshot


class TenantView:
    """Immutable: a decision stands on one view, so on one policy and one state of the database."""

    __slots__ = ("facts", "policy", "revision", "sequence", "snapshot", "token", "trailer")

    def __init__(self, facts: TenantFacts, policy: CompiledPolicy, sequence: int = 0) -> None:
        """``sequence`` is that of the activation by which ``policy`` is in force."""
        self.facts = facts
        self.policy = policy
        self.sequence = sequence
        self.revision = facts.revision
        self.snapshot = TenantSnapshot(
            policy,
            facts.slug,
            facts.assignments,
            facts.memberships,
            revision=facts.revision,
            disabled=facts.disabled,
        )
        self.token = revision_token(facts.tenant_id, facts.revision, sequence)
        self.trailer = trailer(policy.revision, self.token)


class LazyContext(Mapping[str, object]):
    """A ``google.protobuf.Struct``, turned into Python values only when a condition looks."""

    __slots__ = ("_struct", "_values")

    def __init__(self, struct: Any) -> None:
        self._struct = struct
        self._values: dict[str, object] | None = None

    def _facts(self) -> dict[str, object]:
        if self._values is None:
            self._values = plain_facts(self._struct)
        return self._values

    def __getitem__(self, name: str) -> object:
        return self._facts()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts())

    def __len__(self) -> int:
        return len(self._struct.fields)


def plain_facts(struct: Any) -> dict[str, object]:
    """The values of a ``google.protobuf.Struct``; every number is a float."""
    return {name: _plain(value) for name, value in struct.fields.items()}


def _plain(value: Any) -> object:
    # The parser limits how deep a message nests, and validation how long it is.
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return plain_facts(value.struct_value)
    if kind == "list_value":
        return [_plain(inner) for inner in value.list_value.values]
    if kind is None or kind == "null_value":
        return None
    plain: object = getattr(value, kind)
    return plain

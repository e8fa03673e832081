"""What AuthZEN asks, as values of ours, and the pure parts of its answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from argy.base.errors import ArgyError

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One question in the platform's own terms."""

    subject: str
    """``<type>:<id>``."""
    action: str
    resource: str
    """``<type>:<id>``."""
    facts: Facts
    """The context, with the properties of the three under ``subject``, ``action``, ``resource``."""


class Semantic(StrEnum):
    """When a batch ends (Authorization API 1.0, Evaluations semantics)."""

    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"

    def ends_with(self, *, permitted: bool) -> bool:
        """Whether a batch ends after a decision."""
        return (self is Semantic.DENY_ON_FIRST_DENY and not permitted) or (
            self is Semantic.PERMIT_ON_FIRST_PERMIT and permitted
        )


Item = Evaluation | ArgyError
"""One member of a batch: a question, or why it can't be asked."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Several questions and when to stop."""

    items: Sequence[Item]
    semantic: Semantic

    def to_ask(self) -> list[Evaluation]:
        """The questions that may count: an item in error is a denial, which may end the batch."""
        asked: list[Evaluation] = []
        for item in self.items:
            if isinstance(item, Evaluation):
                asked.append(item)
            elif self.semantic.ends_with(permitted=False):
                break
        return asked


def until_end(results: Sequence[Mapping[str, Any]], semantic: Semantic) -> list[Mapping[str, Any]]:
    """The results up to the one that ends the batch, that one included."""
    told = []
    for result in results:
        told.append(result)
        if semantic.ends_with(permitted=result["decision"] is True):
            break
    return told


@dataclass(frozen=True, slots=True)
class Page:
    """What a search asks of its page."""

    token: str
    limit: int | None
    """Most results; None for the token's own, or the default."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search. The part that is searched for is ``<type>:`` with no id, or empty for actions."""

    kind: str
    """``subject``, ``resource`` or ``action``."""
    subject: str
    action: str
    resource: str
    facts: Facts
    page: Page


@dataclass(frozen=True, slots=True)
class Held:
    """One rule that speaks about a subject: what ListPermissions tells."""

    resource: str
    action: str


def action_candidates(held: Sequence[Held], resource: str) -> list[str]:
    """The actions that rules name for resources of this type; a glob names none."""
    kind = resource.partition(":")[0]
    return sorted({one.action for one in held if _plain(one.action) and _meets(one.resource, kind)})


def resource_candidates(held: Sequence[Held], kind: str) -> list[str]:
    """The resources of a type that rules name literally."""
    prefix = f"{kind}:"
    return sorted(
        {
            one.resource
            for one in held
            # "-" is how a type as such is asked about; it is no resource.
            if _plain(one.resource)
            and one.resource.startswith(prefix)
            and one.resource != f"{prefix}-"
        }
    )


def _plain(text: str) -> bool:
    return "*" not in text


def _meets(glob: str, kind: str) -> bool:
    """Whether a glob of resources can match one of this type: a sieve, the policy decides."""
    head, _, _ = glob.partition(":")
    first, star, _ = head.partition("*")
    return kind.startswith(first) if star else head == kind

"""Whom a name stands for: people and groups of the directory, or who only assignments know.

The directory comes first: whoever provisions a person under a name that had roles by itself takes
these roles out of use, and whoever disables that person disables the name.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from argy.api.authz.v1.authz_pb2 import Question
from argy.authz import store
from argy.authz.domain import is_foreign, unknown_subject
from argy.authz.view import TenantView
from argy.base.addresses import email_address
from argy.base.errors import InvalidArgument
from argy.policy import Decision
from argy.store.database import Database

SUBJECT_UNKNOWN: Final = Decision(False, "SUBJECT_UNKNOWN")
_LISTED: Final = ("user:", "group:")


class Subjects:
    """The subjects of tenants, by every name that they have."""

    __slots__ = ("_db",)

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find(self, view: TenantView, names: Iterable[str]) -> dict[str, str]:
        """The subject that each name stands for; who is not known has none."""
        given = set(names)
        # Whoever holds something under the id of the directory is there: most are not looked up.
        listed = {
            name
            for name in given
            if name.startswith(_LISTED) and (is_foreign(name) or not view.snapshot.knows(name))
        }
        found = await self._listed(view, listed)
        others = given - found.keys()
        return found | {name: name for name in others if view.snapshot.knows(name)}

    async def settle(self, view: TenantView, questions: Sequence[Question]) -> Collection[str]:
        """Put into each question whom its subject stands for; return those that nobody is."""
        found = await self.find(view, (question.subject for question in questions))
        unknown = set()
        for question in questions:
            subject = found.get(question.subject)
            if subject is None:
                unknown.add(question.subject)
            elif subject != question.subject:
                question.subject = subject
        return unknown

    async def grantee(self, view: TenantView, name: str) -> str:
        """The subject that gets a role by this name.

        Raises:
            InvalidArgument: ``UNKNOWN_SUBJECT``.
        """
        found = await self._listed(view, {name} if name.startswith(_LISTED) else set())
        if name in found:
            return found[name]
        if is_foreign(name):
            if not view.facts.foreign_subjects or name.startswith("role:"):
                raise unknown_subject(name, foreign=True)
        elif name.startswith(_LISTED):
            raise unknown_subject(name)
        return name

    async def _listed(self, view: TenantView, names: Collection[str]) -> dict[str, str]:
        if not names:
            return {}
        spelled = {name: _as_address(name) for name in names}
        async with self._db.tenant(view.facts.tenant_id) as tx:
            found = await store.find_named(tx, {*spelled, *spelled.values()})
        subjects = {name: found.get(name) or found.get(other) for name, other in spelled.items()}
        return {name: subject for name, subject in subjects.items() if subject is not None}


def _as_address(name: str) -> str:
    """A user's name with an e-mail address as the directory spells it; any other as it is."""
    kind, _, address = name.partition(":")
    if kind != "user" or "@" not in address:
        return name
    try:
        return f"user:{email_address(address)}"
    except InvalidArgument:
        return name


def denying(
    unknown: Collection[str], questions: Sequence[Question], decisions: list[Decision]
) -> list[Decision]:
    """The decisions, of which those about who is ``unknown`` say so."""
    if not unknown:
        return decisions
    return [
        SUBJECT_UNKNOWN if question.subject in unknown else decision
        for question, decision in zip(questions, decisions, strict=True)
    ]

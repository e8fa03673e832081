"""Proposed policies, verified, compiled and compared; a few are kept at hand."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, TypeVar

from argy.authz.publishing.domain import Difference, difference_of
from argy.authz.publishing.holder import InForce
from argy.authz.publishing.store import find_bundle
from argy.base.dsse import TrustedKeys, owners_of
from argy.base.errors import FailedPrecondition, InvalidArgument
from argy.base.ids import PLATFORM_TENANT_ID
from argy.policy import CompiledPolicy, PolicyError, compile_policy
from argy.policy.budget import budget
from argy.policy.bundle import PAYLOAD_TYPE, Bundle, open_bundle
from argy.policy.cases.answers import run_cases
from argy.policy.cases.questions import read_cases
from argy.policy.compare.changes import PolicyDiff
from argy.policy.compare.diff import diff_policies
from argy.store.database import Database

LIMIT_S: Final = 10.0
"""Processor seconds for a proposal's cases, and for what it would change."""
MAX_QUESTIONS: Final = 200_000
"""Questions and assignments of a proposal's cases; whoever has more runs the others in CI."""
_FAILURES_SHOWN: Final = 20
_MAX_FAILURE: Final = 1_000
_MAX_OPEN: Final = 4
_MAX_COMPARED: Final = 16

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A bundle that an author signed, and its policy ready to decide."""

    bundle: Bundle
    policy: CompiledPolicy
    made_by: frozenset[str]
    """Subjects and addresses, as the trusted keys and the bundle's commits tell them."""
    envelope: bytes = field(repr=False)


class Candidates:
    """Opens and compares proposed bundles, off the loop.

    Proposals may be as costly as their authors like: each is worked on for a bounded time, one at a
    time, so that the server's other threads and calls go on.
    """

    def __init__(self, db: Database, authors: TrustedKeys, *, limit_s: float = LIMIT_S) -> None:
        """Take the bound on each proposal's cases, and on what it would change."""
        self._db = db
        self._authors = authors
        self._limit_s = limit_s
        self._turn = asyncio.Lock()
        self._open: OrderedDict[str, Candidate] = OrderedDict()
        self._compared: OrderedDict[tuple[str, str], Difference] = OrderedDict()

    async def open(self, envelope: bytes) -> Candidate:
        """Verify and compile a bundle that was handed in.

        Raises:
            UntrustedSignature: unsigned, altered, or signed by no trusted author.
            InvalidArgument: signed, and no policy that loads.
        """
        return await asyncio.to_thread(_opened, envelope, self._authors)

    async def load(self, digest: str) -> Candidate:
        """A bundle that is kept, verified again: the database is not believed.

        Raises:
            NotFound, UntrustedSignature, InvalidArgument: when it can't be had, or not as it was.
            FailedPrecondition: ``BUNDLE_MISMATCH``, when another one is kept under its digest.
        """
        known = self._open.get(digest)
        if known is None:
            async with self._db.tenant(PLATFORM_TENANT_ID) as tx:
                envelope = await find_bundle(tx, digest)
            known = await self.open(envelope)
            if known.bundle.digest != digest:
                raise FailedPrecondition(
                    "the bundle that is kept is not the proposed one", reason="BUNDLE_MISMATCH"
                )
            _keep(self._open, digest, known, _MAX_OPEN)
        return known

    async def compare(self, candidate: Candidate, in_force: InForce) -> Difference:
        """What the candidate would change.

        Raises:
            InvalidArgument: ``POLICY_TOO_COSTLY`` or ``POLICY_TOO_COMPLEX``.
        """
        key = (in_force.digest, candidate.bundle.digest)
        known = self._compared.get(key)
        if known is None:
            async with self._turn:
                diff = await asyncio.to_thread(self._diff, in_force.policy, candidate.policy)
            known = difference_of(diff, in_force.digest)
            _keep(self._compared, key, known, _MAX_COMPARED)
        return known

    async def run_cases(self, candidate: Candidate) -> None:
        """Run the candidate's own cases.

        Raises:
            InvalidArgument: ``CASES_FAILED``, naming those that fail; ``POLICY_TOO_COSTLY``, when
                they take too long; or when they can't be read.
        """
        try:
            async with self._turn:
                await asyncio.to_thread(self._check, candidate)
        except PolicyError as error:
            raise _invalid(error) from error

    def _diff(self, base: CompiledPolicy, head: CompiledPolicy) -> PolicyDiff:
        with budget(self._limit_s):
            return diff_policies(base, head)

    def _check(self, candidate: Candidate) -> None:
        with budget(self._limit_s):
            check_cases(candidate.policy, candidate.bundle)


def check_cases(policy: CompiledPolicy, bundle: Bundle) -> None:
    """Run the bundle's own cases, and refuse it when one fails.

    Raises:
        InvalidArgument: ``CASES_FAILED``, naming those that fail.
        PolicyError: when they can't be read.
    """
    failed, shown_ones = 0, []
    for result in run_cases(policy, read_cases(dict(bundle.files), MAX_QUESTIONS)):
        if not result.passed:
            failed += 1
            asked = result.question
            if failed <= _FAILURES_SHOWN:
                told = f"{asked.file}:{asked.line} {asked.ask}: {result.failure}"
                shown_ones.append(told[:_MAX_FAILURE])
    if failed:
        more = f"\n… and {failed - _FAILURES_SHOWN} more" * (failed > _FAILURES_SHOWN)
        raise InvalidArgument(
            f"{failed} cases of the policy fail:\n" + "\n".join(shown_ones) + more,
            reason="CASES_FAILED",
            field="bundle",
        )


def _opened(envelope: bytes, authors: TrustedKeys) -> Candidate:
    try:
        bundle = open_bundle(envelope, authors)
    except PolicyError as error:
        raise _invalid(error) from error
    owners = owners_of(envelope, payload_type=PAYLOAD_TYPE, keys=authors)
    made_by = owners.union(bundle.manifest.authors)
    return Candidate(bundle, compile_policy(bundle.source), made_by, envelope)


def _invalid(error: PolicyError) -> InvalidArgument:
    return InvalidArgument(error.message, reason=error.reason, field="bundle")


def _keep(kept: "OrderedDict[Key, Value]", key: Key, value: Value, most: int) -> None:
    kept[key] = value
    while len(kept) > most:
        kept.popitem(last=False)

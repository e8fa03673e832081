"""What a proposal may cost whoever looks at it: bombs in cases, globs and domains end in time."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from argy.authz.publishing.candidates import Candidate, Candidates, check_cases
from argy.authz.publishing.holder import InForce
from argy.base.dsse import TrustedKeys
from argy.base.errors import InvalidArgument
from argy.policy import CompiledPolicy, PolicyError, compile_policy, parse_policy
from argy.policy.budget import OverBudget, budget
from argy.policy.bundle import build_bundle, read_bundle
from argy.policy.cases.questions import read_cases
from argy.policy.compare.diff import diff_policies
from argy.policy.equivalence import model_text
from argy.policy.files import PolicyFiles
from argy.policy.model import Effect

LIMIT_S = 0.3
WORDS = ", ".join(f"w{number}" for number in range(140))
EXPECT = "\n".join(["    - ['*', '*']"] * 20_000)
BOMB = f"""
tenant: acme
matrix:
  subjects: [user:a]
  actions: [{WORDS}]
  resources: [{WORDS}]
  expect:
    ALLOW:
{EXPECT}
"""


@contextmanager
def soon() -> Iterator[None]:
    started_s = time.thread_time()
    yield
    assert time.thread_time() - started_s < LIMIT_S + 3


def files(rows: str, **more: str) -> dict[str, str]:
    return {"model.conf": model_text(Effect.DENY_OVERRIDES), "roles/all.csv": rows, **more}


def compiled(rows: str) -> CompiledPolicy:
    return compile_policy(parse_policy(files(rows)))


def test_a_matrix_that_expects_each_cell_over_and_over_ends_in_time() -> None:
    with soon(), pytest.raises(OverBudget), budget(LIMIT_S):
        read_cases({"cases/bomb.yaml": BOMB})


def test_suites_that_multiply_by_aliases_are_refused_before_they_are_laid_out() -> None:
    matrix = f"&m {{subjects: [user:a], actions: [{WORDS}], resources: [{WORDS}]}}"
    many = f"tenant: acme\nmatrix: [{matrix}{', *m' * 30}]\n"
    grants = "&g {subject: 'user:a', role: 'role:A'}"
    held = f"tenant: acme\nassignments: [{grants}{', *g' * 30_000}]\n"
    for bomb in (many, held):
        suites = {f"cases/{number}.yaml": bomb for number in range(5)}
        with pytest.raises(PolicyError, match="more than 100000"):
            read_cases(suites, 100_000)


def test_a_long_word_is_not_repeated_for_each_cell() -> None:
    axes = f"subjects: [user:{'a' * 100_000}], actions: [{WORDS}], resources: [{WORDS}]"
    long = f"tenant: acme\nmatrix: {{{axes}}}"
    with pytest.raises(PolicyError, match="more than 512 characters"):
        read_cases({"cases/long.yaml": long})


def test_many_cases_end_in_time() -> None:
    cases = "tenant: acme\ncases:\n" + "- {ask: 'user:a read doc:1', expect: DENY}\n" * 20_000
    made = read_bundle(
        build_bundle(
            PolicyFiles(
                files("p, role:A, *, doc:*, read, allow, true", **{"cases/a.yaml": cases}), ""
            )
        )
    )
    with pytest.raises(OverBudget), budget(0.001):
        check_cases(compile_policy(made.source), made)


def test_a_diff_of_globs_that_cross_everywhere_ends_in_time() -> None:
    rng = random.Random(1)  # noqa: S311 - reproducible, no secret
    rows = "\n".join(
        f"p, role:A, *, d:*{'*'.join(rng.sample('abcdefgh', 5))}*, read, allow, true"
        for _ in range(60)
    )
    base, head = (compiled(f"p, role:A, *, x:{n}, a, allow, true\n{more}")
                  for n, more in ((1, ""), (2, rows)))  # fmt: skip
    with soon(), pytest.raises(InvalidArgument), budget(LIMIT_S):
        diff_policies(base, head)


def test_a_diff_over_very_many_domains_ends_in_time() -> None:
    rows = "\n".join(f"p, role:A, t{number}, doc:*, read, allow, true" for number in range(20_000))
    base, head = (compiled(f"p, role:A, *, x:1, a, allow, true\n{more}") for more in ("", rows))
    with soon(), pytest.raises(OverBudget), budget(LIMIT_S):
        diff_policies(base, head)


async def test_a_server_stops_looking_at_a_proposal_that_costs_too_much() -> None:
    bundle = read_bundle(
        build_bundle(
            PolicyFiles(
                files("p, role:A, *, doc:*, read, allow, true", **{"cases/a.yaml": BOMB}), ""
            )
        )
    )
    policy = compile_policy(bundle.source)
    candidates = Candidates(cast(Any, None), TrustedKeys({}), limit_s=LIMIT_S)
    with pytest.raises(InvalidArgument) as refused:
        await candidates.run_cases(Candidate(bundle, policy, frozenset(), b""))
    assert refused.value.reason == "POLICY_TOO_COSTLY"
    hasty = Candidates(cast(Any, None), TrustedKeys({}), limit_s=-1)
    base = compiled("p, role:A, *, doc:1, read, allow, true")
    with pytest.raises(InvalidArgument) as refused:
        await hasty.compare(Candidate(bundle, policy, frozenset(), b""), InForce(base))
    assert refused.value.reason == "POLICY_TOO_COSTLY"

"""Invariants and mutants held to brute force on small random policies."""

import itertools
import random
from collections.abc import Iterator

import pytest

from argy.policy import Assignment, PolicySource, TenantSnapshot, compile_policy, parse_policy
from argy.policy.cases.answers import run_cases
from argy.policy.cases.facts import suite_text
from argy.policy.cases.questions import read_cases
from argy.policy.equivalence import model_text
from argy.policy.invariants.check import Checker
from argy.policy.invariants.format import read_invariants
from argy.policy.model import Effect
from argy.policy.mutation.judge import judge_mutants
from argy.policy.mutation.mutants import mutants

ROLES = ("role:A", "role:B", "role:C")
PLACES = (("acme", ""), ("acme", "x"), ("acme", "y"), ("globex", ""), ("globex", "x"))
CONTEXTS: tuple[dict[str, object], ...] = ({}, {"ok": True}, {"ok": False})


def random_source(rng: random.Random) -> PolicySource:
    rows = {
        ", ".join(
            (
                "p",
                rng.choice((*ROLES, "service:s")),
                rng.choice(("*", "*", "acme", "acme/x")),
                rng.choice(("doc:*", "doc:1", "d*:1", "*")),
                rng.choice(("read", "write", "*")),
                rng.choice(("allow", "allow", "deny")),
                rng.choice(("true", "true", "has(ctx.ok) && ctx.ok")),
            )
        )
        for _ in range(rng.randint(1, 6))
    }
    defined = [role for role in ROLES if any(f" {role}," in row for row in rows)]
    links = {
        f"g, {low}, {high}, {rng.choice(('*', 'acme', 'acme/x'))}"
        for low, high in itertools.combinations(("service:s", *defined), 2)
        if rng.random() < 0.3
    }
    text = "\n".join((*sorted(rows, key=lambda _: rng.random()), *sorted(links)))
    effect = rng.choice(list(Effect))
    return parse_policy({"model.conf": model_text(effect), "services.csv": text})


def subjects(most: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every user and the service with up to ``most`` names held."""
    for size in range(most + 1):
        for roles in itertools.combinations(ROLES, size):
            yield "user:u", roles
            if size < most:
                yield "service:s", roles


def answers(source: PolicySource, acts: tuple[str, ...]) -> Iterator[tuple[frozenset[str], str]]:
    """The names held and the effect, for every question of the small world, in one order."""
    policy = compile_policy(source)
    for subject, roles in subjects(3):
        held = frozenset((*roles, *(("service:s",) if subject == "service:s" else ())))
        snapshots = {
            tenant: TenantSnapshot(policy, tenant, [Assignment(subject, role) for role in roles])
            for tenant in ("acme", "globex")
        }
        for (tenant, org), obj, act, ctx in itertools.product(
            PLACES, ("doc:1", "doc:2", "dab:1", "key:7"), acts, CONTEXTS
        ):
            yield held, snapshots[tenant].check(subject, org, obj, act, ctx, 0).effect


@pytest.mark.parametrize("seed", range(60))
def test_an_invariant_that_holds_is_broken_by_no_question(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  (reproducible, not secret)
    source = random_source(rng)
    names = {rule.role for rule in source.rules} | {link.child for link in source.links}
    role = rng.choice(sorted(names))
    for statement, meant in (
        (f'never: {{roles: ["{role}"], action: read, resource: "*"}}, combined: true', role),
        ('never: {action: read, resource: "*"}, combined: true', ""),
    ):
        text = f"invariants: [{{name: it, {statement}}}]"
        checker = Checker(source, read_invariants({"invariants/x.yaml": text}))
        (checked,) = checker.check()
        broken = any(
            effect == "ALLOW" and (not meant or meant in held)
            for held, effect in answers(source, ("read",))
        )
        assert bool(checked.violations) == broken
        cases = [case for found in checked.violations if (case := checker.written(found))]
        assert len(cases) == len(checked.violations)
        sets = read_cases({"cases/x.yaml": suite_text(cases, "found")})
        assert not any(result.passed for result in run_cases(compile_policy(source), sets))


@pytest.mark.parametrize("seed", range(60))
def test_an_equivalent_mutant_answers_every_question_alike(seed: int) -> None:
    source = random_source(random.Random(seed))  # noqa: S311  (reproducible, not secret)
    acts = ("read", "write", "erase")
    before = list(answers(source, acts))
    for verdict in judge_mutants(source, [], list(mutants(source))):
        changed = verdict.mutant.applied(source)
        if verdict.outcome == "equivalent":
            assert list(answers(changed, acts)) == before
        else:
            assert verdict.missing is not None
            sets = read_cases({"cases/x.yaml": suite_text([verdict.missing], "missing")})
            assert all(result.passed for result in run_cases(compile_policy(source), sets))
            assert not any(result.passed for result in run_cases(compile_policy(changed), sets))

"""Holds the compiled engine to pycasbin: the same decision and the same explaining rule.

``python -m argy.policy.equivalence [--random N] [--seed S] [--json]`` asks random policies under
each of Casbin's four effects, then every policy of up to two rules over a small world. The exit
code is 1 when a single answer differs.
"""

import argparse
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from argy.policy.compiled import compile_policy
from argy.policy.loader import parse_policy
from argy.policy.model import Effect
from argy.policy.oracle import DIVERGENCES, Oracle
from argy.policy.rules import Assignment, Membership, PolicySource
from argy.policy.snapshot import TenantSnapshot

TENANT = "acme"
ORGS = ("", "x", "y")
_SUBJECTS = ("user:a", "user:b", "user:a", "agent:c", "service:s", "user:stranger")
_ROLES = ("role:A", "role:B", "role:C", "role:D")
_DOMAINS = ("*",) * 5 + ("acme", "acme", "acme/x", "acme/y", "other", "acme2")
_OBJECTS = (
    "doc:*",
    "doc:*",
    "doc:1",
    "doc:a-*",
    "*",
    "d*:1",
    "*:1",
    "doc:*-*",
    "key:a-1",
    "doc:arn:*/k y",
    "*:1",
    "doc:É{*}",
)
_ACTIONS = ("read", "read", "write", "*", "r*", "*e*", "act_for", "act_*", "GET", "s3:*", "s3:Get")
_CONDITIONS = ("true",) * 4 + ("ctx.ok", "has(ctx.ok) && ctx.ok", "sub == 'user:a'", "org == 'x'")
_ASKED_OBJECTS = (
    "doc:1",
    "doc:a-1",
    "doc:-",
    "key:a-1",
    "dx:1",
    "doc:a",
    "doc:arn:1/k y",
    "doc:*",
    "doc:x:1",
    "doc:É{i}",
    "doc:é{i}",
    "doc:%2F",
)
_ASKED_ACTIONS = ("read", "read", "write", "erase", "act_for", "*", "s3:*", "s3:Get", "GET", "get")
_CONTEXTS: tuple[dict[str, object] | None, ...] = (None, {"ok": True}, {"ok": False}, {"ok": "yes"})
_MODEL = """[request_definition]
r = sub, dom, obj, act, ctx
[policy_definition]
p = sub, dom, obj, act, eft, cond
[role_definition]
g = _, _, _
[policy_effect]
e = {effect}
[matchers]
m = g(r.sub, p.sub, r.dom) && domainMatch(r.dom, p.dom) && objMatch(r.obj, p.obj) \\
&& actMatch(r.act, p.act) && condition(p.cond, r.sub, r.dom, r.obj, r.act, r.ctx)
"""

World = tuple[PolicySource, list[Assignment], list[Membership]]
Question = tuple[str, str, str, str, dict[str, object] | None]


@dataclass(slots=True)
class Tally:
    """What was asked and what differed."""

    policies: int = 0
    decisions: int = 0
    allowed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    mismatches: list[str] = field(default_factory=list)


def model_text(effect: Effect) -> str:
    """The compiled matcher under one of the effects."""
    return _MODEL.format(effect=effect.value)


def random_world(rng: random.Random, effect: Effect) -> World:
    """A policy of a few rules with links, assignments and a group."""
    rows = {
        ", ".join(
            (
                "p",
                rng.choice((*_ROLES, *_ROLES, "service:s")),
                rng.choice(_DOMAINS),
                rng.choice(_OBJECTS),
                rng.choice(_ACTIONS),
                rng.choice(("allow", "allow", "deny")),
                rng.choice(_CONDITIONS),
            )
        )
        for _ in range(rng.randint(2, 12))
    }
    defined = [role for role in _ROLES if any(f" {role}," in row for row in rows)]
    links = {
        f"g, {low}, {high}, {rng.choice(_DOMAINS)}"
        for low, high in itertools.combinations(("service:s", *defined), 2)
        if rng.random() < 0.3
    }
    lines = rng.sample(sorted(rows), len(rows)) + sorted(links)
    source = parse_policy({"model.conf": model_text(effect), "services.csv": "\n".join(lines)})
    holders = (*_SUBJECTS[:5], "group:g")
    assignments = [
        Assignment(rng.choice(holders), rng.choice(_ROLES), rng.choice(("", "x", "y")))
        for _ in range(rng.randint(1, 10))
    ]
    members = [Membership("group:g", who) for who in _SUBJECTS[:2] if rng.random() < 0.4]
    return source, assignments, members


def random_question(rng: random.Random) -> Question:
    """One question out of the small world."""
    return (
        rng.choice(_SUBJECTS),
        rng.choice(ORGS),
        rng.choice(_ASKED_OBJECTS),
        rng.choice(_ASKED_ACTIONS),
        rng.choice(_CONTEXTS),
    )


def small_worlds(rules: int = 2) -> Iterator[World]:
    """Every ordered policy of up to ``rules`` rules over a small alphabet, with one link."""
    alphabet = [
        f"p, {role}, {domain}, {obj}, {act}, {effect}, true"
        for role in ("role:A", "role:B")
        for domain in ("*", "acme/x")
        for obj in ("doc:*", "doc:2")
        for act in ("read", "*", "act_for")
        for effect in ("allow", "deny")
    ]
    assignments = [Assignment("user:a", "role:A"), Assignment("user:b", "role:B", "x")]
    for effect in Effect:
        model = model_text(effect)
        for count in range(1, rules + 1):
            for rows in itertools.permutations(alphabet, count):
                text = "\n".join(rows)
                if "role:B" in text:
                    text += "\ng, role:A, role:B, acme"
                files = {"model.conf": model, "services.csv": text}
                yield parse_policy(files), assignments, []


def small_questions() -> list[Question]:
    """Every question of the exhaustive part."""
    return [
        (subject, org, "doc:1", act, None)
        for subject in ("user:a", "user:b")
        for org in ORGS
        for act in ("read", "write", "act_for")
    ]


def compare(world: World, questions: Sequence[Question], tally: Tally) -> None:
    """Ask both engines and note every difference in decision, reason or explaining rule."""
    source, assignments, members = world
    oracle = Oracle(source, TENANT, ORGS[1:], assignments, members)
    snapshot = TenantSnapshot(compile_policy(source), TENANT, assignments, members)
    tally.policies += 1
    for question in questions:
        expected = oracle.ask(*question, 0)
        decision = snapshot.check(*question, 0)
        tally.decisions += 1
        tally.allowed += decision.allowed
        tally.reasons[decision.reason] = tally.reasons.get(decision.reason, 0) + 1
        if (decision.reason, decision.rule) != expected:
            rows = " | ".join(rule.text for rule in source.rules)
            links = [(link.child, link.parent, link.dom) for link in source.links]
            tally.mismatches.append(
                f"{source.model.effect.name} {question}: pycasbin {expected}, ours {decision}; "
                f"rules {rows}; links {links}; {assignments} {members}"
            )


def random_part(decisions: int, seed: int, tally: Tally) -> Iterator[int]:
    """Ask ``decisions`` random questions, evenly over the effects; yields the count so far."""
    rng = random.Random(seed)  # noqa: S311  (reproducible, not secret)
    effects = itertools.cycle(Effect)
    goal = tally.decisions + decisions
    while tally.decisions < goal:
        count = min(10, goal - tally.decisions)
        world = random_world(rng, next(effects))
        compare(world, [random_question(rng) for _ in range(count)], tally)
        yield tally.decisions


def exhaustive_part(tally: Tally, rules: int = 2) -> Iterator[int]:
    """Ask every small question of every small world; yields the count so far."""
    questions = small_questions()
    for world in small_worlds(rules):
        compare(world, questions, tally)
        yield tally.decisions


def main(arguments: Sequence[str]) -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="python -m argy.policy.equivalence")
    parser.add_argument("--random", type=int, default=40_000, help="random decisions to compare")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random policies")
    parser.add_argument(
        "--exhaustive-rules", type=int, default=2, help="most rules of an exhaustive policy"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    parts = {"random": Tally(), "exhaustive": Tally()}
    started = time.monotonic()
    runs = {
        "random": random_part(options.random, options.seed, parts["random"]),
        "exhaustive": exhaustive_part(parts["exhaustive"], options.exhaustive_rules),
    }
    for name, run in runs.items():
        shown = 0
        for count in run:
            if count - shown >= 5_000:
                shown = count
                sys.stderr.write(f"{name}: {count} decisions, {time.monotonic() - started:.0f} s\n")
    seconds = time.monotonic() - started
    report = _as_json if options.json else _as_text
    sys.stdout.write(report(parts, options.seed, seconds) + "\n")
    return 1 if any(tally.mismatches for tally in parts.values()) else 0


def _as_json(parts: dict[str, Tally], seed: int, seconds: float) -> str:
    return json.dumps(
        {
            "seed": seed,
            "seconds": round(seconds, 1),
            "parts": {
                name: {
                    "policies": tally.policies,
                    "decisions": tally.decisions,
                    "allowed": tally.allowed,
                    "reasons": tally.reasons,
                    "mismatches": tally.mismatches,
                }
                for name, tally in parts.items()
            },
            "divergences": [
                {"what": what, "pycasbin": theirs, "argy": ours}
                for what, theirs, ours in DIVERGENCES
            ],
        },
        indent=2,
    )


def _as_text(parts: dict[str, Tally], seed: int, seconds: float) -> str:
    lines = [f"compiled engine against pycasbin, seed {seed}, {seconds:.0f} s", ""]
    for name, tally in parts.items():
        lines.append(
            f"{name:<11} {tally.policies:>6} policies {tally.decisions:>7} decisions "
            f"{tally.allowed:>6} allowed {len(tally.mismatches):>4} mismatches"
        )
        lines.extend(
            f"  {reason:<20} {count:>7}" for reason, count in sorted(tally.reasons.items())
        )
        lines.extend(f"  MISMATCH {text}" for text in tally.mismatches[:20])
    lines += ["", "deliberate divergences (each has its own test)"]
    lines.extend(f"  {what:<36} pycasbin: {a:<32} ours: {b}" for what, a, b in DIVERGENCES)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

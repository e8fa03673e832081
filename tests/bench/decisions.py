"""Decisions in process: nanoseconds a check, ratio to pycasbin, bytes an assignment."""

import gc
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import psutil
from table import Row

from argy.policy import Assignment, CompiledPolicy, TenantSnapshot, compile_policy, load_policy
from argy.policy.oracle import Oracle

MODEL = Path(__file__).parents[2] / "policy" / "model.conf"
ACTIONS = ("read", "create", "update", "delete", "deploy")
NOW_MS = 1_800_000_000_000
RULES_PER_ROLE = 20


def write_policy(root: Path, rules: int) -> None:
    """A policy folder of ``rules`` rules: roles of twenty rules, one deny in ten."""
    (root / "roles").mkdir(parents=True)
    shutil.copy(MODEL, root / "model.conf")
    lines = []
    for number in range(rules):
        role, index = divmod(number, RULES_PER_ROLE)
        effect = "deny" if index == RULES_PER_ROLE - 1 else "allow"
        action = ACTIONS[index % len(ACTIONS)]
        lines.append(f"p, role:R{role}, *, type{index}:item-*, {action}, {effect}, ")
    (root / "roles" / "bench.csv").write_text("\n".join(lines) + "\n")


@contextmanager
def policy_of(rules: int) -> Iterator[tuple[Path, CompiledPolicy]]:
    """The compiled policy of ``rules`` rules, and its folder while it lasts."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "policy"
        write_policy(root, rules)
        yield root, compile_policy(load_policy(root))


def assignments(tenant: int, count: int, roles: int) -> list[Assignment]:
    """``count`` users of one tenant, each with one role."""
    return [
        Assignment(subject=f"user:t{tenant}-u{user}", role=f"role:R{(tenant + user) % roles}")
        for user in range(count)
    ]


def time_checks(snapshots: list[TenantSnapshot], per_tenant: int, checks: int = 200_000) -> float:
    """Median of five rounds, in nanoseconds a check, over random tenants, users and objects."""
    rng = random.Random(7)  # noqa: S311 - a workload, not a secret
    questions = []
    for _ in range(checks // 5):
        tenant = rng.randrange(len(snapshots))
        user = rng.randrange(per_tenant)
        index = rng.randrange(RULES_PER_ROLE)
        questions.append(
            (
                snapshots[tenant].check,
                f"user:t{tenant}-u{user}",
                f"type{index}:item-{rng.randrange(1000)}",
                rng.choice(ACTIONS),
            )
        )
    rounds = []
    for _ in range(5):
        start = time.perf_counter_ns()
        for check, subject, resource, action in questions:
            check(subject, "", resource, action, None, NOW_MS)
        rounds.append((time.perf_counter_ns() - start) / len(questions))
    return sorted(rounds)[2]


def against_pycasbin(rules: int, oracle_checks: int) -> list[Row]:
    """One tenant of 100 users, the same questions asked of the index and of pycasbin."""
    with policy_of(rules) as (root, policy):
        roles = rules // RULES_PER_ROLE
        held = assignments(0, 100, roles)
        ours = time_checks([TenantSnapshot(policy, "bench", held)], 100)
        oracle = Oracle(load_policy(root), "bench", (), held)
        start = time.perf_counter_ns()
        for number in range(oracle_checks):
            index = number % RULES_PER_ROLE
            oracle.ask(
                f"user:t0-u{number % 100}",
                "",
                f"type{index}:item-{number}",
                ACTIONS[number % len(ACTIONS)],
                None,
                NOW_MS,
            )
        theirs = (time.perf_counter_ns() - start) / oracle_checks
    bar = "≥ 1,000 ×" if rules == 1000 else ""
    return [
        Row(
            f"decision, {rules:,} rules",
            f"{ours / 1000:.2f} µs",
            f"{theirs / ours:,.0f} × pycasbin",
            bar,
        )
    ]


def by_tenants(tenants: int, per_tenant: int) -> list[Row]:
    """``tenants`` snapshots of one policy, all alive: time a check and memory an assignment.

    In a process of its own: memory that an earlier bench has given up would be taken again unseen.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_by_tenants, tenants, per_tenant).result()


def _by_tenants(tenants: int, per_tenant: int) -> list[Row]:
    with policy_of(1000) as (_, policy):
        gc.collect()
        gc.freeze()
        process = psutil.Process()
        before = process.memory_info().rss
        start = time.perf_counter()
        snapshots = [
            TenantSnapshot(policy, f"t{tenant}", assignments(tenant, per_tenant, 50))
            for tenant in range(tenants)
        ]
        built = time.perf_counter() - start
        gc.collect()
        taken = process.memory_info().rss - before
        nanoseconds = time_checks(snapshots, per_tenant)
        after = process.memory_info().rss - before
    total = tenants * per_tenant
    what = f"decision, {total:,} assignments, {tenants:,} tenants"
    bar = "≤ 2 µs" if total == 1_000_000 and tenants == 10_000 else ""
    note = (
        f"{taken / total:.0f} B/assignment, {after / 2**20:,.0f} MiB used, built in {built:.1f} s"
    )
    return [Row(what, f"{nanoseconds / 1000:.2f} µs", note, bar)]

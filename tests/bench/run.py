"""``make bench``: the budgets, as ratios within one run on one machine.

python tests/bench/run.py [--quick] [--json] [SECTION …]
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

# What tests and benches share.
sys.path.append(str(Path(__file__).parents[1] / "shared"))

import calls
import decisions
import hostile
import ladder
import local
import signin
import stages
import tokens
from table import Row, show


def _decisions(quick: bool, tell: calls.Tell) -> Iterable[Row]:
    for rules in (1_000, 10_000) if quick else (1_000, 10_000, 100_000):
        tell(f"{rules:,} rules, and pycasbin on them")
        yield from decisions.against_pycasbin(rules, max(2, 200_000 // rules))
    sizes = ((1_000, 100),) if quick else ((1_000, 100), (10_000, 100), (100_000, 10))
    for tenants, each in sizes:
        tell(f"{tenants * each:,} assignments over {tenants:,} tenants")
        yield from decisions.by_tenants(tenants, each)


def _calls(quick: bool, tell: calls.Tell) -> Iterable[Row]:
    return calls.against_echo(4_000 if quick else 16_000, 3, tell)


def _tenants(quick: bool, tell: calls.Tell) -> Iterable[Row]:
    counts = (1, 200) if quick else (1, 1_000, 10_000)
    return calls.by_tenants(counts, 4_000 if quick else 16_000, tell)


def _processes(quick: bool, tell: calls.Tell) -> Iterable[Row]:
    return calls.by_processes(min(os.cpu_count() or 1, 4), 4_000 if quick else 16_000, tell)


def _profile(quick: bool, tell: calls.Tell) -> Iterable[Row]:
    tell("the stages of the chain")
    yield from stages.profile(500 if quick else 3_000)
    yield from ladder.profile(10 if quick else 40, tell)


def _local(quick: bool, tell: calls.Tell) -> Iterable[Row]:
    tell("decisions in the caller's own process")
    return local.replicated(4_000 if quick else 30_000)


def _tokens(quick: bool, tell: calls.Tell) -> Iterable[Row]:
    tell("access tokens, signed and verified on one core")
    return tokens.rates(500 if quick else 3_000)


def _signin(quick: bool, tell: calls.Tell) -> Iterable[Row]:
    return signin.ceremonies(200 if quick else 800, 60 if quick else 300, tell)


def _hostile(quick: bool, tell: calls.Tell) -> Iterable[Row]:
    return hostile.another(1 if quick else 3, 4.0, tell)


SECTIONS: dict[str, Callable[[bool, calls.Tell], Iterable[Row]]] = {
    "decisions": _decisions,
    "local": _local,
    "calls": _calls,
    "tenants": _tenants,
    "processes": _processes,
    "tokens": _tokens,
    "signin": _signin,
    "hostile": _hostile,
    "profile": _profile,
}


def main() -> None:
    """Measure the sections asked for, all by default, and print one table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="smaller numbers, to try it out")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    started = time.monotonic()

    def tell(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started:6.1f} s  {what}\n")

    rows: list[Row] = []
    for name in options.sections or SECTIONS:
        rows += SECTIONS[name](options.quick, tell)
    if options.json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], ensure_ascii=False) + "\n")
    else:
        show(rows)


if __name__ == "__main__":
    main()

import re
import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.policy.globs import (
    NAMED_ONLY_ACTIONS,
    action_covers,
    action_match,
    action_overlaps,
    covers,
    domain_covers,
    domain_match,
    domain_overlaps,
    glob_match,
    overlaps,
)


@given(st.text("ab:.*", max_size=8), st.text("ab:.", max_size=12))
def test_it_agrees_with_an_anchored_regular_expression(pattern: str, text: str) -> None:
    wanted = ".*".join(re.escape(piece) for piece in pattern.split("*"))
    assert glob_match(text, pattern) == (re.fullmatch(wanted, text) is not None)


def test_it_takes_linear_time() -> None:
    started = time.process_time()
    assert not glob_match("a" * 100_000, "*a*a*a*a*a*a*b")
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("domain", "pattern", "matches"),
    [
        ("acme", "*", True),
        ("acme", "acme", True),
        ("acme/x", "acme", True),
        ("acme/x", "acme/x", True),
        ("acme", "acme/x", False),
        ("acme/xy", "acme/x", False),
        ("acme/x/y", "acme/x", False),
        ("acme2", "acme", False),
        ("acme2/x", "acme", False),
        ("other", "acme", False),
    ],
)
def test_domains(domain: str, pattern: str, matches: bool) -> None:
    assert domain_match(domain, pattern) is matches


def words(alphabet: str, longest: int) -> list[str]:
    """Every text of up to ``longest`` characters."""
    return ["".join(text) for size in range(longest + 1) for text in product(alphabet, repeat=size)]


PATTERNS = words("ab*", 4)
# A counterexample never needs to be longer than both patterns; x is a character in neither.
TEXTS = words("abx", 7)
LANGUAGES = {
    pattern: frozenset(text for text in TEXTS if glob_match(text, pattern)) for pattern in PATTERNS
}


def test_covering_agrees_with_trying_every_text() -> None:
    for wide, narrow in product(PATTERNS, PATTERNS):
        inside = LANGUAGES[narrow] <= LANGUAGES[wide]
        assert covers(wide, narrow) is inside, (wide, narrow)


def test_overlapping_agrees_with_trying_every_text() -> None:
    for one, other in product(PATTERNS, PATTERNS):
        meet = not LANGUAGES[one].isdisjoint(LANGUAGES[other])
        assert overlaps(one, other) is meet, (one, other)


@given(st.text("ab:*", max_size=9), st.text("ab:*", max_size=9), st.text("ab:", max_size=12))
def test_no_text_contradicts_covering_or_overlapping(wide: str, narrow: str, text: str) -> None:
    if glob_match(text, narrow):
        assert not covers(wide, narrow) or glob_match(text, wide)
        assert not glob_match(text, wide) or overlaps(wide, narrow)


def test_rows_about_actions_cover_and_overlap_as_they_match() -> None:
    patterns = ["*", "act_*", "*_for", "act_for", "act_for*", "act", "read"]
    asked = ["act_for", "act_forx", "act_for_for", "act_", "act_x_for", "x_for", "act", "read", "x"]
    matched = {one: {act for act in asked if action_match(act, one)} for one in patterns}
    assert {one for one in patterns if not NAMED_ONLY_ACTIONS.isdisjoint(matched[one])} == {
        "act_for"
    }
    for one, other in product(patterns, patterns):
        assert action_covers(one, other) is (matched[other] <= matched[one]), (one, other)
        assert action_overlaps(one, other) is bool(matched[one] & matched[other]), (one, other)


DOMAINS = ["*", "acme", "acme/x", "acme/y", "acme2", "acme2/x"]


@pytest.mark.parametrize(("wide", "narrow"), list(product(DOMAINS, DOMAINS)))
def test_domains_cover_and_overlap_as_they_match(wide: str, narrow: str) -> None:
    reached = {
        pattern: {domain for domain in [*DOMAINS[1:], "z"] if domain_match(domain, pattern)}
        for pattern in (wide, narrow)
    }
    # An org in "acme/new" stands for those that no pattern names.
    for pattern, domains in reached.items():
        domains |= {d for d in ("acme/new", "acme2/new") if domain_match(d, pattern)}
    assert domain_covers(wide, narrow) == (reached[narrow] <= reached[wide])
    assert domain_overlaps(wide, narrow) == bool(reached[wide] & reached[narrow])


@pytest.mark.parametrize("pattern", ["doc:1", "doc:1*", "doc:"])
def test_a_star_that_is_asked_is_a_character_and_no_wildcard(pattern: str) -> None:
    assert not glob_match("doc:*", pattern)
    assert all(glob_match("doc:*", wide) for wide in ("doc:*", "*", "d*:*", "doc:**"))

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.policy.globs import domain_match, glob_match


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

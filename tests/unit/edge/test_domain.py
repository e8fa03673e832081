"""When a batch ends, and what a search may look at."""

import pytest

from argy.base.errors import InvalidArgument
from argy.edge.authzen.domain import (
    Batch,
    Evaluation,
    Held,
    Item,
    Semantic,
    action_candidates,
    resource_candidates,
    until_end,
)

ONE = Evaluation("user:a", "read", "todo:1", {})
TWO = Evaluation("user:a", "read", "todo:2", {})
BAD = InvalidArgument("no")


def results(pattern: str) -> list[dict[str, bool]]:
    return [{"decision": letter == "+"} for letter in pattern]


@pytest.mark.parametrize(
    ("semantic", "decided", "told"),
    [
        ("execute_all", "+-+", "+-+"),
        ("deny_on_first_deny", "+-+", "+-"),
        ("deny_on_first_deny", "-++", "-"),
        ("deny_on_first_deny", "+++", "+++"),
        ("permit_on_first_permit", "--+-", "--+"),
        ("permit_on_first_permit", "+--", "+"),
        ("permit_on_first_permit", "---", "---"),
    ],
)
def test_a_batch_ends_as_its_semantic_says(semantic: str, decided: str, told: str) -> None:
    assert until_end(results(decided), Semantic(semantic)) == results(told)


def test_an_error_is_a_denial_and_may_end_a_batch_before_it_is_asked() -> None:
    items: list[Item] = [ONE, BAD, TWO]
    assert Batch(items, Semantic.EXECUTE_ALL).to_ask() == [ONE, TWO]
    assert Batch(items, Semantic.PERMIT_ON_FIRST_PERMIT).to_ask() == [ONE, TWO]
    assert Batch(items, Semantic.DENY_ON_FIRST_DENY).to_ask() == [ONE]


HELD = [
    Held("project:*", "deploy"),
    Held("project:alpha", "archive"),
    Held("*", "read"),
    Held("directory.*:*", "update"),
    Held("project:*", "add_*"),
    Held("projects:*", "paint"),
    Held("project:-", "create"),
]


def test_actions_are_those_that_rules_for_the_type_name() -> None:
    assert action_candidates(HELD, "project:x") == ["archive", "create", "deploy", "read"]
    assert action_candidates(HELD, "directory.user:x") == ["read", "update"]


def test_resources_are_those_that_rules_name_literally() -> None:
    assert resource_candidates(HELD, "project") == ["project:alpha"]
    assert resource_candidates(HELD, "module") == []

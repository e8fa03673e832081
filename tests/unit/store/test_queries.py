"""Named queries: found by name, refused when the file breaks its format."""

import pytest

from argy.store.queries import Queries, QueriesRefused

GOOD = """
-- Comments before the first name are for the reader.

-- name: find_thing
-- One thing.
SELECT id
FROM thing -- with a remark
WHERE id = $1;

-- name: drop_thing
-- Remove it,
-- for good.
DELETE FROM thing WHERE id = $1
"""


def test_queries_are_found_by_name() -> None:
    queries = Queries.parse(GOOD, source="x.sql")
    assert list(queries) == ["find_thing", "drop_thing"]
    assert len(queries) == 2
    assert queries["find_thing"] == "SELECT id\nFROM thing -- with a remark\nWHERE id = $1"
    assert queries.drop_thing == "DELETE FROM thing WHERE id = $1"
    with pytest.raises(KeyError, match=r"x\.sql"):
        queries["nothing"]
    with pytest.raises(AttributeError, match=r"x\.sql"):
        _ = queries.nothing


def test_the_packages_own_file_loads() -> None:
    assert "INSERT INTO audit.event" in Queries.load("argy.trail").insert_event


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1", r"x\.sql:1: SQL before"),
        ("-- name: a\nSELECT 1", r"x\.sql:2: query a has no purpose"),
        ("-- name: a\n-- p\n", r"x\.sql:1: query a is empty"),
        ("-- name: a\n-- p\n;", r"x\.sql:1: query a is empty"),
        ("-- name: a-b\n", r"x\.sql:1: bad query name 'a-b'"),
        ("-- name:\n", "bad query name"),
        ("-- name: a\n-- p\nSELECT 1\n-- name: a\n-- p\nSELECT 2", r"x\.sql:4: .*twice"),
    ],
)
def test_a_broken_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(QueriesRefused, match=message):
        Queries.parse(text, source="x.sql")

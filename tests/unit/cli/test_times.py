from datetime import UTC, datetime, timedelta

import pytest

from argy.base.errors import InvalidArgument
from argy.cli.times import parse_duration, parse_end, parse_moment


@pytest.mark.parametrize(
    ("text", "lasts"),
    [("30m", timedelta(minutes=30)), ("8h", timedelta(hours=8)), ("7d", timedelta(days=7))],
)
def test_how_long(text: str, lasts: timedelta) -> None:
    assert parse_duration(text, "for") == lasts
    before = datetime.now(UTC)
    assert before + lasts <= parse_end(text, "expires") <= datetime.now(UTC) + lasts


@pytest.mark.parametrize(
    "text",
    ["2027-01-31T18:00Z", "2027-01-31T19:00+01:00", "2027-01-31 18:00:00+00:00", "20270131T18Z"],
)
def test_until_when(text: str) -> None:
    assert parse_end(text, "expires") == datetime(2027, 1, 31, 18, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "8", "0h", "2027-01-31", "2027-01-31T18:00", "1w"])
def test_what_is_neither_is_told_both_forms(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"with its zone: 2027.*; or how long: 30m") as told:
        parse_end(text, "expires")
    assert told.value.field == "expires"
    with pytest.raises(InvalidArgument, match="with its zone"):
        parse_moment(text, "at")

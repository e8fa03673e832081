"""JSON with one reading or none."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.base.errors import InvalidArgument
from argy.edge.authzen.strict_json import MAX_DEPTH, parse_object


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a":1} {"b":2}', "not JSON"),
        (b'{"a":1,"a":2}', "there twice"),
        (b'{"a":{"b":1,"\\u0062":2}}', "there twice"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":Infinity}', "Infinity is not JSON"),
        (b'{"a":-Infinity}', "-Infinity is not JSON"),
        (b'{"a":1e999}', "beyond what a double holds"),
        (b'{"a":9007199254740993}', "not exact"),
        (b'{"a":-9007199254740993}', "not exact"),
        (b'{"a":' + b"9" * 100_000 + b"}", "not exact"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"\\udc00":1}', "surrogate"),
        (b'{"a":"\xff"}', "not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "not"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b'{"a":[' + b"1," * 100_001 + b"1]}", "commas"),
        (nested(MAX_DEPTH + 1), "deeper"),
        (nested(100_000), "deeper"),
        (b'{"a":' + b"[" * 500_000, "deeper"),
    ],
)
def test_what_has_no_single_reading_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told) as refused:
        parse_object(body)
    assert refused.value.reason == "MALFORMED_JSON"


def test_finding_the_name_that_is_there_twice_takes_linear_time() -> None:
    names = b",".join(b'"%d":1' % number for number in range(90_000))
    with pytest.raises(InvalidArgument, match='"89999" is there twice'):
        parse_object(b"{" + names + b',"89999":1}')


def test_the_bounds_themselves_are_accepted() -> None:
    assert parse_object(nested(MAX_DEPTH))
    assert parse_object(b'{"a":9007199254740992,"b":1.5,"c":"\\ud83d\\ude00"}') == {
        "a": 2**53,
        "b": 1.5,
        "c": "\U0001f600",
    }


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=5,
        ),
    )
)
def test_what_it_reads_is_what_was_written(value: dict[str, object]) -> None:
    assert parse_object(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(body: bytes) -> None:
    with suppress(InvalidArgument):
        assert isinstance(parse_object(body), dict)

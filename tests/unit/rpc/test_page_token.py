"""A page token goes on with its own query, for its own caller, and with nothing else."""

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.api.directory.v1.tenant_pb2 import ListOrgsRequest, ListTenantsRequest
from argy.base.errors import InvalidArgument
from argy.rpc.page_token import DEFAULT_PAGE_SIZE, PageTokens, page_size

TOKENS = PageTokens(bytes(32))
CURSOR = b"0123456789abcdef"


def call(
    path: str = "/m", tenant: int = 1, org: int | None = None, caller: str = "service:a"
) -> Any:
    return SimpleNamespace(
        method=SimpleNamespace(path=path),
        tenant_id=UUID(int=tenant),
        org_id=None if org is None else UUID(int=org),
        caller=caller,
    )


def query(token: str, **fields: Any) -> ListOrgsRequest:
    return ListOrgsRequest(page_token=token, **fields)


def refused(asking: Any, request: Any, tokens: PageTokens = TOKENS) -> None:
    with pytest.raises(InvalidArgument) as error:
        tokens.decode(asking, request)
    assert error.value.reason == "INVALID_PAGE_TOKEN"
    assert [violation.field for violation in error.value.violations] == ["page_token"]


def test_the_first_page_has_no_token() -> None:
    assert TOKENS.decode(call(), query("")) is None


@given(st.binary(max_size=64), st.integers(0, 1000))
def test_it_returns_its_cursor_whatever_the_page_size(cursor: bytes, size: int) -> None:
    token = TOKENS.encode(call(), ListOrgsRequest(slug="a"), cursor)
    assert TOKENS.decode(call(), query(token, slug="a", page_size=size)) == cursor


@pytest.mark.parametrize(
    "asking",
    [call("/other"), call(tenant=2), call(org=1), call(caller="service:b")],
    ids=["method", "tenant", "org", "caller"],
)
def test_it_is_bound_to_the_call(asking: Any) -> None:
    refused(asking, query(TOKENS.encode(call(), ListOrgsRequest(), CURSOR)))


def test_it_is_bound_to_the_query_and_the_key() -> None:
    token = TOKENS.encode(call(), ListOrgsRequest(slug="a"), CURSOR)
    refused(call(), query(token, slug="b"))
    refused(call(), query(token))
    refused(call(), query(token, slug="a"), PageTokens(bytes(31) + b"\x01"))


@given(st.integers(0, 63), st.integers(1, 255))
def test_an_altered_token_is_refused(at: int, flip: int) -> None:
    from base64 import urlsafe_b64decode, urlsafe_b64encode

    token = TOKENS.encode(call(), ListOrgsRequest(), CURSOR)
    raw = bytearray(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[at % len(raw)] ^= flip
    refused(call(), query(urlsafe_b64encode(bytes(raw)).decode().rstrip("=")))


@pytest.mark.parametrize("token", ["x", "!!!!", "=", "A" * 43, "A" * 10_000, "ä"])
def test_nonsense_is_refused(token: str) -> None:
    refused(call(), ListTenantsRequest(page_token=token))


def test_zero_asks_for_the_default_page() -> None:
    assert (page_size(0), page_size(7)) == (DEFAULT_PAGE_SIZE, 7)

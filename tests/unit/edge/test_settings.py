"""The edge's settings."""

from pathlib import Path

import pytest

from argy.base.errors import InvalidArgument
from argy.edge.settings import EdgeSettings
from argy.edge.stages import inner_request_id


def test_the_base_url_is_what_callers_call() -> None:
    assert EdgeSettings(tokens=Path("t")).base_url == "https://127.0.0.1:8443"
    told = EdgeSettings(tokens=Path("t"), public_url="https://pdp.example.com/")
    assert told.base_url == "https://pdp.example.com"


@pytest.mark.parametrize(
    "url", ["http://x", "https://", "https://x?y", "https://x#y", "x", "file:///etc"]
)
def test_a_public_url_that_no_pdp_may_have_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument):
        _ = EdgeSettings(tokens=Path("t"), public_url=url).base_url


@pytest.mark.parametrize("listen", ["8443", ":8443", "x:", "x:99999", "x:-1"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(InvalidArgument):
        _ = EdgeSettings(tokens=Path("t"), listen=listen).address


def test_a_request_id_goes_on_as_it_is_or_as_a_digest_of_itself() -> None:
    assert inner_request_id("bfe9eb29-ab87") == "bfe9eb29-ab87"
    strange = inner_request_id("a/b?c")
    assert len(strange) == 32
    assert strange == inner_request_id("a/b?c") != inner_request_id("a/b?d")

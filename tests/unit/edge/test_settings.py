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


def test_the_origins_of_passkeys_are_its_own_and_those_that_are_told() -> None:
    alone = EdgeSettings(tokens=Path("t"), public_url="https://id.example.com/argy")
    assert alone.origins == ("https://id.example.com",)
    more = "https://shop.example.net, https://id.example.com,https://example.org:8443"
    told = EdgeSettings(tokens=Path("t"), public_url="https://id.example.com", passkey_origins=more)
    assert told.origins == (
        "https://id.example.com",
        "https://shop.example.net",
        "https://example.org:8443",
    )


@pytest.mark.parametrize("origin", ["http://x.example", "https://x.example/", "*", "x.example"])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        _ = EdgeSettings(tokens=Path("t"), passkey_origins=origin).origins
    assert refused.value.field == "ARGY_EDGE_PASSKEY_ORIGINS"


def test_a_proxy_that_ends_tls_does_not_end_strict_transport() -> None:
    url = "https://pdp.example.com"
    assert EdgeSettings(tokens=Path("t"), public_url=url, unsafe_plaintext=True).is_strict
    assert EdgeSettings(tokens=Path("t"), public_url=url).is_strict
    assert not EdgeSettings(tokens=Path("t")).is_strict
    plain = EdgeSettings(tokens=Path("t"), listen="10.0.0.1:80", unsafe_plaintext=True)
    assert not plain.is_strict


@pytest.mark.parametrize("listen", ["8443", ":8443", "x:", "x:99999", "x:-1"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(InvalidArgument):
        _ = EdgeSettings(tokens=Path("t"), listen=listen).address


def test_a_request_id_goes_on_as_it_is_or_as_a_digest_of_itself() -> None:
    assert inner_request_id("bfe9eb29-ab87") == "bfe9eb29-ab87"
    strange = inner_request_id("a/b?c")
    assert len(strange) == 32
    assert strange == inner_request_id("a/b?c") != inner_request_id("a/b?d")

"""Secrets never leave in a run's output, however the output is cut or they are encoded."""

import base64
import itertools
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.agentd.masking import MASK, Mask

SECRETS = st.lists(st.binary(min_size=4, max_size=24), min_size=1, max_size=4)


def masked(secrets: list[bytes], *chunks: bytes) -> bytes:
    mask = Mask(secrets)
    return b"".join([*map(mask.feed, chunks), mask.flush()])


def cut(text: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(ends)]


@given(
    secrets=SECRETS,
    parts=st.lists(st.one_of(st.binary(max_size=8), st.integers(0, 3)), max_size=8),
    places=st.lists(st.integers(0, 200), max_size=12),
)
def test_chunks_make_no_difference_and_no_secret_is_left(
    secrets: list[bytes], parts: list[bytes | int], places: list[int]
) -> None:
    text = b"".join(p if isinstance(p, bytes) else secrets[p % len(secrets)] for p in parts)
    whole = masked(secrets, text)
    assert masked(secrets, *cut(text, places)) == whole
    for secret in secrets:
        assert all(secret not in between for between in whole.split(MASK))


@given(secret=st.binary(min_size=8, max_size=40), before=st.binary(max_size=5), after=st.binary())
def test_base64_at_every_offset(secret: bytes, before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert MASK in masked([secret], encode(before + secret + after))


@pytest.mark.parametrize("quote", [urllib.parse.quote, urllib.parse.quote_plus])
def test_url_encoded(quote: object) -> None:
    assert callable(quote)
    secret = b"p\xc3\xa4ss/w rd&=x"
    assert masked([secret], b"a=" + quote(secret).encode() + b"&b") == b"a=***&b"
    assert masked([secret], quote(secret).lower().encode()) == MASK


def test_each_long_line_of_a_secret_is_one() -> None:
    key = b"-- begin --\nsome-long-line-of-it\nend\n"
    assert masked([key], b"x some-long-line-of-it y end") == b"x *** y end"


def test_what_is_no_beginning_of_a_secret_is_shown_at_once() -> None:
    mask = Mask([b"secret"])
    assert mask.feed(b"hello sec") == b"hello "
    assert mask.feed(b"ond") == b"second"
    assert mask.feed(b"secret") == MASK
    assert mask.flush() == b""


def test_the_longer_of_two_secrets_wins() -> None:
    assert masked([b"abcd", b"abcdefgh"], b"ab", b"cdef", b"gh abcd.") == b"*** ***."


def test_without_secrets_nothing_is_held() -> None:
    assert Mask([b"", b"abc"]).feed(b"abc") == b"abc"

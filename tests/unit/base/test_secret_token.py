"""The form of bearer secrets."""

import re

import pytest

from argy.base.secret_token import is_token, new_token, token_digest


def test_a_token_names_its_kind_and_holds_256_bits_and_a_checksum() -> None:
    token = new_token("pep")
    assert re.fullmatch(r"argy_pep_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}", token)
    assert is_token(token, kind="pep")
    assert len({new_token("pep") for _ in range(100)}) == 100


@pytest.mark.parametrize("position", [9, 30, 51, 58])
def test_one_wrong_character_fails_the_checksum(position: int) -> None:
    token = new_token("pep")
    other = "0" if token[position] != "0" else "1"
    assert not is_token(token[:position] + other + token[position + 1 :], kind="pep")


@pytest.mark.parametrize("text", ["", "argy_pep__", "argy_pep_" + "0" * 43, "x" * 10_000])
def test_what_is_no_token_is_none(text: str) -> None:
    assert not is_token(text, kind="pep")


def test_a_token_of_another_kind_is_none() -> None:
    assert not is_token(new_token("pat"), kind="pep")
    assert not is_token(new_token("pep") + "\n", kind="pep")


def test_what_is_kept_is_the_digest() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", token_digest(new_token("pep")))

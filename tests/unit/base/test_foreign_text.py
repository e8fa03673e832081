"""What others wrote, in each medium: it steers nothing, hides nothing and becomes no address."""

import pytest
from hostile_text import ADDRESSES, CORPUS, DIRECTIONS, HIDDEN, LINES, NAMES, links, steering

from argy.base.foreign_text import in_mail, name_of, on_page, on_terminal, quoted


@pytest.mark.parametrize("text", CORPUS)
def test_a_mail_holds_one_line_without_an_address_and_ends_its_own_quotation(text: str) -> None:
    shown = quoted(in_mail(text))
    assert links(shown) == []
    assert steering(shown) == []
    assert (shown[0], shown[-1]) == ("\u201c", "\u201d")
    assert not set(shown[1:-1]) & set('"\u201c\u201d')


@pytest.mark.parametrize("text", CORPUS)
@pytest.mark.parametrize("medium", [on_terminal, on_page])
def test_terminals_and_pages_are_steered_by_nothing(medium: object, text: str) -> None:
    shown = on_terminal(text) if medium is on_terminal else on_page(text)
    assert steering(shown.replace("\n", "")) == []
    assert shown.count("\n") == text.count("\n")


@pytest.mark.parametrize("text", ADDRESSES)
def test_the_corpus_holds_addresses(text: str) -> None:
    plain = in_mail(text).replace("[.]", ".").replace("[at]", "@").replace("[:]", ":")
    assert links(plain.replace("[\\]", "\\")) or " " in plain


@pytest.mark.parametrize("name", NAMES)
def test_names_are_taken_and_shown_as_they_are(name: str) -> None:
    assert name_of(name, most=100) == name
    assert on_terminal(name) == on_page(name) == name.replace("\u3000", " ")
    assert in_mail(name) == name.replace("\u3000", " ")


@pytest.mark.parametrize("text", [*DIRECTIONS, *HIDDEN, *LINES, "", " ", "\u0301", "a\u200db"])
def test_what_hides_or_turns_is_no_name(text: str) -> None:
    assert name_of(text, most=100) == ""


def test_names_are_composed_and_bounded_after_that() -> None:
    assert name_of(" Ame\u0301lie ", most=100) == "Am\u00e9lie"
    # NFC makes two characters of this one.
    assert name_of("\u0958" * 100, most=100) == ""
    assert name_of("x" * 101, most=100) == ""


def test_a_long_text_is_cut_visibly_in_a_mail() -> None:
    assert in_mail("x" * 600) == "x" * 500 + "\u2026"


def test_our_own_names_stay_readable_in_a_mail() -> None:
    told = "user:0193 asks for role:PLATFORM_ADMIN, authz.approval:7"
    assert in_mail(told) == told
    assert links(in_mail("role:evil.example service://evil.example evil.user:x")) == []

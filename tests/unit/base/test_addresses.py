import pytest

from argy.base.addresses import email_address
from argy.base.errors import InvalidArgument


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada@EXAMPLE.com\n", "Ada@example.com"),
        ("a+b@c.d", "a+b@c.d"),
        ("e\u0301@example.com", "\u00e9@example.com"),
        ("eve@bücher.example", "eve@xn--bcher-kva.example"),
        ("eve@BU\u0308CHER.example", "eve@xn--bcher-kva.example"),
        ("eve@straße.example", "eve@xn--strae-oqa.example"),
        ("eve@例え.example", "eve@xn--r8jz45g.example"),
        ("eve@example\u3002com", "eve@example.com"),
    ],
)
def test_addresses_have_one_form(given: str, stored: str) -> None:
    assert email_address(given) == stored == email_address(stored)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "a@localhost",
        "a@b",
        "a@b@c.d",
        "a b@c.d",
        "a@b c.d",
        "a\u200bb@c.d",
        "a@-b.c",
        "a@b-.c",
        "a@b..c",
        "a@.b",
        "a@b.c\nBcc: x@y.z",
        "a@b_c.d",
        "a@b\u202ec.d",
        "a@\u200d.d",
        "é" * 33 + "@c.d",
        "a@" + "b" * 64 + ".c",
        "a@" + "b." * 130 + "c",
    ],
)
def test_other_texts_are_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"write one such as ada@example\.com") as refusal:
        email_address(text)
    assert (refusal.value.reason, refusal.value.field) == ("INVALID_EMAIL", "email")

"""Page tokens of searches serve one caller's one question."""

from dataclasses import replace

import pytest

from argy.base.errors import InvalidArgument
from argy.base.ids import uuid7
from argy.edge.authzen.domain import Page, Search
from argy.edge.authzen.pages import DEFAULT_LIMIT, Asker, PageTokens, Place

ASKER = Asker(uuid7(), None, "demo")
SEARCH = Search("subject", "user:", "read", "todo:1", {"a": 1}, Page("", None))
TOKENS = PageTokens(b"k" * 32)
PLACE = Place(limit=5, upstream="abc", skip=3)


def asked(token: str, limit: int | None = None) -> Search:
    return replace(SEARCH, page=Page(token, limit))


def test_a_token_leads_to_its_place_with_its_limit() -> None:
    token = TOKENS.encode(ASKER, SEARCH, PLACE)
    assert TOKENS.decode(ASKER, asked(token)) == PLACE
    assert TOKENS.decode(ASKER, asked(token, 5)) == PLACE
    assert TOKENS.decode(ASKER, asked("")) == Place(DEFAULT_LIMIT)
    assert TOKENS.decode(ASKER, asked("", 7)) == Place(7)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "action"},
        {"subject": "agent:"},
        {"action": "write"},
        {"resource": "todo:2"},
        {"facts": {"a": 2}},
        {"facts": {}},
    ],
)
def test_a_token_serves_no_other_question(change: dict[str, object]) -> None:
    token = TOKENS.encode(ASKER, SEARCH, PLACE)
    with pytest.raises(InvalidArgument) as refused:
        TOKENS.decode(ASKER, replace(asked(token), **change))  # type: ignore[arg-type]
    assert refused.value.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize(
    "asker",
    [
        replace(ASKER, tenant_id=uuid7()),
        replace(ASKER, org_id=uuid7()),
        replace(ASKER, caller="other"),
    ],
)
def test_a_token_serves_nobody_else(asker: Asker) -> None:
    token = TOKENS.encode(ASKER, SEARCH, PLACE)
    with pytest.raises(InvalidArgument):
        TOKENS.decode(asker, asked(token))


@pytest.mark.parametrize("token", ["x", "AAAA", "é", "A" * 60, "%%%", "\ud800"])
def test_a_made_up_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument):
        TOKENS.decode(ASKER, asked(token))


def test_a_changed_token_is_refused() -> None:
    token = TOKENS.encode(ASKER, SEARCH, PLACE)
    for position in range(len(token)):
        other = "A" if token[position] != "A" else "B"
        changed = token[:position] + other + token[position + 1 :]
        try:
            place = TOKENS.decode(ASKER, asked(changed))
        except InvalidArgument:
            continue
        # The last character of base64 has bits that count for nothing.
        assert place == PLACE
        assert position == len(token) - 1


def test_a_changed_limit_is_refused() -> None:
    token = TOKENS.encode(ASKER, SEARCH, PLACE)
    with pytest.raises(InvalidArgument) as refused:
        TOKENS.decode(ASKER, asked(token, 6))
    assert refused.value.field == "/page/limit"


def test_a_token_of_another_deployment_is_refused() -> None:
    token = PageTokens(b"x" * 32).encode(ASKER, SEARCH, PLACE)
    with pytest.raises(InvalidArgument):
        TOKENS.decode(ASKER, asked(token))

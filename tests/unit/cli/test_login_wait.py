"""``argy login`` polls through what passes, and tells a lost answer from nobody's."""

from collections.abc import Iterator
from typing import Any

import pytest

from argy.base.errors import ArgyError, PermissionDenied, Unauthenticated, Unavailable
from argy.cli.edge_client import Answer
from argy.cli.login import _wait

BEGUN = {"interval": 0, "expires_in": 60, "device_code": "d"}
TOKENS = Answer(200, {"access_token": "a"})
PENDING = Answer(400, {"error": "authorization_pending"})
EXPIRED = Answer(400, {"error": "expired_token"})
AWAY = Unavailable("the edge can't be reached", reason="EDGE_AWAY")


class Edge:
    """Answers polls by a script."""

    def __init__(self, *answers: Answer | ArgyError) -> None:
        self._answers: Iterator[Answer | ArgyError] = iter(answers)

    def post_form(self, path: str, fields: Any) -> Answer:
        answer = next(self._answers)
        if isinstance(answer, ArgyError):
            raise answer
        return answer


def wait(*answers: Answer | ArgyError) -> dict[str, Any]:
    edge: Any = Edge(*answers)
    return _wait(edge, "acme", BEGUN)


@pytest.mark.parametrize(
    "passing", [AWAY, *(Answer(status, {}) for status in (429, 500, 502, 503, 504))]
)
def test_what_passes_ends_no_login(passing: Answer | ArgyError) -> None:
    assert wait(PENDING, passing, PENDING, passing, TOKENS) == TOKENS.body


def test_tokens_that_were_lost_on_their_way_are_not_told_as_nobodys() -> None:
    with pytest.raises(Unavailable, match="session list") as lost:
        wait(PENDING, AWAY, EXPIRED)
    assert lost.value.reason == "LOGIN_LOST"
    with pytest.raises(Unauthenticated) as nobody:
        wait(AWAY, PENDING, EXPIRED)
    assert nobody.value.reason == "LOGIN_EXPIRED"


def test_what_does_not_pass_ends_it() -> None:
    untrusted = Unavailable("no certificate that is trusted", reason="EDGE_UNTRUSTED")
    with pytest.raises(Unavailable, match="trusted"):
        wait(untrusted)
    with pytest.raises(PermissionDenied):
        wait(PENDING, Answer(400, {"error": "access_denied"}))
    with pytest.raises(ArgyError):
        wait(Answer(400, {"error": "invalid_client"}))

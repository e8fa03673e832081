"""Questions on their way to the services: no more work than what was sent is worth."""

import json
from typing import Any

import pytest

from argy.edge.authzen import decider
from argy.edge.authzen.domain import Facts
from argy.edge.authzen.strict_json import parse_object
from argy.edge.authzen.wire import read_batch


def asked(context: dict[str, Any], *own: dict[str, Any]) -> list[Any]:
    body = {
        "subject": {"type": "user", "id": "a"},
        "action": {"name": "read"},
        "context": context,
        "evaluations": [
            {"resource": {"type": "project", "id": str(number)}, **more}
            for number, more in enumerate(own)
        ],
    }
    batch = read_batch(parse_object(json.dumps(body).encode()))
    assert batch is not None
    return list(batch.to_ask())


def test_a_default_context_of_a_thousand_questions_is_encoded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: list[Facts] = []
    real = decider._struct

    def counted(facts: Facts) -> Any:
        encoded.append(facts)
        return real(facts)

    monkeypatch.setattr(decider, "_struct", counted)
    request = decider.batch_of(asked({"a": [0] * 200}, *({},) * 1000))
    assert len(request.questions) == 1000
    assert len(encoded) == 1


def test_each_question_keeps_its_own_context() -> None:
    request = decider.batch_of(asked({"a": 1}, {}, {"context": {"a": 2}}, {"context": {}}, {}))
    assert [dict(question.context) for question in request.questions] == [
        {"a": 1.0},
        {"a": 2.0},
        {},
        {"a": 1.0},
    ]

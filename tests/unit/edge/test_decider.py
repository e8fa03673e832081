"""Questions on their way to the services: no more work than what was sent is worth."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from argy.edge.authzen import decider
from argy.edge.authzen.domain import Evaluation
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


class Told(Mapping[str, object]):
    """Facts that count how often they are read; all of them are alike."""

    read = 0

    def __getitem__(self, name: str) -> object:
        return {"a": 1}[name]

    def __iter__(self) -> Iterator[str]:
        Told.read += 1
        return iter(("a",))

    def __len__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Told)

    __hash__ = None  # type: ignore[assignment]


def test_a_default_context_of_a_thousand_questions_is_encoded_once() -> None:
    questions = [
        Evaluation("user:a", "read", f"project:{number}", Told()) for number in range(1000)
    ]
    request = decider.batch_of(questions)
    assert {dict(question.context)["a"] for question in request.questions} == {1.0}
    assert Told.read == 1


def test_each_question_keeps_its_own_context() -> None:
    request = decider.batch_of(asked({"a": 1}, {}, {"context": {"a": 2}}, {"context": {}}, {}))
    assert [dict(question.context) for question in request.questions] == [
        {"a": 1.0},
        {"a": 2.0},
        {},
        {"a": 1.0},
    ]

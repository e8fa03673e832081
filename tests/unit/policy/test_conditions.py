import threading
import time

import pytest

from argy.policy.conditions import (
    MAX_FACT_CHARS,
    MAX_FACT_DEPTH,
    MAX_FACTS,
    MAX_LENGTH,
    ConditionError,
    Facts,
    compile_condition,
)

NOON_MS = 1_767_787_200_000  # 2026-01-07 12:00 UTC


def holds(text: str, ctx: dict[str, object] | None = None, now_ms: int = NOON_MS) -> bool:
    condition = compile_condition(text)
    assert condition is not None
    return condition.holds(Facts("user:a", "acme", "x", "doc:1", "read", ctx, now_ms))


@pytest.mark.parametrize("text", ["", "true", " true "])
def test_no_condition_always_holds(text: str) -> None:
    assert compile_condition(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "sub == 'user:a' && obj == 'doc:1' && act == 'read'",
        "tenant == 'acme' && org == 'x'",
        "now == timestamp('2026-01-07T12:00:00Z') && now.getHours() == 12",
        "ctx.n > 2 && ctx.n == 3.0",
        "ctx.tags.exists(t, t == 'b')",
        "has(ctx.deep.er) && ctx.deep.er == null",
        "sub.matches('^user:[a-z]$')",
    ],
)
def test_the_variables(text: str) -> None:
    assert holds(text, {"n": 3, "tags": ["a", "b"], "deep": {"er": None}})


@pytest.mark.parametrize(
    ("text", "ctx"),
    [
        ("ctx.mfa", None),
        ("ctx.mfa", {"mfa": "yes"}),
        ("ctx.mfa == true && ctx.n > 1", {"mfa": True, "n": "many"}),
        ("1 / int(ctx.n) == 1", {"n": 0}),
        ("ctx.x == 1", {"x": 2**80 + 1}),
        ("ctx.x == 1", {"x": object()}),
        ("ctx.x == 1", {1: 2}),
    ],
)
def test_without_an_answer_it_is_an_error(text: str, ctx: dict[str, object] | None) -> None:
    with pytest.raises(ConditionError):
        holds(text, ctx)


@pytest.mark.parametrize(
    "text",
    [
        "foo == 1",
        "1 + 1",
        "'true'",
        "sub == 1",
        "now > 5",
        "(" * 100 + "true" + ")" * 100,
        "[1].all(a, [1].all(b, [1].all(c, true)))",
        "sub == '" + "a" * MAX_LENGTH + "'",
        "true || __import__('os')",
        "a'",
    ],
)
def test_what_is_not_a_bounded_condition_does_not_compile(text: str) -> None:
    with pytest.raises(ConditionError):
        compile_condition(text)


def test_a_large_context_is_refused() -> None:
    deep: object = 1
    for _ in range(MAX_FACT_DEPTH + 1):
        deep = {"a": deep}
    large: tuple[dict[str, object], ...] = (
        {"l": list(range(MAX_FACTS + 1))},
        {"s": "a" * (MAX_FACT_CHARS + 1)},
        {"d": deep},
    )
    for facts in large:
        with pytest.raises(ConditionError, match="too large"):
            holds("has(ctx.a)", facts)


def test_a_context_that_contains_itself_is_refused() -> None:
    loop: dict[str, object] = {}
    loop["me"] = loop
    with pytest.raises(ConditionError, match="too large"):
        holds("has(ctx.a)", loop)


def test_a_time_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ConditionError, match="out of range"):
        holds("now.getHours() == 1", now_ms=1 << 62)


def test_loops_over_loops_end_soon() -> None:
    many: dict[str, object] = {"l": list(range(900))}
    started = time.process_time()
    with pytest.raises(ConditionError, match="budget"):
        holds("ctx.l.all(a, ctx.l.all(b, a + b >= 0))", many)
    assert time.process_time() - started < 1


def test_a_regular_expression_takes_linear_time() -> None:
    started = time.process_time()
    assert not holds("ctx.s.matches('(a*)*(a*)*b$')", {"s": "a" * 20_000})
    assert time.process_time() - started < 1


def test_one_condition_serves_many_threads() -> None:
    condition = compile_condition("int(ctx.n) % 2 == 0")
    assert condition is not None
    wrong: list[int] = []

    def work(start: int) -> None:
        for n in range(start, start + 1_000):
            facts = Facts("user:a", "acme", "", "doc:1", "read", {"n": n}, 0)
            if condition.holds(facts) != (n % 2 == 0):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(k * 1_000,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong

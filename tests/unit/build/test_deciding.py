"""Every decision goes through one door, which knows its caller's sign-in and scopes.

``argy.authz.access`` asks the snapshots, ``permit`` asks for a permission; the engine itself, the
command line's what-if tools and decisions in a client's own process have no call to know.
"""

import ast
from collections.abc import Iterator, Mapping

import pytest

ROOT = "services/argy/"
SNAPSHOT = "services/argy/authz/access.py"
DOORS: Mapping[str, frozenset[str]] = {
    # Asks a policy that is only tried out what was decided before, with the context of then.
    "services/argy/authz/shadow/evaluation.py": frozenset({"check"}),
    # Asks about a giver as of later moments; whose sign-in and scopes count, its callers say.
    "services/argy/authz/delegation.py": frozenset({"check"}),
    # Asks whether the asker could have appointed somebody.
    "services/argy/authz/provenance/domain.py": frozenset({"check"}),
    # Asks for whose token it verified, or for whom its own service says.
    "services/argy/client/local_authorizer.py": frozenset({"check"}),
    SNAPSHOT: frozenset({"check", "explain", "list_subjects"}),
}
CALLS = frozenset({"services/argy/rpc/chain.py", "services/argy/authn/credentials/rights.py"})
"""Who makes a ``Call``: the chain, and whoever asks about others than the caller too."""
DECIDING = frozenset({"check", "list_subjects"})
OUTSIDE = ("services/argy/policy/", "services/argy/cli/")


def decisions(text: str) -> Iterator[str]:
    """The methods of a snapshot that a module calls or hands on, by whatever name it has there."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr in DECIDING and is_snapshot(node.value):
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.module == "argy.policy.explain":
            yield "explain"


def is_snapshot(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name.strip("_").endswith("snapshot")


def aliases(text: str) -> list[int]:
    """Lines that give a snapshot another name, under which it would not be seen."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr))
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "snapshot"
        and not all(
            getattr(target, "id", getattr(target, "attr", "")).endswith("snapshot")
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        )
    ]


def made_calls(text: str) -> int:
    return sum(
        isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Call"
        for node in ast.walk(ast.parse(text))
    )


@pytest.fixture
def modules(repo_texts: dict[str, str]) -> dict[str, str]:
    return {
        name: text
        for name, text in repo_texts.items()
        if name.startswith(ROOT) and name.endswith(".py") and not name.startswith(OUTSIDE)
    }


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("view.snapshot.check(call.caller)", ["check"]),
        ("check = view.snapshot.check", ["check"]),
        ("to_thread(snapshot.list_subjects, 1)", ["list_subjects"]),
        ("from argy.policy.explain import explain", ["explain"]),
        ("proposed.snapshot.holding(1)", []),
        ("health.check()", []),
    ],
)
def test_the_scan_would_find_a_decision_beside_the_door(planted: str, found: list[str]) -> None:
    assert list(decisions(planted)) == found


def test_the_scan_would_find_another_name_for_a_snapshot() -> None:
    assert aliases("engine = view.snapshot") == [1]
    assert aliases("if (engine := view.snapshot): pass") == [1]
    assert aliases("snapshot = view.snapshot\nself._snapshot = view.snapshot") == []


def test_no_handler_asks_a_snapshot_itself(modules: dict[str, str]) -> None:
    asked = {name: frozenset(decisions(text)) for name, text in modules.items()}
    assert {name: methods for name, methods in asked.items() if methods} == DOORS
    assert {name: lines for name, text in modules.items() if (lines := aliases(text))} == {}


def test_no_handler_makes_a_caller_up(modules: dict[str, str]) -> None:
    assert {name for name, text in modules.items() if made_calls(text)} == CALLS
    assert made_calls("asked = Call(method, body, now_ms)") == 1


def test_only_who_writes_records_says_that_there_is_one(repo_texts: dict[str, str]) -> None:
    """No handler marks its call as recorded: writing the record does."""
    marking = {
        name
        for name, text in repo_texts.items()
        if name.startswith(ROOT) and name.endswith(".py") and ".mark_audited()" in text
    }
    assert marking == {"services/argy/trail/records.py", "services/argy/audit/service.py"}

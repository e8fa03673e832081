"""What the linter says of rules without effect is held against decisions: they stay as they are."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from argy.policy import Assignment, TenantSnapshot, compile_policy, parse_policy
from argy.policy.equivalence import model_text
from argy.policy.lint import lint
from argy.policy.model import Effect

MODEL = model_text(Effect.DENY_OVERRIDES)
NOW_MS = 1_767_780_000_000
ROLES = ("role:A", "role:B", "role:C")
WITHOUT_EFFECT = (
    "P202-unreachable-rule",
    "P203-shadowed-allow",
    "P204-idle-deny",
    "P205-redundant-link",
)

RULES = st.builds(
    "p, {}, {}, {}, {}, {}, {}".format,
    st.sampled_from(ROLES),
    st.sampled_from(["*", "*", "acme", "acme/x", "other"]),
    st.sampled_from(["doc:*", "doc:1", "doc:a-*", "*", "*:*", "d*:1", "*:1"]),
    st.sampled_from(["read", "write", "*", "r*"]),
    st.sampled_from(["allow", "allow", "deny"]),
    st.sampled_from(["true", "true", "has(ctx.ok)", "has(ctx.no)"]),
)
# Links lead from an earlier letter to a later one: no cycles.
LINKS = st.builds(
    "g, {}, {}".format,
    st.sampled_from(["role:A, role:B", "role:A, role:C", "role:B, role:C"]),
    st.sampled_from(["*", "acme", "acme/x"]),
)
ROWS = st.tuples(
    st.lists(RULES, min_size=3, max_size=8, unique=True),
    st.lists(LINKS, max_size=3, unique=True),
).map(lambda both: [*both[0], *both[1]])


def decisions(rows: list[str]) -> list[bool]:
    """The answers of two tenants to every holder of one or two roles, in and out of an org."""
    policy = compile_policy(parse_policy({"model.conf": MODEL, "roles/x.csv": "\n".join(rows)}))
    held = {f"user:{'-'.join(pair)}": pair for pair in product("ABC", repeat=2)}
    grants = [
        Assignment(user, f"role:{name}") for user, names in held.items() for name in set(names)
    ]
    questions = list(
        product(
            held, ("", "x", "y"), ("doc:1", "doc:a-1", "dx:1", "key:1", "key:2"), ("read", "burn")
        )
    )
    return [
        snapshot.check(*question, ctx, NOW_MS).allowed
        for snapshot in (TenantSnapshot(policy, name, grants, ()) for name in ("acme", "other"))
        for question in questions
        for ctx in ({}, {"ok": 1})
    ]


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_removing_what_has_no_effect_changes_no_decision(rows: list[str]) -> None:
    rows.append("p, role:C, *, key:2, burn, allow, true")  # Each link leads to a role with a rule.
    rows += [f"p, {role}, *, own:{role[-1]}, see, allow, true" for role in ROLES]
    before = decisions(rows)
    for finding in lint({"model.conf": MODEL, "roles/x.csv": "\n".join(rows)}):
        if finding.rule_id in WITHOUT_EFFECT:
            left = [row for number, row in enumerate(rows, 1) if number != finding.line]
            assert decisions(left) == before, finding


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_they_may_all_be_removed_at_once(rows: list[str]) -> None:
    """Of rules that make each other unnecessary one is left."""
    rows += [f"p, {role}, *, own:{role[-1]}, see, allow, true" for role in ROLES]
    found = lint({"model.conf": MODEL, "roles/x.csv": "\n".join(rows)})
    lines = {finding.line for finding in found if finding.rule_id == "P202-unreachable-rule"}
    left = [row for number, row in enumerate(rows, 1) if number not in lines]
    assert decisions(left) == decisions(rows)

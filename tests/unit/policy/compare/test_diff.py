"""The diff of two policies: exact against brute force, short, blamed, and escalations seen."""

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argy.policy import Assignment, CompiledPolicy, TenantSnapshot, compile_policy, parse_policy
from argy.policy.access import access, allows, implies, normal_text
from argy.policy.atoms import action_atoms, object_atoms
from argy.policy.compare.diff import AccessChange, PolicyDiff, diff_policies
from argy.policy.equivalence import model_text
from argy.policy.files import read_folder
from argy.policy.globs import NAMED_ONLY_ACTIONS, action_match, domain_match, glob_match
from argy.policy.model import Effect

ROLES = ("role:A", "role:B", "role:C")
DOMAINS = ("*", "*", "*", "acme", "acme/x", "other")
OBJECTS = ("doc:*", "doc:1", "doc:a-*", "*", "d*:1", "*:1", "key:*")
ACTIONS = ("read", "write", "*", "r*", "act_for")
CONDITIONS = ("true", "true", "true", "ctx.a", "ctx.b")
WHERE = (
    ("acme", ""),
    ("acme", "x"),
    ("acme", "q"),
    ("other", ""),
    ("other", "z"),
    ("third", ""),
    ("third", "none"),
)
FACTS = [
    {name: value for name, value in zip("ab", values, strict=True) if value is not None}
    for values in itertools.product((True, False, None), repeat=2)
]
IN_PARTS = "; only in parts"
IF_OTHERS = "if another role allows it: "
EXAMPLES = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
Rows = list[str]


def compiled(rows: Sequence[str], effect: Effect = Effect.DENY_OVERRIDES) -> CompiledPolicy:
    files = {"model.conf": model_text(effect), "services.csv": "\n".join(rows)}
    return compile_policy(parse_policy(files))


def random_row(rng: random.Random) -> str:
    parts = (
        rng.choice((*ROLES, "service:s")),
        rng.choice(DOMAINS),
        rng.choice(OBJECTS),
        rng.choice(ACTIONS),
        rng.choice(("allow", "allow", "deny")),
        rng.choice(CONDITIONS),
    )
    return ", ".join(("p", *parts))


def random_links(rng: random.Random) -> Rows:
    pairs = itertools.combinations(("service:s", *ROLES), 2)
    return [f"g, {a}, {b}, {rng.choice(DOMAINS)}" for a, b in pairs if rng.random() < 0.3]


def random_pair(rng: random.Random) -> tuple[Rows, Rows]:
    """Two policies that share most of their rows, in any order."""
    always = [f"p, {role}, third/none, none:1, none, allow, true" for role in ROLES]
    shared = list(dict.fromkeys(random_row(rng) for _ in range(rng.randint(0, 7))))
    links = random_links(rng)
    sides = []
    for _ in range(2):
        own = [random_row(rng) for _ in range(rng.choice((0, 0, 1, 2)))]
        kept = [row for row in shared if rng.random() < 0.9]
        linked = random_links(rng) if rng.random() < 0.2 else links
        sides.append([*dict.fromkeys((*always, *rng.sample(kept, len(kept)), *own)), *linked])
    return sides[0], sides[1]


class Brute:
    """Decides everything, one question at a time, with the engine itself."""

    def __init__(self, policy: CompiledPolicy) -> None:
        self.policy = policy
        self.known: dict[tuple[str, str, str, str, str], tuple[bool, ...]] = {}
        self.snapshots: dict[tuple[str, str], TenantSnapshot] = {}

    def ask(self, name: str, tenant: str, org: str, obj: str, act: str) -> tuple[bool, ...]:
        """The decisions for each set of facts."""
        key = (name, tenant, org, obj, act)
        if key not in self.known:
            snapshot = self.snapshots.get((name, tenant))
            if snapshot is None:
                grants = [Assignment("user:u", name)] if name.startswith("role:") else []
                snapshot = TenantSnapshot(self.policy, tenant, grants)
                self.snapshots[name, tenant] = snapshot
            who = name if name.startswith("service:") else "user:u"
            self.known[key] = tuple(
                snapshot.check(who, org, obj, act, facts, 0).allowed for facts in FACTS
            )
        return self.known[key]


def limits(text: str) -> tuple[list[str], list[str], list[str]]:
    """The parts behind ``only``, ``except`` and ``except in``."""
    _, *parts = text.split("; ")
    found: dict[str, list[str]] = {"only ": [], "except in ": [], "except ": []}
    for part in parts:
        word = next(word for word in ("except in ", "except ", "only ") if part.startswith(word))
        found[word] = part.removeprefix(word).split(", ")
    return found["only "], found["except "], found["except in "]


def fits(change: AccessChange, told: str, obj: str, act: str) -> bool:
    action, on, resource = told.rpartition("on ")
    return glob_match(obj, resource if on else change.resource) and action_match(
        act, (action.strip() or change.action) if on else told
    )


def covers(change: AccessChange, domain: str, obj: str, act: str) -> bool:
    only, outside, elsewhere = limits(change.after.replace(IN_PARTS, ""))
    return (
        domain_match(domain, change.domain)
        and not any(domain_match(domain, other) for other in elsewhere)
        and glob_match(obj, change.resource)
        and action_match(act, change.action)
        and all(fits(change, told, obj, act) for told in only)
        and not any(fits(change, told, obj, act) for told in outside)
    )


def questions(*policies: CompiledPolicy) -> Iterator[tuple[str, str, str, str]]:
    rules = [rule for policy in policies for rule in policy.rules]
    objects = object_atoms({rule.obj for rule in rules}, limit=1_000)
    actions = action_atoms({rule.act for rule in rules} | NAMED_ONLY_ACTIONS, limit=1_000)
    for (tenant, org), obj, act in itertools.product(WHERE, objects, actions):
        yield tenant, org, obj.witness, act.witness


def check_exact(base: CompiledPolicy, head: CompiledPolicy) -> PolicyDiff:
    """Every difference is told, and nothing that is told is untrue."""
    diff = diff_policies(base, head)
    by_itself = [c for c in diff.changes if not c.before.startswith(IF_OTHERS)]
    one, other = Brute(base), Brute(head)
    true = set()
    for name in ("user:stranger", "service:s", *ROLES):
        role = "*" if name == "user:stranger" else name
        for tenant, org, obj, act in questions(base, head):
            domain = f"{tenant}/{org}" if org else tenant
            scopes = [policy.scope(tenant, org) for policy in (base, head)]
            names = base.inherited(name, scopes[0]) & head.inherited(name, scopes[1])
            before, after = (side.ask(name, tenant, org, obj, act) for side in (one, other))
            told = [c for c in by_itself if covers(c, domain, obj, act)]
            assert (before == after) or any(c.role in (names | {"*"}) for c in told)
            for change in told:
                if change.role == role and (before != after or IN_PARTS not in change.after):
                    true.add(change)
                    if IN_PARTS in change.after:
                        continue
                    assert before != after
                    assert any(before) is (change.kind != "gained")
                    assert any(after) is (change.kind != "lost")
                    assert all(before) is (change.before == "allowed")
                    assert all(after) is (change.after.split(";")[0] == "allowed")
    assert true == set(by_itself)
    return diff


@EXAMPLES
@given(rng=st.randoms(use_true_random=False))
def test_no_change_to_holders_of_a_second_role_hides_from_the_diff(rng: random.Random) -> None:
    rows, changed = random_pair(rng)
    base, head = compiled(rows), compiled(changed)
    diff = diff_policies(base, head)
    everything = [f"p, role:ALL, *, *, {act}, allow, true" for act in ("*", *NAMED_ONLY_ACTIONS)]
    pair = compiled([*rows, *everything]), compiled([*changed, *everything])
    true = set()
    for name in ROLES:
        grants = [Assignment("user:u", name), Assignment("user:u", "role:ALL")]
        for tenant, org, obj, act in questions(base, head):
            domain = f"{tenant}/{org}" if org else tenant
            sides = [TenantSnapshot(policy, tenant, grants) for policy in pair]
            before, after = (
                [side.check("user:u", org, obj, act, facts, 0).allowed for facts in FACTS]
                for side in sides
            )
            scopes = [policy.scope(tenant, org) for policy in (base, head)]
            names = base.inherited(name, scopes[0]) & head.inherited(name, scopes[1])
            told = [c for c in diff.changes if covers(c, domain, obj, act)]
            assert before == after or any(c.role in names for c in told)
            beside = {c for c in told if c.role == name and c.before.startswith(IF_OTHERS)}
            assert before != after or all(IN_PARTS in c.after for c in beside)
            true |= beside
    roles = {c for c in diff.changes if c.role in ROLES and c.before.startswith(IF_OTHERS)}
    assert true == roles


@EXAMPLES
@given(rng=st.randoms(use_true_random=False))
def test_the_diff_is_what_brute_force_finds(rng: random.Random) -> None:
    rows, changed = random_pair(rng)
    check_exact(compiled(rows), compiled(changed))


@EXAMPLES
@given(
    rng=st.randoms(use_true_random=False), one=st.sampled_from(Effect), two=st.sampled_from(Effect)
)
def test_the_diff_is_exact_under_every_effect(rng: random.Random, one: Effect, two: Effect) -> None:
    rows, changed = random_pair(rng)
    check_exact(compiled(rows, one), compiled(changed, two if rng.random() < 0.5 else one))


ENTANGLED = ("doc:*a*", "doc:a*", "doc:*b", "d*:*", "*", "doc:ab*", "doc:*", "*:a")
VERBS = ("read", "*", "r*", "*d", "re*d", "*e*")


@EXAMPLES
@given(rng=st.randoms(use_true_random=False))
def test_the_diff_is_exact_where_globs_cross(rng: random.Random) -> None:
    sides = []
    for rows in random_pair(rng):
        rules = [row.split(", ") for row in rows]
        sides.append([
            ", ".join((*row[:3], rng.choice(ENTANGLED), rng.choice(VERBS), *row[5:]))
            if row[0] == "p" and row[3] != "none:1" else ", ".join(row)
            for row in rules
        ])  # fmt: skip
    one, other = (list(dict.fromkeys(rows)) for rows in sides)
    check_exact(compiled(one), compiled(other))


@EXAMPLES
@given(rng=st.randoms(use_true_random=False))
def test_a_policy_in_another_order_has_the_same_meaning(rng: random.Random) -> None:
    rows, _ = random_pair(rng)
    rules = [row for row in rows if row.startswith("p")]
    links = [row for row in rows if row.startswith("g")]
    other = compiled([*rng.sample(rules, len(rules)), "# a remark", *reversed(links)])
    diff = diff_policies(compiled(rows), other)
    assert not diff
    assert diff.digest() == PolicyDiff().digest()


matching = st.lists(
    st.tuples(st.sampled_from(("allow", "deny")), st.sampled_from(("", "a", "b", "c"))), max_size=5
)


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(one=matching, other=matching, effect=st.sampled_from(Effect))
def test_normal_forms_are_equal_exactly_when_the_decisions_are(
    one: list[Any], other: list[Any], effect: Effect
) -> None:
    forms = access(one, effect), access(other, effect)
    values = [
        dict(zip("abc", values, strict=True))
        for values in itertools.product((True, False, None), repeat=3)
    ]
    decided = [[allows(form, valuation) for valuation in values] for form in forms]
    assert (forms[0] == forms[1]) is (decided[0] == decided[1])
    assert implies(*forms) is all(b or not a for a, b in zip(*decided, strict=True))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a  ==\tb", "a==b", True),
        ("x in [1,2]", "x  in[1, 2]", True),
        ("ctx.x == 'a  b'", "ctx.x == 'a b'", False),
        ('ctx.x == "a  b"', 'ctx.x == "a b"', False),
        ("""r"\\" + '  x' == y""", """r"\\" + ' x' == y""", False),
        ("""x == '''a\\'''' && y == 'p  q'""", """x == '''a\\'''' && y == 'p q'""", False),
        ("inside == a", "in side == a", False),
        ("true", "", True),
    ],
)
def test_only_white_space_without_meaning_is_ignored(one: str, other: str, same: bool) -> None:
    assert (normal_text(one) == normal_text(other)) is same


APPROVALS = ("deployment:*", "deployment:prod-*", "*")


def random_approval(rng: random.Random) -> str:
    parts = (rng.choice(("*", "acme", "acme/x")), rng.choice(APPROVALS), rng.choice(("run", "*")),
             rng.choice("12"), rng.choice(("role:A", "role:B", "role:A|role:B")),
             rng.choice(("require", "require", "auto", "off")), "1h",
             rng.choice(("true", "ctx.a", "ctx.b")))  # fmt: skip
    return ", ".join(("a", *parts))


@EXAMPLES
@given(rng=st.randoms(use_true_random=False))
def test_the_diff_of_approvals_is_what_brute_force_finds(rng: random.Random) -> None:
    policies = []
    shared = [random_approval(rng) for _ in range(3)]
    for _ in range(2):
        lines = {
            tuple(row.split(", ")[i] for i in (1, 2, 3, 5, 6, 8)): row
            for row in (*shared, *(random_approval(rng) for _ in range(rng.choice((0, 1)))))
        }
        rows = "\n".join(f"p, {role}, *, *, *, allow, true" for role in ("role:A", "role:B"))
        files = {"model.conf": model_text(Effect.DENY_OVERRIDES), "services.csv": rows,
                 "approvals/all.csv": "\n".join(lines.values())}  # fmt: skip
        policies.append(compile_policy(parse_policy(files)))
    diff = diff_policies(*policies)
    true = set()
    for (tenant, org), obj, act in itertools.product(
        WHERE, ("deployment:x", "deployment:prod-1", "other:1"), ("run", "stop")
    ):
        domain = f"{tenant}/{org}" if org else tenant
        answers = []
        for policy in policies:
            snapshot = TenantSnapshot(policy, tenant, [Assignment("user:u", "role:A")])
            decided = [snapshot.check("user:u", org, obj, act, facts, 0) for facts in FACTS]
            answers.append(
                [(d.reason, {(a.approvals, frozenset(a.roles)) for a in d.approvals})
                 for d in decided]
            )  # fmt: skip
        told = [c for c in diff.changes if covers(c, domain, obj, act)]
        assert bool(told) is (answers[0] != answers[1])
        true.update(told)
    assert true == set(diff.changes)


Edit = Callable[[str, str, str], PolicyDiff]


@pytest.fixture
def edit(policy_root: Path) -> Edit:
    """The diff that follows from replacing a text in one file of the product's policy."""
    files = {k: v for k, v in read_folder(policy_root).files.items() if not k.endswith(".yaml")}
    base = compile_policy(parse_policy(files))

    def change(name: str, old: str, new: str) -> PolicyDiff:
        assert old in files[name]
        changed = {**files, name: files[name].replace(old, new)}
        return diff_policies(base, compile_policy(parse_policy(changed)))

    return change


def test_one_changed_line_is_one_change_with_its_line(edit: Edit) -> None:
    (change,) = edit("roles/user.csv", "p, role:PLATFORM_USER, *, project:*, read, allow, true\n",
                     "").changes  # fmt: skip
    assert (change.kind, change.role, change.domain) == ("lost", "role:PLATFORM_USER", "*")
    assert (change.resource, change.action) == ("project:*", "read")
    assert (change.before, change.after, change.escalation) == ("allowed", "denied", False)
    assert change.rules[0].startswith("roles/user.csv:")


def test_a_new_condition_is_a_change_with_both_lines(edit: Edit) -> None:
    (change,) = edit("roles/engineer.csv", "secret:*, write, allow, true",
                     "secret:*, write, allow, ctx.mfa").changes  # fmt: skip
    assert (change.kind, change.before, change.after) == (
        "changed",
        "allowed",
        "allowed if ctx.mfa",
    )
    assert [rule.split(":")[0] for rule in change.rules] == ["head", "base"]


def test_a_denial_taken_away_is_a_gain_by_bases_line(edit: Edit) -> None:
    diff = edit("roles/admin.csv", "p, role:PLATFORM_ADMIN, *, policy:*, approve, deny, true\n", "")
    (change,) = diff.changes
    assert change.kind == "gained"
    assert change.rules[0].startswith("base:roles/admin.csv:")
    assert diff.escalates


def test_a_tenants_refinement_is_told_for_its_org(edit: Edit) -> None:
    (change,) = edit("tenants/acme/refinements.csv",
                     "p, role:PLATFORM_ENGINEER, acme/payments, secret:*, read, deny, true\n",
                     "").changes  # fmt: skip
    assert (change.domain, change.resource, change.action) == ("acme/payments", "secret:*", "read")


def test_a_link_to_the_administrator_is_an_escalation(edit: Edit) -> None:
    diff = edit("roles/user.csv", "p, role:PLATFORM_USER, *, project:*, read, allow, true\n",
                "p, role:PLATFORM_USER, *, project:*, read, allow, true\n"
                "g, role:PLATFORM_USER, role:PLATFORM_ADMIN, *\n")  # fmt: skip
    assert diff.escalates
    gained = [change for change in diff.changes if (change.resource, change.action) == ("*", "*")]
    assert gained
    assert any("roles/user.csv:" in rule for rule in gained[0].rules)


@pytest.mark.parametrize(
    ("row", "escalates"),
    [
        ("p, role:A, *, doc:1, read, allow, true", False),
        ("p, role:A, *, doc:1, *, allow, true", True),
        ("p, role:A, *, *, read, allow, ctx.mfa", True),
        ("p, role:A, *, authz.role_assignment:*, grant, allow, true", True),
        ("p, role:A, *, authz.subject:*, act_for, allow, true", True),
        ("p, role:A, *, a*:-, grant*, allow, true", True),
        ("p, role:A, *, policy:*, approve, allow, true", True),
        ("p, role:A, *, policy:*, read, allow, true", False),
        ("p, role:A, *, expense:*, approve, allow, true", False),
        ("p, role:A, *, *, *, deny, true", False),
    ],
)
def test_escalations(row: str, escalates: bool) -> None:
    base = ["p, role:A, *, seed:1, read, allow, true", "p, role:B, *, b:1, read, allow, true"]
    assert diff_policies(compiled(base), compiled([*base, row])).escalates is escalates


def test_a_wildcard_made_unconditional_is_an_escalation_and_the_reverse_is_none() -> None:
    loose, tight = (compiled([f"p, role:A, *, doc:*, *, allow, {c}"]) for c in ("true", "ctx.mfa"))
    assert diff_policies(tight, loose).escalates
    assert not diff_policies(loose, tight).escalates


def test_another_effect_counts_and_so_does_whoever_has_no_role() -> None:
    rows = ["p, role:A, *, doc:*, read, deny, true"]
    diff = diff_policies(compiled(rows), compiled(rows, Effect.DENY_ONLY))
    assert diff.escalates
    assert diff.other == ("effect: DENY_OVERRIDES to DENY_ONLY",)
    assert ("*", "*", "*") in {(c.role, c.resource, c.action) for c in diff.changes}


def test_the_digest_tells_diffs_apart() -> None:
    base = compiled(["p, role:A, *, doc:*, read, allow, true"])
    heads = [compiled([f"p, role:A, *, doc:*, {act}, allow, true"]) for act in ("read", "write")]
    digests = {diff_policies(base, head).digest() for head in heads}
    assert PolicyDiff().digest() in digests
    assert len(digests) == 2


def test_rows_are_compared_where_the_model_has_no_known_meaning() -> None:
    model = model_text(Effect.DENY_OVERRIDES).replace("m = ", "m = r.sub == r.sub && ")
    rows = ["p, role:A, *, doc:*, read, allow, true", "p, role:B, *, doc:*, read, allow, true"]
    base, head = (
        compile_policy(parse_policy({"model.conf": model, "services.csv": "\n".join(text)}))
        for text in (rows, [*rows, "p, role:A, *, doc:*, write, allow, true"])
    )
    assert not diff_policies(base, base)
    (change,) = diff_policies(base, head).changes
    assert (change.kind, change.action, change.escalation) == ("gained", "write", True)
    assert change.rules == ("head:services.csv:3",)


def test_ten_thousand_rules_of_which_one_changed_take_seconds(capsys: Any) -> None:
    rows = [
        f"p, role:R{number % 200}, {'*' if number % 3 else f't{number % 500}'}, "
        f"kind{number % 40}:item-{number}-*, {('read', 'write', '*')[number % 3]}, allow, true"
        for number in range(10_000)
    ]
    rows += [f"g, role:R{number}, role:R0, *" for number in range(1, 200)]
    base, head = compiled(rows), compiled(["p, role:R0, *, *, purge, deny, true", *rows[1:]])
    started = time.perf_counter()
    diff = diff_policies(base, head)
    with capsys.disabled():
        print(f"\n10,000 rules, 200 roles: {time.perf_counter() - started:.2f} s, "
              f"{len(diff.changes)} changes")  # fmt: skip
    assert any(change.kind == "lost" for change in diff.changes)


def test_a_denial_that_cuts_many_rules_is_told_once_and_its_parts_are_in_the_digest() -> None:
    rows = [f"p, role:A, *, kind{number}:*, *, allow, true" for number in range(40)]
    rows.append("g, role:B, role:A, *")
    deny = "p, role:A, *, *, purge, deny, true"
    diff = diff_policies(compiled(rows), compiled([*rows, deny]))
    (change,) = (c for c in diff.changes if not c.before.startswith(IF_OTHERS))
    assert (change.resource, change.action) == ("*", "purge")
    assert (change.before, change.after) == ("allowed", "denied; only in parts")
    fewer = diff_policies(compiled(rows[1:]), compiled([*rows[1:], deny]))
    assert diff.changes[0].after == fewer.changes[0].after
    assert diff.digest() != fewer.digest()


def test_a_line_for_all_that_many_tenants_refine_is_told_once() -> None:
    rows = [f"p, role:A, t{number}, doc:item, read, allow, true" for number in range(300)]
    line = "p, role:A, *, doc:*, read, allow, true"
    (change,) = diff_policies(compiled(rows), compiled([*rows, line])).changes
    assert (change.kind, change.domain, change.resource) == ("gained", "*", "doc:*")
    assert (change.after, change.rules) == ("allowed; only in parts", ("services.csv:301",))
    own = [row.replace("read", "write") for row in rows]
    assert len(diff_policies(compiled(rows), compiled([*rows, *own])).changes) == 300


APPROVAL = (
    "a, *, authz.role:PLATFORM_ADMIN, elevate, 2, role:COMPLIANCE_APPROVER, require, 8h, true"
)


@pytest.mark.parametrize(
    ("new", "escalates"),
    [
        ("", True),
        (APPROVAL.replace(", 2,", ", 1,"), True),
        (APPROVAL.replace("role:COMPLIANCE_APPROVER,", "role:PLATFORM_PM,"), True),
        (APPROVAL.replace("require", "auto"), True),
        (APPROVAL.replace("require", "off"), True),
        (f"{APPROVAL}\na, *, project:*, deploy, 1, role:PLATFORM_PM, require, 8h, true", False),
    ],
)
def test_to_ask_fewer_people_is_an_escalation(edit: Edit, new: str, escalates: bool) -> None:
    name = "approvals/platform.csv"
    diff = edit(name, APPROVAL, new)
    assert diff.changes
    assert diff.escalates is escalates


def test_a_denial_that_is_taken_from_a_role_does_not_hide(edit: Edit) -> None:
    diff = edit("roles/pm.csv", "p, role:PLATFORM_PM, *, secret:*, *, deny, true\n", "")
    (change,) = diff.changes
    assert (change.kind, change.role, change.resource) == ("gained", "role:PLATFORM_PM", "secret:*")
    assert change.before == f"{IF_OTHERS}denied"
    assert change.after == f"{IF_OTHERS}allowed"
    assert change.rules[0].startswith("base:roles/pm.csv:")
    assert diff.escalates


@pytest.mark.parametrize(
    "denial",
    [
        "p, role:COMPLIANCE_APPROVER, *, authz.role_assignment:*, grant, deny, true\n",
        "p, role:COMPLIANCE_APPROVER, *, authz.role:*, *, deny, true\n",
    ],
)
def test_who_approves_can_not_be_let_give_roles_away_without_two_people(
    edit: Edit, denial: str
) -> None:
    assert edit("roles/approver.csv", denial, "").escalates


def test_a_link_that_makes_approvers_is_an_escalation_though_no_rule_changes() -> None:
    files = {
        "model.conf": model_text(Effect.DENY_OVERRIDES),
        "roles/all.csv": "p, role:USER, *, authz.approval:*, approve, allow, true\n"
        "p, role:RELEASER, *, authz.approval:*, approve, allow, true\n",
        "approvals/all.csv": "a, acme, deployment:*, run, 2, role:RELEASER, require, 1h, true\n",
    }
    base = compile_policy(parse_policy(files))
    linked = files["roles/all.csv"] + "g, role:TEAM, role:RELEASER, *\ng, role:USER, role:TEAM, *\n"
    head = compile_policy(parse_policy({**files, "roles/all.csv": linked}))
    (change,) = (c for c in diff_policies(base, head).changes if c.role == "role:USER")
    assert (change.kind, change.after) == ("gained", "approves as role:RELEASER")
    assert change.rules == ("roles/all.csv:3", "roles/all.csv:4")
    assert change.escalation
    (back,) = (c for c in diff_policies(head, base).changes if c.role == "role:USER")
    assert (back.kind, back.escalation) == ("lost", False)


@pytest.mark.parametrize(
    "row",
    [
        "p, role:A, *, *:*, read, allow, true",
        "p, role:A, *, *e*:*, read, allow, true",
        "p, role:A, *, s*:*, read, allow, true",
        "p, role:A, *, doc:*, *e*, allow, true",
        "p, role:A, *, directory.group:*, add_member, allow, true",
        "p, role:A, *, policy:*, rollback, allow, true",
        "p, role:A, *, authz.elevation:*, review, allow, true",
    ],
)
def test_power_by_another_spelling_is_an_escalation(row: str) -> None:
    base = ["p, role:A, *, doc:1, read, allow, true"]
    assert diff_policies(compiled(base), compiled([*base, row])).escalates

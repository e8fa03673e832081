"""Classes of strings under globs: complete, distinct, and each with a true witness."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argy.policy.atoms import TooManyAtoms, action_atoms, atoms, object_atoms
from argy.policy.globs import action_match, glob_match

ACTION = re.compile(r".+")
OBJECT = re.compile(r"[a-z][a-z0-9_.]*:.+")
LETTERS = "abx"
WORDS = ["".join(word) for size in range(1, 8) for word in itertools.product(LETTERS, repeat=size)]
OBJECTS = [
    f"{kind}:{name}"
    for kind in ("a", "b", "ab", "x", "ax", "xa")
    for size in range(1, 6)
    for name in map("".join, itertools.product(LETTERS, repeat=size))
]
globs = st.lists(st.text("ab*", min_size=1, max_size=4), max_size=5)
object_globs = st.lists(
    st.one_of(
        st.just("*"),
        st.builds("{}:{}".format, st.text("ab*", min_size=1, max_size=2),
                  st.text("ab*", min_size=1, max_size=3)),
    ),
    max_size=4,
)  # fmt: skip


def _matching(text: str, patterns: list[str]) -> frozenset[str]:
    match = glob_match if ":" in text else action_match
    return frozenset(pattern for pattern in patterns if match(text, pattern))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(globs)
def test_action_classes_are_those_of_brute_force(patterns: list[str]) -> None:
    found = action_atoms(patterns, limit=1_000)
    for atom in found:
        assert ACTION.fullmatch(atom.witness)
        assert atom.patterns == _matching(atom.witness, patterns)
    classes = [atom.patterns for atom in found]
    assert len(set(classes)) == len(classes)
    assert {_matching(word, patterns) for word in (*WORDS, "act_for")} <= set(classes)
    shortest: dict[frozenset[str], int] = {}
    for word in (*WORDS, "act_for"):
        shortest.setdefault(_matching(word, patterns), len(word))
    for atom in found:
        assert len(atom.witness) <= shortest.get(atom.patterns, len(atom.witness))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(object_globs)
def test_object_classes_are_those_of_brute_force(patterns: list[str]) -> None:
    found = object_atoms(patterns, limit=1_000)
    for atom in found:
        assert OBJECT.fullmatch(atom.witness)
        assert atom.patterns == _matching(atom.witness, patterns)
    classes = [atom.patterns for atom in found]
    assert len(set(classes)) == len(classes)
    assert {_matching(text, patterns) for text in OBJECTS} <= set(classes)


def test_a_finite_class_between_globs_is_found_and_only_while_no_name_takes_it() -> None:
    around_a = ["a*", "*a", "*a*a*"]
    classes = {atom.patterns: atom.witness for atom in action_atoms(around_a, limit=100)}
    assert classes[frozenset(("a*", "*a"))] == "a"
    named = {atom.patterns for atom in action_atoms([*around_a, "a"], limit=100)}
    assert frozenset(("a*", "*a")) not in named


def test_no_character_is_made_up_where_each_is_named() -> None:
    every_first = [f"{char}*:1" for char in "abcdefghijklmnopqrstuvwxyz"]
    unmatched = [atom for atom in object_atoms(every_first, limit=100) if not atom.patterns]
    assert [atom.witness[1:] for atom in unmatched] == [":x"]
    assert all(atom.witness[0] in "abcdefghijklmnopqrstuvwxyz" for atom in unmatched)


def test_ids_and_actions_of_others_have_their_classes() -> None:
    found = object_atoms(["doc:arn:*", "doc:É*", "doc:/{t} x", "*:1"], limit=100)
    classes = {atom.patterns: atom.witness for atom in found}
    for named in ("doc:arn:*", "doc:É*", "doc:/{t} x"):
        assert glob_match(classes[frozenset((named,))], named)
    # A wildcard runs over a colon too.
    assert frozenset(("doc:arn:*", "*:1")) in classes
    actions = {atom.patterns for atom in action_atoms(["GET", "s3:*", "s3:Get"], limit=100)}
    assert {frozenset(("GET",)), frozenset(("s3:*", "s3:Get")), frozenset()} <= actions


def test_where_every_ascii_character_is_named_another_letter_is_none_of_them() -> None:
    every_first = [f"{chr(code)}*" for code in range(0x20, 0x7F) if chr(code) not in "* "]
    unmatched = [atom for atom in action_atoms(every_first, limit=200) if not atom.patterns]
    assert {"一", "act_for"} >= {atom.witness for atom in unmatched} > set()


def test_what_no_wildcard_matches_is_a_class_of_its_own() -> None:
    for named in ([], ["act_for"]):
        patterns = ["*", "act_*", "act_for*", *named]
        found = {atom.witness: atom.patterns for atom in action_atoms(patterns, limit=100)}
        assert found["act_for"] == frozenset(named)
        for witness, matching in found.items():
            assert matching == {one for one in patterns if action_match(witness, one)}
        assert {"*", "act_*", "act_for*"} in found.values()


def test_objects_come_by_type_and_unnamed_types_are_one_class() -> None:
    found = object_atoms(["project:*", "project:prod-*", "*:x", "secret:db", "*"], limit=100)
    kinds = [atom.kind for atom in found]
    assert kinds == sorted(kinds)
    assert {"project", "secret"} <= set(kinds)
    assert sum(atom.patterns == {"*"} for atom in found) == 1


def test_the_shape_follows_from_the_globs() -> None:
    assert all(":" in atom.witness for atom in atoms(["*", "doc:*"], limit=10))
    assert [atom.witness for atom in atoms(["*", "read"], limit=10)] == ["act_for", "read", "x"]
    assert [atom.witness for atom in atoms([], limit=10)] == ["x"]


def test_the_same_globs_in_any_order_give_the_same_atoms() -> None:
    patterns = ["doc:*", "d*:1", "*:1", "*", "doc:*-*"]
    for order in itertools.permutations(patterns):
        assert object_atoms(order, limit=100) == object_atoms(patterns, limit=100)


def test_too_many_overlaps_are_refused_with_a_stable_reason() -> None:
    entangled = [f"*{a}*{b}*{c}*" for a, b, c in itertools.permutations("abcdefgh", 3)]
    with pytest.raises(TooManyAtoms) as caught:
        action_atoms(entangled, limit=200)
    assert caught.value.reason == "POLICY_TOO_COMPLEX"


def test_ten_thousand_names_are_no_burden() -> None:
    names = [f"project:team-{number}-*" for number in range(5_000)]
    names += [f"secret:key-{number}" for number in range(5_000)]
    assert len(object_atoms(["*", "secret:*", *names], limit=20_000)) == 10_002

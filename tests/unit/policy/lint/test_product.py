from pathlib import Path

from argy.policy.files import read_folder
from argy.policy.lint import RULES, lint
from argy.policy.texts import distance, nearest


def test_the_policy_itself_is_clean(policy_root: Path) -> None:
    assert lint(read_folder(policy_root).files) == []


def test_the_policy_itself_is_not_clean_without_its_reasons(policy_root: Path) -> None:
    files = {
        name: text.replace("# lint: allow", "# not lint:")
        for name, text in read_folder(policy_root).files.items()
    }
    found = {finding.rule_id.partition("-")[0] for finding in lint(files)}
    assert {"P301", "P302", "P303", "P501"} <= found


def test_ids_are_grouped_and_sorted() -> None:
    ids = [rule.id for rule in RULES]
    assert ids == sorted(ids)


def test_distance() -> None:
    assert [distance(a, b) for a, b in (("", "ab"), ("read", "raed"), ("read", "red"))] == [2, 1, 1]
    assert nearest("projcet", ["project", "profile"]) == "project"
    assert nearest("run", ["ruin", "gun"]) == "gun"
    assert nearest("x", ["y"]) == ""

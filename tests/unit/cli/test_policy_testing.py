"""``argy policy test``, ``mutate`` and ``invariants`` from a terminal: formats and exit codes."""

import json
import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from argy.cli.main import app
from argy.policy.equivalence import model_text
from argy.policy.model import Effect

ROLE = "p, role:A, *, doc:*, read, allow, true\n"
CASES = """tenant: acme
fixtures: {ann: {roles: ["role:A"]}}
cases:
  - {ask: "ann read doc:1", expect: ALLOW}
"""
INVARIANT = 'invariants: [{name: stays, never: {action: delete, resource: "log:*"}}]\n'


def git(where: Path, *arguments: str) -> None:
    names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
    who = dict.fromkeys(names, "eva@example.test")
    env = {"PATH": os.environ["PATH"], "HOME": str(where), **who}
    subprocess.run(["git", "-C", where, *arguments], env=env, capture_output=True, check=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A committed policy whose one rule is covered; ``main`` names the commit."""
    policy = tmp_path / "policy"
    for part in ("roles", "cases", "invariants"):
        (policy / part).mkdir(parents=True)
    (policy / "model.conf").write_text(model_text(Effect.DENY_OVERRIDES))
    (policy / "roles" / "a.csv").write_text(ROLE)
    (policy / "cases" / "a.yaml").write_text(CASES)
    (policy / "invariants" / "a.yaml").write_text(INVARIANT)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return policy


def run(folder: Path, command: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["policy", command, "--policy", str(folder), *arguments])


def add_rule(folder: Path, row: str) -> None:
    with (folder / "roles" / "a.csv").open("a") as file:
        file.write(row)


def test_cases_pass_and_coverage_is_told(folder: Path) -> None:
    done = run(folder, "test")
    assert done.exit_code == 0
    assert "1 case, 0 failed" in done.stdout
    assert "rows  1 of 1 covered, 100.0 %" in done.stdout


def test_a_changed_rule_that_no_case_covers_fails_the_run_and_is_named(folder: Path) -> None:
    add_rule(folder, "p, role:A, *, doc:*, write, allow, true\n")
    assert run(folder, "test").exit_code == 0
    done = run(folder, "test", "--base", "main")
    assert done.exit_code == 1
    assert "CHANGED  roles/a.csv:2  p, role:A, *, doc:*, write, allow, true" in done.stdout
    assert done.stdout.rstrip().endswith("1 changed row is not covered")
    markdown = run(folder, "test", "--base", "main", "--format", "markdown")
    assert markdown.exit_code == 1
    assert "| **changed** | `policy/roles/a.csv:2` |" in markdown.stdout


def test_a_covered_change_passes(folder: Path) -> None:
    add_rule(folder, "p, role:A, *, doc:*, write, allow, true\n")
    cases = folder / "cases" / "a.yaml"
    cases.write_text(f'{CASES}  - {{ask: "ann write doc:1", expect: ALLOW}}\n')
    done = run(folder, "test", "--base", "main")
    assert (done.exit_code, done.stdout.splitlines()[-3]) == (0, "changed rows  1 of 1 covered")


def test_a_revision_is_tested_without_its_checkout(folder: Path) -> None:
    add_rule(folder, "not a row\n")
    assert run(folder, "test").exit_code == 2
    assert run(folder, "test", "--revision", "main").exit_code == 0
    assert run(folder, "mutate", "--revision", "main", "--max", "1").exit_code == 0
    assert run(folder, "invariants", "--revision", "main").exit_code == 0


def test_a_minimum_of_coverage_is_held(folder: Path) -> None:
    add_rule(folder, "p, role:A, *, doc:*, write, allow, true\n")
    assert run(folder, "test", "--min-rule-coverage", "50").exit_code == 0
    done = run(folder, "test", "--min-rule-coverage", "51")
    assert done.exit_code == 1
    assert "50.0 % of the rows are covered, less than 51 %" in done.stdout


def test_a_failed_case_fails_in_every_format(folder: Path) -> None:
    (folder / "cases" / "a.yaml").write_text(CASES.replace("expect: ALLOW", "expect: DENY"))
    text = run(folder, "test")
    assert text.exit_code == 1
    assert "decided by roles/a.csv:1  p, role:A, *, doc:*, read, allow, true" in text.stdout
    value = json.loads(run(folder, "test", "--format", "json").stdout)
    assert (value["passed"], value["failed"], value["why"]) == (False, 1, ["1 case fails"])
    assert value["results"][0]["rule"] == "roles/a.csv:1"
    assert value["results"][0]["file"] == "policy/cases/a.yaml"
    xml = ElementTree.fromstring(run(folder, "test", "--format", "junit").stdout)  # noqa: S314  (ours)
    assert (xml.get("tests"), xml.get("failures")) == ("1", "1")
    markdown = run(folder, "test", "--format", "markdown").stdout
    assert "### policy test: 1 case fails" in markdown
    assert "`user:ann read doc:1 in acme`" in markdown


def test_only_some_cases_and_no_case_at_all(folder: Path) -> None:
    done = run(folder, "test", "-k", "ann")
    assert (done.exit_code, "covered" in done.stdout) == (0, False)
    none = run(folder, "test", "-k", "nobody")
    assert (none.exit_code, none.stdout.splitlines()[-1]) == (1, "there are no cases")


def test_a_case_that_is_wrong_is_bad_usage(folder: Path) -> None:
    (folder / "cases" / "a.yaml").write_text("tenant: [\n")
    done = run(folder, "test")
    assert done.exit_code == 2
    assert "cases/a.yaml:" in done.stderr
    assert run(folder, "test", "--base", "nowhere").exit_code != 0


def test_schemas_are_printed(folder: Path) -> None:
    assert json.loads(run(folder, "test", "--schema").stdout)["title"].startswith("Cases")
    assert json.loads(run(folder, "invariants", "--schema").stdout)["title"].startswith(
        "Invariants"
    )


def test_a_mutant_that_survives_is_named_with_the_missing_case(folder: Path) -> None:
    done = run(folder, "mutate")
    assert done.exit_code == 1
    assert "SURVIVED  roles/a.csv:1  action read becomes *" in done.stdout
    assert 'ask: "user:a ' in done.stdout
    assert "4 mutants: 2 killed, 2 survived, 0 equivalent; score 50.0 %" in done.stdout
    assert done.stderr == ""
    value = json.loads(run(folder, "mutate", "--format", "json").stdout)
    assert (value["killed"], value["survived"]) == (2, 2)
    survivors = [one for one in value["results"] if one["outcome"] == "survived"]
    assert all("cases:" in one["missing_case"] for one in survivors)
    markdown = run(folder, "mutate", "--format", "markdown").stdout
    assert "| `policy/roles/a.csv:1` |" in markdown


def test_a_printed_case_can_be_pasted_into_a_file_and_kills_its_mutant(folder: Path) -> None:
    value = json.loads(run(folder, "mutate", "--format", "json").stdout)
    for number, one in enumerate(value["results"]):
        if one["missing_case"]:
            (folder / "cases" / f"new-{number}.yaml").write_text(one["missing_case"] + "\n")
    assert run(folder, "test").exit_code == 0
    done = run(folder, "mutate")
    assert (done.exit_code, "score 100.0 %" in done.stdout) == (0, True)


def test_only_changes_are_mutated_with_a_base(folder: Path) -> None:
    assert run(folder, "mutate", "--base", "main").exit_code == 0
    add_rule(folder, "p, role:A, *, doc:*, write, allow, true\n")
    done = run(folder, "mutate", "--base", "main")
    assert "roles/a.csv:1" not in done.stdout
    assert "SURVIVED  roles/a.csv:2  the rule is dropped" in done.stdout


def test_mutants_of_a_policy_whose_cases_fail_are_refused(folder: Path) -> None:
    (folder / "cases" / "a.yaml").write_text(CASES.replace("expect: ALLOW", "expect: DENY"))
    done = run(folder, "mutate")
    assert done.exit_code == 1
    assert "CASES_FAIL" in done.stderr


def test_a_violated_invariant_is_told_and_written_as_cases_that_fail(
    folder: Path, tmp_path: Path
) -> None:
    written = folder / "cases" / "found.yaml"
    done = run(folder, "invariants", "--write-cases", str(written))
    assert (done.exit_code, written.exists()) == (0, False)
    assert "holds     stays" in done.stdout

    add_rule(folder, "p, role:A, acme, log:*, *, allow, true\n")
    done = run(folder, "invariants", "--write-cases", str(written))
    assert done.exit_code == 1
    assert "VIOLATED  stays  invariants/a.yaml:1" in done.stdout
    assert "roles/a.csv:2  role:A in acme: delete log:x" in done.stdout
    value = json.loads(run(folder, "invariants", "--format", "json").stdout)
    (found,) = value["invariants"][0]["counterexamples"]
    assert found["roles"] == ["role:A"]
    assert (found["domain"], found["action"], found["object"]) == ("acme", "delete", "log:x")
    assert found["rule"] == "policy/roles/a.csv:2"
    assert "`policy/roles/a.csv:2`" in run(folder, "invariants", "-f", "markdown").stdout

    bad = run(folder, "test", "-k", "found.yaml")
    assert (bad.exit_code, "1 case, 1 failed" in bad.stdout) == (1, True)
    (folder / "roles" / "a.csv").write_text(ROLE)
    assert run(folder, "test").exit_code == 0


def test_counterexamples_overwrite_nothing_else(folder: Path) -> None:
    add_rule(folder, "p, role:A, acme, log:*, *, allow, true\n")
    done = run(folder, "invariants", "--write-cases", str(folder / "cases" / "a.yaml"))
    assert (done.exit_code, "FILE_EXISTS" in done.stderr) == (5, True)
    assert (folder / "cases" / "a.yaml").read_text() == CASES


def test_no_invariants_are_no_success(folder: Path) -> None:
    (folder / "invariants" / "a.yaml").unlink()
    done = run(folder, "invariants")
    assert (done.exit_code, done.stdout.strip()) == (1, "there are no invariants")


def test_a_format_that_there_is_not_is_refused(folder: Path) -> None:
    assert run(folder, "invariants", "--format", "sarif").exit_code == 2
    assert run(folder, "test", "--format", "sarif").exit_code == 2


def test_what_others_wrote_steers_no_terminal(folder: Path) -> None:
    cases = r"""tenant: acme
cases: [{ask: "user:\e[31mx read doc:1", expect: ALLOW, why: "\e]0;title\a"}]
"""
    (folder / "cases" / "a.yaml").write_text(cases)
    done = run(folder, "test")
    assert done.exit_code == 1
    assert "\x1b]0" not in done.stdout
    assert "\ufffd[31mx" in done.stdout


def test_the_products_policy_is_covered_and_no_mutant_survives() -> None:
    product = Path(__file__).parents[3] / "policy"
    done = run(product, "test", "--min-rule-coverage", "100")
    assert done.exit_code == 0, done.stdout
    mutants = run(product, "mutate")
    assert mutants.exit_code == 0, mutants.stdout
    invariants = run(product, "invariants")
    assert invariants.exit_code == 0, invariants.stdout

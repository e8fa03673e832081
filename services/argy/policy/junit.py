"""JUnit's XML of a run, as CI systems read it; always well-formed, whatever others wrote.

There is no standard; this is the subset that Jenkins, GitLab and GitHub's reporters share
(https://github.com/testmoapp/junitxml): ``testsuites``, ``testsuite``, ``testcase``, ``failure``.
"""

import re
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from argy.policy.cases.answers import CaseResult, place
from argy.policy.coverage import Coverage

_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold, not even as references (section 2.2)."""


def to_junit(results: Sequence[CaseResult], coverage: Coverage | None, *, prefix: str = "") -> str:
    """The document. A changed rule that no case covers is a failed test of suite ``coverage``.

    ``prefix`` leads from the repository's root to the policy's folder: ``policy/``.
    """
    suites: dict[str, list[str]] = {}
    failures: dict[str, int] = {}
    for result in results:
        file = result.question.file
        suites.setdefault(file, []).append(_case(result, prefix))
        failures[file] = failures.get(file, 0) + (not result.passed)
    for row in coverage.uncovered_changes if coverage else ():
        told = f"no case covers this changed {row.kind}: {row.missing}"
        attributes = _attributes(
            name=f"{row.place} {row.text}", classname="coverage", file=f"{prefix}{row.file}",
            line=str(row.line),
        )  # fmt: skip
        suites.setdefault("coverage", []).append(_failed(attributes, told, told))
        failures["coverage"] = failures.get("coverage", 0) + 1
    total = sum(len(cases) for cases in suites.values())
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    counts = _attributes(tests=str(total), failures=str(sum(failures.values())), errors="0")
    lines.append(f'<testsuites name="argy policy test"{counts}>')
    for name, cases in suites.items():
        about = _attributes(
            name=name, tests=str(len(cases)), failures=str(failures[name]), errors="0", skipped="0"
        )
        lines += [f"  <testsuite{about}>", *cases, "  </testsuite>"]
    lines.append("</testsuites>")
    return "\n".join(lines) + "\n"


def _case(result: CaseResult, prefix: str) -> str:
    question = result.question
    attributes = _attributes(
        name=f"{question.label}: {question.ask} in {question.domain}",
        classname=question.file.removesuffix(".yaml").replace("/", "."),
        file=f"{prefix}{question.file}",
        line=str(question.line),
    )
    if result.passed:
        return f"    <testcase{attributes}/>"
    told = [f"{question.file}:{question.line} {question.label}: {result.failure}"]
    if rule := result.decision.rule:
        told.append(f"decided by {place(rule)}  {rule.text}")
    if result.nearest:
        told.append(f"nearest miss {result.nearest}")
    return _failed(attributes, result.failure, "\n".join(told))


def _failed(attributes: str, message: str, text: str) -> str:
    about = _attributes(message=message, type="AssertionError")
    return (
        f"    <testcase{attributes}>\n      <failure{about}>{escape(_clean(text))}</failure>\n"
        "    </testcase>"
    )


def _attributes(**values: str) -> str:
    return "".join(f" {name}={quoteattr(_clean(value))}" for name, value in values.items())


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)

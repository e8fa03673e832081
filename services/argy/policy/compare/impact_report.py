"""Who gains and loses what, as reviewers and programs read it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from argy.policy.compare.diff_report import between, fitting, located, place
from argy.policy.compare.impact import SubjectChange, SubjectImpact
from argy.policy.export import TenantFacts
from argy.policy.markdown import code, escape, table

_MAX_NAMES: Final = 10
_MAX_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class TenantReport:
    """One tenant's impact."""

    facts: TenantFacts
    subjects: tuple[SubjectImpact, ...]

    @property
    def summary(self) -> str:
        """The counts in words."""
        if not self.subjects:
            return "nobody gains or loses anything"
        kinds = {"gained": 0, "lost": 0, "changed": 0}
        for subject in self.subjects:
            for kind in {item.change.kind for item in subject.changes}:
                kinds[kind] += 1
        verbs = {"gained": "gain", "lost": "lose", "changed": "see a change"}
        told = [f"{count} {verbs[kind]}" for kind, count in kinds.items() if count]
        power = sum(subject.escalates for subject in self.subjects)
        told += [f"{power} gain power"] if power else []
        noun = "subject" if len(self.subjects) == 1 else "subjects"
        return f"{len(self.subjects)} {noun}: {', '.join(told)}"


@dataclass(frozen=True, slots=True)
class Group:
    """Subjects that the same changes reach by the same way."""

    subjects: tuple[str, ...]
    changes: tuple[SubjectChange, ...]
    """With the way from what the subjects hold, without the subjects themselves."""

    def named(self, facts: TenantFacts) -> str:
        """The subjects for people; the first few of many."""
        names = [facts.named(subject) for subject in self.subjects[:_MAX_NAMES]]
        if len(self.subjects) > _MAX_NAMES:
            names.append(f"{len(self.subjects) - _MAX_NAMES} more")
        return ", ".join(names)


def groups(subjects: Sequence[SubjectImpact]) -> list[Group]:
    """Subjects put together where the same reaches them; power first, then the most subjects."""
    found: dict[tuple[SubjectChange, ...], list[str]] = {}
    for item in subjects:
        key = tuple(SubjectChange(one.change, one.path[1:]) for one in item.changes)
        found.setdefault(key, []).append(item.subject)
    made = [Group(tuple(names), changes) for changes, names in found.items()]
    return sorted(
        made,
        key=lambda group: (
            not any(item.change.escalation for item in group.changes),
            -len(group.subjects),
            group.subjects,
        ),
    )


def to_json(reports: Sequence[TenantReport], names: tuple[str, str]) -> dict[str, Any]:
    """One JSON document. ``names`` are those of base and head."""
    return {
        "base": names[0],
        "head": names[1],
        "tenants": [
            {
                "tenant": report.facts.tenant,
                "subject_count": len(report.subjects),
                "subjects": [
                    {
                        "subject": item.subject,
                        "name": report.facts.names.get(item.subject, ""),
                        "escalates": item.escalates,
                        "changes": [
                            {**asdict(one.change), "role_path": list(one.path)}
                            for one in item.changes
                        ],
                    }
                    for item in report.subjects
                ],
            }
            for report in reports
        ],
    }


def to_markdown(reports: Sequence[TenantReport], names: tuple[str, str], prefix: str = "") -> str:
    """A section of a pull request's comment, a table for each tenant."""
    return fitting(lambda rows: _markdown(reports, names, prefix, rows))


def _markdown(
    reports: Sequence[TenantReport], names: tuple[str, str], prefix: str, limit: int
) -> str:
    lines = [f"### Policy impact: {_reached(reports)}", "", between(names)]
    for report in reports:
        lines += ["", f"**{escape(report.facts.tenant)}**: {report.summary}"]
        rows = [
            row for group in groups(report.subjects) for row in _rows(group, report.facts, prefix)
        ]
        if rows:
            headings = ("who", "", "what", "where", "before", "after", "by", "rules")
            lines += ["", "<details><summary>Who</summary>", "",
                      table(headings, rows[:limit]), "", "</details>"]  # fmt: skip
        if len(rows) > limit:
            lines += ["", f"… and {len(rows) - limit} rows more."]
    return "\n".join(lines) + "\n"


def _reached(reports: Sequence[TenantReport]) -> str:
    """How many change in how many tenants, in words."""
    reached = [len(report.subjects) for report in reports if report.subjects]
    if not reached:
        return "nobody gains or loses anything"
    many = "subject" if sum(reached) == 1 else "subjects"
    where = "one tenant" if len(reached) == 1 else f"{len(reached)} tenants"
    return f"{sum(reached)} {many} in {where}"


def _rows(group: Group, facts: TenantFacts, prefix: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    who = escape(group.named(facts))
    for number, item in enumerate(group.changes):
        change = item.change
        rules = [located(rule, prefix) for rule in change.rules]
        rows.append(
            (
                "" if number else who,
                f"{'⚠️ ' if change.escalation else ''}{change.kind}",
                code(f"{change.action} {change.resource}"),
                escape(place(change.domain)),
                escape(change.before[:_MAX_TEXT]),
                escape(change.after[:_MAX_TEXT]),
                escape(" → ".join(item.path)),
                ", ".join(f"{side} {code(where)}".strip() for side, where in rules),
            )
        )
    return rows

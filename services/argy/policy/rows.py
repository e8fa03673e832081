"""Reads one file of rules: real CSV, one row a line, every column checked.

Casbin drops unknown row types, ignores ``Deny`` and keeps short rows until a request trips over
them (casbin#453, casbin#1016). Here each of them refuses the policy, with the line and what to
write.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from argy.base.identifiers import MAX_ACTION_BYTES, MAX_RESOURCE_BYTES, identifier_problem
from argy.policy.approval_columns import check_columns
from argy.policy.conditions import ConditionError, compile_condition
from argy.policy.errors import Problem
from argy.policy.globs import MAX_STARS
from argy.policy.model import Model

MAX_LINE = 4_096
"""Characters of a row."""
SLUG = r"[a-z0-9][a-z0-9-]{0,62}"

_ROLE = re.compile(r"role:[A-Z][A-Z0-9_]{0,122}")
_SERVICE = re.compile(r"service:[a-z0-9][a-z0-9._-]{0,246}")
_DOMAIN = re.compile(rf"\*|{SLUG}(?:/{SLUG})?")
_OBJECT = re.compile(r"\*|[a-z*][a-z0-9_.*]{0,127}:.+")
_ACTION = re.compile(r".+")
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
_DEFAULTS = {"dom": "*", "eft": "allow", "cond": ""}
_LINK = ("child", "parent", "dom")
_APPROVAL = ("dom", "obj", "act", "approvals", "roles", "mode", "expires", "cond")

Refuse = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One row as written: ``kind`` is ``p``, ``g`` or, in a file of approvals, ``a``."""

    kind: str
    file: str
    line: int
    text: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """What a file may speak about."""

    file: str
    tenant: str = ""
    """The only tenant that the file may name; empty for every tenant."""
    services: bool = False
    """Whether services may stand beside roles."""
    approvals: bool = False
    """Whether it holds approvals, and nothing else."""


def read_rows(text: str, place: Place, model: Model, problems: list[Problem]) -> Iterator[Row]:
    """Yield the sound rows of a file; add what is wrong with the others to ``problems``."""
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        found: list[Problem] = []
        fields = _fields(line, model, place, partial(_note, found, place.file, number))
        if fields is None:
            problems.extend(found)
            continue
        kind, values = fields
        refuse = partial(_note, found, place.file, number)
        if kind == "a":
            _check_approval(values, place, refuse)
        elif model.compiled:
            (_check_rule if kind == "p" else _check_link)(values, place, refuse)
        if kind == "p":
            _check_effect(values, refuse)
        problems.extend(found)
        if not found:
            yield Row(kind, place.file, number, line, values)


def _note(found: list[Problem], file: str, line: int, message: str, fix: str) -> None:
    found.append(Problem(file, line, message, fix))


def _fields(
    line: str, model: Model, place: Place, refuse: Refuse
) -> tuple[str, dict[str, str]] | None:
    """Split a row and name its columns."""
    if len(line) > MAX_LINE:
        refuse(f"the row has more than {MAX_LINE} characters", "split it into several rules")
        return None
    if line.startswith(_CONFLICT):
        refuse("a merge conflict that nobody resolved", "keep the rows you mean, and no marks")
        return None
    if not line.replace("\t", " ").isprintable():
        refuse("the row has a control character", "use printable characters only")
        return None
    cut = "the condition has a comma outside quotes"
    try:
        (row,) = csv.reader([line], strict=True, skipinitialspace=True)
    except (csv.Error, ValueError) as error:
        columns = _columns(line.partition(",")[0].strip(), model, place)
        if condition := _cut_condition(line, columns):
            refuse(cut, f"quote it: {condition}")
        else:
            fix = 'quote a value with commas ("a, b"), double its "'
            refuse(f"the row is not CSV ({error})", fix)
        return None
    if len(row) == 1 and (mark := next((mark for mark in "\t;" if mark in line), "")):
        told = "tabs" if mark == "\t" else "semicolons"
        refuse(f"the row has {told} between its values", "use commas")
        return None
    kind, *values = (value.strip() for value in row)
    columns = _columns(kind, model, place)
    if not columns:
        refuse(f"unknown row type {kind!r}", _fix_type(kind, place))
        return None
    if len(values) > len(columns) and (condition := _cut_condition(line, columns)):
        refuse(cut, f"quote it: {condition}")
        return None
    if len(values) != len(columns):
        many = "short" if len(values) < len(columns) else "long"
        shown = ", ".join(columns)
        refuse(
            f"the row is too {many}: {len(values)} values after {kind}, not {len(columns)}",
            f"write {kind}, {shown}" + (" (true for no condition)" if kind in ("p", "a") else ""),
        )
        return None
    return kind, {**_DEFAULTS, **dict(zip(columns, values, strict=True))}


def _cut_condition(line: str, columns: tuple[str, ...]) -> str:
    """What to write for the condition of a row that its commas cut into values; else nothing."""
    *_, condition = line.split(",", len(columns))
    if columns[-1:] != ("cond",) or "," not in condition:
        return ""
    try:
        compile_condition(condition.strip())
    except ConditionError:
        return ""
    return '"{}"'.format(condition.strip().replace('"', '""'))


def _columns(kind: str, model: Model, place: Place) -> tuple[str, ...]:
    """The columns of a row; none for a row that has no business in this file."""
    if place.approvals:
        return _APPROVAL if kind == "a" else ()
    return {"p": model.columns, "g": _LINK[: model.link_columns]}.get(kind, ())


def _fix_type(kind: str, place: Place) -> str:
    if place.approvals:
        return "start the row with a (an approval); rules and links stand in roles/*.csv"
    if kind == "a":
        return "move the row to approvals/*.csv"
    return "start the row with p (a rule) or g (a link)"


def _check_rule(fields: Mapping[str, str], place: Place, refuse: Refuse) -> None:
    _check_subject(fields["sub"], place, refuse)
    _check_target(fields, place, refuse)


def _check_approval(fields: Mapping[str, str], place: Place, refuse: Refuse) -> None:
    _check_target(fields, place, refuse)
    check_columns(fields, refuse)
    _check_condition(fields["cond"], refuse)


def _check_target(fields: Mapping[str, str], place: Place, refuse: Refuse) -> None:
    _check_domain(fields["dom"], place, refuse)
    for name, pattern, most, shape in (
        ("obj", _OBJECT, MAX_RESOURCE_BYTES, "type:id, type:*, type:prefix-* or *"),
        ("act", _ACTION, MAX_ACTION_BYTES, "a verb, or *"),
    ):
        value = fields[name]
        if wrong := identifier_problem(value, most):
            refuse(f"{name} {value!r} {wrong}", "write it as those who ask write it")
        elif not pattern.fullmatch(value) or "**" in value or value.count("*") > MAX_STARS:
            refuse(f"bad glob {value!r} in {name}", f"write {shape}; * is the only wildcard")


def _check_link(fields: Mapping[str, str], place: Place, refuse: Refuse) -> None:
    _check_subject(fields["child"], place, refuse)
    if not _ROLE.fullmatch(fields["parent"]):
        refuse(f"{fields['parent']!r} is not a role", "write role:NAME in capitals")
    _check_domain(fields["dom"], place, refuse)


def _check_subject(subject: str, place: Place, refuse: Refuse) -> None:
    """Names carry their kind, so that no user can be called like a role (casbin#233)."""
    if _ROLE.fullmatch(subject) or (place.services and _SERVICE.fullmatch(subject)):
        return
    if _SERVICE.fullmatch(subject):
        refuse(f"{subject!r} is a service", "move the row to services.csv")
    elif subject.startswith(("user:", "group:", "agent:")):
        refuse(f"{subject!r} is not a role", "grant people and agents a role by an assignment")
    else:
        refuse(f"{subject!r} has no kind", "write role:NAME in capitals")


def _check_domain(domain: str, place: Place, refuse: Refuse) -> None:
    if not _DOMAIN.fullmatch(domain):
        refuse(f"bad domain {domain!r}", "write *, tenant or tenant/org")
    elif place.tenant and domain.split("/", 1)[0] != place.tenant:
        refuse(
            f"domain {domain!r} reaches outside tenant {place.tenant}",
            f"write {place.tenant} or {place.tenant}/org",
        )


def _check_effect(fields: Mapping[str, str], refuse: Refuse) -> None:
    effect = fields["eft"]
    if effect not in ("allow", "deny"):
        meant = effect.lower() if effect.lower() in ("allow", "deny") else "allow or deny"
        refuse(f"unknown effect {effect!r}", f"write {meant}")
    _check_condition(fields["cond"], refuse)


def _check_condition(text: str, refuse: Refuse) -> None:
    try:
        compile_condition(text)
    except ConditionError as error:
        refuse(f"bad condition: {error}", "write a CEL expression that is true or false")

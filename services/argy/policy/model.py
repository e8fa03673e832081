"""Reads a Casbin model and recognises the shapes that compile.

The matcher and the effect are compared with all white space removed. Whatever is not recognised
runs on pycasbin itself (``argy.policy.interpreted``), which costs a walk over every rule for
each decision.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from argy.policy.errors import PolicyError, Problem

MATCHER = (
    "g(r.sub,p.sub,r.dom)&&domainMatch(r.dom,p.dom)&&objMatch(r.obj,p.obj)"
    "&&actMatch(r.act,p.act)&&condition(p.cond,r.sub,r.dom,r.obj,r.act,r.ctx)"
)
"""The matcher that compiles, without white space."""
FUNCTIONS = ("domainMatch", "objMatch", "actMatch", "condition")
"""What we register with Casbin beside its own functions."""

_REQUEST = ("sub", "dom", "obj", "act", "ctx")
_RULE = ("sub", "dom", "obj", "act", "eft", "cond")
_NEEDED_IN_RULE = ("sub", "obj", "act")
_KEYS = {
    "request_definition": "r",
    "policy_definition": "p",
    "role_definition": "g",
    "policy_effect": "e",
    "matchers": "m",
}
_COMMENTED = ("policy_effect", "matchers")
"""Sections where pycasbin drops what follows a ``#``, wherever it stands in the line."""
_UNSAFE = re.compile(r"\beval\s*\(")
_ATTRIBUTE = re.compile(r"\b[rp]2?\.(?:sub|obj|act|dom)\.\w+")
_NUMBERED = re.compile(r"([rpgem])[2-9]\d*")

# Features of Casbin that are not here, each with what says the same here.
_SECOND = {
    "g": ("resource roles (a second g)", "name groups of resources in their ids: doc:team-a/*"),
    **dict.fromkeys(
        "rpem",
        (
            "a second definition in one section",
            "write one request, policy, effect and matcher; what differs goes into columns",
        ),
    ),
}
_SECTIONS = {
    "constraint_definition": (
        "constraints (separation of duties, cardinality)",
        "state them in policy/invariants and in policy/approvals",
    ),
}
_EFFECTS = {
    "subjectPriority(p.eft)||deny": (
        "subject priority",
        "give the exception a deny row, or use priority(p.eft) || deny and order the rows",
    ),
}
_PRIORITY = (
    "explicit priority",
    "order the rows: under priority(p.eft) || deny the first that holds decides",
)
_CONDITIONAL = (
    "conditional and temporal roles, g = _, _, (_, _)",
    "grant the role until a time, or ask for what it depends on in a row's condition",
)
_AS_FACTS = "send it as a fact, and ask for ctx.…"
_ROLES = {"": 0, "_,_": 2, "_,_,_": 3}
"""Each definition of roles that is known, with its columns."""


class Effect(Enum):
    """Casbin's effects, by the text that states them without white space."""

    DENY_OVERRIDES = "some(where(p.eft==allow))&&!some(where(p.eft==deny))"
    ALLOW_OVERRIDES = "some(where(p.eft==allow))"
    DENY_ONLY = "!some(where(p.eft==deny))"
    PRIORITY = "priority(p.eft)||deny"


@dataclass(frozen=True, slots=True)
class Model:
    """A model: its text, the columns of requests and rules, and what was recognised."""

    text: str
    request: tuple[str, ...]
    columns: tuple[str, ...]
    """Columns of a ``p`` row, after the ``p``."""
    link_columns: int
    """Columns of a ``g`` row: 3 with a domain, 2 without, 0 when the model has no roles."""
    effect: Effect
    matcher: str
    """Without white space and comments."""
    compiled: bool
    """Whether decisions run on the index; False means pycasbin."""


def parse_model(text: str, file: str = "model.conf") -> Model:
    """Read a model.

    Raises:
        PolicyError: naming each part that is missing, unknown or unsafe.
    """
    problems: list[Problem] = []
    sections = _sections(text, file, problems)
    for section, key in _KEYS.items():
        if section != "role_definition" and key not in sections.get(section, {}):
            problems.append(
                Problem(file, 0, f"[{section}] has no {key}", f"add [{section}] {key} = …")
            )
    if problems:
        raise PolicyError(problems)
    request = _columns(sections["request_definition"]["r"])
    columns = _columns(sections["policy_definition"]["p"])
    problems += _request_problems(file, request)
    problems += _column_problems(file, columns)
    roles = "".join(sections.get("role_definition", {}).get("g", "").split())
    if roles not in _ROLES:
        custom = (f"roles of this kind (g = {roles})", "use g = _, _, _")
        problems.append(_lacking(file, *(_CONDITIONAL if "(" in roles else custom)))
    matcher = "".join(sections["matchers"]["m"].split())
    if attributes := _ATTRIBUTE.findall(matcher):
        feature = f"attributes of a request's objects ({attributes[0]})"
        problems.append(_lacking(file, feature, f"{_AS_FACTS} in a row's condition"))
    if _UNSAFE.search(matcher):
        fix = "write a condition column: eval() lets a rule's text leave its matcher"
        problems.append(_lacking(file, "rules that are code, eval()", fix))
    stated = "".join(sections["policy_effect"]["e"].split()).replace("p_eft", "p.eft")
    known = {effect.value: effect for effect in Effect}
    if stated not in known:
        custom = (f"effects of your own ({stated})", f"use one of: {'  '.join(known)}")
        problems.append(_lacking(file, *_EFFECTS.get(stated, custom)))
    if problems:
        raise PolicyError(problems)
    compiled = (
        matcher == MATCHER and request == _REQUEST and columns == _RULE and _ROLES[roles] == 3
    )
    return Model(text, request, columns, _ROLES[roles], known[stated], matcher, compiled)


def _request_problems(file: str, request: tuple[str, ...]) -> Iterator[Problem]:
    if strange := [name for name in request if name not in _REQUEST]:
        feature = f"request fields of your own ({', '.join(strange)})"
        yield _lacking(file, feature, f"use {', '.join(_REQUEST)}; {_AS_FACTS}")
    if len(set(request)) != len(request):
        yield Problem(
            file, 0, f"a request field stands twice in {', '.join(request)}", "name it once"
        )


def _column_problems(file: str, columns: tuple[str, ...]) -> Iterator[Problem]:
    strange = [name for name in columns if name not in _RULE]
    if any("priority" in name for name in strange):
        yield _lacking(file, *_PRIORITY)
    elif strange:
        feature = f"rule columns of your own ({', '.join(strange)})"
        yield _lacking(file, feature, f"use columns out of {', '.join(_RULE)}")
    if missing := [name for name in _NEEDED_IN_RULE if name not in columns]:
        feature = f"rules without {' or '.join(missing)}"
        yield _lacking(file, feature, "name the column, and write * in it for any")
    if len(set(columns)) != len(columns):
        yield Problem(
            file, 0, f"a rule column stands twice in {', '.join(columns)}", "name it once"
        )


def _sections(text: str, file: str, problems: list[Problem]) -> dict[str, dict[str, str]]:
    r"""Sections and keys as Casbin reads them: ``#`` and ``;`` comment, ``\`` continues."""
    sections: dict[str, dict[str, str]] = {}
    current, pending = "", ""
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not pending and (not line or line[0] in "#;"):
            continue
        if line.endswith("\\"):
            pending += line[:-1].strip() + " "
            continue
        line, pending = pending + line, ""
        if line.startswith("[") and line.endswith("]"):
            current = line[1:-1]
            if current in _SECTIONS:
                problems.append(_lacking(file, *_SECTIONS[current], line=number))
            elif current not in _KEYS or current in sections:
                problems.append(Problem(file, number, f"unknown or repeated section [{current}]",
                                        f"use each of {', '.join(_KEYS)} once"))  # fmt: skip
            sections.setdefault(current, {})
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if current in _SECTIONS:
            continue
        if current in _COMMENTED:
            value = value.split("#", 1)[0].strip()
        if equals and (second := _NUMBERED.fullmatch(key)) and second[1] == _KEYS.get(current):
            problems.append(_lacking(file, *_SECOND[second[1]], line=number))
            continue
        if not equals or key != _KEYS.get(current) or key in sections[current]:
            fix = f"write {_KEYS.get(current, '…')} = … once a section"
            problems.append(Problem(file, number, f"can't use {line!r} here", fix))
            continue
        sections[current][key] = value
    return sections


def _lacking(file: str, feature: str, fix: str, *, line: int = 0) -> Problem:
    return Problem(file, line, f"not supported here: Casbin's {feature}", fix)


def _columns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))

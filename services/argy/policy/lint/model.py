"""Hazards of the model itself, each with its line in model.conf."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from argy.policy.findings import Finding
from argy.policy.lint import ids
from argy.policy.lint.catalogue import explained
from argy.policy.lint.scope import found
from argy.policy.model import Effect, Model
from argy.policy.rules import PolicySource

FILE: Final = "model.conf"
_PATTERNS: Final = re.compile(
    r"\b(regexMatch|keyMatch[2-5]?|keyGet[2-3]?|globMatch)\s*\(", re.IGNORECASE
)
_NAMED: Final = re.compile(r"[:*?(\[{^$|+\\]")
"""A name with a type, or what may be a pattern."""
_OBJECT: Final = re.compile(r"[a-z0-9_.]*[:*?(\[{^$|+\\]")
"""As ``_NAMED`` for objects, whose types are simple names: no path begins one."""
_COMPARED: Final = re.compile(r"""r\.(sub|obj)(?:[=!]=("[^"]*"|'[^']*')|in\(([^)]*)\))""")
_BARE: Final = re.compile(r"""["']([^"':]+)["']""")
_PARTS: Final = {"sub": "subject", "obj": "object"}
_EFFECTS: Final = {
    Effect.ALLOW_OVERRIDES: ids.ALLOW_OVERRIDES,
    Effect.DENY_ONLY: ids.ALLOWED_BY_DEFAULT,
    Effect.PRIORITY: ids.PRIORITY,
}


@dataclass(frozen=True, slots=True)
class _Line:
    file: str
    line: int
    text: str


def check_model(model: Model) -> Iterator[Finding]:
    """A matcher that runs on pycasbin, pattern functions in it, effects that open what is shut."""
    matcher = _line(model, "m")
    if not model.compiled:
        message = "every decision walks all rules on pycasbin, and rules are not linted"
        yield found(ids.INTERPRETED, matcher, message)
    for function in dict.fromkeys(_PATTERNS.findall(model.text)):
        yield found(ids.PATTERN_FUNCTION, matcher, f"the matcher uses {function}")
    if name := _EFFECTS.get(model.effect):
        yield found(name, _line(model, "e"), explained(name).summary.rstrip("."))


def check_askable(source: PolicySource) -> Iterator[Finding]:
    """Names that no question has, in the rows and the matcher of a model that pycasbin runs."""
    matcher = source.model.matcher
    held = _held(source)
    for rule in source.rules:
        if "p.sub" in matcher and not held(rule.role):
            yield found(
                ids.UNASKABLE, rule, f"nobody is, or is given, {rule.role!r}: it has no type"
            )
        if "p.obj" in matcher and not _OBJECT.match(rule.obj):
            yield found(ids.UNASKABLE, rule, f"no object is called {rule.obj!r}: it has no type")
    for part, one, several in _COMPARED.findall(matcher):
        for name in _BARE.findall(one or several):
            message = f"no {_PARTS[part]} is called {name!r}: it has no type"
            yield found(ids.UNASKABLE, _line(source.model, "m"), message)


def _held(source: PolicySource) -> Callable[[str], bool]:
    """Whether somebody can be, or hold by links, what a rule is for."""
    below: dict[str, set[str]] = {}
    for link in source.links:
        below.setdefault(link.parent, set()).add(link.child)

    def held(name: str) -> bool:
        seen, todo = {name}, [name]
        while todo:
            one = todo.pop()
            if _NAMED.search(one):
                return True
            more = below.get(one, set()) - seen
            seen |= more
            todo.extend(more)
        return False

    return held


def _line(model: Model, key: str) -> _Line:
    """Where a key of the model stands."""
    for number, text in enumerate(model.text.split("\n"), start=1):
        if re.match(rf"\s*{key}\s*=", text):
            return _Line(FILE, number, text.strip())
    return _Line(FILE, 0, "")

"""Hazards of the model itself, each with its line in model.conf."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from argy.policy.findings import Finding
from argy.policy.lint import ids
from argy.policy.lint.catalogue import explained
from argy.policy.lint.scope import found
from argy.policy.model import Effect, Model

FILE: Final = "model.conf"
_PATTERNS: Final = re.compile(
    r"\b(regexMatch|keyMatch[2-5]?|keyGet[2-3]?|globMatch)\s*\(", re.IGNORECASE
)
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


def _line(model: Model, key: str) -> _Line:
    """Where a key of the model stands."""
    for number, text in enumerate(model.text.split("\n"), start=1):
        if re.match(rf"\s*{key}\s*=", text):
            return _Line(FILE, number, text.strip())
    return _Line(FILE, 0, "")

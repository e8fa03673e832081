"""What is wrong with a policy: every problem at once, each with its place and its remedy."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from argy.base.errors import ArgyError

_SHOWN = 20
"""Problems named in the message; ``problems`` holds them all."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that the loader refuses. ``line`` counts from 1; 0 means the file as a whole."""

    file: str
    line: int
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}; {self.fix}"


class PolicyError(ArgyError):
    """The policy is refused as a whole; a part of a policy is never in force."""

    default_reason: ClassVar[str] = "POLICY_INVALID"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        shown = [str(problem) for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            shown.append(f"… and {len(self.problems) - _SHOWN} more")
        super().__init__("\n".join(shown))

"""Comments that silence a rule for the row below them, with the reason.

# lint: allow P301, P302 – administrators run the whole tenant
p, role:PLATFORM_ADMIN, *, *, *, allow, true
"""

import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from argy.base.errors import NotFound
from argy.policy.findings import Finding
from argy.policy.lint.catalogue import explained
from argy.policy.lint.ids import BAD_SILENCE, UNSILENCED, UNUSED_SILENCE
from argy.policy.lint.scope import found

_COMMENT: Final = re.compile(r"#\s*lint:\s*(.*)")
_ALLOW: Final = re.compile(r"allow\s+([\w,\s-]*?\w)\s*(?:\s[–—-]+|:)\s*(\S.*)")
_MIN_REASON: Final = 8
"""Characters of a reason; fewer explain nothing."""


@dataclass(frozen=True, slots=True)
class _Silence:
    """One id of one comment, and the row that it is for."""

    rule_id: str
    file: str
    line: int
    row: int
    text: str


def apply_silences(
    files: Mapping[str, str], findings: Iterable[Finding], *, whole: bool
) -> Iterator[Finding]:
    """Leave out what is silenced; add what is wrong with silences.

    Args:
        files: The policy's files, in which the comments stand.
        findings: What was found.
        whole: Whether every check ran; otherwise no silence is called unused.
    """
    silences: list[_Silence] = []
    for file in sorted(files):
        yield from _read(file, files[file], silences)
    by_place = {(one.rule_id, one.file, one.row): one for one in silences}
    used: set[_Silence] = set()
    for finding in findings:
        silence = by_place.get((finding.rule_id, finding.file, finding.line))
        if silence is None:
            yield finding
        else:
            used.add(silence)
    for silence in silences if whole else ():
        if silence not in used:
            yield found(UNUSED_SILENCE, silence, f"{silence.rule_id} has nothing to report below")


def _read(file: str, text: str, silences: list[_Silence]) -> Iterator[Finding]:
    """Collect a file's silences; yield what is wrong with them."""
    waiting: list[tuple[str, int, str]] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if line and not line.startswith("#"):
            silences += [_Silence(name, file, at, number, text) for name, at, text in waiting]
            waiting.clear()
        elif not line:
            yield from _dangling(file, waiting)
            waiting.clear()
        elif comment := _COMMENT.fullmatch(line):
            names = yield from _named(_Silence("", file, number, 0, line), comment[1])
            waiting += [(name, number, line) for name in names]
    yield from _dangling(file, waiting)


def _named(place: _Silence, text: str) -> Generator[Finding, None, list[str]]:
    """The ids that a comment names, as the generator's value."""
    match = _ALLOW.fullmatch(text)
    if match is None or len(match[2]) < _MIN_REASON:
        yield found(BAD_SILENCE, place, "the comment is not: lint: allow ID – reason")
        return []
    names = []
    for name in match[1].split(","):
        try:
            rule_id = explained(name).id
        except NotFound:
            yield found(BAD_SILENCE, place, f"there is no rule {name.strip()!r}")
            continue
        if rule_id in UNSILENCED:
            yield found(BAD_SILENCE, place, f"{rule_id} can't be silenced")
        else:
            names.append(rule_id)
    return names


def _dangling(file: str, waiting: Iterable[tuple[str, int, str]]) -> Iterator[Finding]:
    for name, line, text in waiting:
        place = _Silence(name, file, line, 0, text)
        yield found(BAD_SILENCE, place, f"no row follows for which {name} would be silent")

"""The canonical form of a policy's files: one way to write a row, so a diff shows meaning only.

Rows keep their order and their values, comments stay where they are, blank lines stay single.
Whatever could not be written anew without changing what it says is left as it is; the loader tells
what is wrong with it. YAML loses white space at the ends of its lines, nothing more.
"""

import csv
import re
from typing import Final

import yaml

from argy.policy.rows import MAX_LINE

_QUOTED: Final = (",", '"', "||")
"""What a value is quoted for. ``||`` needs no quotes, but looks like the end of a column."""
_YAML_PLACES: Final = re.compile(r"(?:cases|invariants)/.+\.yaml")


def format_file(name: str, text: str) -> str:
    """The canonical text of a file of the policy; one that has no canonical form stays as it is."""
    if name.endswith(".csv"):
        return format_rows(text)
    if _YAML_PLACES.fullmatch(name):
        return format_yaml(text)
    return text


def format_rows(text: str) -> str:
    """Rows of any kind: one space after a comma, quotes where needed, single blank lines."""
    lines: list[str] = []
    for raw in text.split("\n"):
        line = raw.strip()
        if line or (lines and lines[-1]):
            lines.append(_row(line))
    return _ended(lines)


def format_yaml(text: str) -> str:
    """No white space at the end of a line, one line break at the end; unless that says otherwise.

    White space at the end of a line counts in YAML's block scalars: such a file stays as it is.
    """
    formatted = _ended([line.rstrip(" \t\r") for line in text.split("\n")])
    if formatted == text:
        return text
    try:
        # repr tells 1 from 1.0 and from true, which are equal in Python.
        same = repr(yaml.safe_load(text)) == repr(yaml.safe_load(formatted))
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
    return formatted if same else text


def _row(line: str) -> str:
    if not line or line.startswith("#"):
        return line
    values = _values(line)
    if values is None:
        return line
    formatted = ", ".join(map(_value, values)).rstrip()
    kept = _values(formatted) == values and not formatted.startswith("#")
    return formatted if kept and 0 < len(formatted) <= MAX_LINE else line


def _values(line: str) -> list[str] | None:
    """What the loader reads in a row; None when that is no row of values."""
    if len(line) > MAX_LINE or not line.replace("\t", " ").isprintable():
        return None
    try:
        (row,) = csv.reader([line], strict=True, skipinitialspace=True)
    except (csv.Error, ValueError):
        return None
    return [value.strip() for value in row]


def _value(value: str) -> str:
    if any(mark in value for mark in _QUOTED):
        return '"' + value.replace('"', '""') + '"'
    return value


def _ended(lines: list[str]) -> str:
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines) + "\n" if lines else ""

"""What cases and invariants mention: roles, actions and object types, each with its place.

Whatever their format: a role is a value ``role:NAME``; an action is the middle word of an ``ask``
or stands under ``act``, ``action`` or ``actions``; an object type begins a value ``type:id``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from argy.policy.errors import Problem

MAX_YAML_BYTES: Final = 1024 * 1024
"""Of one file of cases or invariants."""

_ROLE = re.compile(r"role:[A-Za-z][A-Za-z0-9_]*")
_ACTION = re.compile(r"[a-z][a-z0-9_.-]*")
_OBJECT = re.compile(r"([a-z][a-z0-9_.]*):\S+")
_SUBJECTS = ("user", "group", "agent", "service", "role")
_ACTION_KEYS = ("act", "action", "actions")
_PLACES = re.compile(r"(?:cases|invariants)/.+\.yaml")


@dataclass(frozen=True, slots=True)
class Word:
    """Something that a case names; ``text`` is as written."""

    text: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Words:
    """The roles, actions and object types that cases and invariants name, as often as they do."""

    roles: tuple[Word, ...] = ()
    actions: tuple[Word, ...] = ()
    types: tuple[Word, ...] = ()


def read_words(files: Mapping[str, str], problems: list[Problem]) -> Words:
    """Collect the words of every YAML file; add what is not YAML to ``problems``."""
    roles: list[Word] = []
    actions: list[Word] = []
    types: list[Word] = []
    for file in sorted(filter(_PLACES.fullmatch, files)):
        for key, text, line in _scalars(file, files[file], problems):
            parts = text.split()
            if key == "ask" and len(parts) == 3:
                actions.append(Word(parts[1], file, line))
            elif key in _ACTION_KEYS and _ACTION.fullmatch(text):
                actions.append(Word(text, file, line))
            for part in parts:
                if _ROLE.fullmatch(part):
                    roles.append(Word(part, file, line))
                elif (match := _OBJECT.fullmatch(part)) and match[1] not in _SUBJECTS:
                    types.append(Word(match[1], file, line))
    return Words(tuple(roles), tuple(actions), tuple(types))


def _scalars(file: str, text: str, problems: list[Problem]) -> Iterator[tuple[str, str, int]]:
    """Each scalar with the nearest key above it and its line; aliases are followed once."""
    if len(text) > MAX_YAML_BYTES:
        problems.append(Problem(file, 0, f"more than {MAX_YAML_BYTES} bytes", "split the file"))
        return
    try:
        # Not the loader in C: it overflows the stack on deeply nested text, and the process dies.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        line = mark.line + 1 if mark is not None else 0
        problems.append(Problem(file, line, f"not YAML: {reason}", "mend the YAML"))
        return
    todo: list[tuple[str, Any]] = [("", root)]
    seen: set[int] = set()
    while todo:
        key, node = todo.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            yield key, str(node.value), node.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode):
            todo.extend((key, item) for item in node.value)
        elif isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                # Groups are keys: "group:builders": [user:bob].
                todo += [("", name), (str(getattr(name, "value", "")), value)]

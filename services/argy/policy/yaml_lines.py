"""YAML that others wrote: bounded, no key twice, and the line of every value is known."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
import yaml

from argy.policy.errors import PolicyError, Problem

MAX_BYTES: Final = 1024 * 1024
_MAX_NODES: Final = 200_000
"""Values of a document after its aliases are followed."""
_MAX_DEPTH: Final = 32

_STEP: Final = re.compile(r"\[(\d+)\]|\.(\w+)|(\[\.\.\.\])")
_LOADER: Final[type[yaml.SafeLoader]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, about ten times as fast, where PyYAML was built with it."""

_FIX: Final = "see policy/README.md for the format"

Place = tuple[str | int, ...]
Parsed = TypeVar("Parsed")


class Document:
    """A document's plain value, and the lines of its parts."""

    __slots__ = ("_lines", "value")

    def __init__(self, value: Any, lines: Mapping[Place, int]) -> None:
        self.value = value
        self._lines = lines

    def line(self, *place: str | int) -> int:
        """The line of the part at ``place`` (keys and indexes), or of the nearest part around."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 0)


def read_yaml(text: str) -> list[Document]:
    """Parse the documents of a file; an empty file is one empty document.

    Raises:
        ValueError: not YAML, a key twice, or larger or deeper than the bounds. ``line_of`` knows
            the line.
    """
    if len(text.encode()) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    loader = _LOADER(text)
    try:
        _check_depth(text)
        found: list[Document] = []
        while loader.check_node() and (node := loader.get_node()) is not None:
            lines: dict[Place, int] = {}
            _walk(node, (), lines, {}, set())
            found.append(Document(loader.construct_document(node), lines))
        return found or [Document(None, {})]
    except (yaml.YAMLError, RecursionError, OverflowError) as error:
        raise _Marked(" ".join(str(error).split()), _line_of(error)) from error
    finally:
        loader.dispose()


def convert(name: str, text: str, kind: type[Parsed]) -> list[tuple[Parsed, Document]]:
    """Parse each document of ``text`` as a ``kind`` of file.

    Raises:
        PolicyError: with the file, the line and what is wrong.
    """
    try:
        documents = read_yaml(text)
    except ValueError as error:
        raise PolicyError((Problem(name, line_of(error), str(error), _FIX),)) from error
    return [(_converted(name, document, kind), document) for document in documents]


def convert_single(name: str, text: str, kind: type[Parsed]) -> tuple[Parsed, Document]:
    """As ``convert``, for a file that holds one document."""
    (first, *others) = convert(name, text, kind)
    if others:
        line = others[0][1].line()
        raise PolicyError((Problem(name, line, "a second document", "write one list"),))
    return first


def _converted(name: str, document: Document, kind: type[Parsed]) -> Parsed:
    try:
        return msgspec.convert(document.value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        message, place = _located(str(error))
        raise PolicyError((Problem(name, document.line(*place), message, _FIX),)) from error


def collected(
    names: Mapping[str, str], read: Callable[[str, str], Parsed]
) -> tuple[dict[str, Parsed], list[Problem]]:
    """Read each file with ``read``; what is wrong with any of them comes back together."""
    found: dict[str, Parsed] = {}
    problems: list[Problem] = []
    for name, text in names.items():
        try:
            found[name] = read(name, text)
        except PolicyError as error:
            problems.extend(error.problems)
    return found, problems


class _Marked(ValueError):
    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def line_of(error: ValueError) -> int:
    """The line that an error of ``read_yaml`` tells; 0 when it tells none."""
    return getattr(error, "line", 0)


def _check_depth(text: str) -> None:
    """Refuse what is nested too deeply, event by event: libyaml's composer would crash on it."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else 0
                raise _Marked(f"deeper than {_MAX_DEPTH} levels", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _line_of(error: BaseException) -> int:
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark is not None else 0


def _walk(
    node: yaml.Node,
    place: Place,
    lines: dict[Place, int],
    sizes: dict[int, int],
    above: set[int],
) -> int:
    """Note the lines; returns how many values the node holds once its aliases are followed."""
    line = node.start_mark.line + 1
    if id(node) in above:
        raise _Marked("an alias within its own anchor", line)
    if len(place) > _MAX_DEPTH:
        raise _Marked(f"deeper than {_MAX_DEPTH} levels", line)
    if id(node) in sizes:
        return sizes[id(node)]
    lines.setdefault(place, line)
    above.add(id(node))
    size = 1
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            size += _walk(item, (*place, number), lines, sizes, above)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                raise _Marked(f"the key {name!r} stands twice", key.start_mark.line + 1)
            seen.add(name)
            size += 1 + _walk(value, (*place, name), lines, sizes, above)
    if size > _MAX_NODES:
        raise _Marked(f"more than {_MAX_NODES} values", line)
    above.discard(id(node))
    sizes[id(node)] = size
    return size


def _located(message: str) -> tuple[str, Place]:
    """Split msgspec's "… - at `$.cases[2].ask`" into the message and the place."""
    told, _, path = message.partition(" - at ")
    place: list[str | int] = []
    for index, key, unknown in _STEP.findall(path.rpartition("$")[2]):
        if unknown:
            break
        place.append(int(index) if index else key)
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return (f"{told} (at {shown.lstrip('.')})" if shown else told), tuple(place)

"""The numbers of a request's context: doubles on every path, as on the wire.

A context travels as a ``google.protobuf.Struct``, whose numbers are IEEE 754 doubles. What decides
without a wire, in this process or in a policy's cases, takes them so too; an integer that no double
holds exactly is refused, for it would be another number on another path.
"""

from collections.abc import Mapping
from typing import Any

from argy.base.errors import InvalidArgument


def is_exact(number: int) -> bool:
    """Whether a double holds an integer exactly."""
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def as_doubles(value: Any) -> Any:
    """A context, or a part of it, with every integer a double; those that none holds stay."""
    if isinstance(value, Mapping):
        return {name: as_doubles(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_doubles(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and is_exact(value):
        return float(value)
    return value


def inexact(context: Any, path: str, separator: str = ".") -> str | None:
    """Where the first integer is that no double holds, as ``<path>.name.0``; None for nowhere."""
    todo = [(path, context)]
    while todo:
        at, value = todo.pop()
        if isinstance(value, Mapping):
            todo.extend((f"{at}{separator}{name}", inner) for name, inner in value.items())
        elif isinstance(value, (list, tuple)):
            todo.extend((f"{at}{separator}{n}", inner) for n, inner in enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool) and not is_exact(value):
            return at
    return None


def refuse_inexact(context: Any, path: str = "context", separator: str = ".") -> None:
    """Refuse a context with an integer that no double holds.

    Raises:
        InvalidArgument: ``NUMBER_INEXACT``, naming where it is.
    """
    if (at := inexact(context, path, separator)) is not None:
        raise InvalidArgument(
            f"{at} is a number that no double holds exactly: send it as a string",
            reason="NUMBER_INEXACT",
            field=at,
        )

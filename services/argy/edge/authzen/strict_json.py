"""JSON as I-JSON (RFC 7493): one reading only, or none.

Refused are a name that is there twice, numbers that a double doesn't hold exactly or at all, lone
surrogates, and nesting beyond a bound. Two parsers that read one body differently are how a check
is asked about one thing and enforced on another.
"""

import json
import math
from typing import Any, Final

from argy.base.errors import InvalidArgument

MAX_DEPTH: Final = 16
MAX_COMMAS: Final = 100_000
"""Bounds the number of values; a batch of 1,000 questions has some 10,000."""
_EXACT: Final = 2**53


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is.

    Raises:
        InvalidArgument: with ``MALFORMED_JSON``; the field is ``""``, the whole document.
    """
    # Counted before anything is made of them; a comma in a string counts too.
    if body.count(b",") > MAX_COMMAS:
        raise _malformed(f"the body has more than {MAX_COMMAS} commas: send less at a time")
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_constant,
        )
    except UnicodeDecodeError as error:
        raise _malformed("the body is not UTF-8") from error
    except RecursionError as error:
        raise _malformed(f"the body is nested deeper than {MAX_DEPTH} levels") from error
    except json.JSONDecodeError as error:
        raise _malformed(
            f"the body is not JSON: {error.msg}, line {error.lineno} column {error.colno}"
        ) from error
    if not isinstance(value, dict):
        raise _malformed("the body must be a JSON object")
    _check(value, 1)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _malformed(f"the name {json.dumps(name[:100])} is there twice in one object")
            seen.add(name)
    return made


def _integer(text: str) -> int:
    # Sixteen digits are 2**53: what is longer isn't converted, which takes time by its square.
    if len(text) > 17 or abs(int(text)) > _EXACT:
        raise _malformed("an integer beyond 2^53 is not exact in JSON: send it as a string")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _malformed("a number is beyond what a double holds")
    return value


def _constant(text: str) -> float:
    raise _malformed(f"{text} is not JSON")


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value)
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise _malformed(f"the body is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            for name in value:
                _check(name, depth)
        for inner in value.values() if isinstance(value, dict) else value:
            _check(inner, depth + 1)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _malformed("a string holds half of a surrogate pair") from None


def _malformed(detail: str) -> InvalidArgument:
    return InvalidArgument(detail, reason="MALFORMED_JSON", field="")

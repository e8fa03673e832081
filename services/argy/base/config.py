"""Configuration: a frozen dataclass filled from the environment, once, or not at all.

Each field names its variable and says what it is for. A secret may come by file: ``X_FILE`` holds
the path of what ``X`` would hold, which nobody else may read or write. A missing, malformed or
unknown ``ARGY_`` variable is fatal and named.
"""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

from argy.base.crypto import read_secret
from argy.base.errors import FailedPrecondition, FieldViolation, InvalidArgument

Config = TypeVar("Config")

PREFIX: Final = "ARGY_"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


def setting(env: str, help_text: str, *, default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field that is read from ``ARGY_<env>``, or from the file ``ARGY_<env>_FILE``."""
    metadata = {"env": PREFIX + env, "help": help_text}
    # Any may hold a secret, a DSN or a URL with its password: none shows with its settings.
    return dataclasses.field(default=default, metadata=metadata, repr=False)


def load(
    kind: type[Config], env: Mapping[str, str], *, elsewhere: frozenset[str] = frozenset()
) -> Config:
    """``load_all`` of one dataclass."""
    (loaded,) = load_all((kind,), env, elsewhere=elsewhere)
    return cast("Config", loaded)


def load_all(
    kinds: Sequence[type[Any]], env: Mapping[str, str], *, elsewhere: frozenset[str] = frozenset()
) -> tuple[Any, ...]:
    """Fill each of ``kinds`` from ``env``.

    ``elsewhere`` names variables that other parts of the product read.

    Raises:
        InvalidArgument: with every problem at once, each naming its variable.
    """
    problems: list[FieldViolation] = []
    known = set(elsewhere)
    filled = [_fill(kind, env, known, problems) for kind in kinds]
    problems += [
        FieldViolation(name, "is no setting of Argy; was another meant?")
        for name in sorted(env)
        if name.startswith(PREFIX) and name not in known
    ]
    if problems:
        told = "; ".join(f"{problem.field} {problem.description}" for problem in problems)
        raise InvalidArgument(told, reason="CONFIG_INVALID", violations=problems)
    return tuple(kind(**values) for kind, values in zip(kinds, filled, strict=True))


def _fill(
    kind: type[Any], env: Mapping[str, str], known: set[str], problems: list[FieldViolation]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        name = str(field.metadata["env"])
        known |= {name, f"{name}_FILE"}
        try:
            text = _text(name, env)
            if text is not None:
                values[field.name] = _parse(hints[field.name], text)
            elif field.default is dataclasses.MISSING:
                problems.append(FieldViolation(name, f"is required: {field.metadata['help']}"))
        except (ValueError, FailedPrecondition) as error:
            problems.append(FieldViolation(name, str(error)))
    return values


def table(kind: type[Any]) -> list[tuple[str, str, str]]:
    """The settings of ``kind`` as (variable, default, help), for people."""
    return [
        (str(field.metadata["env"]), _default(field.default), str(field.metadata["help"]))
        for field in dataclasses.fields(kind)
    ]


def _default(value: Any) -> str:
    """A default as the variable would hold it."""
    if value is dataclasses.MISSING:
        return "required"
    if value is None or value == "":
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(name: str, env: Mapping[str, str]) -> str | None:
    file = env.get(f"{name}_FILE")
    if file is None:
        return env.get(name)
    if name in env:
        raise ValueError(f"is given twice, by itself and by {name}_FILE")
    content = read_secret(Path(file))
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        # Without what was read: it may be most of a secret.
        raise ValueError(f"{name}_FILE is not UTF-8") from None


def _parse(hint: Any, text: str) -> Any:
    if get_origin(hint) is types.UnionType:
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    if hint is bool:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise ValueError(f"must be true or false, not {text[:20]!r}")
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise ValueError(f"must be a number, not {text[:20]!r}") from None
    if hint is Path:
        return Path(text).expanduser()
    return text

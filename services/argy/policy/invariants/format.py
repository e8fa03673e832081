"""What a file of invariants holds, as typed values, and the JSON Schema for editors."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec

from argy.policy.errors import PolicyError, Problem
from argy.policy.globs import MAX_STARS
from argy.policy.rows import SLUG
from argy.policy.yaml_lines import Document, collected, convert_single

MAX_INVARIANTS: Final = 1_000
_DOMAIN: Final = re.compile(rf"\*|{SLUG}(?:/{SLUG})?")
_MAX_GLOB: Final = 512
_FOLDER: Final = "invariants/"
_SCHEMA_ID: Final = "https://argy.dev/schemas/policy-invariants.json"

Globs = str | Annotated[list[str], msgspec.Meta(min_length=1)]


class Never(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What nobody, or none of ``roles``, has a way to be allowed.

    ``roles`` and ``not_roles`` are globs over roles and services. ``not_roles`` excepts those that
    match, and whoever inherits one of them. ``unless: conditional`` tolerates what is denied at
    least when some condition falls one way.
    """

    action: Globs
    resource: Globs
    roles: list[str] = []
    not_roles: list[str] = []
    unless: Literal["", "conditional"] = ""


class Only(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nobody but ``roles``, and whoever inherits one of them, may do this."""

    roles: Annotated[list[str], msgspec.Meta(min_length=1)]
    action: Globs
    resource: Globs


class Invariant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One statement: exactly one of ``never``, ``only``, ``separation`` and ``tenant_isolation``.

    ``combined`` also checks subjects with two roles; ``domain`` narrows to a tenant or an org.
    ``separation`` lists duties ("action resource") of which one subject may have one only: on the
    same object, or with ``same_object: false`` at all.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    why: str = ""
    never: Never | None = None
    only: Only | None = None
    separation: list[Annotated[list[str], msgspec.Meta(min_length=2)]] = []
    tenant_isolation: bool = False
    combined: bool = False
    same_object: bool = True
    domain: str = "*"


class InvariantFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file under ``invariants/``."""

    invariants: list[Invariant]


@dataclass(frozen=True, slots=True)
class Placed:
    """An invariant with its place."""

    invariant: Invariant
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Duty:
    """An action on a resource, both globs."""

    act: str
    obj: str


def read_invariants(files: Mapping[str, str]) -> list[Placed]:
    """The invariants among a policy's files ({path: text}), in the order of files and lines.

    Raises:
        PolicyError: naming the file and line of everything that is wrong.
    """
    texts = {
        name: files[name]
        for name in sorted(files)
        if name.startswith(_FOLDER) and name.endswith(".yaml")
    }
    read, problems = collected(texts, _read)
    found = [placed for listed in read.values() for placed in listed]
    names: dict[str, Placed] = {}
    for placed in found:
        first = names.setdefault(placed.invariant.name, placed)
        if first is not placed:
            told = f"{placed.invariant.name!r} is the name of {first.file}:{first.line} too"
            problems.append(Problem(placed.file, placed.line, told, "name it otherwise"))
    if len(found) > MAX_INVARIANTS:
        problems.append(Problem(_FOLDER, 0, f"more than {MAX_INVARIANTS} invariants", "merge some"))
    if problems:
        raise PolicyError(problems)
    return found


def invariant_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a file under ``invariants/``."""
    kinds, parts = msgspec.json.schema_components((InvariantFile,), ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": _SCHEMA_ID,
        "title": "Invariants of an Argy policy",
        **next(iter(kinds)),
        "$defs": dict(sorted(parts.items())),
    }


def schema_text() -> str:
    """The schema as it is printed."""
    return json.dumps(invariant_schema(), indent=2) + "\n"


def listed(globs: str | list[str]) -> list[str]:
    """One glob or several, as a list."""
    return [globs] if isinstance(globs, str) else globs


def duties(group: list[str]) -> list[Duty]:
    """The duties of one group of a separation."""
    return [Duty(*text.split()) for text in group]


def targets(invariant: Invariant) -> Iterator[Duty]:
    """Every pair of globs that an invariant speaks about."""
    for statement in (invariant.never, invariant.only):
        if statement is not None:
            for act in listed(statement.action):
                for obj in listed(statement.resource):
                    yield Duty(act, obj)
    for group in invariant.separation:
        yield from duties(group)


def _read(file: str, text: str) -> list[Placed]:
    value, document = convert_single(file, text, InvariantFile)
    problems: list[Problem] = []
    for number, invariant in enumerate(value.invariants):
        refuse = partial(_note, problems, file, document, number)
        kinds = (
            invariant.never is not None,
            invariant.only is not None,
            bool(invariant.separation),
            invariant.tenant_isolation,
        )
        if sum(kinds) != 1:
            refuse("it states not exactly one thing",
                   "write one of never, only, separation, tenant_isolation")  # fmt: skip
        if any(len(one.split()) != 2 for group in invariant.separation for one in group):
            refuse("a duty is not 'action resource'", "write two words")
            continue
        if not _DOMAIN.fullmatch(invariant.domain):
            refuse(f"bad domain {invariant.domain!r}", "write *, tenant or tenant/org")
        for duty in targets(invariant):
            if not _glob(duty.act) or ":" in duty.act:
                refuse(f"bad action {duty.act!r}", "write a verb, or a glob of verbs")
            if not _glob(duty.obj) or (":" not in duty.obj and duty.obj != "*"):
                refuse(f"bad resource {duty.obj!r}", "write type:id, type:* or *")
    if problems:
        raise PolicyError(problems)
    return [
        Placed(invariant, file, document.line("invariants", number))
        for number, invariant in enumerate(value.invariants)
    ]


def _note(
    problems: list[Problem], file: str, document: Document, number: int, message: str, fix: str
) -> None:
    line = document.line("invariants", number)
    problems.append(Problem(file, line, f"invariant {number + 1}: {message}", fix))


def _glob(text: str) -> bool:
    sound = text.isascii() and text.isprintable() and " " not in text and "**" not in text
    return sound and 0 < len(text) <= _MAX_GLOB and text.count("*") <= MAX_STARS

"""Loads a policy folder, or refuses it with everything that is wrong with it.

Known places: ``model.conf``, ``roles/*.csv``, ``services.csv``, ``tenants/<slug>/*.csv``,
``approvals/*.csv``; ``cases/*.yaml`` and ``invariants/*.yaml`` hold no rules, and a ``README.md``
may stand anywhere.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, cast

from argy.policy.approvals import approval_rules
from argy.policy.errors import PolicyError, Problem
from argy.policy.hierarchy import check_links
from argy.policy.interpreted import check_matcher
from argy.policy.model import Model, parse_model
from argy.policy.rows import SLUG, Place, Row, read_rows
from argy.policy.rules import Link, PolicySource, Rule
from argy.policy.texts import text_of

MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_FILES = 20_000
MAX_RULES = 200_000

_MODEL = "model.conf"
_ROLES = re.compile(r"roles/[A-Za-z0-9_.-]+\.csv")
_APPROVALS = re.compile(r"approvals/[A-Za-z0-9_.-]+\.csv")
_TENANT = re.compile(rf"tenants/({SLUG})/[A-Za-z0-9_.-]+\.csv")
_NO_RULES = re.compile(r"(?:.*/)?README\.md|(?:cases|invariants)/[A-Za-z0-9_./-]+\.yaml")


def load_policy(root: Path) -> PolicySource:
    """Read and check a policy folder.

    Raises:
        PolicyError: with every problem found; nothing is loaded then.
    """
    problems: list[Problem] = []
    files = _read(root, problems)
    if _MODEL not in files:
        problems.append(Problem(_MODEL, 0, "the model is missing", "add model.conf"))
        raise PolicyError(problems)
    try:
        model = parse_model(files[_MODEL], _MODEL)
    except PolicyError as error:
        raise PolicyError((*problems, *error.problems)) from None
    source = source_of(model, files, problems)
    if problems:
        raise PolicyError(problems)
    return source


def parse_policy(files: dict[str, str]) -> PolicySource:
    """Check a policy given as {path: text}, such as a bundle or an editor's buffers.

    Raises:
        PolicyError: with every problem found.
    """
    problems = [
        Problem(name, 0, "no rules are read from here", "see policy/README.md for the places")
        for name in files
        if name != _MODEL and _place(name) is None and not _NO_RULES.fullmatch(name)
    ]
    model = parse_model(files.get(_MODEL, ""), _MODEL)
    source = source_of(model, files, problems)
    if problems:
        raise PolicyError(problems)
    return source


def source_of(model: Model, files: dict[str, str], problems: list[Problem]) -> PolicySource:
    """Collect the rules and links of ``files``; add what is wrong with them to ``problems``."""
    digest = hashlib.sha256()
    rows: list[Row] = []
    for name in sorted(files):
        place = _place(name)
        if place is None and name != _MODEL:
            continue
        for part in (name.encode(), files[name].encode()):
            digest.update(len(part).to_bytes(8, "big") + part)
        if place is not None:
            rows.extend(read_rows(files[name], place, model, problems))
    if len(rows) > MAX_RULES:
        problems.append(Problem("", 0, f"more than {MAX_RULES} rules", "use roles and globs"))
    rules = tuple(_rules(rows, problems))
    if not model.compiled:
        problems.extend(check_matcher(model))
    links = tuple(
        Link(row.file, row.line, row.fields["child"], row.fields["parent"], row.fields["dom"])
        for row in rows
        if row.kind == "g"
    )
    defined = frozenset(rule.role for rule in rules)
    problems.extend(check_links(links, defined))
    known = defined | {name for link in links for name in (link.child, link.parent)}
    approvals = approval_rules(rows, {n for n in known if n.startswith("role:")}, problems)
    warnings = () if model.compiled else (
        f"{_MODEL}: the matcher is not one that compiles; every decision walks all "
        f"{len(rules)} rules on pycasbin",
    )  # fmt: skip
    return PolicySource(model, rules, links, digest.hexdigest(), warnings, approvals)


def _rules(rows: Iterable[Row], problems: list[Problem]) -> Iterator[Rule]:
    seen: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if row.kind != "p":
            continue
        fields = row.fields
        condition = "" if fields["cond"] == "true" else fields["cond"]
        key = (*(fields[name] for name in ("sub", "dom", "obj", "act", "eft")), condition)
        first = seen.setdefault(key, row)
        if first is not row:
            where = f"{first.file}:{first.line}"
            problems.append(Problem(row.file, row.line, f"the same rule as {where}", "remove one"))
            continue
        yield Rule(
            id=hashlib.sha256("\x1f".join(key).encode()).hexdigest()[:16],
            file=row.file,
            line=row.line,
            text=row.text,
            role=key[0],
            dom=key[1],
            obj=key[2],
            act=key[3],
            effect=cast(Literal["allow", "deny"], key[4]),
            condition=condition,
        )


def _place(name: str) -> Place | None:
    if name == "services.csv":
        return Place(name, services=True)
    if _ROLES.fullmatch(name):
        return Place(name)
    if _APPROVALS.fullmatch(name):
        return Place(name, approvals=True)
    if tenant := _TENANT.fullmatch(name):
        return Place(name, tenant=tenant[1])
    return None


def _read(root: Path, problems: list[Problem]) -> dict[str, str]:
    """The text of each file that holds rules, by its path under ``root``."""
    if not root.is_dir():
        raise PolicyError((Problem(str(root), 0, "not a folder", "name the policy's folder"),))
    files: dict[str, str] = {}
    base = root.resolve()
    for name, path in _walk(root):
        if len(files) >= MAX_FILES:
            problems.append(Problem(name, 0, f"more than {MAX_FILES} files", "merge files"))
            break
        if not path.resolve().is_relative_to(base):
            problems.append(Problem(name, 0, "a link out of the policy's folder", "copy the file"))
        elif _NO_RULES.fullmatch(name):
            continue
        elif name != _MODEL and _place(name) is None:
            fix = "use roles/, services.csv, tenants/<slug>/, approvals/ (*.csv) or cases/*.yaml"
            problems.append(Problem(name, 0, "no rules are read from here", fix))
        elif (text := _text(name, path, problems)) is not None:
            files[name] = text
    return files


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(root):
        # Kubernetes mounts a ConfigMap as links into a folder whose name begins with two dots.
        folders[:] = sorted(name for name in folders if not name.startswith(".."))
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in sorted((*names, *links)):
            path = Path(folder, name)
            if not name.startswith(".."):
                yield path.relative_to(root).as_posix(), path


def _text(name: str, path: Path, problems: list[Problem]) -> str | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            problems.append(Problem(name, 0, f"more than {MAX_FILE_BYTES} bytes", "split the file"))
            return None
        return text_of(name, data)
    except PolicyError as error:
        problems.extend(error.problems)
    except OSError as error:
        problems.append(Problem(name, 0, f"can't be read ({error.strerror})", "mend its mode"))
    return None

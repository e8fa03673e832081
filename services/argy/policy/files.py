"""The texts of a policy's files: from a folder, or from a git revision without a checkout of it."""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from argy.base.errors import FailedPrecondition, InvalidArgument, NotFound
from argy.policy.errors import PolicyError, Problem
from argy.policy.loader import MAX_FILE_BYTES, MAX_FILES
from argy.policy.texts import text_of

MAX_TOTAL_BYTES: Final = 64 * 1024 * 1024
_GIT_TIMEOUT_S: Final = 60
_MAX_TOLD: Final = 1_000
"""Characters of what git says of a failure."""
_SUFFIXES: Final = (".conf", ".csv", ".yaml")
_SAFE: Final = (
    "safe.bareRepository=explicit",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "log.showSignature=false",
    "core.quotePath=false",
)
"""A clone may hold a folder that looks like a bare repository, whose settings name a program."""
_ADDRESS: Final = re.compile(r"<([^\s<>]{1,254})>")
_LINK_MODES: Final = ("120000", "160000")
"""Symbolic links and submodules: what they lead to is not in the revision."""


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """A policy's files by path under its root, sorted; rules, approvals, cases and invariants."""

    files: Mapping[str, str]
    name: str
    """Where they come from, for people: a folder, or ``revision:folder``."""
    commit: str = ""
    """The git commit, 40 or 64 hexadecimal digits; empty for what is not (exactly) a commit."""
    commit_time_s: int = 0
    """The committer's time, seconds since the Unix epoch; 0 without a commit."""
    authors: tuple[str, ...] = ()
    """E-mail addresses of who wrote it, in lower case and sorted; empty when that is not known."""


def read_folder(root: Path) -> PolicyFiles:
    """Read a policy folder as it is on disk; see ``read_committed`` for its commit.

    Raises:
        PolicyError: for files that can't be read, aren't UTF-8, or are too large or too many.
    """
    if not root.is_dir():
        raise PolicyError((Problem(str(root), 0, "not a folder", "name the policy's folder"),))
    base = root.resolve()
    found: dict[str, bytes] = {}
    total = 0
    for path in _walk(root):
        name = path.relative_to(root).as_posix()
        if not path.resolve().is_relative_to(base):
            raise _refused(name, "a link out of the policy's folder", "copy the file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        total += len(data)
        _check_size(name, len(data), len(found), total)
        found[name] = data
    return PolicyFiles(_decoded(found), str(root))


def read_committed(root: Path) -> PolicyFiles:
    """The folder as it is on disk, with the commit that has these very files, if HEAD is one.

    git's own status is not asked: it is silent about files that are ignored or assumed unchanged.

    Raises:
        FailedPrecondition: when git can't answer; a folder in no repository asks it nothing.
        PolicyError: as ``read_folder``.
    """
    files = read_folder(root)
    if not _in_repository(root):
        return files
    try:
        head = read_revision(root, "HEAD")
    except (NotFound, PolicyError):
        return files
    if head.files != files.files:
        return files
    return replace(files, commit=head.commit, commit_time_s=head.commit_time_s)


def read_revision(root: Path, revision: str) -> PolicyFiles:
    """Read the folder ``root`` as it is in a git revision (``main``, ``HEAD~2``, a commit).

    Raises:
        NotFound: when there is no such revision, or no such folder in it; ``SHALLOW_CLONE`` when it
            may be in the part of the history that a shallow clone lacks.
        FailedPrecondition: when ``root`` is in no git repository, or git can't answer.
        PolicyError: as ``read_folder``.
    """
    top = _top(root)
    folder = root.resolve().relative_to(top.resolve()).as_posix()
    commit = _commit(top, revision)
    prefix = "" if folder == "." else f"{folder}/"
    listed = _git(top, "ls-tree", "-r", "-z", "-l", "--full-tree", commit, "--", folder)
    wanted: dict[str, str] = {}
    total = 0
    for entry in filter(None, listed.split("\0")):
        about, path = entry.split("\t", 1)
        mode, _, object_id, size = about.split()
        name = path.removeprefix(prefix)
        if not _is_policy(name):
            continue
        if mode in _LINK_MODES:
            raise _refused(name, "a link", "commit the file itself")
        total += int(size)
        _check_size(name, int(size), len(wanted), total)
        wanted[name] = object_id
    if not wanted:
        raise NotFound(f"revision {revision!r} has no policy in {folder}", field="revision")
    time_s = int(_git(top, "show", "-s", "--format=%ct", commit).strip())
    found = dict(zip(wanted, _blobs(top, wanted.values()), strict=True))
    return PolicyFiles(_decoded(found), f"{revision}:{folder}", commit, time_s)


def read_policy_files(root: Path, revision: str = "") -> PolicyFiles:
    """The folder as it is in ``revision``; as it is on disk when that is empty."""
    return read_revision(root, revision) if revision else read_folder(root)


def merge_base(root: Path, base: str) -> str:
    """What a change is compared with: the commit that HEAD and ``base`` have in common.

    It is ``base`` as it was given where that is the commit, or where they have none in common: what
    others did on ``base`` meanwhile is no part of the change.

    Raises:
        NotFound, FailedPrecondition: as ``read_revision``.
    """
    top = _top(root)
    commit, head = _commit(top, base), _commit(top, "HEAD")
    common = _answer(top, "merge-base", commit, head)
    if not common and _is_shallow(top):
        raise _cut_off(f"what {base!r} and HEAD have in common")
    return base if common in ("", commit) else common


def read_authors(root: Path, commit: str, since: str = "") -> tuple[str, ...]:
    """The e-mail addresses of who wrote the folder's commits after ``since`` up to ``commit``.

    Authors, and co-authors by the trailer of that name, in lower case and sorted: what commits say,
    which nobody has proved. Without ``since``, or where this repository never had it, of the last
    commit that changed the folder. Empty for a folder in no repository.

    Raises:
        NotFound: ``SHALLOW_CLONE``: some of the authors may be in what it lacks.
        FailedPrecondition: when git can't answer.
    """
    if not _in_repository(root):
        return ()
    if _is_shallow(root):
        raise _cut_off("who wrote the policy")
    if since and _answer(root, "rev-parse", "--verify", "--quiet", f"{since}^{{commit}}"):
        return _addresses(root, f"{since}..{commit}")
    return _addresses(root, commit, "--max-count=1")


def _is_policy(name: str) -> bool:
    parts = name.split("/")
    return name.endswith(_SUFFIXES) and not any(part.startswith(".") for part in parts)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if _is_policy(path.relative_to(root).as_posix()):
                yield path


def _check_size(name: str, size: int, files: int, total: int) -> None:
    if size > MAX_FILE_BYTES:
        raise _refused(name, f"more than {MAX_FILE_BYTES} bytes", "split the file")
    if files >= MAX_FILES:
        raise _refused(name, f"more than {MAX_FILES} files", "merge files")
    if total > MAX_TOTAL_BYTES:
        raise _refused(name, f"more than {MAX_TOTAL_BYTES} bytes in all", "use roles and globs")


def _decoded(found: Mapping[str, bytes]) -> dict[str, str]:
    return {name: text_of(name, found[name]) for name in sorted(found)}


def _in_repository(root: Path) -> bool:
    place = root.resolve()
    return any((at / ".git").exists() for at in (place, *place.parents))


def _top(root: Path) -> Path:
    where = root if root.is_dir() else root.absolute().parent
    return Path(_git(where, "rev-parse", "--show-toplevel").strip())


def _commit(top: Path, revision: str) -> str:
    if not revision or revision.startswith("-"):
        raise InvalidArgument(f"{revision!r} is not a git revision", field="revision")
    name = f"{revision}^{{commit}}"
    if found := _answer(top, "rev-parse", "--verify", "--quiet", "--end-of-options", name):
        return found
    if _is_shallow(top):
        raise _cut_off(f"the revision {revision!r}")
    raise NotFound(
        f"there is no git revision {revision!r} in this clone: `git fetch` gets what others pushed",
        field="revision",
    )


def _is_shallow(where: Path) -> bool:
    return _git(where, "rev-parse", "--is-shallow-repository").strip() == "true"


def _cut_off(what: str) -> NotFound:
    return NotFound(
        f"this clone is shallow and may lack {what}: run `git fetch --unshallow` (and `git fetch "
        "origin BRANCH` for another branch); in CI, fetch-depth: 0 of actions/checkout, or "
        'GIT_DEPTH: "0" on GitLab',
        reason="SHALLOW_CLONE",
        field="revision",
    )


def _addresses(root: Path, commits: str, *options: str) -> tuple[str, ...]:
    """Who wrote what ``root`` became by some commits.

    A merge that took one side as it was is nobody's writing; one that joined two is its author's.
    """
    told = _git(
        root,
        "log",
        "--format=<%ae>%n%(trailers:key=Co-authored-by,valueonly)",
        *options,
        "--end-of-options",
        commits,
        "--",
        ".",
    )
    return tuple(sorted({found.lower() for found in _ADDRESS.findall(told)}))


def _blobs(top: Path, object_ids: Iterable[str]) -> Iterator[bytes]:
    asked = "".join(f"{object_id}\n" for object_id in object_ids).encode()
    data = _run(top, ("cat-file", "--batch"), asked)
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        size = int(data[at:end].rsplit(b" ", 1)[1])
        yield data[end + 1 : end + 1 + size]
        at = end + size + 2


def _answer(where: Path, *arguments: str) -> str:
    """What git answers to a question whose answer may be none; empty then."""
    return _run(where, arguments, b"", none=1).decode("utf-8", "surrogateescape").strip()


def _git(where: Path, *arguments: str) -> str:
    return _run(where, arguments, b"").decode("utf-8", "surrogateescape")


def _run(where: Path, arguments: tuple[str, ...], given: bytes, none: int = 0) -> bytes:
    """Run git; its hooks, pagers and prompts are off, and only ``where``'s repository counts.

    It fails in its own words, but where it ends with ``none`` and says nothing.
    """
    safe = (word for setting in _SAFE for word in ("-c", setting))
    command = ("git", "-C", str(where), *safe, "--no-pager", "--no-replace-objects", *arguments)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - git itself, arguments are no shell text
            command,
            input=given,
            capture_output=True,
            check=False,
            timeout=_GIT_TIMEOUT_S,
            env={**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise FailedPrecondition("git is not installed", reason="GIT_MISSING") from error
    except subprocess.TimeoutExpired as error:
        raise FailedPrecondition("git did not answer in time", reason="GIT_TIMEOUT") from error
    told = " ".join(done.stderr.decode("utf-8", "replace").split())[:_MAX_TOLD]
    if done.returncode and (told or done.returncode != none):
        raise FailedPrecondition(f"git {arguments[0]}: {told or 'failed'}", reason="GIT_FAILED")
    return done.stdout


def _refused(name: str, message: str, fix: str) -> PolicyError:
    return PolicyError((Problem(name, 0, message, fix),))

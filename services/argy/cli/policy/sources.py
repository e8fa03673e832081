"""The policies that a command compares: a git revision, a folder, or the working tree."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argy.policy.compiled import CompiledPolicy
    from argy.policy.files import PolicyFiles


def read_policy(folder: Path, revision: str) -> "tuple[PolicyFiles, CompiledPolicy]":
    """The folder's files in a git revision (empty: as on disk), and the policy that they are.

    Raises:
        NotFound: when there is no such revision.
        PolicyError: when it can't be loaded.
    """
    from argy.policy.compiled import compile_policy
    from argy.policy.files import read_policy_files
    from argy.policy.loader import parse_policy

    files = read_policy_files(folder, revision)
    return files, compile_policy(parse_policy(dict(files.files)))


def read_proposed(folder: Path, proposed: str) -> "tuple[PolicyFiles, CompiledPolicy]":
    """As ``read_policy``; ``proposed`` may also be another policy folder."""
    if proposed and Path(proposed, "model.conf").is_file():
        return read_policy(Path(proposed), "")
    return read_policy(folder, proposed)


def compared(folder: Path, base: str, head: str) -> tuple[str, tuple[str, str]]:
    """The revision to compare with, and what both sides are called.

    ``base`` itself where ``head`` is named; for the working tree what it has in common with
    ``base``, so that what happened there meanwhile is not taken for lost. Raises as ``merge_base``.
    """
    from argy.policy.files import merge_base

    if head:
        return base, (base, head)
    since = merge_base(folder, base)
    told = base if since == base else f"{since[:12]}, merge base of {base}"
    return since, (told, "working tree")

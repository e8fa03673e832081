"""Rules about one tenant in shared files, and tenants that lean on another's roles."""

from collections.abc import Iterator
from typing import Final

from argy.policy.findings import Finding
from argy.policy.lint import ids
from argy.policy.lint.scope import Scope, found
from argy.policy.rules import Link, Rule

_SERVICES: Final = "services.csv"


def check_tenants(scope: Scope) -> Iterator[Finding]:
    """Rows that one tenant's reviewers would not find, or that reach into another tenant."""
    homes: dict[str, set[str]] = {}
    for rule in scope.source.rules:
        homes.setdefault(rule.role, set()).add(_tenant(rule.file))
    rows: tuple[Rule | Link, ...] = (*scope.source.rules, *scope.source.links)
    for row in rows:
        home, named = _tenant(row.file), row.dom.partition("/")[0]
        # Services stand in one file, whichever tenant they serve.
        if not home and named != "*" and row.file != _SERVICES:
            message = f"a shared file speaks about tenant {named}"
            yield found(ids.MISPLACED_TENANT, row, message, f"move it to tenants/{named}/")
    for link in scope.source.links:
        home, owners = _tenant(link.file), homes.get(link.parent, set())
        if home and owners and not owners & {"", home}:
            told = ", ".join(sorted(owners))
            message = f"{link.parent} has rules in tenant {told} only"
            yield found(ids.FOREIGN_ROLE, link, message)


def _tenant(file: str) -> str:
    """The tenant that a file belongs to; empty for the files of all tenants."""
    parts = file.split("/")
    return parts[1] if parts[0] == "tenants" and len(parts) > 2 else ""

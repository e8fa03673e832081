"""The audit log's service, as a server process knows it."""

from dataclasses import dataclass
from typing import Final

from argy.audit.main import assemble
from argy.base.config import setting
from argy.serving.area import Area, Deps, Services


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What it needs beside what every server has."""

    dsn: str = setting("AUDIT_DSN", "Postgres, as the audit service's login", default="")


async def _assemble(deps: Deps[AuditSettings]) -> Services:
    process = deps.process
    return assemble(db=deps.db, lane=process.lane, pages=process.pages, clock=process.clock)


AREA: Final = Area(name="audit", settings=AuditSettings, assemble=_assemble)

"""The directory, as a server process knows it."""

from dataclasses import dataclass
from typing import Final

from argy.base.config import setting
from argy.directory.main import assemble
from argy.serving.area import Area, Deps, Services


@dataclass(frozen=True, slots=True)
class DirectorySettings:
    """What it needs beside what every server has."""

    dsn: str = setting("DIRECTORY_DSN", "Postgres, as the directory's login", default="")


async def _assemble(deps: Deps[DirectorySettings]) -> Services:
    process = deps.process
    return assemble(db=deps.db, access=process.access, pages=process.pages, clock=process.clock)


AREA: Final = Area(name="directory", settings=DirectorySettings, assemble=_assemble)

"""The example, as a server process knows it."""

from dataclasses import dataclass
from typing import Final

from argy.api.example.v1 import note_pb2
from argy.example.service import NoteService

from argy.base.config import setting
from argy.serving.area import Area, Deps, Services


@dataclass(frozen=True, slots=True)
class ExampleSettings:
    """What it needs beside what every server has."""

    dsn: str = setting("EXAMPLE_DSN", "Postgres, as the example's login", default="")


async def _assemble(deps: Deps[ExampleSettings]) -> Services:
    return ((NoteService(deps.db), note_pb2.DESCRIPTOR.services_by_name["NoteService"]),)


AREA: Final = Area(name="example", settings=ExampleSettings, assemble=_assemble)

"""One service area, as its ``area.py`` exports it and ``argy serve`` knows it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.descriptor import ServiceDescriptor

from argy.base.errors import InvalidArgument
from argy.serving.process import Process
from argy.store.database import Database
from argy.store.redis import RedisStore
from argy.store.redis_acl import Purpose

Services = tuple[tuple[object, ServiceDescriptor], ...]
"""Servicers with the descriptor of the service that each implements."""


class AreaSettings(Protocol):
    """The settings of an area: ``dsn``, of its own login, is ``ARGY_<NAME>_DSN``.

    ``redis_url``, where it has one, is Redis as its own user.
    """

    @property
    def dsn(self) -> str:
        """Postgres, as the area's login; empty in a process that serves it not."""
        ...


Settings = TypeVar("Settings", bound=AreaSettings)


@dataclass(frozen=True, slots=True)
class Deps(Generic[Settings]):
    """What an area is assembled from. What it opens, it hands to ``process`` to be closed."""

    process: Process
    settings: Settings
    db: Database
    """Acts as the area's role."""
    redis: RedisStore
    """As the area's user; the process's own where the area has no use of its own."""


def _nothing(process: Process, settings: Any) -> None:
    """Most areas leave nothing in processes that serve them not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area(Generic[Settings]):
    """``assemble`` makes its services; the process starts and closes what it is handed.

    ``check`` refuses settings before anything is opened. ``elsewhere`` is called in a process that
    does not serve the area, and offers what others need of it (who decides, who verifies callers).
    """

    name: str
    """Its folder, its proto package, and the destination of signed calls to it."""
    settings: type[Settings]
    assemble: Callable[[Deps[Settings]], Awaitable[Services]]
    check: Callable[[Settings], None] = lambda _: None
    elsewhere: Callable[[Process, Settings], None] = _nothing
    redis: tuple[Purpose, ...] = ()
    """What it uses Redis for, beside what every server does."""
    by_default: bool = True
    """Whether it is served when nothing is named."""

    @property
    def role(self) -> str:
        """The database role that it acts as."""
        return f"argy_{self.name}"

    @property
    def variable(self) -> str:
        """Its part of the names of variables."""
        return f"ARGY_{self.name.upper()}"

    async def join(self, process: Process, settings: Settings) -> Services:
        """Open what the area needs, and assemble it."""
        db = await process.database(settings.dsn, self.role)
        redis = process.redis
        if self.redis:
            redis = await process.redis_store(
                self.redis_url(settings) or process.settings.redis_url
            )
        return await self.assemble(Deps(process, settings, db, redis))

    def redis_url(self, settings: Settings) -> str:
        """Redis as the area's own user; empty when it has none."""
        return str(getattr(settings, "redis_url", ""))

    def must_have(self, settings: Settings, common: Any) -> None:
        """Refuse to serve it without its database and its Redis; raises InvalidArgument."""
        if not settings.dsn:
            raise InvalidArgument(f"to serve {self.name} set {self.variable}_DSN", field="services")
        if self.redis and not (self.redis_url(settings) or common.redis_url):
            raise InvalidArgument(
                f"to serve {self.name} set ARGY_REDIS_URL, or {self.variable}_REDIS_URL",
                field="services",
            )
        self.check(settings)

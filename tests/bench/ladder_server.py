"""The platform's server, built up rung by rung: each rung has all that the ones below it have.

Run as ``python ladder_server.py SETTINGS``, a file of ``Settings`` in JSON: prints its port and
serves until it is killed.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import grpc
import uvloop
from stages import Fresh, Known, views_of

from argy.api.authz.v1 import authz_pb2
from argy.authz.access import LocalAccess
from argy.authz.decision_log import DecisionLog
from argy.authz.service import AuthzService
from argy.authz.shadow.evaluation import Shadow
from argy.authz.wire import DecisionEncoder
from argy.base.clock import SystemClock
from argy.base.crypto import KeyRing
from argy.local.tuning import let_threads_finish, spare_the_collector
from argy.rpc.pair_keys import RootKeys
from argy.rpc.requests import Methods, Requests
from argy.rpc.server import Server, ServerConfig
from argy.rpc.stages import Dependencies
from argy.rpc.telemetry import Telemetry
from argy.rpc.tls import ServerTls
from argy.store.database import Database
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore
from argy.store.tenants import TenantInfo
from argy.trail.lane import AuditLane

RUNGS: Final = ("receive", "chain", "decide", "replay", "log")
PATH: Final = "/argy.api.authz.v1.AuthzService/"


@dataclass(frozen=True)
class Settings:
    """What a rung is made of."""

    rung: str
    certificate: str
    key: str
    key_ring: str
    redis_url: str
    dsn: str
    spool: str
    tenant_id: str
    subject: str
    batch: int


class _Answers:
    """Answers what a real service would, without deciding."""

    def __init__(self, one: bytes, many: bytes) -> None:
        self._one, self._many = one, many

    def __getattr__(self, name: str) -> Any:
        async def answer(_request: object, _context: object) -> bytes:
            return self._many if name == "BatchCheck" else self._one

        return answer


class _Silent:
    """A decision log that keeps nothing."""

    def require_room(self, *_: object) -> int:
        """There is."""
        return 0

    def put(self, *_: object) -> None:
        """Forget it."""


async def _bare(settings: Settings, answers: _Answers) -> int:
    """Receive as the platform does, check nothing."""
    requests = Requests(10.0)

    def handler(name: str) -> Any:
        answer = getattr(answers, name)

        async def unary(_: object, context: Any) -> bytes:
            await requests.receive(context)
            made: bytes = await answer(None, context)
            return made

        return grpc.stream_unary_rpc_method_handler(unary, None, None)

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    methods = Methods({PATH + name: handler(name) for name in ("Check", "BatchCheck")})
    server.add_generic_rpc_handlers((methods,))
    tls = ServerTls(Path(settings.certificate), Path(settings.key))
    port = server.add_secure_port("localhost:0", tls.credentials())
    await server.start()
    _KEPT.append(server)
    return port


_KEPT: Final[list[object]] = []
"""Servers are stopped when nobody holds them."""


async def _guarded(settings: Settings, answers: _Answers) -> int:
    """The chain, and what the rung asks for of the rest."""
    level, clock = RUNGS.index(settings.rung), SystemClock()
    views: Any = views_of(UUID(settings.tenant_id), settings.subject)
    log: Any = _Silent()
    nonces: Any = Fresh()
    if level >= RUNGS.index("replay"):
        nonces = NonceCache(await RedisStore.open(settings.redis_url))
    if level >= RUNGS.index("log"):
        database = await Database.open(settings.dsn, role="argy_authz")
        lane = AuditLane(database, Path(settings.spool))
        await lane.start()
        log = DecisionLog(lane)
        await log.start()
    nobody: Any = None
    service: Any = answers
    if level >= RUNGS.index("decide"):
        service = AuthzService(
            snapshots=views,
            log=log,
            watch=nobody,
            subjects=nobody,
            listing=nobody,
            shadow=Shadow(clock),
            clock=clock,
        )
    known: Any = Known(TenantInfo(UUID(settings.tenant_id), "acme", "ACTIVE"))
    tls = ServerTls(Path(settings.certificate), Path(settings.key))
    server = Server(
        ServerConfig(listen="localhost:0", tls=tls),
        Dependencies(
            keys=RootKeys(KeyRing.load(Path(settings.key_ring))),
            nonces=nonces,
            tenants=known,
            access=LocalAccess(views, clock),
            audit=nobody,
            clock=clock,
            telemetry=Telemetry(),
            max_request_bytes=4 << 20,
        ),
    )
    server.add(service, authz_pb2.DESCRIPTOR.services_by_name["AuthzService"])
    _KEPT.append(server)
    return await server.start()


def _answers(settings: Settings) -> _Answers:
    views = views_of(UUID(settings.tenant_id), settings.subject)
    view = views.peek(UUID(settings.tenant_id))
    decision = view.snapshot.check(settings.subject, "", "project:p0", "deploy", None, 0)
    field = DecisionEncoder().field(decision)
    return _Answers(field + view.trailer, field * settings.batch + view.trailer)


async def serve(settings: Settings) -> None:
    """Serve one rung."""
    let_threads_finish()
    start = _bare if settings.rung == "receive" else _guarded
    port = await start(settings, _answers(settings))
    spare_the_collector()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(Settings(**json.loads(Path(sys.argv[1]).read_text()))))

"""Keeps replicas current: one stream a tenant, for as long as it takes, through every restart."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final

from argy.api.authz.v1 import replication_pb2 as pb
from argy.api.authz.v1.replication_pb2_grpc import ReplicationServiceStub
from argy.base.errors import ArgyError
from argy.client.connection import Connection
from argy.client.replica import PolicyReader, TenantReplica

_STREAM_S: Final = 3_500.0
"""A stream ends by itself before the server's limit of an hour; a new one takes over at once."""
_FIRST_S: Final = 10.0
"""The first message may take as long as loading a large tenant does."""
_BACKOFF_S: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)

Applied = Callable[[bool], None]
"""Told of each message; True when the snapshot is a new one."""


class Replicator:
    """Streams of one connection. A policy that does not verify is never used: the stream ends."""

    def __init__(
        self, connection: Connection, reader: PolicyReader, *, max_silence_s: float
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._max_silence_s = max_silence_s

    async def keep(self, replica: TenantReplica, applied: Applied) -> None:
        """Keep ``replica`` current until cancelled; what breaks a stream is in its ``problem``."""
        attempt = 0
        while True:
            try:
                async with aclosing(self._stream(replica)) as messages:
                    async for message in messages:
                        applied(await self._apply(replica, message))
                        attempt = 0
            except TimeoutError:
                replica.problem = "nothing was heard for too long"
            except ArgyError as error:
                replica.problem = f"{error.message} [{error.reason}]"
            except (ValueError, KeyError, TypeError) as error:
                replica.problem = f"the stream can't be read: {error}"
            replica.forget()
            wait_s = _BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)]
            attempt += 1
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret

    async def _stream(self, replica: TenantReplica) -> AsyncGenerator[pb.ReplicateResponse, None]:
        verified = replica.policy
        request = pb.ReplicateRequest(
            bundle_digest=verified.digest if verified else "",
            sequence=verified.sequence if verified else 0,
        )
        stub: Any = ReplicationServiceStub(self._connection.channel(replica.tenant_id))
        limit_s = _FIRST_S
        async with aclosing(stub.Replicate(request, timeout=_STREAM_S)) as messages:
            while True:
                async with asyncio.timeout(limit_s):
                    message = await anext(messages, None)
                if message is None:
                    return
                limit_s = max(self._max_silence_s, 2.0)
                yield message

    async def _apply(self, replica: TenantReplica, message: pb.ReplicateResponse) -> bool:
        kind = message.WhichOneof("change")
        rebuild = False
        if kind == "revocations":
            # Says nothing of the facts, which have heartbeats of their own.
            replica.tokens.collect(message.revocations, time.monotonic())
            replica.problem = ""
            return False
        if kind == "policy":
            replica.policy = await asyncio.to_thread(
                self._reader.read, message.policy, replica.policy
            )
            # Facts that are half here, or may be old, wait for what comes next.
            rebuild = replica.whole
        elif kind == "facts":
            rebuild = replica.collect(message.facts)
        if rebuild:
            build = replica.builder()
            replica.install(await asyncio.to_thread(build) if replica.large else build())
        replica.hear(time.monotonic())
        replica.problem = ""
        return rebuild

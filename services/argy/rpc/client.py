"""A channel that signs: works with the generated stubs, and retries what may be retried.

gRPC's own retries resend the same metadata, the nonce with it, and would be refused as a replay:
they are off, and each attempt here is signed anew.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, Protocol
from uuid import UUID

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from argy.base.errors import ArgyError, FailedPrecondition, Unauthenticated, Unavailable
from argy.rpc.call import SUBJECT_HEADER
from argy.rpc.declarations import destination_of, is_read_only
from argy.rpc.errors import from_rpc_error
from argy.rpc.pair_keys import PairKeys
from argy.rpc.signature import HEADER, NONCE_BYTES, Subject, covered, sign
from argy.rpc.tls import ClientTls

Metadata = Sequence[tuple[str, str]]

DEFAULT_TIMEOUT_S: Final = 5.0
ATTEMPTS: Final = 3
_BACKOFF_S: Final = 0.05
_OPTIONS: Final = (
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # By its name a pause, by its work the time that a connection may take to come about.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class Bearer(Protocol):
    """Whose access token goes with each call, beside the signature of the service."""

    def token(self, tenant_id: UUID) -> str:
        """The token for a call of a tenant; raises FailedPrecondition when it is another's."""
        ...

    def renew(self, error: Unauthenticated) -> bool:
        """Whether there is another token after this refusal, with which to try once more."""
        ...


class SignedChannel(grpc.aio.Channel):
    """Signs every call of one service, for one tenant and org, over one connection.

    Pass it to a generated stub in place of a channel. Calls raise ``argy.base.errors``. A call that
    finds the server unavailable is tried up to three times within its timeout when it changes
    nothing, or carries a ``request_id`` that makes it idempotent.
    """

    def __init__(
        self,
        target: str,
        *,
        source: str,
        keys: PairKeys,
        tenant_id: UUID,
        org_id: UUID | None = None,
        tls: ClientTls | None = None,
        unsafe_plaintext: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        if tls is None and not unsafe_plaintext:
            raise FailedPrecondition(
                "give the CA to trust, or say unsafe_plaintext", reason="TLS_REQUIRED"
            )
        merged = (*_OPTIONS, *options)
        self._channel = (
            grpc.aio.secure_channel(target, tls.credentials(), options=merged)
            if tls
            else grpc.aio.insecure_channel(target, options=merged)
        )
        self._source = source
        self._keys = keys
        self._timeout_s = timeout_s
        self._tenant = str(tenant_id)
        self._org = str(org_id) if org_id else ""
        self._subject = ""
        self._bearer: Bearer | None = None

    def for_tenant(
        self,
        tenant_id: UUID,
        org_id: UUID | None = None,
        *,
        subject: str = "",
        bearer: Bearer | None = None,
    ) -> "SignedChannel":
        """The same connection for another tenant or org; cheap.

        ``bearer`` has the token of whom the calls are made by. Without one, ``subject`` is whom the
        service acts for, which needs ``act_for`` on ``authz.subject:…``; that subject's own
        permissions then decide.
        """
        view = object.__new__(SignedChannel)
        view.__dict__.update(self.__dict__)
        view._tenant = str(tenant_id)
        view._org = str(org_id) if org_id else ""
        view._subject = subject
        view._bearer = bearer
        return view

    async def serving(self, timeout_s: float) -> bool:
        """Whether the server says that it is ready (grpc.health.v1), which needs no signature."""
        check = health_pb2_grpc.HealthStub(self._channel).Check
        try:
            response = await check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return False
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self, grace: float | None = None) -> None:
        """Close the connection of this channel and all its views; ``grace`` in seconds."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The connection's state."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Until the connection's state is another one."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Until the connection stands."""
        await self._channel.channel_ready()

    async def __aenter__(self) -> "SignedChannel":
        """The channel itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    def unary_unary(  # type: ignore[override]
        self,
        method: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        _registered_method: bool = False,
    ) -> Callable[..., Awaitable[Any]]:
        """What a generated stub asks for: a signed call of ``method``."""
        raw = self._channel.unary_unary(method, None, response_deserializer)
        read_only = is_read_only(method)
        destination = destination_of(method)

        async def call(
            request: Any,
            *,
            timeout: float | None = None,  # noqa: ASYNC109 - as gRPC's stubs name it
            metadata: Metadata = (),
        ) -> Any:
            body = request_serializer(request)
            limit_s = self._timeout_s if timeout is None else timeout
            ends_s = time.monotonic() + limit_s
            retryable = read_only or bool(getattr(request, "request_id", ""))
            attempt = 1
            while True:
                try:
                    return await raw(
                        body,
                        timeout=max(ends_s - time.monotonic(), 0.001),
                        metadata=self._signed(method, destination, body, metadata, False),
                    )
                except grpc.aio.AioRpcError as error:
                    ours = from_rpc_error(error)
                if isinstance(ours, Unauthenticated) and attempt == 1 and self._renewed(ours):
                    # Nothing was done for who was not believed: any method may be tried again.
                    attempt += 1
                    continue
                if not (retryable and isinstance(ours, Unavailable) and attempt < ATTEMPTS):
                    raise ours
                await _back_off(ours, attempt, ends_s)
                attempt += 1

        return call

    def unary_stream(  # type: ignore[override]
        self,
        method: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        _registered_method: bool = False,
    ) -> Callable[..., AsyncIterator[Any]]:
        """What a generated stub asks for: a signed call whose answer streams; never retried."""
        raw = self._channel.unary_stream(method, None, response_deserializer)
        destination = destination_of(method)

        async def call(
            request: Any,
            *,
            timeout: float | None = None,  # noqa: ASYNC109 - as gRPC's stubs name it
            metadata: Metadata = (),
        ) -> AsyncIterator[Any]:
            body = request_serializer(request)
            responses = raw(
                body,
                timeout=self._timeout_s if timeout is None else timeout,
                metadata=self._signed(method, destination, body, metadata, True),
            )
            try:
                async for response in responses:
                    yield response
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error
            finally:
                responses.cancel()

        return call

    def stream_unary(  # type: ignore[override]
        self, method: str, *_: Any, **__: Any
    ) -> Callable[..., Any]:
        """Refused: no signature covers a stream of requests."""
        return _refused(method)

    def stream_stream(  # type: ignore[override]
        self, method: str, *_: Any, **__: Any
    ) -> Callable[..., Any]:
        """Refused: no signature covers a stream of requests."""
        return _refused(method)

    def _renewed(self, error: Unauthenticated) -> bool:
        return self._bearer is not None and self._bearer.renew(error)

    def _signed(
        self, method: str, destination: str, body: bytes, extra: Metadata, streams: bool
    ) -> Metadata:
        metadata = [("x-tenant-id", self._tenant), *extra]
        if self._org:
            metadata.append(("x-org-id", self._org))
        if self._subject:
            metadata.append((SUBJECT_HEADER, self._subject))
        if self._bearer is not None:
            token = self._bearer.token(UUID(self._tenant))
            metadata.append(("authorization", f"Bearer {token}"))
        subject = Subject(
            method=method,
            source=self._source,
            destination=destination,
            tenant=self._tenant,
            org=self._org,
            metadata=covered(metadata),
            streams=streams,
        )
        header = sign(
            subject,
            body,
            keys=self._keys,
            now_ms=time.time_ns() // 1_000_000,
            nonce=os.urandom(NONCE_BYTES),
        )
        metadata.append((HEADER, header))
        return tuple(metadata)


async def _back_off(error: ArgyError, attempt: int, ends_s: float) -> None:
    """Wait before the next attempt as the server asks, or by doubling with jitter.

    Raises:
        ArgyError: the error itself, when the timeout would pass meanwhile.
    """
    wait_s = (
        error.retry_after_ms / 1000
        if error.retry_after_ms is not None
        else _BACKOFF_S * 2**attempt * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
    )
    if time.monotonic() + wait_s >= ends_s:
        raise error
    await asyncio.sleep(wait_s)


def _refused(method: str) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise FailedPrecondition(
            f"{method} streams its request, which no signature covers",
            reason="STREAM_UNSIGNED",
        )

    return call

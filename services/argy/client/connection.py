"""The signed connection of one internal service to the platform."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from argy.base.errors import FailedPrecondition, InvalidArgument
from argy.base.ids import PLATFORM_TENANT_ID
from argy.rpc.client import SignedChannel
from argy.rpc.pair_keys import IssuedKeys
from argy.rpc.tls import ClientTls


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the platform is, and the files with which to reach it.

    ``keys_file`` is what ``argy keys issue`` wrote for this service. Without ``ca_file`` the
    connection is refused, unless ``unsafe_plaintext`` says that something else encrypts it.
    """

    target: str
    source: str
    keys_file: str
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    unsafe_plaintext: bool = False

    @classmethod
    def from_env(cls, *, source: str, env: Mapping[str, str] | None = None) -> "Endpoint":
        """Read it from the environment.

        ``ARGY_TARGET``, ``ARGY_CLIENT_KEYS_FILE``, ``ARGY_CA_FILE`` and, for mutual TLS,
        ``ARGY_CLIENT_CERT_FILE`` and ``ARGY_CLIENT_KEY_FILE``.

        Raises:
            InvalidArgument: naming what is missing.
        """
        values = os.environ if env is None else env
        missing = [
            name for name in ("ARGY_TARGET", "ARGY_CLIENT_KEYS_FILE") if not values.get(name)
        ]
        if missing:
            raise InvalidArgument(f"set {' and '.join(missing)}", reason="NO_ENDPOINT")
        return cls(
            target=values["ARGY_TARGET"],
            source=source,
            keys_file=values["ARGY_CLIENT_KEYS_FILE"],
            ca_file=values.get("ARGY_CA_FILE", ""),
            cert_file=values.get("ARGY_CLIENT_CERT_FILE", ""),
            key_file=values.get("ARGY_CLIENT_KEY_FILE", ""),
        )


class Connection:
    """One connection for every tenant that the service works for; an async context manager."""

    def __init__(self, endpoint: Endpoint, *, timeout_s: float = 5.0) -> None:
        keys = IssuedKeys.load(Path(endpoint.keys_file))
        if keys.source != endpoint.source:
            raise FailedPrecondition(
                f"{endpoint.keys_file} was issued to '{keys.source}', not to '{endpoint.source}'",
                reason="KEYS_OF_ANOTHER",
            )
        tls = (
            ClientTls(
                ca=Path(endpoint.ca_file),
                certificate=Path(endpoint.cert_file) if endpoint.cert_file else None,
                key=Path(endpoint.key_file) if endpoint.key_file else None,
            )
            if endpoint.ca_file
            else None
        )
        self._source = endpoint.source
        self._channel = SignedChannel(
            endpoint.target,
            source=endpoint.source,
            keys=keys,
            tenant_id=PLATFORM_TENANT_ID,
            tls=tls,
            unsafe_plaintext=endpoint.unsafe_plaintext,
            timeout_s=timeout_s,
        )

    @classmethod
    def from_env(cls, *, source: str, timeout_s: float = 5.0) -> "Connection":
        """The connection that the environment describes; see ``Endpoint.from_env``."""
        return cls(Endpoint.from_env(source=source), timeout_s=timeout_s)

    @property
    def source(self) -> str:
        """The name of the calling service."""
        return self._source

    def channel(
        self, tenant_id: UUID, org_id: UUID | None = None, *, subject: str = ""
    ) -> SignedChannel:
        """The signed channel for a tenant and org: give it to any generated stub.

        ``subject`` is whom this service acts for; see ``SignedChannel.for_tenant``.
        """
        return self._channel.for_tenant(tenant_id, org_id, subject=subject)

    async def serving(self, *, timeout_s: float) -> bool:
        """Whether the server says that it is ready (grpc.health.v1)."""
        return await self._channel.serving(timeout_s)

    async def close(self) -> None:
        """Close it."""
        await self._channel.close()

    async def __aenter__(self) -> "Connection":
        """The connection itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

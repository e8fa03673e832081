"""The signed connection of one internal service to the platform."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from argy.base.errors import ArgyError, FailedPrecondition, InvalidArgument
from argy.base.ids import PLATFORM_TENANT_ID
from argy.rpc.client import Bearer, SignedChannel
from argy.rpc.client_keys import ClientKeys, ServiceKey, load_keys
from argy.rpc.tls import ClientTls

_KEYS_FILE: Final = "ARGY_CLIENT_KEYS_FILE"
_SERVICE_KEY: Final = "ARGY_SERVICE_KEY"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the platform is, and the files with which to reach it.

    ``keys_file`` is what ``argy service-key create`` or ``argy keys issue`` wrote for this service;
    ``service_key`` is a service key itself, as ``<source>:<key id>:<secret>``. Without ``ca_file``
    the connection is refused, unless ``unsafe_plaintext`` says that something else encrypts it.
    """

    target: str
    source: str
    keys_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    unsafe_plaintext: bool = False
    service_key: str = field(default="", repr=False)

    def keys(self) -> ClientKeys:
        """The keys that sign.

        Raises:
            FailedPrecondition: when the file can't be read, others may read it, or the keys are
                those of another service.
            InvalidArgument: when they are malformed.
        """
        keys = (
            ServiceKey.from_text(self.service_key, origin=_SERVICE_KEY)
            if self.service_key
            else load_keys(Path(self.keys_file))
        )
        if keys.source != self.source:
            raise FailedPrecondition(
                f"{self.keys_file or _SERVICE_KEY} was issued to '{keys.source}', "
                f"not to '{self.source}'",
                reason="KEYS_OF_ANOTHER",
            )
        return keys

    @classmethod
    def from_env(cls, *, source: str, env: Mapping[str, str] | None = None) -> "Endpoint":
        """Read it from the environment.

        ``ARGY_TARGET``, ``ARGY_CLIENT_KEYS_FILE`` or ``ARGY_SERVICE_KEY``, ``ARGY_CA_FILE`` and,
        for mutual TLS, ``ARGY_CLIENT_CERT_FILE`` and ``ARGY_CLIENT_KEY_FILE``.

        Raises:
            InvalidArgument: naming what is missing, or is there twice.
        """
        values = os.environ if env is None else env
        given = [name for name in (_KEYS_FILE, _SERVICE_KEY) if values.get(name)]
        missing = [] if values.get("ARGY_TARGET") else ["ARGY_TARGET"]
        if not given:
            missing.append(_KEYS_FILE)
        if missing:
            raise InvalidArgument(f"set {' and '.join(missing)}", reason="NO_ENDPOINT")
        if len(given) > 1:
            raise InvalidArgument(f"set {' or '.join(given)}, not both", reason="TWO_KEYS")
        return cls(
            target=values["ARGY_TARGET"],
            source=source,
            keys_file=values.get(_KEYS_FILE, ""),
            service_key=values.get(_SERVICE_KEY, ""),
            ca_file=values.get("ARGY_CA_FILE", ""),
            cert_file=values.get("ARGY_CLIENT_CERT_FILE", ""),
            key_file=values.get("ARGY_CLIENT_KEY_FILE", ""),
        )


class Connection:
    """One connection for every tenant that the service works for; an async context manager.

    With a ``bearer`` every call is made by whose token that is: their permissions decide.
    """

    def __init__(
        self, endpoint: Endpoint, *, timeout_s: float = 5.0, bearer: Bearer | None = None
    ) -> None:
        keys = self._keys = endpoint.keys()
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
        self._bearer = bearer
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

    @property
    def bearer(self) -> Bearer | None:
        """Whose token goes with the calls; None when the service itself acts."""
        return self._bearer

    def require_keys(self, destinations: Iterable[str]) -> None:
        """Refuse to begin without the keys for calls to ``destinations``.

        Raises:
            FailedPrecondition: ``KEYS_MISSING``, naming the services and the command.
        """
        missing = []
        for destination in destinations:
            try:
                self._keys.pair_key(self._keys.signing, self._source, destination)
            except ArgyError:
                missing.append(destination)
        if missing:
            options = " ".join(f"--to {name}" for name in missing)
            raise FailedPrecondition(
                f"the keys of '{self._source}' can't sign calls to {', '.join(missing)}: issue them"
                f" again with `argy keys issue` and {options} too, or without --to for all",
                reason="KEYS_MISSING",
            )

    def channel(
        self, tenant_id: UUID, org_id: UUID | None = None, *, subject: str = ""
    ) -> SignedChannel:
        """The signed channel for a tenant and org: give it to any generated stub.

        ``subject`` is whom this service acts for, if not itself; see ``SignedChannel.for_tenant``.
        """
        if subject == f"service:{self._source}":
            subject = ""
        return self._channel.for_tenant(tenant_id, org_id, subject=subject, bearer=self._bearer)

    def own_channel(self, tenant_id: UUID) -> SignedChannel:
        """The channel on which the service itself acts, whatever the bearer."""
        return self._channel.for_tenant(tenant_id)

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

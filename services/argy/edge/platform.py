"""The services as the pages call them: for one tenant, in the name of one person."""

import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.api.authn.v1.device_pb2_grpc import DeviceServiceStub
from argy.api.authn.v1.magic_link_pb2_grpc import MagicLinkServiceStub
from argy.api.authn.v1.passkey_pb2_grpc import PasskeyServiceStub
from argy.api.authn.v1.session_pb2_grpc import SessionServiceStub
from argy.api.directory.v1.tenant_pb2 import ListTenantsRequest
from argy.api.directory.v1.tenant_pb2_grpc import TenantServiceStub
from argy.base.errors import ArgyError, NotFound
from argy.base.ids import PLATFORM_TENANT_ID
from argy.client import Connection
from argy.edge.problems import from_service
from argy.edge.stages import inner_request_id
from argy.rpc.client import Metadata

SLUG: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
"""A tenant's name in a URL."""
_KEPT: Final = 1_024
_FRESH_S: Final = 30.0
"""How long a tenant's name is remembered; whether it is suspended is asked with every call."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as its pages show it."""

    tenant_id: UUID
    slug: str
    display_name: str


class TenantServices:
    """Stubs for one request; give each call ``metadata``, which says who acts."""

    __slots__ = ("credentials", "devices", "links", "metadata", "passkeys", "sessions")

    def __init__(
        self, connection: Connection, tenant_id: UUID, *, request_id: str, access_token: str = ""
    ) -> None:
        channel = connection.channel(tenant_id)
        self.credentials = CredentialServiceStub(channel)
        self.devices = DeviceServiceStub(channel)
        self.links = MagicLinkServiceStub(channel)
        self.passkeys = PasskeyServiceStub(channel)
        self.sessions = SessionServiceStub(channel)
        metadata = [("x-request-id", inner_request_id(request_id))]
        if access_token:
            metadata.append(("authorization", f"Bearer {access_token}"))
        self.metadata: Metadata = tuple(metadata)


class Tenants:
    """Finds tenants by the names in URLs, and remembers the last ones for half a minute."""

    __slots__ = ("_connection", "_known")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: OrderedDict[str, tuple[float, Tenant]] = OrderedDict()

    async def find(self, slug: str, *, request_id: str) -> Tenant:
        """The tenant of this name.

        Raises:
            NotFound: ``TENANT_UNKNOWN``.
            ArgyError: when the directory can't say; without what is between it and us.
        """
        now_s = time.monotonic()
        known = self._known.get(slug)
        if known is not None and now_s - known[0] < _FRESH_S:
            return known[1]
        if not SLUG.fullmatch(slug):
            raise _unknown()
        stub = TenantServiceStub(self._connection.channel(PLATFORM_TENANT_ID))
        try:
            answer = await stub.ListTenants(ListTenantsRequest(slug=slug, page_size=1))
        except ArgyError as error:
            raise from_service(error, request_id) from error
        found = answer.tenants
        if not found:
            raise _unknown()
        tenant = Tenant(UUID(found[0].tenant_id), found[0].slug, found[0].display_name)
        self._known[slug] = (now_s, tenant)
        self._known.move_to_end(slug)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return tenant


def _unknown() -> NotFound:
    return NotFound("There is no such organization here", reason="TENANT_UNKNOWN")

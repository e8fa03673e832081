"""What is known about the call that is being served; each stage of the chain adds its part."""

from typing import Any, Final, Protocol
from uuid import UUID

from argy.base.ids import PLATFORM_TENANT_ID
from argy.rpc.claims import Claims
from argy.rpc.declarations import Method
from argy.rpc.service_key_id import ServiceKeyId

SUBJECT_HEADER: Final = "x-argy-subject"
"""For whom the calling service acts: covered by the signature as every ``x-`` header is."""


class Tenant(Protocol):
    """The tenant of a call, as the tenant stage resolved it."""

    @property
    def slug(self) -> str:
        """The tenant's short name."""
        ...

    @property
    def org_slug(self) -> str:
        """The org's short name; empty when the call names no org."""
        ...


class Call:
    """One call. A field is meaningful once its stage has run."""

    __slots__ = (
        "acts_for",
        "audited",
        "body",
        "caller",
        "claims",
        "credential",
        "metadata",
        "method",
        "org_id",
        "received_ms",
        "remaining_s",
        "request",
        "request_id",
        "scopes",
        "service_key",
        "source",
        "tenant",
        "tenant_id",
        "trace_id",
    )

    method: Method
    body: bytes
    metadata: dict[str, str]
    received_ms: int
    """Milliseconds since the Unix epoch, by the server's clock."""
    remaining_s: float
    """Seconds until the caller stops waiting, at arrival."""
    source: str
    """The calling service; empty until the signature is verified."""
    tenant_id: UUID
    org_id: UUID | None
    tenant: Tenant
    acts_for: str
    """The subject that the source says it acts for; empty when it acts for itself."""
    caller: str
    """The subject that acts. Once access is granted, who is named in ``acts_for`` if anybody is."""
    claims: Claims | None
    """What the access token says that came with the call; None when there was none."""
    credential: bool
    """Whether a token or key of somebody's came with the call."""
    scopes: frozenset[str] | None
    """Permissions that the token or key is limited to, as ``type:action``; None for no limit."""
    service_key: ServiceKeyId | None
    """The service key that signed; None for a key of the platform's own."""
    request_id: str
    trace_id: str
    request: Any
    audited: bool

    def __init__(self, method: Method, body: bytes, received_ms: int) -> None:
        self.method = method
        self.body = body
        self.received_ms = received_ms
        self.source = ""
        self.acts_for = ""
        self.caller = ""
        self.claims = None
        self.credential = False
        self.scopes = None
        self.service_key = None
        self.request_id = ""
        self.trace_id = ""
        self.org_id = None
        self.audited = False

    @property
    def home_id(self) -> UUID:
        """The tenant that the caller is of: its names mean nothing in any other.

        A credential, a service key and a named subject are of a tenant; a service that signs with a
        key of the platform's own, and speaks for itself, is of the platform.
        """
        if self.service_key is not None:
            return self.service_key.tenant_id
        if self.caller == f"service:{self.source}" and not self.acts_for and not self.credential:
            return PLATFORM_TENANT_ID
        return self.tenant_id

    @property
    def actor(self) -> str:
        """Who proved to be somebody: whose credential came along, or else the calling service.

        A subject that the service names without a proof is no actor: it acts for them.
        """
        return f"service:{self.source}" if self.acts_for else self.caller

    def mark_audited(self) -> None:
        """Say that the change has its record in the same transaction: ``record`` does."""
        self.audited = True

    def changed_nothing(self) -> None:
        """Say that there is nothing to record: repeated, already so, or only looked at."""
        self.audited = True

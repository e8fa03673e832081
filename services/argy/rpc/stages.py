"""The stages between telemetry and audit: each compiles to one check of one method."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID

from google.protobuf.message import DecodeError

from argy.base.clock import Clock
from argy.base.errors import (
    ArgyError,
    DeadlineExceeded,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from argy.base.ids import parse_uuid
from argy.rpc.access import AccessDecider
from argy.rpc.call import SUBJECT_HEADER, Call, Tenant
from argy.rpc.caller import brings_credential, end_caller
from argy.rpc.credentials import CredentialVerifier, check_scope
from argy.rpc.declarations import Method
from argy.rpc.errors import Context
from argy.rpc.headers import request_id_of, tenant_header, trace_id_of
from argy.rpc.open_streams import OpenStreams
from argy.rpc.pair_keys import PairKeys
from argy.rpc.person import require_proof
from argy.rpc.provisional import check_open
from argy.rpc.requests import metadata_of
from argy.rpc.service_keys import ServiceKeys, admit_key
from argy.rpc.signature import split, verify
from argy.rpc.telemetry import Telemetry
from argy.rpc.tokens import TokenVerifier
from argy.rpc.validation import compile_rules

Enter = Callable[[Call, Context], Awaitable[None] | None]
Stage = Callable[["Dependencies", Method], Enter | None]
Handler = Callable[[Any, Call], Any]
"""A handler of a service: takes the request and the call, gives a response or a stream of them."""

MAX_UNARY_S: Final = 300.0
MAX_STREAM_S: Final = 3600.0
MAX_METADATA: Final = 64
"""Most metadata entries of a call."""
ACT_FOR: Final = "authz.subject:act_for"
"""The permission that a service needs, on ``authz.subject:user/<id>``, to act for that subject."""
_SUBJECT: Final = re.compile(r"(user|service|agent):[A-Za-z0-9._@+-]{1,248}")


class Nonces(Protocol):
    """The replay cache, shared by every replica."""

    def seen(self, tenant_id: UUID, nonce: bytes, expires_at_ms: int) -> Awaitable[bool]:
        """Remember a nonce; True when it was there already. Raises Unavailable."""
        ...


class Tenants(Protocol):
    """What tenants and orgs exist and are active."""

    def peek(self, tenant_id: UUID, org_id: UUID | None) -> Tenant | None:
        """The tenant if it is known to be active right now without asking anybody."""
        ...

    async def resolve(self, tenant_id: UUID, org_id: UUID | None) -> Tenant:
        """The tenant; raises PermissionDenied when it or the org is unknown or suspended."""
        ...


class AuditSink(Protocol):
    """Where refused calls of verified callers are recorded."""

    def refused(self, call: Call, error: ArgyError) -> None:
        """Record that ``call`` was refused; must not block."""
        ...


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the stages need from outside."""

    keys: PairKeys
    nonces: Nonces
    tenants: Tenants
    access: AccessDecider
    audit: AuditSink
    clock: Clock
    telemetry: Telemetry
    max_request_bytes: int
    tokens: TokenVerifier | None = None
    """Verifies access tokens; without it they are refused."""
    credentials: CredentialVerifier | None = None
    """Verifies personal access tokens and API keys; without it they are refused."""
    service_keys: ServiceKeys | None = None
    """Knows which service keys are good; without it they are refused."""
    streams: OpenStreams = field(default_factory=OpenStreams)
    """How many streams each tenant holds open."""


def deadline(deps: Dependencies, method: Method) -> Enter:
    """Every call says how long its caller waits; gRPC cancels the handler when that has passed."""
    longest = MAX_STREAM_S if method.streams else MAX_UNARY_S

    def enter(call: Call, context: Context) -> None:
        remaining = context.time_remaining()
        if remaining is None or remaining > longest:
            raise InvalidArgument(
                f"set a deadline of at most {longest:.0f} s on every call",
                reason="DEADLINE_REQUIRED",
                field="grpc-timeout",
            )
        if remaining <= 0:
            raise DeadlineExceeded("the deadline had passed on arrival")
        call.remaining_s = remaining

    return enter


def signature(deps: Dependencies, method: Method) -> Enter | None:
    """Verify who signed, over which exact bytes, and that it was not sent before."""
    if method.public:
        return None
    keys, nonces, clock, most = deps.keys, deps.nonces, deps.clock, deps.max_request_bytes
    path, destination, streams = method.path, method.destination, method.streams

    async def enter(call: Call, context: Context) -> None:
        if len(call.body) > most:
            raise ResourceExhausted(
                f"the request has more than {most} bytes: send less at a time",
                reason="REQUEST_TOO_LARGE",
                metadata={"max_bytes": str(most)},
            )
        received = metadata_of(context)
        if len(received) > MAX_METADATA:
            raise InvalidArgument(
                f"more than {MAX_METADATA} metadata entries",
                reason="METADATA_TOO_LARGE",
            )
        pairs, header = split(received)
        if not header:
            raise Unauthenticated(
                "the call is not signed: use a SignedChannel",
                reason="SIGNATURE_MISSING",
            )
        metadata = dict(pairs)
        tenant_text, org_text = metadata.get("x-tenant-id", ""), metadata.get("x-org-id", "")
        verified = verify(
            header,
            call.body,
            method=path,
            destination=destination,
            tenant=tenant_text,
            org=org_text,
            metadata=pairs,
            streams=streams,
            keys=keys,
            now_ms=clock.now_ms(),
        )
        call.metadata = metadata
        call.tenant_id = tenant_header(tenant_text)
        call.org_id = parse_uuid(org_text, field="x-org-id") if org_text else None
        call.source = verified.source
        call.request_id = request_id_of(metadata, verified.nonce)
        call.trace_id = trace_id_of(received)
        if verified.service_key is not None:
            call.service_key = verified.service_key
            await admit_key(deps.service_keys, call, verified.service_key)
        try:
            replayed = await nonces.seen(call.tenant_id, verified.nonce, verified.nonce_expires_ms)
        except Unavailable:
            if not method.read_only:
                raise
            replayed = False
        if replayed:
            raise Unauthenticated(
                "this very call was made before: sign each attempt anew",
                reason="SIGNATURE_REPLAYED",
            )

    return enter


def tenant(deps: Dependencies, method: Method) -> Enter | None:
    """The tenant exists and is active, and the org belongs to it."""
    if method.public:
        return None
    tenants = deps.tenants

    async def resolve(call: Call) -> None:
        call.tenant = await tenants.resolve(call.tenant_id, call.org_id)

    def enter(call: Call, _context: Context) -> Awaitable[None] | None:
        known = tenants.peek(call.tenant_id, call.org_id)
        if known is None:
            return resolve(call)
        call.tenant = known
        return None

    return enter


def caller(deps: Dependencies, method: Method) -> Enter | None:
    """Who acts: whose token or key came along, or the calling service, or the subject it names.

    The named subject needs the method's permission itself; that the service may act for others is
    asked besides, by the access stage. A token speaks for itself, so nobody may be named beside it.
    """
    if method.public:
        return None
    tokens, credentials = deps.tokens, deps.credentials

    def enter(call: Call, _context: Context) -> Awaitable[None] | None:
        subject = call.metadata.get(SUBJECT_HEADER)
        if brings_credential(call):
            if subject is not None:
                raise InvalidArgument(
                    f"send a credential or {SUBJECT_HEADER}, not both",
                    reason="SUBJECT_WITH_CREDENTIAL",
                    field=SUBJECT_HEADER,
                )
            return end_caller(call, tokens, credentials)
        call.caller = f"service:{call.source}"
        if subject is not None:
            if not _SUBJECT.fullmatch(subject):
                raise InvalidArgument(
                    f"{SUBJECT_HEADER} must be user:<id>, service:<name> or agent:<id>",
                    reason="MALFORMED_SUBJECT",
                    field=SUBJECT_HEADER,
                )
            call.acts_for = subject
        return None

    return enter


def access(deps: Dependencies, method: Method) -> Enter | None:
    """The caller holds the permission that the method declares, or is a service that it names.

    A provisional session holds none, and calls what is open to it alone (``argy.rpc.provisional``).
    Where people answer for what they do, nobody else does it for them.
    """
    if method.public:
        return None
    permit, permission, platform = deps.access.permit, method.permission, method.platform
    services = method.services

    async def act_for(call: Call) -> None:
        # Asked about this very subject, and where its own permission is: whoever may act for people
        # may not act for services, nor whoever may act for a tenant's people for the platform's.
        waiting = permit(call, ACT_FOR, platform, subject_id(call.acts_for))
        if waiting is not None:
            await waiting
        call.caller = call.acts_for
        waiting = permit(call, permission, platform) if permission else None
        if waiting is not None:
            await waiting

    def enter(call: Call, _context: Context) -> Awaitable[None] | None:
        if services and call.source not in services:
            raise PermissionDenied(
                f"'{call.source}' is not a service that may call {method.name}",
                reason="ACCESS_DENIED",
            )
        check_open(method, call.claims)
        if method.person:
            require_proof(call)
        if call.scopes is not None:
            check_scope(call.scopes, permission)
            if call.acts_for:
                check_scope(call.scopes, ACT_FOR)
        if call.acts_for:
            return act_for(call)
        return permit(call, permission, platform) if permission else None

    return enter


def subject_id(subject: str) -> str:
    """A subject as the id of a resource: ``user:1`` is ``authz.subject:user/1``."""
    return subject.replace(":", "/", 1)


def validation(_deps: Dependencies, method: Method) -> Enter:
    """Parse the body and hold it to the rules of its proto."""
    parse: Any = method.request_class.FromString
    validate = compile_rules(method.request_class.DESCRIPTOR)

    def enter(call: Call, _context: Context) -> None:
        try:
            call.request = parse(call.body)
        except (DecodeError, ValueError) as error:
            raise InvalidArgument(
                "the body is not a message of this method", reason="MALFORMED_BODY"
            ) from error
        validate(call.request)

    return enter

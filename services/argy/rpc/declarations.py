"""What an RPC declares about itself in its proto, read once when it is registered."""

from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

import argy.api
from argy.api.common.v1.access_pb2 import access
from argy.base.errors import FailedPrecondition

_PREFIX = "argy.api."


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC.

    Exactly one of ``permission``, ``public`` and ``services`` says who may call it.
    """

    path: str
    """As on the wire: ``/argy.api.authz.v1.AuthzService/Check``."""
    name: str
    destination: str
    """The service that answers: the area of the proto package."""
    request_class: type[Message]
    streams: bool
    permission: str = ""
    public: bool = False
    services: frozenset[str] = field(default_factory=frozenset)
    read_only: bool = False
    platform: bool = False
    person: bool = False
    """Whether the caller must be a person who brings a proof of their own."""


def destination_of(path: str) -> str:
    """The service that a method path belongs to: ``/argy.api.authz.v1.X/Y`` is ``authz``'s."""
    package = path.removeprefix("/")
    if not package.startswith(_PREFIX):
        raise FailedPrecondition(f"{path} is not a method of Argy's own packages")
    return package.removeprefix(_PREFIX).split(".", 1)[0]


def declared_methods(service: ServiceDescriptor) -> list[Method]:
    """Every RPC of a service.

    Raises:
        FailedPrecondition: naming each RPC that declares no access, contradicts itself, or streams
            its request, so that one signature could not cover it.
    """
    problems: list[str] = []
    methods = [method for rpc in service.methods if (method := _declared(rpc, problems))]
    if problems:
        raise FailedPrecondition("; ".join(problems), reason="ACCESS_UNDECLARED")
    return methods


def _declared(rpc: MethodDescriptor, problems: list[str]) -> Method | None:
    options = rpc.GetOptions()
    path = f"/{rpc.containing_service.full_name}/{rpc.name}"
    if rpc.client_streaming:
        problems.append(f"{path} streams its request, which no signature covers: make it unary")
        return None
    if not options.HasExtension(access):
        problems.append(f"{path} declares no access: add option (argy.api.common.v1.access)")
        return None
    declared: Any = options.Extensions[access]
    kind = declared.WhichOneof("kind")
    empty = (
        kind is None
        or (kind == "permission" and ":" not in declared.permission)
        or (kind == "public" and not declared.public)
        or (kind == "services" and not declared.services.names)
    )
    if empty:
        problems.append(f"{path} declares an empty access: name a permission, services or public")
        return None
    return Method(
        path=path,
        name=rpc.full_name,
        destination=destination_of(path),
        request_class=message_factory.GetMessageClass(rpc.input_type),
        streams=rpc.server_streaming,
        permission=declared.permission,
        public=declared.public,
        services=frozenset(declared.services.names),
        read_only=declared.read_only,
        platform=declared.platform,
        person=declared.person,
    )


@lru_cache(maxsize=1)
def permissions() -> tuple[str, ...]:
    """Every permission that an RPC of the platform declares, sorted, as ``type:action``."""
    found: set[str] = set()
    for root in map(Path, argy.api.__path__):
        for file in root.rglob("*_pb2.py"):
            name = ".".join(("argy.api", *file.relative_to(root).with_suffix("").parts))
            for service in import_module(name).DESCRIPTOR.services_by_name.values():
                found |= {rpc.GetOptions().Extensions[access].permission for rpc in service.methods}
    return tuple(sorted(found - {""}))


@lru_cache(maxsize=1024)
def is_read_only(path: str) -> bool:
    """Whether the method at ``path`` declares that it changes nothing; False when unknown."""
    try:
        rpc = descriptor_pool.Default().FindMethodByName(path.removeprefix("/").replace("/", "."))
    except KeyError:
        return False
    return bool(rpc.GetOptions().Extensions[access].read_only)

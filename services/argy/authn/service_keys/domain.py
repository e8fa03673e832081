"""Service keys as pure rules: which services may have one."""

from typing import Final

from argy.base.errors import InvalidArgument
from argy.rpc.service_key_id import SERVICE

RESERVED: Final = frozenset(
    {
        "agents",
        "approvals",
        "argy",
        "audit",
        "authn",
        "authz",
        "cli",
        "common",
        "directory",
        "edge",
        "governance",
        "llm",
        "objects",
        "platform",
        "policy",
    }
)
"""Names of the platform's own services, whose keys are those of the root ring alone. Every service
that an RPC names as its caller must be among them."""


def subject_of_service(service: str) -> str:
    """``service:<name>`` of a service that may have keys.

    Raises:
        InvalidArgument: for what is no name of a service, or ``SERVICE_RESERVED``.
    """
    if not SERVICE.fullmatch(service):
        raise InvalidArgument(
            "service must be 1 to 63 of a-z, 0-9 and -, and begin with a letter", field="service"
        )
    if service in RESERVED:
        raise InvalidArgument(
            f"'{service}' is a service of the platform itself",
            reason="SERVICE_RESERVED",
            field="service",
        )
    return f"service:{service}"


def service_of(subject: str) -> str:
    """The name in ``service:<name>``."""
    return subject.removeprefix("service:")

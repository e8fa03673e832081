"""A provisional session: which methods it may call, of all that there are."""

import importlib
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from argy.base.errors import PermissionDenied
from argy.rpc.call import Call
from argy.rpc.claims import ACR_PROVISIONAL, Claims
from argy.rpc.declarations import Method, declared_methods
from argy.rpc.provisional import OPEN_TO_PROVISIONAL, check_ends_itself
from argy.rpc.stages import access

PROTOS = Path(__file__).parents[3] / "protos"
TENANT = UUID("01900000-0000-7000-8000-000000000001")
PASSKEY = "urn:argy:acr:passkey"


def every_method() -> list[Method]:
    """Every RPC of every contract."""
    modules = [
        importlib.import_module(".".join(proto.relative_to(PROTOS).with_suffix("").parts) + "_pb2")
        for proto in sorted((PROTOS / "argy" / "api").rglob("*.proto"))
    ]
    services = [
        service for module in modules for service in module.DESCRIPTOR.services_by_name.values()
    ]
    return [method for service in services for method in declared_methods(service)]


METHODS = [method for method in every_method() if not method.public]


class Everything:
    """Permits all, so that nothing else refuses."""

    def permit(self, *_: object) -> None:
        """Let the call in."""


class Parts:
    """As much of ``Dependencies`` as the access stage uses."""

    access = Everything()


def call(method: Method, acr: str) -> Call:
    """A call of a person's with a token of a session of ``acr``."""
    made = Call(method, b"", 0)
    made.tenant_id, made.source = TENANT, next(iter(method.services), "edge")
    made.caller = "user:eva"
    made.claims = Claims(
        subject=made.caller,
        tenant_id=TENANT,
        org_id=None,
        session_id="mine",
        client_id="edge",
        acr=acr,
        amr=("magic_link",),
        auth_time_s=0,
        scope="",
        token_id="j",
        family_id="",
        revision="",
        issued_at_s=0,
        expires_at_s=600,
    )
    made.credential = True
    return made


def enter(method: Method, acr: str) -> None:
    """Go through the access stage."""
    parts: Any = Parts()
    context: Any = None
    stage = access(parts, method)
    assert stage is not None
    stage(call(method, acr), context)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_provisional_session_calls_what_is_listed_and_nothing_else(method: Method) -> None:
    enter(method, PASSKEY)
    if method.path in OPEN_TO_PROVISIONAL:
        enter(method, ACR_PROVISIONAL)
        return
    with pytest.raises(PermissionDenied) as refused:
        enter(method, ACR_PROVISIONAL)
    assert refused.value.reason == "PASSKEY_REQUIRED"
    assert "passkey" in refused.value.message


def test_what_is_open_to_one_exists_and_needs_no_permission() -> None:
    known = {method.path: method for method in METHODS}
    assert set(known) >= OPEN_TO_PROVISIONAL
    assert not any(known[path].permission for path in OPEN_TO_PROVISIONAL)


@pytest.mark.parametrize(
    "name",
    [
        "CredentialService/CreatePersonalAccessToken",
        "CredentialService/RotateCredential",
        "CredentialService/RevokeCredential",
        "CredentialService/ListCredentials",
        "DeviceService/DescribeDeviceCode",
        "DeviceService/DecideDeviceCode",
        "PasskeyService/RemovePasskey",
        "PasskeyService/RenamePasskey",
        "SessionService/EndUserSessions",
        "TokenService/RefreshTokens",
    ],
)
def test_a_read_mailbox_makes_no_credential_and_ends_no_other_way_in(name: str) -> None:
    path = f"/argy.api.authn.v1.{name}"
    assert path in {method.path for method in METHODS}
    assert path not in OPEN_TO_PROVISIONAL


def test_a_provisional_session_ends_itself_and_no_other_one() -> None:
    method = next(one for one in METHODS if one.name.endswith("SessionService.EndSession"))
    check_ends_itself(call(method, ACR_PROVISIONAL), "mine")
    other = str(uuid4())
    with pytest.raises(PermissionDenied) as refused:
        check_ends_itself(call(method, ACR_PROVISIONAL), other)
    assert refused.value.reason == "PASSKEY_REQUIRED"
    check_ends_itself(call(method, PASSKEY), other)

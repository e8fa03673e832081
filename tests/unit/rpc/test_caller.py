"""Credentials that are there and say nothing."""

import pytest

from argy.api.directory.v1.tenant_pb2 import DESCRIPTOR as TENANTS
from argy.base.errors import Unauthenticated
from argy.rpc.call import Call
from argy.rpc.caller import brings_credential, end_caller
from argy.rpc.declarations import declared_methods


@pytest.mark.parametrize(
    "metadata",
    [
        {"x-api-key": ""},
        {"authorization": ""},
        {"x-api-key": "", "authorization": ""},
        {"authorization": "Bearer "},
    ],
)
def test_an_empty_credential_is_refused_and_is_nobodys_bug(metadata: dict[str, str]) -> None:
    method = declared_methods(TENANTS.services_by_name["OrgService"])[0]
    call = Call(method, b"", 0)
    call.metadata = metadata
    assert brings_credential(call)
    with pytest.raises(Unauthenticated) as refused:
        end_caller(call, None, None)
    assert refused.value.reason in (
        "CREDENTIAL_UNSUPPORTED",
        "CREDENTIAL_INVALID",
        "CREDENTIAL_AMBIGUOUS",
    )

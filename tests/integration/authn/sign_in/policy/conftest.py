"""A tenant with an administrator, and a vendor of authenticators."""

from typing import Any
from uuid import UUID

import attestation
import pytest

from argy.api.authn.v1 import sign_in_policy_pb2 as pb

MODEL = UUID(int=7)


@pytest.fixture(scope="session")
def vendor() -> attestation.Certified:
    """A vendor's root."""
    return attestation.authority()


@pytest.fixture
def required(vendor: Any) -> dict[str, Any]:
    """Changes of a policy that demand attestation by the vendor, of one model."""
    return {
        "passkey_attestation": pb.PASSKEY_ATTESTATION_REQUIRED,
        "passkey_attestation_roots": [vendor.pem],
        "passkey_aaguids": [str(MODEL)],
    }


@pytest.fixture
def proved(world: Any) -> Any:
    """Sign in with a person's passkey; an access token."""

    async def prove(person: Any, device: Any) -> str:
        session = await world.sign_in(person.tenant, device)
        return str(await world.token(person.tenant, session.secret))

    return prove

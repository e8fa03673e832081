"""New passkeys of a tenant that demands proof of their model; what forges one is refused."""

import json
from typing import Any
from uuid import UUID

import attestation
import pytest
from authenticator import b64url, unb64url
from cbor2 import dumps, loads

from argy.base.errors import PermissionDenied, Unauthenticated

MODEL = UUID(int=7)
NO_MODEL = UUID(int=0)


@pytest.fixture
def key(authenticator: Any) -> Any:
    """An authenticator of the model that is allowed."""
    return authenticator(aaguid=MODEL.bytes)


@pytest.fixture
def refuse(world: Any, ada: Any, required: Any) -> Any:
    """Register a passkey that must be refused; the reason, which is in the log as well."""

    async def register(device: Any, attest: Any, **changes: Any) -> str:
        await world.set_policy(ada.tenant, **{**required, **changes})
        with pytest.raises((PermissionDenied, Unauthenticated)) as refused:
            await world.register(ada, device, attest=attest)
        record = (await world.records(ada.tenant, "authn.passkey.register"))[-1]
        assert (record["outcome"], record["reason"]) == ("DENIED", refused.value.reason)
        async with world.db.tenant(ada.tenant.tenant_id) as tx:
            assert await tx.fetchval("SELECT count(*) FROM authn.passkey") == 0
        return str(refused.value.reason)

    return register


def _none(*_: Any) -> tuple[str, dict[str, Any]]:
    return "none", {}


async def test_a_model_that_is_proved_is_registered_and_signs_in(
    world: Any, ada: Any, key: Any, vendor: Any, required: Any
) -> None:
    await world.set_policy(ada.tenant, **required)
    leaf = attestation.model_certificate(vendor, MODEL.bytes)
    passkey = await world.register(ada, key, attest=attestation.packed(leaf))
    assert passkey.aaguid == str(MODEL)
    await world.sign_in(ada.tenant, key)
    (record,) = await world.records(ada.tenant, "authn.passkey.register")
    assert json.loads(record["detail"])["attested"] is True
    assert (await world.policy(ada.tenant)).standing.passkeys_outside_policy == 0


async def test_options_ask_for_attestation_only_where_it_is_required(
    world: Any, ada: Any, required: Any
) -> None:
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    asked = []
    demands: tuple[dict[str, Any], ...] = ({}, required)
    for changes in demands:
        await world.set_policy(ada.tenant, **changes)
        begun = await world.begin_registration(ada.tenant, token)
        asked.append(json.loads(begun.options_json)["attestation"])
    assert asked == ["none", "direct"]


async def test_without_the_demand_none_is_enough_and_counts_as_no_proof(
    world: Any, ada: Any, key: Any, vendor: Any
) -> None:
    leaf = attestation.model_certificate(vendor, MODEL.bytes)
    await world.register(ada, key)
    await world.register(ada, key, attest=attestation.packed(leaf))
    told = [
        json.loads(record["detail"])["attested"]
        for record in await world.records(ada.tenant, "authn.passkey.register")
    ]
    assert told == [False, False]


async def test_a_chain_through_an_authority_in_between_is_accepted(
    world: Any, ada: Any, key: Any, vendor: Any, required: Any
) -> None:
    between = attestation.certify("Batch 7", vendor, ca=True)
    leaf = attestation.model_certificate(between, MODEL.bytes)
    await world.set_policy(ada.tenant, **required)
    await world.register(ada, key, attest=attestation.packed(leaf, between))


async def test_apples_form_is_accepted_under_a_root_of_the_tenant(
    world: Any, ada: Any, key: Any, vendor: Any, required: Any
) -> None:
    await world.set_policy(ada.tenant, **required)
    await world.register(ada, key, attest=attestation.apple(vendor))


async def test_apples_form_by_another_root_is_refused(refuse: Any, key: Any) -> None:
    stranger = attestation.authority()
    assert await refuse(key, attestation.apple(stranger)) == "ATTESTATION_UNTRUSTED"


async def test_a_u2f_key_is_accepted_where_its_nameless_model_is(
    world: Any, ada: Any, authenticator: Any, vendor: Any, required: Any
) -> None:
    leaf = attestation.certify("U2F", vendor, ca=False)
    await world.set_policy(ada.tenant, **{**required, "passkey_aaguids": [str(NO_MODEL)]})
    device = authenticator(aaguid=NO_MODEL.bytes)
    await world.register(ada, device, attest=attestation.fido_u2f(leaf))


async def test_a_u2f_key_by_another_root_is_refused(refuse: Any, authenticator: Any) -> None:
    leaf = attestation.certify("U2F", attestation.authority(), ca=False)
    device = authenticator(aaguid=NO_MODEL.bytes)
    told = await refuse(device, attestation.fido_u2f(leaf), passkey_aaguids=[str(NO_MODEL)])
    assert told == "ATTESTATION_UNTRUSTED"


async def test_an_attestation_by_an_unknown_root_is_refused(refuse: Any, key: Any) -> None:
    leaf = attestation.model_certificate(attestation.authority(), MODEL.bytes)
    assert await refuse(key, attestation.packed(leaf)) == "ATTESTATION_UNTRUSTED"


async def test_a_root_of_another_tenant_is_refused(
    world: Any, refuse: Any, key: Any, tenant_factory: Any, required: Any
) -> None:
    theirs = attestation.authority("Theirs")
    await world.set_policy(
        await tenant_factory(), **{**required, "passkey_attestation_roots": [theirs.pem]}
    )
    leaf = attestation.model_certificate(theirs, MODEL.bytes)
    assert await refuse(key, attestation.packed(leaf)) == "ATTESTATION_UNTRUSTED"


async def test_an_expired_certificate_is_refused(refuse: Any, key: Any, vendor: Any) -> None:
    leaf = attestation.model_certificate(vendor, MODEL.bytes, days=(-9, -1))
    assert await refuse(key, attestation.packed(leaf)) == "ATTESTATION_UNTRUSTED"


async def test_a_certificate_of_another_model_is_refused(
    refuse: Any, key: Any, vendor: Any
) -> None:
    """A cheaper key of the vendor that says it is the one that is allowed."""
    leaf = attestation.model_certificate(vendor, UUID(int=8).bytes)
    assert await refuse(key, attestation.packed(leaf)) == "ATTESTATION_MISMATCH"


async def test_self_attestation_is_refused(refuse: Any, key: Any) -> None:
    assert await refuse(key, attestation.self_attested) == "ATTESTATION_REQUIRED"


async def test_no_attestation_is_refused(refuse: Any, key: Any) -> None:
    assert await refuse(key, _none) == "ATTESTATION_REQUIRED"


async def test_no_attestation_with_a_certificate_beside_it_is_refused(
    refuse: Any, key: Any, vendor: Any
) -> None:
    leaf = attestation.model_certificate(vendor, MODEL.bytes)
    assert await refuse(key, lambda *_: ("none", {"x5c": [leaf.der]})) == "ATTESTATION_REQUIRED"


async def test_a_proved_model_that_is_not_allowed_is_refused(
    refuse: Any, authenticator: Any, vendor: Any
) -> None:
    other = UUID(int=8)
    leaf = attestation.model_certificate(vendor, other.bytes)
    told = await refuse(authenticator(aaguid=other.bytes), attestation.packed(leaf))
    assert told == "AUTHENTICATOR_NOT_ALLOWED"


async def test_a_certificate_that_others_sign_beside_is_refused(
    refuse: Any, key: Any, vendor: Any
) -> None:
    """A real model's certificate, which anybody has seen, over a signature of one's own."""
    leaf = attestation.model_certificate(vendor, MODEL.bytes)
    thief = attestation.certify("Thief", None, ca=False)
    stolen = attestation.Certified(leaf.certificate, thief.key)
    assert await refuse(key, attestation.packed(stolen)) == "NOT_VERIFIED"


async def test_a_statement_of_another_registration_is_refused(
    world: Any, ada: Any, key: Any, vendor: Any, required: Any
) -> None:
    """Taken over from a ceremony that went well before."""
    await world.set_policy(ada.tenant, **required)
    leaf = attestation.model_certificate(vendor, MODEL.bytes)
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    kept = []
    for number in range(2):
        begun = await world.begin_registration(ada.tenant, token)
        created = json.loads(key.create(begun.options_json, attest=attestation.packed(leaf)))
        made = loads(unb64url(created["response"]["attestationObject"]))
        kept.append(made["attStmt"])
        if number:
            made["attStmt"] = kept[0]
            created["response"]["attestationObject"] = b64url(dumps(made))
            with pytest.raises(Unauthenticated) as refused:
                await world.finish_registration(
                    ada.tenant, token, begun.ceremony_id, json.dumps(created)
                )
            assert refused.value.reason == "NOT_VERIFIED"


async def test_a_policy_that_was_tightened_meanwhile_holds(
    world: Any, ada: Any, key: Any, required: Any
) -> None:
    """The registration was begun when nothing had to be proved."""
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    begun = await world.begin_registration(ada.tenant, token)
    await world.set_policy(ada.tenant, **required)
    with pytest.raises(PermissionDenied) as refused:
        await world.finish_registration(
            ada.tenant, token, begun.ceremony_id, key.create(begun.options_json)
        )
    assert refused.value.reason == "ATTESTATION_REQUIRED"

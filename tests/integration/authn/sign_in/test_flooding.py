"""What strangers, neighbours and administrators can't use up or fill."""

import asyncio
import base64
import hashlib
import json
from typing import Any

import cbor2
import pytest

from argy.api.authn.v1 import magic_link_pb2 as links_pb
from argy.api.authn.v1 import passkey_pb2 as pb
from argy.api.authn.v1.session_pb2 import Device
from argy.authn.limits import RateLimits
from argy.authn.links.domain import LINK_BY_ADDRESS, LINK_BY_TENANT, LOOK_BY_IP, address_key
from argy.authn.passkeys.sign_in import BEGIN_BY_IP
from argy.authn.passkeys.use_cases import BEGIN_BY_PERSON
from argy.authn.rates import NAMELESS_BY_TENANT, Rate
from argy.base.errors import ArgyError, InvalidArgument, ResourceExhausted, Unauthenticated


async def _use_up(world: Any, tenant: Any, rate: Rate, who: str) -> None:
    """Count until nothing is left: by Redis' own clock the first ones may be forgotten already."""
    limits = RateLimits(world.redis, world.clock)
    left = True
    while left:
        counts = (limits.count(tenant.tenant_id, rate, who) for _ in range(50))
        ends = await asyncio.gather(*counts, return_exceptions=True)
        left = not any(isinstance(end, ResourceExhausted) for end in ends)


async def _ask(world: Any, tenant: Any, email: str, number: int) -> None:
    device = Device(ip=f"198.51.100.{number}", user_agent="B/1")
    request = links_pb.RequestLinkRequest(email=email, device=device)
    await world.call(tenant, "MagicLinkService.RequestLink", request)


async def _begin(world: Any, tenant: Any, ip: str) -> None:
    request = pb.BeginSignInRequest(device=Device(ip=ip))
    await world.call(tenant, "PasskeyService.BeginSignIn", request)


async def test_a_mailbox_is_not_flooded_by_other_ways_of_writing_its_address(
    world: Any, ada: Any
) -> None:
    spellings = (ada.email, ada.email.upper(), ada.email.title(), f" {ada.email}")
    wide = ada.email.replace("E", "\uff25", 1)
    for number, email in enumerate((*spellings, wide)):
        await _ask(world, ada.tenant, email, number)
    with pytest.raises(ResourceExhausted):
        await _ask(world, ada.tenant, ada.email.swapcase(), 99)


async def test_an_administrator_floods_no_mailbox_with_invitations(
    world: Any, ada: Any, person_in: Any
) -> None:
    async def invite(person: Any) -> None:
        request = links_pb.InviteUserRequest(user_id=str(person.user_id))
        await world.call(ada.tenant, "MagicLinkService.InviteUser", request)

    for _ in range(5):
        await invite(ada)
    with pytest.raises(ResourceExhausted):
        await invite(ada)
    assert len(await world.mails()) == 5
    await invite(await person_in(ada.tenant))
    world.clock.advance(3_600_000)
    await invite(ada)


async def test_one_network_does_not_use_up_the_ceremonies_of_a_tenant(world: Any, ada: Any) -> None:
    await _use_up(world, ada.tenant, BEGIN_BY_IP, "2001:db8::/64")
    with pytest.raises(ResourceExhausted):
        await _begin(world, ada.tenant, "2001:db8::7")
    await _begin(world, ada.tenant, "2001:db8:1::7")


async def test_one_network_looks_at_a_bounded_number_of_links(world: Any, ada: Any) -> None:
    secret, _ = await world.ask_link(ada)
    looked = links_pb.DescribeLinkRequest(secret=secret, device=Device(ip="203.0.113.9"))
    await world.call(ada.tenant, "MagicLinkService.DescribeLink", looked)
    await _use_up(world, ada.tenant, LOOK_BY_IP, "203.0.113.9")
    with pytest.raises(ResourceExhausted):
        await world.call(ada.tenant, "MagicLinkService.DescribeLink", looked)


async def test_made_up_addresses_leave_nothing_in_redis_once_the_tenant_is_at_its_limit(
    world: Any, ada: Any
) -> None:
    await _use_up(world, ada.tenant, LINK_BY_TENANT, "all")
    with pytest.raises(ResourceExhausted):
        await _ask(world, ada.tenant, "made-up@example.test", 7)
    digest = hashlib.sha256(address_key("made-up@example.test").encode()).hexdigest()
    key = world.redis.key(ada.tenant.tenant_id, "rate", LINK_BY_ADDRESS.name, digest)
    assert await world.redis.client.exists(key) == 0


async def test_strangers_of_ever_new_networks_fill_no_log_and_keep_nobody_out(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    await _use_up(world, ada.tenant, NAMELESS_BY_TENANT, "all")
    for attempt in (
        world.finish_sign_in(ada.tenant, "x", "{}"),
        world.redeem(ada.tenant, "x" * 43, confirmed=True),
    ):
        with pytest.raises(ResourceExhausted):
            await attempt
    assert await world.records(ada.tenant, "authn.passkey.sign_in") == []
    # Who knows a credential is on record all the same, and who has it gets in.
    with pytest.raises(Unauthenticated):
        await world.sign_in(ada.tenant, device, origin="https://evil.test")
    await world.sign_in(ada.tenant, device)
    outcomes = [row["outcome"] for row in await world.records(ada.tenant, "authn.passkey.sign_in")]
    assert outcomes == ["DENIED", "SUCCESS"]


async def test_a_person_begins_a_bounded_number_of_registrations(world: Any, ada: Any) -> None:
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    await _use_up(world, ada.tenant, BEGIN_BY_PERSON, str(ada.user_id))
    with pytest.raises(ResourceExhausted):
        await world.begin_registration(ada.tenant, token)
    assert await world.records(ada.tenant, "authn.passkey.begin") == []
    world.clock.advance(10_000)
    await world.begin_registration(ada.tenant, token)


async def test_a_public_key_larger_than_any_is_no_credential(
    world: Any, ada: Any, authenticator: Any
) -> None:
    token = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    begun = await world.begin_registration(ada.tenant, token)
    device = authenticator()
    credential = json.loads(device.create(begun.options_json))
    raw = base64.urlsafe_b64decode(credential["response"]["attestationObject"] + "===")
    statement = cbor2.loads(raw)
    # The data of the authenticator up to the credential id, and a key of 40,000 bits after it.
    head = statement["authData"][: 37 + 16 + 2 + len(device.held[0].id)]
    statement["authData"] = head + cbor2.dumps({1: 3, 3: -257, -1: b"\x01" * 5_000, -2: b"\1\0\1"})
    packed = base64.urlsafe_b64encode(cbor2.dumps(statement)).decode().rstrip("=")
    credential["response"]["attestationObject"] = packed
    with pytest.raises(InvalidArgument) as refused:
        await world.finish_registration(
            ada.tenant, token, begun.ceremony_id, json.dumps(credential)
        )
    assert refused.value.reason == "MALFORMED_CREDENTIAL"


async def test_asking_for_a_link_that_is_refused_tells_nothing_of_the_address(
    world: Any, ada: Any
) -> None:
    """At every limit known and unknown addresses get one answer, to the word."""
    answers = []
    for number, email in enumerate((ada.email, "nobody@example.test")):
        for _ in range(5):
            await _ask(world, ada.tenant, email, number)
        with pytest.raises(ArgyError) as refused:
            await _ask(world, ada.tenant, email, number)
        error = refused.value
        answers.append((type(error), error.reason, error.message, error.retry_after_ms))
    assert answers[0] == answers[1]

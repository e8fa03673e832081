"""A sign-in that an administrator resets: who may, what ends, and what does not survive it."""

import asyncio
import json
from typing import Any

import pytest
from current_call import CURRENT

from argy.api.authn.v1 import magic_link_pb2 as links_pb
from argy.api.authn.v1 import session_pb2 as pb
from argy.api.authn.v1.passkey_pb2 import FinishRegistrationRequest
from argy.api.authn.v1.sign_in_policy_pb2 import LINKS_OFF
from argy.authn.credentials import store as credential_store
from argy.authn.credentials.domain import Credential
from argy.authn.passkeys import store as passkey_store
from argy.authn.sessions.domain import DeviceInfo
from argy.authn.sign_in_reset import GRANT
from argy.authn.tokens.revocation import RevocationMirror
from argy.base.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from argy.base.ids import uuid7
from argy.rpc.tokens import TokenVerifier

LATER_MS = 6_000
"""From when on tokens are issued again, whichever clock is ahead."""


async def _reset(world: Any, person: Any, *, tenant: Any = None, **more: Any) -> Any:
    request = pb.ResetSignInRequest(
        user_id=str(person.user_id),
        reason=more.pop("reason", "lost laptop"),
        allow_without_link=more.pop("allow_without_link", False),
    )
    options = {"caller": "service:cli", **more}
    rpc = "SessionService.ResetSignIn"
    return await world.call(tenant or person.tenant, rpc, request, **options)


async def _admin(world: Any, person_in: Any, tenant: Any, authenticator: Any) -> tuple[Any, str]:
    """Somebody else of the tenant who proved a passkey this moment, and an access token."""
    admin, device = await person_in(tenant), authenticator()
    await world.register(admin, device)
    session = await world.sign_in(tenant, device)
    return admin, await world.token(tenant, session.secret)


async def _passkeys(world: Any, person: Any) -> int:
    async with world.db.tenant(person.tenant.tenant_id) as tx:
        return len(await passkey_store.list_of(tx, person.user_id))


async def _make_token(world: Any, person: Any, **more: Any) -> Any:
    """A personal access token, or with ``more`` a key, as its use case keeps it."""
    now_ms, made_id = world.clock.now_ms(), uuid7()
    kept: dict[str, Any] = {
        "kind": "TOKEN",
        "subject": person.subject,
        "name": "ci",
        "created_by": person.subject,
        **more,
    }
    made = Credential(
        id=made_id,
        prefix="p",
        scopes=("project:read",),
        lifetime_days=30,
        created_at_ms=now_ms,
        expires_at_ms=now_ms + 86_400_000,
        generation=1 if kept["kind"] == "SERVICE" else 0,
        **kept,
    )
    async with world.db.tenant(person.tenant.tenant_id) as tx:
        hashed = made_id.hex * 2
        owner = person.user_id if made.kind == "TOKEN" else None
        await credential_store.insert(tx, made, user_id=owner, secret_hash=hashed)
    return made_id


async def _allowed(world: Any, person: Any, secret: str) -> bool:
    try:
        await world.check(person.tenant, secret)
    except Unauthenticated:
        return False
    return True


async def test_every_way_in_ends_and_the_person_begins_anew(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    session = await world.sign_in(ada.tenant, device)
    token_id = await _make_token(world, ada)
    old_link, browser = await world.ask_link(ada)
    done = await _reset(world, ada)
    assert (done.passkeys, done.tokens, done.sessions) == (1, 1, 2)
    assert done.invitation_expire_time.ToMilliseconds() > world.clock.now_ms()

    assert not await _allowed(world, ada, session.secret)
    with pytest.raises(Unauthenticated) as refused:
        await world.sign_in(ada.tenant, device)
    assert refused.value.reason == "PASSKEY_REMOVED"
    with pytest.raises(NotFound):
        await world.redeem(ada.tenant, old_link, browser)
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        ended = await credential_store.find(tx, token_id, lock=False)
    assert ended is not None
    assert ended.revoked_at_ms is not None
    by_subject = {one["subject"]: one["text"] for one in await world.mails()}
    slug = ada.tenant.slug
    assert "lost laptop" in by_subject[f"Your sign-in was reset at {slug}"]
    assert "/link/" not in by_subject[f"Your sign-in was reset at {slug}"]
    invitation = by_subject[f"You are invited to {slug}"]
    (link,) = [line for line in invitation.splitlines() if "/link/" in line]

    world.clock.advance(LATER_MS)
    again = await world.redeem(ada.tenant, link.rpartition("/")[2], confirmed=True)
    assert again.must_register
    token = await world.token(ada.tenant, again.session.secret)
    begun = await world.begin_registration(ada.tenant, token)
    new = authenticator()
    credential = new.create(begun.options_json)
    await world.finish_registration(ada.tenant, token, begun.ceremony_id, credential)
    mine = await world.sign_in(ada.tenant, new)
    told = (await world.check(ada.tenant, mine.secret)).notices
    assert "sign_in_reset" in [one.kind for one in told]
    (record,) = await world.records(ada.tenant, "authn.user.reset_sign_in")
    assert (record["outcome"], record["resource"]) == ("SUCCESS", ada.subject)
    assert json.loads(record["detail"])["why"] == "lost laptop"


async def test_old_tokens_are_refused_by_two_verifiers(
    world: Any, ada: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    session = await world.sign_in(ada.tenant, device)
    token = await world.token(ada.tenant, session.secret)
    mirror = RevocationMirror(world.redis)
    other = TokenVerifier(
        keys=world.verifier._keys,
        revocations=mirror,
        public_url="https://sign-in.example.test",
        clock=world.clock,
    )
    tenant_id, slug = ada.tenant.tenant_id, ada.tenant.slug

    async def refused(verifier: Any) -> bool:
        try:
            claims = verifier.verify(token, tenant_id=tenant_id, slug=slug)
            if not hasattr(claims, "subject"):
                await claims
        except Unauthenticated as error:
            return error.reason == "TOKEN_REVOKED"
        return False

    verifiers = (world.verifier, other)
    assert [await refused(one) for one in verifiers] == [False, False]
    await _reset(world, ada)
    async with asyncio.timeout(60):
        while True:
            if all([await refused(one) for one in verifiers]):
                break
            await asyncio.sleep(0.02)
    await mirror.close()


async def test_refresh_tokens_end_with_it(world: Any, ada: Any, authenticator: Any) -> None:
    await world.register(ada, authenticator())
    await world.begin_sign_in(ada.tenant)
    tenant_id = ada.tenant.tenant_id
    async with world.db.tenant(tenant_id) as tx:
        session, _ = await world.parts.sessions.open(
            tx, CURRENT.get(), ada.user_id, "device", DeviceInfo()
        )
        await tx.execute(
            "INSERT INTO authn.refresh_token (tenant_id, id, family_id, digest, user_id,"
            " session_id, client_id, scope, acr, amr, auth_time, created_at, expires_at)"
            " VALUES ($1, $2, $2, $3, $4, $5, 'argy-cli', '', 'x', 'device', now(), now(),"
            " now() + interval '1 day')",
            tenant_id,
            uuid7(),
            uuid7().hex * 2,
            ada.user_id,
            session.session_id,
        )
    await _reset(world, ada)
    async with world.db.tenant(tenant_id) as tx:
        live = await tx.fetchval(
            "SELECT count(*) FROM authn.refresh_token WHERE tenant_id = $1 AND user_id = $2"
            " AND revoked_at IS NULL",
            tenant_id,
            ada.user_id,
        )
    assert live == 0


async def test_a_planted_passkey_does_not_survive_a_reset(
    world: Any, ada: Any, authenticator: Any
) -> None:
    mine, planted = authenticator(), authenticator()
    await world.register(ada, mine)
    await world.register(ada, planted)
    await _reset(world, ada)
    world.clock.advance(LATER_MS)
    for device in (mine, planted):
        with pytest.raises(Unauthenticated):
            await world.sign_in(ada.tenant, device)
    assert await _passkeys(world, ada) == 0


async def test_a_registration_that_was_under_way_plants_no_passkey(
    world: Any, ada: Any, authenticator: Any
) -> None:
    """The thief's call was let through a moment before: its token is verified already."""
    device, planted = authenticator(), authenticator()
    await world.register(ada, device)
    session = await world.sign_in(ada.tenant, device)
    token = await world.token(ada.tenant, session.secret)
    begun = await world.begin_registration(ada.tenant, token)
    passed = CURRENT.get()
    credential = planted.create(begun.options_json)
    await _reset(world, ada)
    (passkeys,) = [one for one, _ in world.parts.services if hasattr(one, "FinishRegistration")]
    request = FinishRegistrationRequest(
        ceremony_id=begun.ceremony_id, credential_json=credential, name="Planted"
    )
    with pytest.raises(Unauthenticated) as refused:
        await passkeys.FinishRegistration(request, passed)
    assert refused.value.reason == "SESSION_OVER"
    assert await _passkeys(world, ada) == 0


async def test_nobody_resets_themselves(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    admin, token = await _admin(world, person_in, ada.tenant, authenticator)
    with pytest.raises(PermissionDenied) as refused:
        await _reset(world, admin, token=token)
    assert refused.value.reason == "RESET_OF_ONESELF"
    assert await _passkeys(world, admin) == 1
    (record,) = await world.records(ada.tenant, "authn.user.reset_sign_in")
    assert (record["outcome"], record["reason"]) == ("DENIED", "RESET_OF_ONESELF")


async def test_who_may_not_grant_roles_resets_nobody_who_may(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    """They could change the address of an administrator, and become one by the invitation."""
    await world.register(ada, authenticator())
    desk, token = await _admin(world, person_in, ada.tenant, authenticator)
    world.access.held.add((ada.subject, GRANT))
    with pytest.raises(PermissionDenied) as refused:
        await _reset(world, ada, token=token)
    assert refused.value.reason == "RESET_OF_ADMINISTRATOR"
    assert await _passkeys(world, ada) == 1
    (record,) = await world.records(ada.tenant, "authn.user.reset_sign_in")
    assert (record["outcome"], record["reason"]) == ("DENIED", "RESET_OF_ADMINISTRATOR")
    world.access.held.add((desk.subject, GRANT))
    assert (await _reset(world, ada, token=token)).passkeys == 1


async def test_keys_that_the_person_made_go_on_and_are_named(world: Any, ada: Any) -> None:
    await _make_token(world, ada)
    made = [
        await _make_token(world, ada, kind="KEY", subject="agent:builder", name="build"),
        await _make_token(world, ada, kind="SERVICE", subject="service:billing", name="bill"),
    ]
    await _make_token(world, ada, kind="KEY", subject="agent:other", created_by="user:else")
    done = await _reset(world, ada)
    named = {one.credential_id: (one.subject, one.name) for one in done.kept_keys}
    assert named == {
        str(made[0]): ("agent:builder", "build"),
        str(made[1]): ("service:billing", "bill"),
    }
    async with world.db.tenant(ada.tenant.tenant_id) as tx:
        kept = await credential_store.find(tx, made[0], lock=False)
    assert kept is not None
    assert kept.revoked_at_ms is None


async def test_a_user_of_another_tenant_is_not_reset(
    world: Any, ada: Any, tenant_factory: Any, person_in: Any, authenticator: Any
) -> None:
    await world.register(ada, authenticator())
    other = await tenant_factory()
    _, token = await _admin(world, person_in, other, authenticator)
    with pytest.raises(NotFound) as refused:
        await _reset(world, ada, tenant=other, token=token)
    assert refused.value.reason == "USER_UNKNOWN"
    assert await _passkeys(world, ada) == 1


async def test_a_person_who_proved_no_passkey_lately_resets_nobody(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    await world.register(ada, authenticator())
    _, stale = await _admin(world, person_in, ada.tenant, authenticator)
    world.clock.advance(299_000)
    await world.policy(ada.tenant)
    admin = await person_in(ada.tenant)
    by_link = await world.token(ada.tenant, (await world.by_link(admin)).secret)
    world.clock.advance(2_000)
    for token in (stale, by_link):
        with pytest.raises(FailedPrecondition) as refused:
            await _reset(world, ada, token=token)
        assert refused.value.reason == "STEP_UP_REQUIRED"
    assert await _passkeys(world, ada) == 1


async def test_a_recovery_session_resets_nobody(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    await world.register(ada, authenticator())
    admin = await person_in(ada.tenant)
    await world.register(admin, authenticator())
    token = await world.token(ada.tenant, (await world.by_link(admin)).secret)
    with pytest.raises(FailedPrecondition) as refused:
        await _reset(world, ada, token=token)
    assert refused.value.reason == "STEP_UP_REQUIRED"
    assert await _passkeys(world, ada) == 1


async def test_a_service_that_only_says_for_whom_it_acts_resets_nobody(
    world: Any, ada: Any, authenticator: Any
) -> None:
    await world.register(ada, authenticator())
    with pytest.raises(Unauthenticated):
        await _reset(world, ada, caller=f"user:{uuid7()}")
    assert await _passkeys(world, ada) == 1


async def test_an_administrator_of_one_org_resets_nobody(world: Any, ada: Any) -> None:
    with pytest.raises(PermissionDenied) as refused:
        await _reset(world, ada, org_id=uuid7())
    assert refused.value.reason == "TENANT_WIDE_ONLY"


async def test_a_reset_says_why(world: Any, ada: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await _reset(world, ada, reason="  ")
    assert refused.value.reason == "INVALID_REASON"


async def test_without_links_nobody_is_locked_out_unless_it_is_meant(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    device = authenticator()
    await world.register(ada, device)
    mine = await world.sign_in(ada.tenant, device)
    await world.set_policy(ada.tenant, links=LINKS_OFF)
    with pytest.raises(FailedPrecondition) as refused:
        await _reset(world, ada)
    assert refused.value.reason == "LINKS_OFF"
    assert await _passkeys(world, ada) == 1
    assert await _allowed(world, ada, mine.secret)
    done = await _reset(world, ada, allow_without_link=True)
    assert not done.HasField("invitation_expire_time")
    assert await _passkeys(world, ada) == 0
    assert "was reset" in (await world.mails())[-1]["subject"]


async def test_a_disabled_person_is_not_invited_by_a_reset(
    world: Any, ada: Any, change_user: Any, authenticator: Any
) -> None:
    await world.register(ada, authenticator())
    await change_user(ada, "DISABLED")
    with pytest.raises(FailedPrecondition) as refused:
        await _reset(world, ada)
    assert refused.value.reason == "USER_DISABLED"


async def test_two_resets_at_once_send_two_good_answers(
    world: Any, ada: Any, authenticator: Any
) -> None:
    await world.register(ada, authenticator())
    done = await asyncio.gather(_reset(world, ada), _reset(world, ada))
    assert sorted(one.passkeys for one in done) == [0, 1]


async def test_a_link_says_whom_it_signs_in_by_a_masked_address(
    world: Any, ada: Any, person_in: Any, authenticator: Any
) -> None:
    secret, _ = await world.ask_link(ada)
    _, token = await _admin(world, person_in, ada.tenant, authenticator)
    request = links_pb.DescribeLinkRequest(secret=secret)
    rpc = "MagicLinkService.DescribeLink"
    told = await world.call(ada.tenant, rpc, request)
    assert told.masked_email == f"{ada.email[0]}•••@Example.test"
    assert ada.email not in str(told)
    assert not told.yours
    assert not (await world.call(ada.tenant, rpc, request, token=token)).yours
    mine = await world.token(ada.tenant, (await world.by_link(ada)).secret)
    request.secret, _ = await world.ask_link(ada)
    assert (await world.call(ada.tenant, rpc, request, token=mine)).yours

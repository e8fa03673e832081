"""What verifies tokens reaches a replica whole, and an ended token is ended there."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from argy.api.authz.v1 import replication_pb2 as pb
from argy.authz.replication.tokens import (
    PART_ENTRIES,
    ReplicatedTokens,
    TokenFacts,
    revocations_between,
)
from argy.base.clock import FixedClock
from argy.base.errors import ArgyError, FailedPrecondition, PermissionDenied, Unavailable
from argy.client.token_replica import TokenReplica, check_limits
from argy.rpc.claims import WireClaims
from argy.rpc.jwt import PublicKeys, public_jwk, sign_token
from argy.rpc.revoked import Revoked

TENANT = UUID("01900000-0000-7000-8000-000000000001")
USER = "user:01900000-0000-7000-8000-00000000000a"
NOW_MS = 1_800_000_000_000
END_MS = NOW_MS + 600_000
KEY = rsa.generate_private_key(65_537, 2048)
KID = "k" * 43
JWKS = json.dumps({"keys": [public_jwk(KEY.public_key(), KID)]})
ISSUER = "https://argy.example/acme"
FACTS = TokenFacts(ISSUER, JWKS, Revoked("e1"))
SILENCE_S = 3.0


def token(**changed: Any) -> str:
    said: dict[str, Any] = {
        "iss": ISSUER,
        "sub": USER,
        "aud": "argy",
        "tenant": str(TENANT),
        "sid": "sid-1",
        "client_id": "edge",
        "acr": "urn:argy:acr:passkey",
        "amr": ["passkey"],
        "auth_time": NOW_MS // 1000,
        "jti": "jti-1",
        "fam": "fam-1",
        "epoch": "e1",
        "iat": NOW_MS // 1000 - 1,
        "exp": NOW_MS // 1000 + 500,
    }
    return sign_token(WireClaims(**{**said, **changed}), kid=KID, key=KEY)


def fresh() -> TokenReplica:
    return TokenReplica(TENANT, FixedClock(NOW_MS))


def apply(replica: TokenReplica, old: TokenFacts | None, new: TokenFacts) -> int:
    parts = [
        pb.TenantRevocations.FromString(part.SerializeToString())
        for part in revocations_between(old, new)
    ]
    for part in parts:
        replica.collect(part, float("inf"))
    return len(parts)


def outcome(replica: TokenReplica, given: str) -> str:
    try:
        replica.verify(given, max_silence_s=SILENCE_S)
    except ArgyError as error:
        return error.reason
    return ""


entries = st.dictionaries(
    st.sampled_from(["s:sid-1", "s:sid-2", "j:jti-1", "j:jti-2", "f:fam-1", f"u:{USER}"]),
    st.sampled_from([END_MS, END_MS - 60_000]),
)
states = st.builds(
    lambda epoch, ends: replace(FACTS, revoked=Revoked(epoch, ends)),
    st.sampled_from(["e1", "e2", ""]),
    entries,
)


@given(states, entries, states)
def test_differences_lead_to_what_everything_at_once_leads_to(
    first: TokenFacts, more: dict[str, int], third: TokenFacts
) -> None:
    second = replace(first, revoked=Revoked(first.revoked.epoch, {**first.revoked.ends_ms, **more}))
    followed = fresh()
    apply(followed, None, first)
    apply(followed, first, second)
    at_once = fresh()
    apply(at_once, None, second)
    assert outcome(followed, token()) == outcome(at_once, token())
    followed.forget()
    apply(followed, None, third)
    anew = fresh()
    apply(anew, None, third)
    assert outcome(followed, token()) == outcome(anew, token())


@pytest.mark.parametrize("entry", ["s:sid-1", "j:jti-1", "f:fam-1", f"u:{USER}"])
def test_what_ends_a_token_ends_it_here(entry: str) -> None:
    replica = fresh()
    apply(replica, None, FACTS)
    assert outcome(replica, token()) == ""
    apply(replica, FACTS, replace(FACTS, revoked=Revoked("e1", {entry: END_MS})))
    assert outcome(replica, token()) == "TOKEN_REVOKED"


def test_a_person_is_ended_for_what_was_issued_until_then() -> None:
    replica = fresh()
    # Seven seconds ago; the clock that issued may have been five ahead.
    ended = Revoked("e1", {f"u:{USER}": END_MS - 7_000})
    apply(replica, None, replace(FACTS, revoked=ended))
    assert outcome(replica, token()) == ""
    assert outcome(replica, token(iat=NOW_MS // 1000 - 2, jti="jti-2")) == "TOKEN_REVOKED"


def test_a_lost_list_ends_every_token_of_before() -> None:
    replica = fresh()
    apply(replica, None, FACTS)
    apply(replica, FACTS, replace(FACTS, revoked=Revoked("e2")))
    assert outcome(replica, token()) == "TOKEN_REVOCATION_UNKNOWN"
    assert outcome(replica, token(epoch="e2")) == ""


def test_a_key_that_went_verifies_nothing_more() -> None:
    replica = fresh()
    apply(replica, None, FACTS)
    assert outcome(replica, token()) == ""
    other = rsa.generate_private_key(65_537, 2048).public_key()
    apply(replica, FACTS, replace(FACTS, jwks=json.dumps({"keys": [public_jwk(other, "o" * 43)]})))
    assert outcome(replica, token()) == "TOKEN_KEY_UNKNOWN"


def test_a_long_list_counts_as_a_whole_or_not_at_all() -> None:
    many = {f"j:{number}": END_MS for number in range(PART_ENTRIES)} | {"s:sid-1": END_MS}
    ended = replace(FACTS, revoked=Revoked("e1", many))
    replica = fresh()
    first, last = revocations_between(None, ended)
    replica.collect(first, float("inf"))
    assert outcome(replica, token()) == "REVOCATIONS_UNKNOWN"
    replica.collect(last, float("inf"))
    assert outcome(replica, token()) == "TOKEN_REVOKED"


def test_nothing_or_silence_refuses() -> None:
    replica = fresh()
    assert outcome(replica, token()) == "REVOCATIONS_UNKNOWN"
    for part in revocations_between(None, FACTS):
        replica.collect(part, float("-inf"))
    assert outcome(replica, token()) == "REVOCATIONS_STALE"


def test_a_difference_without_its_base_is_refused() -> None:
    replica = fresh()
    apply(replica, None, FACTS)
    replica.forget()
    with pytest.raises(FailedPrecondition) as refused:
        apply(replica, FACTS, FACTS)
    assert refused.value.reason == "REPLICA_OUT_OF_STEP"


def test_a_person_who_ends_token_after_token_fills_no_replica() -> None:
    replica = fresh()
    old = None
    for turn in range(5):
        many = {f"j:{turn}-{number}": END_MS for number in range(16)}
        for ends in (many, {f"u:{USER}": END_MS - 7_000 + turn}):
            new = replace(FACTS, revoked=Revoked("e1", ends))
            apply(replica, old, new)
            old = new
    assert outcome(replica, token(iat=NOW_MS // 1000 - 2)) == "TOKEN_REVOKED"
    assert replica.entries == 1


def test_nothing_new_is_one_short_message() -> None:
    (part,) = revocations_between(FACTS, FACTS)
    assert part == pb.TenantRevocations(epoch="e1", issuer=ISSUER, complete=True)


def test_scopes_and_org_limit_what_a_token_is_good_for() -> None:
    org = UUID(int=7)
    replica = fresh()
    apply(replica, None, FACTS)
    given = replica.verify(token(scope="openid project:deploy", org=str(org)), max_silence_s=3)
    check_limits(given, "deploy", "project:alpha", org)
    for action, resource, where, reason in (
        ("read", "project:alpha", org, "SCOPE_INSUFFICIENT"),
        ("deploy", "module:net", org, "SCOPE_INSUFFICIENT"),
        ("deploy", "project:alpha", None, "ORG_NOT_IN_TOKEN"),
        ("deploy", "project:alpha", UUID(int=8), "ORG_NOT_IN_TOKEN"),
    ):
        with pytest.raises(PermissionDenied) as refused:
            check_limits(given, action, resource, where)
        assert refused.value.reason == reason
    check_limits(replica.verify(token(), max_silence_s=3), "read", "secret:db", None)


class Known:
    """Keys and a list that are known, or are not."""

    def __init__(self, keys: PublicKeys, revoked: Revoked | None) -> None:
        self.keys, self.revoked = keys, revoked

    async def refreshed(self, _kid: str) -> PublicKeys:
        return self.keys

    async def confirmed(self) -> PublicKeys:
        return self.keys

    def peek(self, _tenant_id: UUID | None = None) -> Any:
        return self.keys if _tenant_id is None else self.revoked

    async def get(self, _tenant_id: UUID) -> Revoked:
        if self.revoked is None:
            raise Unavailable("away", reason="REVOCATIONS_AWAY")
        return self.revoked

    renewed = get


@pytest.mark.parametrize(
    ("keys", "revoked", "told"),
    [
        ({KID: KEY.public_key()}, Revoked("e1"), True),
        ({KID: KEY.public_key()}, None, False),
        ({}, Revoked("e1"), False),
    ],
)
async def test_a_source_tells_all_or_nothing(
    keys: PublicKeys, revoked: Revoked | None, told: bool
) -> None:
    known = Known(keys, revoked)
    source = ReplicatedTokens(keys=known, revocations=known, public_url="https://argy.example/")
    now = await source.now(TENANT, "acme")
    assert (now is not None) is told
    if now is not None:
        assert (now.issuer, json.loads(now.jwks)) == (ISSUER, json.loads(JWKS))

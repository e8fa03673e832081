"""Access tokens under attack: each attack by its name, and PyJWT as the second opinion."""

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from argy.base.clock import FixedClock
from argy.base.errors import Unauthenticated, Unavailable
from argy.base.ids import uuid7
from argy.rpc.caller import limits_of
from argy.rpc.claims import MAX_LIFETIME_S, Claims, WireClaims
from argy.rpc.jwks import read_jwks
from argy.rpc.jwt import CLOCK_SKEW_S, MAX_TOKEN, b64, parse_token, public_jwk, sign_token
from argy.rpc.revoked import Revoked, family_entry, session_entry, token_entry, user_entry
from argy.rpc.tokens import TokenVerifier

NOW_S = 1_800_000_000
TENANT, OTHER = uuid7(), uuid7()
URL = "https://edge.example.test"
KID = "k" * 43
KEY = rsa.generate_private_key(65537, 2048)
STRANGE = rsa.generate_private_key(65537, 2048)
USER = uuid7()


@dataclass
class Keys:
    """The published keys."""

    known: dict[str, rsa.RSAPublicKey] = field(default_factory=lambda: {KID: KEY.public_key()})
    asked: list[str] = field(default_factory=list)

    def peek(self) -> Mapping[str, rsa.RSAPublicKey]:
        return self.known

    async def refreshed(self, kid: str) -> Mapping[str, rsa.RSAPublicKey]:
        self.asked.append(kid)
        return self.known

    async def confirmed(self) -> Mapping[str, rsa.RSAPublicKey]:
        return self.known


@dataclass
class Lists:
    """The deny lists; away when a test says so."""

    revoked: Revoked = field(default_factory=lambda: Revoked("e1"))
    away: bool = False
    newer: Revoked | None = None
    """What a reading finds that the copy does not have yet."""

    def peek(self, tenant_id: UUID) -> Revoked | None:
        return None if self.away else self.revoked

    async def get(self, tenant_id: UUID) -> Revoked:
        if self.away:
            raise Unavailable("away", reason="REVOCATIONS_AWAY")
        return self.revoked

    async def renewed(self, tenant_id: UUID) -> Revoked:
        self.revoked = self.newer or self.revoked
        return await self.get(tenant_id)


@dataclass
class Stand:
    """A verifier and what it stands on."""

    keys: Keys = field(default_factory=Keys)
    lists: Lists = field(default_factory=Lists)
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOW_S * 1000))

    def __post_init__(self) -> None:
        self.verifier = TokenVerifier(
            keys=self.keys, revocations=self.lists, public_url=URL, clock=self.clock
        )

    async def verify(self, token: str, tenant: UUID = TENANT, slug: str = "acme") -> Claims:
        found = self.verifier.verify(token, tenant_id=tenant, slug=slug)
        return found if isinstance(found, Claims) else await found

    async def refused(self, token: str, **where: Any) -> str:
        with pytest.raises(Unauthenticated) as caught:
            await self.verify(token, **where)
        return caught.value.reason


@pytest.fixture
def stand() -> Stand:
    return Stand()


def claims(**changed: Any) -> dict[str, Any]:
    return {
        "iss": f"{URL}/acme",
        "sub": f"user:{USER}",
        "aud": "argy",
        "tenant": str(TENANT),
        "sid": str(uuid7()),
        "client_id": "edge",
        "acr": "urn:argy:acr:passkey",
        "amr": ["passkey"],
        "auth_time": NOW_S - 10,
        "jti": "j1",
        "fam": "f1",
        "epoch": "e1",
        "iat": NOW_S,
        "exp": NOW_S + 600,
    } | changed


def token(
    header: dict[str, Any] | None = None, key: Any = KEY, algorithm: str = "RS256", **changed: Any
) -> str:
    """A token that PyJWT made."""
    extra = {"typ": "at+jwt", "kid": KID} | (header or {})
    body = {name: value for name, value in claims(**changed).items() if value is not None}
    return jwt.encode(body, key, algorithm, headers=extra)


def by_hand(header: dict[str, Any], signature: Callable[[bytes], bytes]) -> str:
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims()).encode())}"
    return f"{signed}.{b64(signature(signed.encode()))}"


async def test_a_token_of_pyjwt_is_read_and_ours_is_read_by_pyjwt(stand: Stand) -> None:
    found = await stand.verify(token(org=str(OTHER), scope="project:read"))
    assert found.subject == f"user:{USER}"
    assert (found.org_id, found.scope, found.acr) == (OTHER, "project:read", "urn:argy:acr:passkey")
    assert (found.amr, found.auth_time_s) == (("passkey",), NOW_S - 10)
    said = claims()
    ours = sign_token(WireClaims(**said), kid=KID, key=KEY)
    options: Any = {"verify_exp": False, "verify_iat": False}
    theirs = jwt.decode(ours, KEY.public_key(), ["RS256"], audience="argy", options=options)
    assert theirs == said
    assert jwt.get_unverified_header(ours) == {"alg": "RS256", "typ": "at+jwt", "kid": KID}


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", [b"", b"x"], ids=["unsigned", "any_signature"])
async def test_alg_none(stand: Stand, alg: str, signature: bytes) -> None:
    made = by_hand({"alg": alg, "typ": "at+jwt", "kid": KID}, lambda _: signature)
    assert await stand.refused(made) in {"TOKEN_ALGORITHM_REFUSED", "TOKEN_MALFORMED"}


@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
async def test_hs256_with_the_public_key(stand: Stand, form: Encoding) -> None:
    """CVE-2015-9235: the public key taken for an HMAC secret."""
    secret = KEY.public_key().public_bytes(form, PublicFormat.SubjectPublicKeyInfo)
    made = by_hand(
        {"alg": "HS256", "typ": "at+jwt", "kid": KID},
        lambda signed: hmac.digest(secret, signed, hashlib.sha256),
    )
    assert await stand.refused(made) == "TOKEN_ALGORITHM_REFUSED"


@pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256", "rs256", "ES256", "EdDSA"])
async def test_another_algorithm(stand: Stand, alg: str) -> None:
    made = by_hand({"alg": alg, "typ": "at+jwt", "kid": KID}, lambda _: b"x" * 256)
    assert await stand.refused(made) == "TOKEN_ALGORITHM_REFUSED"


async def test_a_real_rs512_signature(stand: Stand) -> None:
    assert await stand.refused(token(algorithm="RS512")) == "TOKEN_ALGORITHM_REFUSED"


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/etc/passwd",
        "' OR 1=1 --",
        "k\x00",
        "http://evil.test/k",
        "",
        "k" * 65,
    ],
)
async def test_kid_traversal_and_injection(stand: Stand, kid: str) -> None:
    assert await stand.refused(token({"kid": kid})) == "TOKEN_KEY_UNKNOWN"
    # It is looked for nowhere.
    assert stand.keys.asked == []


async def test_a_kid_that_is_not_known(stand: Stand) -> None:
    assert await stand.refused(token({"kid": "z" * 43}, key=STRANGE)) == "TOKEN_KEY_UNKNOWN"
    assert stand.keys.asked == ["z" * 43]


async def test_another_key_under_our_kid(stand: Stand) -> None:
    assert await stand.refused(token(key=STRANGE)) == "TOKEN_SIGNATURE_INVALID"


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.test/jwks.json"},
        {"x5u": "https://evil.test/cert.pem"},
        {"jwk": public_jwk(STRANGE.public_key(), KID)},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
    ],
    ids=lambda header: "_".join(header),
)
@pytest.mark.parametrize("key", [KEY, STRANGE], ids=["our_key", "strange_key"])
async def test_headers_that_name_a_key_or_change_the_rules(
    stand: Stand, header: dict[str, Any], key: Any
) -> None:
    made = by_hand(
        {"alg": "RS256", "typ": "at+jwt", "kid": KID, **header},
        lambda signed: jwt.get_algorithm_by_name("RS256").sign(signed, key),
    )
    assert await stand.refused(made) == "TOKEN_HEADER_REFUSED"


@pytest.mark.parametrize("typ", ["JWT", "", "at+JWT", "id+jwt", "dpop+jwt", "application/at+jwt"])
async def test_wrong_type(stand: Stand, typ: str) -> None:
    assert await stand.refused(token({"typ": typ})) in {
        "TOKEN_TYPE_REFUSED",
        "TOKEN_HEADER_REFUSED",
    }


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"aud": "another"}, "TOKEN_AUDIENCE_WRONG"),
        ({"aud": ["argy", "another"]}, "TOKEN_CLAIMS_MALFORMED"),
        ({"iss": "https://evil.test/acme"}, "TOKEN_ISSUER_WRONG"),
        ({"iss": f"{URL}/other"}, "TOKEN_ISSUER_WRONG"),
        ({"tenant": str(OTHER)}, "TOKEN_OF_ANOTHER_TENANT"),
        ({"exp": NOW_S}, "TOKEN_EXPIRED"),
        ({"exp": NOW_S - 1, "iat": NOW_S - 100}, "TOKEN_EXPIRED"),
        ({"iat": NOW_S + 6, "exp": NOW_S + 60}, "TOKEN_NOT_YET_VALID"),
        ({"nbf": NOW_S + 6}, "TOKEN_NOT_YET_VALID"),
        ({"exp": NOW_S + MAX_LIFETIME_S + 1}, "TOKEN_TOO_LONG"),
        ({"exp": str(NOW_S + 60)}, "TOKEN_CLAIMS_MALFORMED"),
        ({"exp": None}, "TOKEN_CLAIMS_MALFORMED"),
        ({"sub": None}, "TOKEN_CLAIMS_MALFORMED"),
        ({"sub": "service:cli"}, "TOKEN_CLAIMS_MALFORMED"),
        ({"sub": "user:" + "-" * 36}, "TOKEN_CLAIMS_MALFORMED"),
        ({"sid": ""}, "TOKEN_CLAIMS_MALFORMED"),
        ({"jti": ""}, "TOKEN_CLAIMS_MALFORMED"),
        ({"epoch": ""}, "TOKEN_CLAIMS_MALFORMED"),
        ({"org": "no-uuid"}, "TOKEN_CLAIMS_MALFORMED"),
    ],
)
async def test_claims_that_are_wrong(stand: Stand, changed: dict[str, Any], reason: str) -> None:
    assert await stand.refused(token(**changed)) == reason


async def test_the_signature_stripped_or_changed(stand: Stand) -> None:
    head, payload, signature = token().split(".")
    assert await stand.refused(f"{head}.{payload}.") == "TOKEN_MALFORMED"
    assert await stand.refused(f"{head}.{payload}") == "TOKEN_MALFORMED"
    forged = b64(json.dumps(claims(sub=f"user:{uuid7()}")).encode())
    assert await stand.refused(f"{head}.{forged}.{signature}") == "TOKEN_SIGNATURE_INVALID"
    # The same bytes in another spelling are not the same token.
    assert await stand.refused(f"{head}.{payload}.{signature}=") == "TOKEN_MALFORMED"
    assert await stand.refused(f"{head}.{payload}.{signature}\n") == "TOKEN_MALFORMED"
    assert await stand.refused(f" {head}.{payload}.{signature}") == "TOKEN_MALFORMED"
    zeros = b64(bytes(256))
    assert await stand.refused(f"{head}.{payload}.{zeros}") == "TOKEN_SIGNATURE_INVALID"


async def test_a_token_that_is_too_large(stand: Stand) -> None:
    assert await stand.refused(token(scope="s" * MAX_TOKEN)) == "TOKEN_MALFORMED"


async def test_jwe_and_nested_and_json_forms(stand: Stand) -> None:
    for form in ("a.b.c.d.e", "{}", json.dumps({"payload": "x", "signatures": []}), "..", ""):
        assert await stand.refused(form) == "TOKEN_MALFORMED"


@given(st.text(max_size=400))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    with suppress(Unauthenticated):
        parse_token(text)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_header_or_payload_makes_the_parser_fail_otherwise(head: bytes, body: bytes) -> None:
    with suppress(Unauthenticated):
        parse_token(f"{b64(head)}.{b64(body)}.{b64(b'x')}")


async def test_a_remembered_token_ends_on_time_and_stays_with_its_tenant(stand: Stand) -> None:
    made = token()
    await stand.verify(made)
    assert isinstance(stand.verifier.verify(made, tenant_id=TENANT, slug="acme"), Claims)
    assert await stand.refused(made, tenant=OTHER, slug="other") == "TOKEN_OF_ANOTHER_TENANT"
    assert await stand.refused(made, slug="other") == "TOKEN_OF_ANOTHER_TENANT"
    stand.clock.advance(600_000)
    assert await stand.refused(made) == "TOKEN_EXPIRED"


async def test_a_remembered_token_goes_with_its_key(stand: Stand) -> None:
    made = token()
    await stand.verify(made)
    stand.keys.known = {}
    assert await stand.refused(made) == "TOKEN_KEY_UNKNOWN"


async def test_a_remembered_token_is_asked_for_in_the_deny_list_each_time(stand: Stand) -> None:
    sid = str(uuid7())
    made = token(sid=sid)
    await stand.verify(made)
    for entry in (session_entry(sid), token_entry("j1"), family_entry("f1")):
        stand.lists.revoked = Revoked("e1", {entry: (NOW_S + 600) * 1000})
        assert await stand.refused(made) == "TOKEN_REVOKED"
    stand.lists.revoked = Revoked("e1", {session_entry("x"): 1})
    await stand.verify(made)


async def test_a_person_s_tokens_end_and_later_ones_do_not(stand: Stand) -> None:
    ended_ms = NOW_S * 1000 + 300
    entry = {user_entry(f"user:{USER}"): ended_ms + MAX_LIFETIME_S * 1000}
    stand.lists.revoked = Revoked("e1", entry)
    assert await stand.refused(token()) == "TOKEN_REVOKED"
    # The clock that issued it may have been ahead.
    stand.clock.advance(7_000)
    ahead = token(iat=NOW_S + CLOCK_SKEW_S, exp=NOW_S + 60)
    assert await stand.refused(ahead) == "TOKEN_REVOKED"
    await stand.verify(token(iat=NOW_S + CLOCK_SKEW_S + 1, exp=NOW_S + 60))
    await stand.verify(token(sub=f"user:{uuid7()}"))


@pytest.mark.parametrize("epoch", ["e2", ""], ids=["another_list", "no_list"])
async def test_after_the_deny_list_was_lost_older_tokens_are_refused(
    stand: Stand, epoch: str
) -> None:
    made = token()
    await stand.verify(made)
    stand.lists.revoked = Revoked(epoch)
    assert await stand.refused(made) == "TOKEN_REVOCATION_UNKNOWN"


async def test_the_first_token_of_a_list_that_the_copy_has_not_seen(stand: Stand) -> None:
    stand.lists.revoked, stand.lists.newer = Revoked(""), Revoked("e1")
    await stand.verify(token())


async def test_while_the_deny_list_is_away_nothing_is_a_yes(stand: Stand) -> None:
    made = token()
    await stand.verify(made)
    stand.lists.away = True
    with pytest.raises(Unavailable):
        await stand.verify(made)


def test_what_waits_is_awaitable_and_what_is_known_is_not(stand: Stand) -> None:
    waiting = stand.verifier.verify(token(), tenant_id=TENANT, slug="acme")
    assert isinstance(waiting, Awaitable)
    waiting.close()  # type: ignore[attr-defined]


def test_jwks_are_read_and_what_is_weak_or_other_is_passed_over() -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505 - on purpose
    entries = [
        public_jwk(KEY.public_key(), "a" * 16),
        public_jwk(weak, "b" * 16),
        {"kty": "EC", "kid": "c" * 16},
        {**public_jwk(STRANGE.public_key(), "d" * 16), "alg": "RS512"},
        {**public_jwk(STRANGE.public_key(), "e" * 16), "use": "enc"},
    ]
    found = read_jwks(json.dumps({"keys": entries}))
    assert list(found) == ["a" * 16]
    assert found["a" * 16].public_numbers() == KEY.public_key().public_numbers()
    for text in ('{"keys": [1]}', '{"keys": [{"kty": "RSA"}]}'):
        assert read_jwks(text) == {}
    for text in ("", "{}", "[]", '{"keys": 1}'):
        with pytest.raises(Unavailable):
            read_jwks(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"keys":[' + '{"x":' * 100_000, "", "{}", "5"])
def test_jwks_that_are_none_are_away_however_deep(text: str) -> None:
    with pytest.raises(Unavailable) as refused:
        read_jwks(text)
    assert refused.value.reason == "JWKS_MALFORMED"


def test_jwk_is_what_pyjwt_reads() -> None:
    read: Any = jwt.PyJWK(public_jwk(KEY.public_key(), KID)).key
    assert read.public_numbers() == KEY.public_key().public_numbers()


def test_scopes_limit_when_they_name_permissions() -> None:
    assert limits_of("") is None
    assert limits_of("openid profile") is None
    assert limits_of("openid project:read run:start") == frozenset({"project:read", "run:start"})


def test_base64_is_read_in_one_spelling_only() -> None:
    padded = base64.urlsafe_b64encode(b"x").decode()
    assert padded.endswith("=")
    # "eA" and "eB" would decode to the same byte.
    for spelling in ("eB", padded, "e A", "e+/A"):
        with pytest.raises(Unauthenticated):
            parse_token(f"{spelling}.{spelling}.{spelling}")

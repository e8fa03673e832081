"""The signed record has one reading, and every altered part breaks the signature."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from argy.base.crypto import KeyRing
from argy.base.errors import InvalidArgument, Unauthenticated
from argy.base.ids import PLATFORM_TENANT_ID
from argy.base.secret_token import token_of
from argy.rpc import signature
from argy.rpc.client_keys import ServiceKey
from argy.rpc.pair_keys import RootKeys, derive_pair_key
from argy.rpc.service_key_id import MAX_GENERATION, SVC, ServiceKeyId, parse_key_id
from argy.rpc.signature import (
    HEADER,
    MAX_AGE_MS,
    MAX_AHEAD_MS,
    Subject,
    covered,
    sign,
    split,
    verify,
)

NOW_MS = 1_800_000_000_000
RING = KeyRing.generate("k1").rotated("k2")
KEYS = RootKeys(RING)
NONCE = bytes(range(16))
CALL = Subject(
    method="/argy.api.authz.v1.AuthzService/Check",
    source="cli",
    destination="authz",
    tenant="t1",
    org="o1",
    metadata=(("x-org-id", "o1"), ("x-tenant-id", "t1")),
)
BODY = b"body"
NAMES = st.text("abc/.-:\x00", max_size=6)


def signed(subject: Subject = CALL, body: bytes = BODY, now_ms: int = NOW_MS) -> str:
    return sign(subject, body, keys=KEYS, now_ms=now_ms, nonce=NONCE)


def check(
    header: str, subject: Subject = CALL, body: bytes = BODY, now_ms: int = NOW_MS, **other: Any
) -> Any:
    parts: dict[str, Any] = {
        "method": subject.method,
        "destination": subject.destination,
        "tenant": subject.tenant,
        "org": subject.org,
        "metadata": subject.metadata,
        "streams": subject.streams,
        "keys": KEYS,
        "now_ms": now_ms,
    }
    return verify(header, body, **{**parts, **other})


def reason_of(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(Unauthenticated) as refused:
        check(*args, **kwargs)
    return refused.value.reason


SUBJECTS = st.builds(
    Subject,
    method=NAMES,
    source=st.sampled_from(["a", "b", "ab"]),
    destination=NAMES,
    tenant=NAMES,
    org=NAMES,
    metadata=st.lists(st.tuples(NAMES, NAMES), max_size=3).map(tuple),
    streams=st.booleans(),
)


@given(SUBJECTS, SUBJECTS, st.binary(max_size=4), st.binary(max_size=4))
def test_two_calls_never_share_a_signature(
    one: Subject, two: Subject, body_one: bytes, body_two: bytes
) -> None:
    assume((one, body_one) != (two, body_two))
    assert signed(one, body_one) != signed(two, body_two)


@given(SUBJECTS, st.binary(max_size=64))
def test_what_is_signed_is_verified(subject: Subject, body: bytes) -> None:
    verified = check(signed(subject, body), subject, body)
    assert (verified.source, verified.timestamp_ms, verified.nonce) == (
        subject.source,
        NOW_MS,
        NONCE,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"method": "/argy.api.authz.v1.AuthzService/Explain"},
        {"destination": "audit"},
        {"tenant": "t2"},
        {"org": "o2"},
        {"org": ""},
        {"metadata": ()},
        {"metadata": (*CALL.metadata, ("x-user", "root"))},
        {"streams": True},
    ],
    ids=str,
)
def test_every_altered_part_is_refused(change: dict[str, Any]) -> None:
    assert reason_of(signed(), replace(CALL, **change)) == "SIGNATURE_INVALID"


@pytest.mark.parametrize("body", [b"", b"Body", b"body ", b"bod"])
def test_an_altered_body_is_refused(body: bytes) -> None:
    assert reason_of(signed(), body=body) == "SIGNATURE_INVALID"


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_an_altered_header_is_refused(at: int, char: str) -> None:
    header = signed()
    at %= len(header)
    assume(header[at] != char)
    assert reason_of(header[:at] + char + header[at + 1 :]) in {
        "SIGNATURE_INVALID",
        "SIGNATURE_MALFORMED",
        "KEY_UNKNOWN",
    }


@pytest.mark.parametrize("tail", ["", "=", "\n", " ", ".x"])
def test_a_header_has_one_spelling(tail: str) -> None:
    header = signed()
    if tail:
        assert reason_of(header + tail) == "SIGNATURE_MALFORMED"
    last = chr(ord(header[-1]) ^ 1)  # the last character's lowest bits carry nothing
    assert reason_of(header[:-1] + last) in {"SIGNATURE_INVALID", "SIGNATURE_MALFORMED"}


def test_the_window_is_30_s_back_and_5_s_ahead() -> None:
    header = signed()
    check(header, now_ms=NOW_MS + MAX_AGE_MS)
    check(header, now_ms=NOW_MS - MAX_AHEAD_MS)
    assert reason_of(header, now_ms=NOW_MS + MAX_AGE_MS + 1) == "TIMESTAMP_EXPIRED"
    assert reason_of(header, now_ms=NOW_MS - MAX_AHEAD_MS - 1) == "TIMESTAMP_IN_FUTURE"


def test_a_nonce_is_remembered_for_as_long_as_its_signature_lives() -> None:
    header = signed()
    verified = check(header, now_ms=NOW_MS - MAX_AHEAD_MS)
    assert verified.nonce_expires_ms > NOW_MS + MAX_AGE_MS


def test_a_wrong_signature_is_told_before_its_age() -> None:
    """Nothing about time is told to somebody who has no key."""
    stranger = RootKeys(KeyRing.generate("k2"))
    header = sign(CALL, BODY, keys=stranger, now_ms=NOW_MS, nonce=NONCE)
    assert reason_of(header, now_ms=NOW_MS + 10 * MAX_AGE_MS) == "SIGNATURE_INVALID"


def test_a_retired_key_is_unknown_and_a_live_one_still_verifies() -> None:
    old = RootKeys(KeyRing("k1", {"k1": RING.keys["k1"]}))
    header = sign(CALL, BODY, keys=old, now_ms=NOW_MS, nonce=NONCE)
    check(header)
    assert reason_of(header, keys=RootKeys(RING.retired("k1"))) == "KEY_UNKNOWN"


# A key id is HKDF's salt: trailing zeros would not count (RFC 2104 pads keys with them), and
# base.crypto.KEY_ID has none.
KEY_IDS = st.text("ab0_-", min_size=1, max_size=6)
PAIRS = st.tuples(KEY_IDS, NAMES, NAMES).filter(all)


@given(PAIRS, PAIRS)
def test_every_pair_of_services_has_its_own_key(
    one: tuple[str, str, str], two: tuple[str, str, str]
) -> None:
    assume(one != two)

    def derived(pair: tuple[str, str, str]) -> bytes:
        return derive_pair_key(bytes(32), key_id=pair[0], source=pair[1], destination=pair[2])

    assert derived(one) != derived(two)


def test_metadata_is_covered_sorted_and_split_from_the_signature() -> None:
    received = (
        ("x-b", "2"),
        ("user-agent", "u"),
        (HEADER, "h"),
        ("authorization", "t"),
        ("x-a", "1"),
    )
    pairs = (("authorization", "t"), ("x-a", "1"), ("x-b", "2"))
    assert split(received) == (pairs, "h")
    assert covered(received) == pairs
    assert split(()) == ((), "")


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        ((("x-a", "1"), ("x-a", "1")), "METADATA_DUPLICATED"),
        (((HEADER, "h"), (HEADER, "h")), "METADATA_DUPLICATED"),
        ((("authorization", "a"), ("authorization", "b")), "METADATA_DUPLICATED"),
        ((("x-a-bin", b"1"),), "METADATA_BINARY"),
    ],
)
def test_metadata_with_two_readings_is_refused(received: Any, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        covered(received)
    assert refused.value.reason == reason


def test_what_strangers_send_is_not_remembered() -> None:
    # 20,000 unsigned calls with long headers once took 280 MiB for good.
    remembered = signature._remembered_digest
    for number in range(200):
        long = f"{number}-{'x' * 4000}"
        subject = replace(CALL, metadata=(("x-long", long),))
        with pytest.raises(Unauthenticated):
            check(signed(), subject)
    before = remembered.cache_info().currsize
    many = tuple((f"x-{number}", "v") for number in range(60))
    with pytest.raises(Unauthenticated):
        check(signed(), replace(CALL, metadata=many))
    assert remembered.cache_info().currsize == before
    # What is not remembered is covered all the same.
    subject = replace(CALL, metadata=(("x-long", "y" * 4000),))
    check(signed(subject), subject)
    heads = signature._head.cache_info().currsize
    for longer in (replace(CALL, tenant="t" * 37), replace(CALL, org="t" * 37)):
        with pytest.raises(Unauthenticated) as refused:
            check(signed(), longer)
        assert refused.value.reason == "SIGNATURE_MALFORMED"
    assert signature._head.cache_info().currsize == heads


TENANT, CREDENTIAL = UUID(int=7 << 100), UUID(int=8 << 100)
KEY = ServiceKeyId("k1", TENANT, CREDENTIAL, 3)
SERVICE_CALL = replace(CALL, source="billing")


def service_key(key: ServiceKeyId = KEY, source: str = "billing") -> ServiceKey:
    """The key as its owner holds it."""
    secret = token_of(SVC, KEYS.service_secret(key, source))
    return ServiceKey(source=source, key_id=str(key), secret=secret)


def signed_with(keys: Any, subject: Subject = SERVICE_CALL) -> str:
    return sign(subject, BODY, keys=keys, now_ms=NOW_MS, nonce=NONCE)


def test_a_service_key_s_signature_is_verified_with_the_root_alone() -> None:
    verified = check(signed_with(service_key()), SERVICE_CALL)
    assert (verified.source, verified.service_key) == ("billing", KEY)
    assert check(signed(), CALL).service_key is None


class Claimed:
    """Signs with a genuine pair key under whatever id: what a thief of the key could send."""

    def __init__(self, key_id: str) -> None:
        self.signing = key_id

    def pair_key(self, key_id: str, source: str, destination: str) -> bytes:
        return service_key().pair_key(str(KEY), source, destination)


@pytest.mark.parametrize(
    "key_id",
    [
        str(replace(KEY, generation=4)),
        str(replace(KEY, root_id="k2")),
        str(replace(KEY, tenant_id=PLATFORM_TENANT_ID)),
        str(replace(KEY, credential_id=TENANT)),
        "k1",
    ],
    ids=["generation", "root", "tenant", "credential", "a root key's"],
)
def test_a_service_key_is_good_under_no_other_id(key_id: str) -> None:
    assert reason_of(signed_with(Claimed(key_id)), SERVICE_CALL) == "SIGNATURE_INVALID"
    forged = ServiceKey(
        source="billing", key_id=str(KEY), secret=str(service_key().to_json()["secret"])
    )
    assert check(signed_with(forged), SERVICE_CALL).service_key == KEY


HEX = "0" * 31


@pytest.mark.parametrize(
    "key_id",
    [
        "svc",
        "svc.",
        "svc.k1",
        f"svc.k1.{HEX}1.{HEX}2",
        f"svc.k1.{HEX}1.{HEX}2.0",
        f"svc.k1.{HEX}1.{HEX}2.01",
        f"svc.k1.{HEX}1.{HEX}2.-1",
        f"svc.k1.{HEX}1.{HEX}2.{MAX_GENERATION + 1}",
        f"svc.k1.{HEX}1.{HEX}2.1.1",
        f"svc.k1.{HEX}A.{HEX}2.1",
        f"svc.k1.{HEX}1.{HEX}2.1\n",
        f"svc.../../k1.{HEX}1.{HEX}2.1",
        f"svc.{'k' * 33}.{HEX}1.{HEX}2.1",
        f"svc.k1.{HEX * 1000}.{HEX}2.1",
        f"SVC.k1.{HEX}1.{HEX}2.1",
        f"svc.k1.{HEX}1.{HEX}2.\u0661",
        "k.1",
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_a_malformed_key_id_is_refused_before_anything_is_derived(key_id: str) -> None:
    found = reason_of(signed_with(Claimed(key_id)), SERVICE_CALL)
    assert found == ("KEY_UNKNOWN" if key_id == "svc" else "SIGNATURE_MALFORMED")
    with pytest.raises(InvalidArgument):
        parse_key_id(key_id)


@given(
    st.builds(
        ServiceKeyId,
        root_id=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True),
        tenant_id=st.uuids(),
        credential_id=st.uuids(),
        generation=st.integers(1, MAX_GENERATION),
    )
)
def test_a_key_id_has_one_spelling_and_is_no_root_key_s(key: ServiceKeyId) -> None:
    assert parse_key_id(str(key)) == key
    assert len(str(key)) <= 109
    with pytest.raises(InvalidArgument):
        KeyRing(str(key), {str(key): bytes(32)})


def test_a_service_key_signs_for_its_own_tenant_or_the_platform_s_for_all() -> None:
    platform = replace(KEY, tenant_id=PLATFORM_TENANT_ID)
    assert KEY.reaches(TENANT, platform=False)
    assert not KEY.reaches(CREDENTIAL, platform=False)
    assert not KEY.reaches(PLATFORM_TENANT_ID, platform=False)
    assert not KEY.reaches(TENANT, platform=True)
    assert platform.reaches(TENANT, platform=False)
    assert platform.reaches(PLATFORM_TENANT_ID, platform=True)


def test_every_part_of_a_service_key_is_in_its_secret() -> None:
    others = [
        KEYS.service_secret(replace(KEY, **part), "billing")
        for part in (
            {"root_id": "k2"},
            {"tenant_id": CREDENTIAL},
            {"credential_id": TENANT},
            {"generation": 4},
        )
    ]
    secrets = [*others, KEYS.service_secret(KEY, "billing"), KEYS.service_secret(KEY, "billing2")]
    assert len(set(secrets)) == len(secrets)
    assert not set(secrets) & set(RING.keys.values())

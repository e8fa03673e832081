"""The envelope: it opens in its own place alone, and under another key after a rewrap."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.base.crypto import KeyRing, encode_key
from argy.base.envelope import (
    MAX_PLAIN,
    KeyRingKms,
    open_sealed,
    rewrap,
    seal,
    sealed_under,
)
from argy.base.errors import ArgyError, FailedPrecondition, InvalidArgument

TENANT, OTHER = UUID(int=1), UUID(int=2)
RING = KeyRing.generate("k1")
KEK = KeyRingKms(RING)
PLAIN = b"a private key"


def sealed(kek: KeyRingKms = KEK) -> bytes:
    return seal(PLAIN, kek=kek, tenant_id=TENANT, table="authn.signing_key", row="r1")


def opened(value: bytes, kek: KeyRingKms = KEK, **place: Any) -> bytes:
    where: dict[str, Any] = {"tenant_id": TENANT, "table": "authn.signing_key", "row": "r1"}
    return open_sealed(value, kek=kek, **(where | place))


def test_it_opens_where_it_was_sealed_and_tells_nothing() -> None:
    one, two = sealed(), sealed()
    assert opened(one) == opened(two) == PLAIN
    assert one != two
    assert PLAIN not in one
    assert sealed_under(one) == "k1"


@pytest.mark.parametrize(
    "place",
    [{"row": "r2"}, {"tenant_id": OTHER}, {"table": "authn.other"}],
    ids=["moved_to_another_row", "moved_to_another_tenant", "moved_to_another_table"],
)
def test_a_value_that_was_moved_is_refused(place: dict[str, Any]) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        opened(sealed(), **place)
    assert caught.value.reason == "SEALED_VALUE_REFUSED"


def test_names_that_run_together_are_different_places() -> None:
    value = seal(PLAIN, kek=KEK, tenant_id=TENANT, table="a", row="bc")
    with pytest.raises(FailedPrecondition):
        open_sealed(value, kek=KEK, tenant_id=TENANT, table="ab", row="c")


@given(st.data())
def test_a_value_that_was_changed_anywhere_is_refused(data: st.DataObject) -> None:
    value = bytearray(sealed())
    at = data.draw(st.integers(0, len(value) - 1))
    value[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FailedPrecondition) as caught:
        opened(bytes(value))
    assert caught.value.reason in {"SEALED_VALUE_REFUSED", "KEK_UNKNOWN"}


@given(st.binary(max_size=300))
def test_what_is_no_sealed_value_is_refused(noise: bytes) -> None:
    with pytest.raises(ArgyError):
        opened(noise)


@pytest.mark.parametrize("length", range(0, 109, 6))
def test_a_value_that_was_cut_is_refused(length: int) -> None:
    with pytest.raises(FailedPrecondition):
        opened(sealed()[:length])


def test_the_wrapped_key_of_another_value_is_refused() -> None:
    one = sealed()
    other = seal(b"x" * len(PLAIN), kek=KEK, tenant_id=TENANT, table="authn.signing_key", row="r2")
    head = len(one) - 12 - len(PLAIN) - 16
    with pytest.raises(FailedPrecondition):
        opened(other[:head] + one[head:])


def test_a_rotated_ring_opens_old_values_and_rewraps_them() -> None:
    old = sealed()
    rotated = RING.rotated("k2")
    kek = KeyRingKms(rotated)
    assert opened(old, kek) == PLAIN
    fresh = rewrap(old, kek=kek, tenant_id=TENANT, table="authn.signing_key", row="r1")
    assert sealed_under(fresh) == "k2"
    # The ciphertext is the same: only the wrapped data key changed.
    assert fresh[-len(PLAIN) - 16 - 12 :] == old[-len(PLAIN) - 16 - 12 :]
    again = rewrap(fresh, kek=kek, tenant_id=TENANT, table="authn.signing_key", row="r1")
    assert again == fresh
    retired = KeyRingKms(rotated.retired("k1"))
    assert opened(fresh, retired) == PLAIN
    with pytest.raises(FailedPrecondition) as caught:
        opened(old, retired)
    assert caught.value.reason == "KEK_UNKNOWN"


def test_a_value_of_another_place_is_not_carried_over_by_a_rewrap() -> None:
    kek = KeyRingKms(RING.rotated("k2"))
    with pytest.raises(FailedPrecondition):
        rewrap(sealed(), kek=kek, tenant_id=TENANT, table="authn.signing_key", row="r2")


def test_another_ring_with_the_same_key_id_does_not_open_it() -> None:
    with pytest.raises(FailedPrecondition):
        opened(sealed(), KeyRingKms(KeyRing.generate("k1")))


def test_too_much_and_nowhere_are_refused() -> None:
    with pytest.raises(InvalidArgument):
        seal(bytes(MAX_PLAIN + 1), kek=KEK, tenant_id=TENANT, table="t", row="r")
    with pytest.raises(InvalidArgument):
        seal(b"", kek=KEK, tenant_id=TENANT, table="t", row="")
    assert opened(seal(b"", kek=KEK, tenant_id=TENANT, table="authn.signing_key", row="r1")) == b""


def test_the_ring_comes_from_a_file_or_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "kek.json"
    RING.save(path)
    text = json.dumps({"signing": "k1", "keys": {"k1": encode_key(RING.keys["k1"])}})
    value = sealed()
    assert opened(value, KeyRingKms.from_settings(path, "")) == PLAIN
    assert opened(value, KeyRingKms.from_settings(None, text)) == PLAIN
    for wrong in ((None, ""), (path, text), (None, "no json"), (None, "[]"), (None, "{}")):
        with pytest.raises(InvalidArgument):
            KeyRingKms.from_settings(*wrong)
    path.chmod(0o644)
    with pytest.raises(FailedPrecondition):
        KeyRingKms.from_settings(path, "")

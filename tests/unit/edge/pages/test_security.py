"""What passkey managers are told of a person's passkeys."""

from argy.api.authn.v1.passkey_pb2 import ListPasskeysResponse, Passkey
from argy.edge.pages.security import Known, known_of


def test_every_passkey_that_is_kept_is_told_blocked_ones_too() -> None:
    held = [Passkey(credential_id=b"\xff\xfe"), Passkey(credential_id=b"key", blocked=True)]
    found = ListPasskeysResponse(passkeys=held, user_handle=b"\xfb\xff", rp_id="example.org")
    assert known_of(found) == Known("example.org", "-_8", ["__4", "a2V5"])


def test_that_none_is_left_is_told_as_well() -> None:
    found = ListPasskeysResponse(user_handle=b"handle", rp_id="example.org")
    assert known_of(found) == Known("example.org", "aGFuZGxl", [])


def test_of_who_never_had_one_nothing_is_told() -> None:
    assert known_of(ListPasskeysResponse(rp_id="example.org")) is None

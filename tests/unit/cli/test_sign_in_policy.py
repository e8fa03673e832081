"""What ``argy sign-in-policy`` decides before and after it asks the platform."""

from typing import Any

import pytest

from argy.api.authn.v1 import sign_in_policy_pb2 as pb
from argy.base.errors import Aborted, FailedPrecondition, InvalidArgument
from argy.cli import sign_in_policy as command

OFF = {"links": pb.LINKS_OFF}


def _held(*, links: Any = pb.LINKS_ON, left_out: int = 0) -> pb.GetSignInPolicyResponse:
    return pb.GetSignInPolicyResponse(
        policy=pb.SignInPolicy(links=links, passkey_aaguids=["a"], session_idle_minutes=7),
        standing=pb.SignInStanding(users_without_passkey=left_out),
    )


def test_links_go_off_unasked_only_where_nobody_is_left_out() -> None:
    command._confirm(_held(), OFF, yes=False)
    command._confirm(_held(left_out=3), OFF, yes=True)
    command._confirm(_held(links=pb.LINKS_OFF, left_out=3), OFF, yes=False)
    command._confirm(_held(left_out=3), {"session_idle_minutes": 5}, yes=False)
    with pytest.raises(FailedPrecondition, match=r"^3 active people have no passkey .* --yes$"):
        command._confirm(_held(left_out=3), OFF, yes=False)


def test_what_is_not_named_is_sent_as_it_is_held() -> None:
    held = _held().policy
    sent = command._changed(held, {"passkey_aaguids": [], "session_max_minutes": 9})
    assert sent == pb.SignInPolicy(links=pb.LINKS_ON, session_idle_minutes=7, session_max_minutes=9)


def test_a_change_in_between_is_told_with_what_to_do() -> None:
    told = command._with_advice(Aborted("stale", reason="ETAG_MISMATCH"))
    assert isinstance(told, Aborted)
    assert told.reason == "ETAG_MISMATCH"
    assert "`argy sign-in-policy show`" in told.message
    other = InvalidArgument("wrong")
    assert command._with_advice(other) is other


def test_a_model_is_known_in_every_spelling_of_its_id() -> None:
    spelt = "CB69481E-8FF7-4039-93EC-0A2729A154A8"
    assert command._models([spelt, spelt.lower()]) == [spelt.lower()]
    assert command._models(["any"]) == []
    with pytest.raises(InvalidArgument):
        command._models(["any", spelt])

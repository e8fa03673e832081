"""What whoever runs the platform may write about sign-in."""

from typing import Any

import pytest

from argy.authn.sessions.settings import sign_in_settings
from argy.base.errors import InvalidArgument

URL = "https://id.example.com:8443"


def test_the_url_alone_is_enough() -> None:
    made = sign_in_settings(base_url=URL)
    assert made.relying_party.rp_id == "id.example.com"
    assert made.relying_party.origins == (URL,)
    assert (made.limits.idle_s, made.limits.absolute_s) == (1_800, 43_200)


def test_everything_can_be_said() -> None:
    made = sign_in_settings(
        base_url=URL,
        rp_id="example.com",
        origins="https://www.example.com, https://example.org",
        idle_s=60,
        absolute_s=604_800,
    )
    assert made.relying_party.origins == (URL, "https://www.example.com", "https://example.org")
    assert (made.limits.idle_s, made.limits.absolute_s) == (60, 604_800)


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ({"rp_id": "example.org"}, "ARGY_RP_ID"),
        ({"rp_id": "ample.com"}, "ARGY_RP_ID"),
        ({"origins": "http://www.example.com"}, "ARGY_PASSKEY_ORIGINS"),
        ({"origins": "https://www.example.com/"}, "ARGY_PASSKEY_ORIGINS"),
        ({"origins": "*"}, "ARGY_PASSKEY_ORIGINS"),
        ({"idle_s": 59}, "ARGY_SESSION_IDLE_S"),
        ({"idle_s": 100, "absolute_s": 99}, "ARGY_SESSION_IDLE_S"),
        ({"absolute_s": 604_801}, "ARGY_SESSION_IDLE_S"),
    ],
)
def test_nonsense_is_named(written: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        sign_in_settings(base_url=URL, **written)
    assert refused.value.field == field

"""OAuth's endpoints with nothing behind the edge: what is refused before anybody is asked."""

from typing import Any

import httpx
import pytest

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("endpoint", "query"),
    [
        ("token", "refresh_token=secret"),
        ("token", "grant_type=refresh_token&client_id=other"),
        ("revoke", "token=secret"),
        ("introspect", "token=secret"),
        ("device_authorization", "client_id=other"),
        ("token", "x"),
    ],
)
def test_a_parameter_in_the_address_is_refused(
    http: httpx.Client, endpoint: str, query: str
) -> None:
    """There it stands in the logs of whatever is on the way (RFC 6749 §2.3.1)."""
    whole = b"grant_type=refresh_token&refresh_token=x&token=x&client_id=cli"
    answer = http.post(f"/acme/oauth/{endpoint}?{query}", content=whole, headers=FORM)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "address" in answer.json()["error_description"]
    assert answer.headers["cache-control"] == "no-store"
    assert "secret" not in answer.text


@pytest.mark.parametrize("body", [b"client_id=a&client_id=b", b"client_id=&client_id=b"])
@pytest.mark.parametrize("endpoint", ["token", "revoke", "introspect", "device_authorization"])
def test_a_parameter_that_comes_twice_is_refused(
    http: httpx.Client, endpoint: str, body: bytes
) -> None:
    answer = http.post(f"/acme/oauth/{endpoint}", content=body, headers=FORM)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_only_a_post_asks_for_tokens_whatever_another_header_says(
    http: httpx.Client, problem_of: Any, method: str
) -> None:
    answer = http.request(
        method, "/acme/oauth/token", headers={"x-http-method-override": "POST", "accept": "*/*"}
    )
    assert problem_of(answer)["reason"] == "METHOD_NOT_ALLOWED"
    assert answer.headers["allow"] == "POST"
    assert "access-control-allow-origin" not in answer.headers

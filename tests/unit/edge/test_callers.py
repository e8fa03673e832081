"""Which credentials a request brings, by their form alone: whose they are the services say."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from argy.base.errors import ArgyError
from argy.base.secret_token import new_token
from argy.client.pep_tokens import PepToken, add_token
from argy.edge.callers import Callers, Credential

TOKEN = "eyJh.eyJz.c2ln"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


@pytest.fixture
def of_service(file: Path) -> str:
    return add_token(file, service="demo", tenant_id=None, now=datetime.now(UTC))[0]


@pytest.fixture
def callers(file: Path, of_service: str) -> Callers:
    return Callers(file)


def request(*headers: tuple[str, str], query: str = "") -> Any:
    """What ASGI tells of a request."""
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"headers": pairs, "query_string": query.encode("latin-1")}


def bearer(secret: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {secret}")


def refusal(callers: Callers, asked: Any) -> str:
    with pytest.raises(ArgyError) as refused:
        callers.identify_any(asked)
    return refused.value.reason


def test_a_service_is_known_here_and_anybody_else_is_handed_on(
    callers: Callers, of_service: str
) -> None:
    service = callers.identify_any(request(bearer(of_service)))
    assert isinstance(service, PepToken)
    assert service.service == "demo"
    for secret in (TOKEN, new_token("pat")):
        found = callers.identify_any(request(("authorization", f"bEARER  {secret} ")))
        digest = hashlib.sha256(secret.encode()).hexdigest()
        assert found == Credential((bearer(secret),), digest)
    key = new_token("key")
    found = callers.identify_any(request(("x-api-key", key)))
    assert isinstance(found, Credential)
    assert found.metadata == (("x-api-key", key),)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer a.b",
        "Bearer a.b.c.d",
        "Bearer a..c",
        "Bearer a.b.c\nx-argy-subject: service:cli",
        "Bearer a.b.c, Bearer a.b.c",
        "Bearer \u00e9.b.c",
        "Bearer " + "a." * 8_200,
        "Token a.b.c",
        "Bearer argy_pat_" + "a" * 43 + "_000000",
    ],
    ids=[
        "empty", "none", "two_parts", "four_parts", "an_empty_part", "a_second_header",
        "a_list", "not_ascii", "too_long", "another_scheme", "a_wrong_checksum",
    ],
)  # fmt: skip
def test_what_has_no_form_of_ours_goes_no_further(callers: Callers, authorization: str) -> None:
    asked = request(("authorization", authorization))
    assert refusal(callers, asked) == "TOKEN_INVALID"


def test_passwords_are_told_where_they_lead(callers: Callers) -> None:
    asked = request(("authorization", "Basic YWRhOng="))
    assert refusal(callers, asked) == "PASSWORD_UNSUPPORTED"
    assert refusal(callers, request()) == "TOKEN_MISSING"


def test_a_key_in_the_wrong_place_or_shape_is_refused(callers: Callers) -> None:
    key = new_token("key")
    assert refusal(callers, request(bearer(key))) == "TOKEN_INVALID"
    twice = request(("x-api-key", key), ("x-api-key", key))
    for asked in (twice, request(("x-api-key", "")), request(("x-api-key", new_token("pat")))):
        assert refusal(callers, asked) == "CREDENTIAL_INVALID"


def test_two_credentials_are_one_too_many(callers: Callers, of_service: str) -> None:
    key = ("x-api-key", new_token("key"))
    for secret in (of_service, TOKEN):
        assert refusal(callers, request(bearer(secret), key)) == "CREDENTIAL_AMBIGUOUS"
    assert refusal(callers, request(bearer(TOKEN), bearer(of_service))) == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "query",
    [
        "access_token=x",
        "a=1&access_token=x",
        "API_KEY=x",
        "apikey",
        "x-api-key=",
        "a;token=x",
        "access%5Ftoken=x",
        "%61pi_key=x",
    ],
)
def test_a_credential_in_the_address_is_refused_beside_a_good_one(
    callers: Callers, of_service: str, query: str
) -> None:
    for secret in (of_service, TOKEN):
        assert refusal(callers, request(bearer(secret), query=query)) == "CREDENTIAL_IN_QUERY"
    assert refusal(callers, request(query=query)) == "TOKEN_MISSING"


@pytest.mark.parametrize("query", ["", "page=2", "my_token_count=1", "q=token", "x=access_token"])
def test_other_parameters_are_nobodys_business(callers: Callers, query: str) -> None:
    assert isinstance(callers.identify_any(request(bearer(TOKEN), query=query)), Credential)

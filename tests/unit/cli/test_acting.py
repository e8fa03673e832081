"""Who acts at a terminal, and where a sign-in is not good."""

import time
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from argy.base.errors import FailedPrecondition, InvalidArgument, Unauthenticated
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.base.secret_token import new_token
from argy.cli.acting import acting, ask
from argy.cli.edge_client import Answer
from argy.cli.signed_in import Login, save
from argy.rpc.claims import WireClaims
from argy.rpc.credentials import PAT
from argy.rpc.jwt import sign_token

EDGE = "https://edge.example.test"
ACME = uuid7()
ADA = f"user:{uuid7()}"


@pytest.fixture(scope="module")
def token() -> str:
    now_s = int(time.time())
    claims = WireClaims(
        iss=f"{EDGE}/acme", sub=ADA, aud="argy", tenant=str(ACME), sid=str(uuid7()),
        client_id="argy-cli", acr="a", amr=["device"], auth_time=now_s, jti=str(uuid7()),
        epoch="e1", iat=now_s, exp=now_s + 600,
    )  # fmt: skip
    return sign_token(claims, kid="k" * 43, key=rsa.generate_private_key(65537, 2048))


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("ARGY_TARGET", "argy.example.test:443")
    monkeypatch.setenv("ARGY_EDGE_URL", EDGE)
    return {"ARGY_HOME": str(tmp_path)}


@pytest.fixture
def login(token: str, tmp_path: Path) -> Login:
    made = Login(EDGE, "", "acme", token, "argy_rt_x", time.time() + 600, "")
    save(made, tmp_path, None)
    return made


def test_without_a_sign_in_the_service_acts(env: dict[str, str]) -> None:
    assert acting(env) is None


@pytest.mark.usefixtures("login")
def test_who_is_signed_in_acts_in_their_own_tenant_alone(env: dict[str, str], token: str) -> None:
    person = acting(env)
    assert person is not None
    assert (person.subject, person.tenant, person.tenant_id) == (ADA, "acme", ACME)
    assert person.token(ACME) == token
    assert token not in repr(person)
    for other in (PLATFORM_TENANT_ID, UUID(int=7)):
        with pytest.raises(FailedPrecondition, match="acme") as refused:
            person.token(other)
        assert refused.value.reason == "SIGNED_IN_ELSEWHERE"


@pytest.mark.usefixtures("login")
@pytest.mark.parametrize("edge", ["https://other.example.test", ""], ids=["another", "untold"])
def test_a_sign_in_is_not_used_at_another_platform_nor_does_the_service_act_instead(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, edge: str
) -> None:
    monkeypatch.setenv("ARGY_EDGE_URL", edge)
    with pytest.raises(FailedPrecondition) as refused:
        acting(env)
    assert refused.value.reason == "SIGNED_IN_ELSEWHERE"
    assert acting(env | {"ARGY_AS_SERVICE": "1"}) is None


@pytest.mark.usefixtures("login")
def test_where_the_service_is_meant_to_act_whoever_is_signed_in_makes_no_key_instead(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (env | {"ARGY_AS_SERVICE": "1"}).items():
        monkeypatch.setenv(name, value)
    asked: list[Login] = []

    def work(held: Login) -> Answer:
        asked.append(held)
        return Answer(200, {})

    with pytest.raises(InvalidArgument) as refused:
        ask(work)
    assert refused.value.reason == "PERSON_REQUIRED"
    assert not asked


def test_a_sign_in_that_is_over_does_not_make_the_service_act(
    env: dict[str, str], login: Login, tmp_path: Path
) -> None:
    over = Login(login.edge, "", "acme", "", "", 0.0, "")
    save(over, tmp_path, None)
    with pytest.raises(Unauthenticated, match="argy logout"):
        acting(env)


@pytest.mark.usefixtures("login")
def test_the_token_of_the_environment_comes_first(env: dict[str, str]) -> None:
    secret = new_token(PAT)
    person = acting(env | {"ARGY_TOKEN": secret})
    assert person is not None
    # It doesn't tell its tenant: the platform knows, and refuses it in any other.
    assert person.token(ACME) == person.token(PLATFORM_TENANT_ID) == secret
    assert not person.renew(Unauthenticated("x", reason="TOKEN_EXPIRED"))


@pytest.mark.parametrize(
    "secret", ["nonsense", "a.b.c", new_token(PAT)[:-1]], ids=["text", "no_jwt", "cut"]
)
def test_what_is_no_token_is_refused_and_not_repeated(env: dict[str, str], secret: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        acting(env | {"ARGY_TOKEN": secret})
    assert secret not in refused.value.message


def test_two_who_act_are_refused(env: dict[str, str], token: str) -> None:
    with pytest.raises(InvalidArgument):
        acting(env | {"ARGY_TOKEN": token, "ARGY_AS_SERVICE": "1"})
    with pytest.raises(InvalidArgument):
        acting(env | {"ARGY_AS_SERVICE": "yes"})

"""A URL that is not one may hold a password: what refuses it tells nothing of it."""

import traceback

import pytest

from argy.base.errors import InvalidArgument
from argy.base.smtp import SmtpServer
from argy.store.database import Database
from argy.store.redis import RedisStore

SPOILT = ["hunter2/x", "hun[ter2", "hunter2?x"]
"""Passwords that should have been percent-encoded: a part of each is taken for a port or a host."""


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def holds_nothing(error: pytest.ExceptionInfo[InvalidArgument]) -> None:
    shown = "".join(line for line in told(error.value).splitlines() if "hun" in line)
    assert "hunter2" not in shown
    assert "hun[ter2" not in shown


@pytest.mark.parametrize("password", SPOILT)
async def test_the_password_of_a_malformed_redis_url_does_not_show(password: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await RedisStore.open(f"redis://user:{password}@127.0.0.1:1/0")
    assert refused.value.violations[0].field == "redis_url"
    holds_nothing(refused)


@pytest.mark.parametrize("password", SPOILT)
async def test_the_password_of_a_malformed_dsn_does_not_show(password: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await Database.open(f"postgresql://user:{password}@127.0.0.1:1/db", role="argy_authz")
    assert refused.value.reason == "DSN_MALFORMED"
    holds_nothing(refused)


@pytest.mark.parametrize("password", SPOILT)
def test_the_password_of_a_malformed_smtp_url_does_not_show(password: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        SmtpServer(f"smtp://user:{password}@127.0.0.1:1", field="ARGY_MAIL_SMTP_URL")
    holds_nothing(refused)

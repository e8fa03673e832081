"""Logs are JSON lines, and hold no secrets."""

import json
import logging
import sys
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from argy.base.log import JsonFormatter, redact
from argy.base.secret_token import new_token


def line(message: str, *args: object, **extra: object) -> dict[str, Any]:
    record = logging.LogRecord("argy.test", logging.INFO, __file__, 1, message, args, None)
    vars(record).update(extra)
    found: dict[str, Any] = json.loads(JsonFormatter().format(record))
    return found


def test_a_record_is_one_line_of_json() -> None:
    told = line("hello %s", "a\nb", method="Check")
    assert (told["message"], told["method"], told["level"]) == ("hello a\nb", "Check", "INFO")
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "a\nb\u2028", (), None)
    assert "\n" not in JsonFormatter().format(record)


@pytest.mark.parametrize(
    "name",
    ["password", "db_password", "token", "api_key", "x_argy_signature", "Authorization", "dsn"],
)
def test_values_under_secret_names_do_not_show(name: str) -> None:
    assert line("x", **{name: "hunter2"})[name] == "[redacted]"


@pytest.mark.parametrize(
    "text",
    [
        "postgres://argy:hunter2@localhost/argy is away",
        "redis://:hunter2@localhost:6379",
        "rediss://user:hunter2@host",
        "redis://:p@hunter2@localhost:6379",  # the last @ ends it
        "redis://:hunter2@hunter2@a, redis://:hunter2@b",
    ],
)
def test_passwords_in_urls_do_not_show(text: str) -> None:
    assert "hunter2" not in redact(text)
    assert "hunter2" not in line(text)["message"]


def test_credentials_in_messages_do_not_show() -> None:
    pat, key = new_token("pat"), new_token("svc")
    parts = (b'{"alg":"RS256"}', b'{"sub":"user:1"}', b"a signature of somebody")
    jwt = ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    told = line(f"refused Bearer {pat}", header=f"authorization: Bearer {jwt}", why=f"'{key}'")
    for secret in (pat, key, jwt):
        assert secret not in json.dumps(told)
    assert told["message"] == "refused Bearer [redacted]"


def test_passwords_in_exceptions_do_not_show() -> None:
    try:
        raise ValueError("postgres://argy:hunter2@localhost")
    except ValueError:
        record = logging.LogRecord("x", logging.INFO, __file__, 1, "x", (), sys.exc_info())
    told = JsonFormatter().format(record)
    assert "ValueError" in told
    assert "hunter2" not in told


def test_long_values_are_cut() -> None:
    assert len(line("x" * 100_000)["message"]) < 5_000

"""``argy up``: from nothing to answers, and back to nothing."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError

from argy.base.ids import PLATFORM_TENANT_ID
from argy.local.areas import REDIS_USES
from argy.store.redis import key

GONE_WITHIN_S = 60.0


def assert_gone(family: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(family, timeout=GONE_WITHIN_S)
    assert alive == []


def test_it_shows_an_allow_and_a_deny_with_reasons_and_records(
    platform: Any, rows: Callable[..., list[dict[str, Any]]]
) -> None:
    allow, deny = platform.ready["checks"]
    assert (allow["effect"], deny["effect"]) == ("ALLOW", "DENY")
    file, _, line = allow["rule"].partition(":")
    text = (Path("policy") / file).read_text().splitlines()[int(line) - 1]
    assert text.startswith("p, role:PLATFORM_ENGINEER")
    assert allow["role_path"] == [allow["subject"], "role:PLATFORM_ENGINEER"]
    assert deny["reason"] == "NO_MATCHING_RULE"
    # Other tests ask this platform too, people about this project thousands of times.
    about = ("--actor", "service:cli", "--resource", "project:alpha")
    events = rows("audit", "tail", "--tenant", "acme", "-n", "1000", *about)
    recorded = {event["event_id"]: event for event in events}
    for check, outcome in ((allow, "SUCCESS"), (deny, "DENIED")):
        event = recorded[check["event_id"]]
        assert event["action"] == "authz.decision.check"
        assert event["outcome"] == outcome
        assert event["subject"] == check["subject"]


def test_each_service_is_a_user_of_its_own_in_redis(platform: Any) -> None:
    """Whoever took one service's password has neither the sessions nor the names of keys."""
    run = platform.home / "run"
    urls = {name: (run / f"argy_{name}_redis_url").read_text() for name in REDIS_USES}
    assert not (run / "argy_redis_url").exists()
    assert len({urlsplit(url).password for url in urls.values()}) == len(REDIS_USES)
    session = key(PLATFORM_TENANT_ID, "session", "x")
    for name, url in urls.items():
        assert urlsplit(url).username == f"argy_{name}"
        with redis.Redis.from_url(url) as client:
            assert client.ping()
            with pytest.raises(NoPermissionError):
                client.scan(0, match="t:{*}:session:*")
            if name != "authn":
                with pytest.raises(NoPermissionError):
                    client.get(session)
    nobody = urlsplit(urls["authz"])
    by_default = redis.Redis(port=nobody.port or 0, password=nobody.password)
    with by_default as client, pytest.raises(AuthenticationError):
        client.ping()


def test_a_second_start_finds_what_the_first_left(
    platform_factory: Callable[..., Any], tmp_path: Path
) -> None:
    first = platform_factory()
    family = first.family()
    assert first.stop() == 0
    assert_gone(family)
    second = platform_factory(first.home)
    subjects = [check["subject"] for check in first.ready["checks"]]
    assert [check["subject"] for check in second.ready["checks"]] == subjects
    assert first.ready["checks"][0]["event_id"] != second.ready["checks"][0]["event_id"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_and_nothing_is_left_behind(
    platform_factory: Callable[..., Any], number: int
) -> None:
    platform = platform_factory()
    family = platform.family()
    assert len(family) > 5
    assert platform.stop(number) == 0
    assert_gone(family)
    assert not (platform.home / "up.json").exists()
    assert "Traceback" not in platform.log


def test_kill_minus_nine_leaves_no_process_and_the_next_start_recovers(
    platform_factory: Callable[..., Any],
) -> None:
    platform = platform_factory()
    family = platform.family()
    platform.process.kill()
    assert_gone(family)
    again = platform_factory(platform.home)
    assert again.ready["checks"][0]["subject"] == platform.ready["checks"][0]["subject"]


def test_it_ends_with_an_error_that_names_the_log_when_the_services_die(
    platform_factory: Callable[..., Any],
) -> None:
    platform = platform_factory()
    family = platform.family()
    platform.server().kill()
    assert platform.process.wait(GONE_WITHIN_S) != 0
    told = platform.process.stderr.read()
    assert "services.log" in told
    assert "Traceback" not in told
    assert_gone(family)


def test_a_second_one_on_the_same_folder_is_refused(platform: Any, argy: Any) -> None:
    done = argy("up", "--once")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "already run by process" in done.stderr
    assert platform.process.poll() is None
    assert argy("tenant", "list").returncode == 0


def test_a_port_that_is_taken_is_not_fought_over(
    platform: Any, platform_factory: Callable[..., Any]
) -> None:
    taken = platform.endpoint.target.rpartition(":")[2]
    other = platform_factory(None, ARGY_UP_PORT=taken)
    assert other.endpoint.target.rpartition(":")[2] != taken


def test_a_folder_that_is_no_policy_is_refused(argy: Any, tmp_path: Path) -> None:
    done = argy("up", "--policy", str(tmp_path), home=tmp_path / "home")
    assert done.returncode != 0
    assert "no policy folder" in done.stderr
    assert not (tmp_path / "home" / "postgres").exists()


def test_secrets_are_their_owners_alone_and_on_no_command_line(platform: Any) -> None:
    for folder in ("keys", "run", "tls"):
        for path in (platform.home / folder).rglob("*"):
            if path.is_file() and not path.name.endswith(".pem"):
                assert path.stat().st_mode & 0o077 == 0, path
    secrets = [
        path.read_text().strip() for path in (platform.home / "run").iterdir() if path.is_file()
    ]
    secrets = [secret.rpartition("@")[0].rpartition(":")[2] for secret in secrets]
    assert len([secret for secret in secrets if secret]) >= 5
    for shown in platform.commands():
        assert not any(secret in shown for secret in secrets if secret)
    assert not any(secret in platform.log for secret in secrets if secret)


def test_an_ordinary_user_can_run_it(
    tmp_path: Path, run_as_user: Callable[[Path, str], Any]
) -> None:
    code = (
        "import os, sys; os.environ['ARGY_HOME'] = sys.argv[1] + '/home';"
        "os.environ['ARGY_UP_PORT'] = '0'; sys.argv[1:] = ['up', '--once', '--json'];"
        "from argy.cli.main import main; main()"
    )
    done = run_as_user(tmp_path, code)
    assert done.returncode == 0, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert [check["effect"] for check in checks] == ["ALLOW", "DENY"]

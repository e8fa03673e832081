"""How the edge starts, or says why it doesn't."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ports import reserved_port

ARGY = Path(sys.executable).with_name("argy")


def start(files: Any, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARGY_")}
    given = {
        "ARGY_EDGE_LISTEN": f"127.0.0.1:{reserved_port()}",
        "ARGY_EDGE_TLS_CERT": str(files.certificates.server_cert_file),
        "ARGY_EDGE_TLS_KEY": str(files.certificates.server_key_file),
        "ARGY_EDGE_TOKENS": str(files.tokens),
        "ARGY_TARGET": "localhost:1",
        "ARGY_CLIENT_KEYS_FILE": str(files.keys),
        "ARGY_CA_FILE": str(files.certificates.ca_file),
        **env,
    }
    return subprocess.run(
        [ARGY, "serve", *(arguments or ("edge",))],
        env={**kept, **{name: value for name, value in given.items() if value}},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"ARGY_EDGE_TOKENS": ""}, "ARGY_EDGE_TOKENS"),
        ({"ARGY_EDGE_TLS_CERT": ""}, "ARGY_EDGE_TLS_CERT"),
        ({"ARGY_EDGE_LISTEN": "nowhere"}, "ARGY_EDGE_LISTEN"),
        ({"ARGY_EDGE_PUBLIC_URL": "http://x"}, "https URL"),
        ({"ARGY_TARGET": ""}, "ARGY_TARGET"),
        ({"ARGY_EDGE_TOKEN": "x"}, "ARGY_EDGE_TOKEN is no setting"),
        ({"ARGY_EDGE_TOKENS": "/nonexistent"}, "/nonexistent"),
        ({"ARGY_CA_FILE": ""}, "unsafe_plaintext"),
    ],
)
def test_what_is_missing_or_wrong_is_named(files: Any, env: dict[str, str], told: str) -> None:
    done = start(files, **env)
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_others_may_read_is_refused(files: Any, tmp_path: Path) -> None:
    key = tmp_path / "server.key"
    key.write_bytes(files.certificates.server_key_file.read_bytes())
    key.chmod(0o640)
    done = start(files, ARGY_EDGE_TLS_KEY=str(key))
    assert done.returncode != 0
    assert "chmod 600" in done.stderr


def test_the_edge_shares_a_process_with_no_service(files: Any) -> None:
    done = start(files, "edge", "authz")
    assert done.returncode == 2
    assert "process of its own" in done.stderr


def test_health_is_not_serving_while_the_services_are_not(edge: Any) -> None:
    with edge.client() as http:
        del http.headers["authorization"]
        answer = http.get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "NOT_SERVING"}


def test_tokens_are_made_listed_and_revoked(tmp_path: Path) -> None:
    path = str(tmp_path / "tokens")

    def run(*arguments: str) -> str:
        command = [str(ARGY), "keys", "edge-token", "--file", path, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    token = run("--source", "billing").strip()
    assert token.startswith("argy_pep_")
    listed = run()
    assert "billing" in listed
    assert token not in listed
    token_id = listed.splitlines()[1].split()[0]
    assert token_id in run("--revoke", token_id)
    assert "billing" not in run()


def test_the_development_mailbox_is_for_localhost_alone(files: Any, tmp_path: Path) -> None:
    done = start(
        files,
        ARGY_EDGE_DEV_MAILBOX=str(tmp_path),
        ARGY_EDGE_PUBLIC_URL="https://argy.example",
    )
    assert done.returncode != 0
    assert "ARGY_EDGE_DEV_MAILBOX" in done.stderr

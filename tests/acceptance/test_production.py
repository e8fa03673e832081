"""deploy/README.md, followed to the letter."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ports import reserved_port

from argy.base.config import table
from argy.base.crypto import write_secret
from argy.client import Connection, Endpoint
from argy.local.areas import TABLES
from argy.local.dev_ca import ensure_dev_certificates

CHECKOUT = Path(__file__).parents[2]
GUIDE = (CHECKOUT / "deploy" / "README.md").read_text()
START_S = 120.0


def commands(text: str) -> list[str]:
    """The lines of every shell block, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_the_table_of_settings_is_that_of_the_program() -> None:
    rows = [row for kind in TABLES for row in table(kind)]
    for name, default, meaning in rows:
        assert f"| `{name}` | {default} | {meaning} |" in GUIDE
    assert len(re.findall(r"^\| `ARGY_", GUIDE, re.MULTILINE)) == len(rows)


@pytest.fixture
def machine(
    tmp_path: Path, fresh_database: Callable[..., str], worker_id: str, redis_url: str
) -> dict[str, str]:
    """A machine as the guide expects it: a database, Redis, certificates and a policy."""
    (tmp_path / "policy").symlink_to(CHECKOUT / "policy")
    write_secret(tmp_path / "redis_url", redis_url.encode())
    certificates = ensure_dev_certificates(tmp_path / "tls", now=datetime.now(UTC))
    (tmp_path / "server.pem").symlink_to(certificates.server_cert_file)
    (tmp_path / "server.key").symlink_to(certificates.server_key_file)
    (tmp_path / "ca.pem").symlink_to(certificates.ca_file)
    env = {name: value for name, value in os.environ.items() if not name.startswith("ARGY_")}
    return {
        **env,
        "PATH": f"{Path(sys.executable).parent}:{env['PATH']}",
        "ADMIN_DSN": fresh_database(f"production_{worker_id}", template="template0"),
    }


async def test_the_guide_leads_to_a_server_that_answers_with_rotated_keys(
    machine: dict[str, str], tmp_path: Path
) -> None:
    lines = commands(GUIDE)
    port = reserved_port()
    script = []
    for line in lines:
        if "0.0.0.0:7443" in line:
            script.append(line.replace("0.0.0.0:7443", f"127.0.0.1:{port}"))
        elif not line.startswith("argy serve"):
            script.append(line)
    # The steps before and after the server's start are one script here, then it starts.
    (serve,) = [line for line in lines if line.startswith("argy serve")]
    assert serve.endswith("authn")
    steps = "\n".join(["set -euo pipefail", *script, "unset ARGY_POSTGRES_DSN", f"exec {serve}"])
    server = await asyncio.create_subprocess_exec(
        "bash", "-c", steps, cwd=tmp_path, env=machine, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        keys = tmp_path / "billing.json"
        async with asyncio.timeout(START_S):
            while not keys.exists() or "k2" not in keys.read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        endpoint = Endpoint(
            f"localhost:{port}", "billing", str(keys), ca_file=str(tmp_path / "ca.pem")
        )
        async with Connection(endpoint) as connection, asyncio.timeout(START_S):
            while not await connection.serving(timeout_s=1):
                assert server.returncode is None
        for file in (tmp_path / "logins").iterdir():
            assert file.stat().st_mode & 0o777 == 0o600
        assert '"k1"' not in (tmp_path / "signing.json").read_text()
    finally:
        server.terminate()
        assert await asyncio.wait_for(server.wait(), START_S) == 0


def test_a_login_is_kept_until_its_file_is_removed(machine: dict[str, str], tmp_path: Path) -> None:
    def migrate() -> dict[str, str]:
        subprocess.run(
            ["argy", "migrate", "--logins", "logins"],
            cwd=tmp_path,
            env=machine | {"ARGY_POSTGRES_DSN": machine["ADMIN_DSN"]},
            check=True,
            capture_output=True,
        )
        return {file.name: file.read_text() for file in (tmp_path / "logins").iterdir()}

    first = migrate()
    assert set(first) == {
        "directory_dsn",
        "server_dsn",
        "authz_dsn",
        "audit_dsn",
        "authn_dsn",
        "audit_keeper_dsn",
    }
    assert migrate() == first
    (tmp_path / "logins" / "audit_dsn").unlink()
    again = migrate()
    assert again["audit_dsn"] != first["audit_dsn"]
    assert again["authz_dsn"] == first["authz_dsn"]


def test_every_file_named_in_the_readmes_exists() -> None:
    for readme in (
        CHECKOUT / "README.md",
        CHECKOUT / "deploy/README.md",
        CHECKOUT / "policy/README.md",
    ):
        for link in re.findall(r"\]\(([^)#:]+)\)", readme.read_text()):
            assert (readme.parent / link).exists(), (readme, link)

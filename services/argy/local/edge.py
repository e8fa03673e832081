"""The edge of ``argy up``: its keys, a token to try it with, and its process."""

import asyncio
import ssl
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from os import getegid, geteuid
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Final

from argy.base.errors import Unavailable
from argy.base.secret_token import is_token, token_digest
from argy.client.keys import issue_keys
from argy.client.pep_tokens import KIND, add_token, load_tokens
from argy.edge.settings import DESTINATIONS
from argy.local.dev_ca import DevCertificates
from argy.local.files import private_folder, read_private, write_private
from argy.local.identity import Identity
from argy.local.process import GuardedProcess
from argy.local.serve_edge import SOURCE

DEMO_SERVICE: Final = "demo"
"""Whom the token speaks for: policy/services.csv says what that service may ask."""
MAILBOX: Final = "mail"
"""The folder, in that of ``argy up``, of what would go by mail; the edge shows it on a page."""
_START_S: Final = 30.0
_DRAIN_S: Final = 15.0
_PROBE: Final = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge of this machine."""

    port: int
    ca_file: Path
    token_file: Path
    process: GuardedProcess

    @property
    def url(self) -> str:
        """What callers call it."""
        return f"https://localhost:{self.port}"

    @property
    def mailbox_url(self) -> str:
        """The page of what would have gone by mail."""
        return f"{self.url}/dev/mail"

    def sign_in_url(self, tenant: str) -> str:
        """The page where people of a tenant, named by its slug, sign in."""
        return f"{self.url}/{tenant}/sign-in"

    async def until_serving(self) -> None:
        """Wait until it answers, and the services behind it.

        Raises:
            LocalError: when it ends instead.
            Unavailable: when it takes too long.
        """
        context = ssl.create_default_context(cafile=str(self.ca_file))
        limit = time.monotonic() + _START_S
        while not await _serves(self.port, context):
            if self.process.exit_code() is not None:
                raise self.process.failure("(the edge) did not start")
            if time.monotonic() > limit:
                raise Unavailable(f"the edge did not start in {_START_S:.0f} s")
            await asyncio.sleep(0.02)


def start_edge(
    folder: Path, *, port: int, target: str, signing_keys: Path, certificates: DevCertificates
) -> Edge:
    """Start the edge on ``port`` in front of the services at ``target``.

    Its signing keys are issued anew, so that a rotated ring is heeded.
    """
    keys = private_folder(folder / "keys")
    own_keys, tokens = keys / "edge.json", keys / "edge-tokens.json"
    issue_keys(signing_keys, source=SOURCE, destinations=DESTINATIONS, out=own_keys)
    token_file = _demo_token(keys / "edge-token", tokens)
    process = GuardedProcess(
        [sys.executable, "-m", "argy.local.serve_edge"],
        folder=folder,
        log=private_folder(folder / "log") / "edge.log",
        identity=Identity("same", geteuid(), getegid()),
        env={
            "ARGY_EDGE_LISTEN": f"127.0.0.1:{port}",
            "ARGY_EDGE_PUBLIC_URL": f"https://localhost:{port}",
            "ARGY_EDGE_TLS_CERT": str(certificates.server_cert_file),
            "ARGY_EDGE_TLS_KEY": str(certificates.server_key_file),
            "ARGY_EDGE_TOKENS": str(tokens),
            "ARGY_EDGE_DEV_MAILBOX": str(private_folder(folder / MAILBOX)),
            "ARGY_TARGET": target,
            "ARGY_CLIENT_KEYS_FILE": str(own_keys),
            "ARGY_CA_FILE": str(certificates.ca_file),
            "HOME": str(folder),
        },
        stop=((SIGTERM, _DRAIN_S), (SIGKILL, 5)),
    )
    return Edge(port, certificates.ca_file, token_file, process)


def _demo_token(token_file: Path, tokens: Path) -> Path:
    """The file of the token to try the edge with, which is made on first use."""
    if token_file.exists() and tokens.exists():
        token = read_private(token_file).decode("ascii", "replace").strip()
        if is_token(token, kind=KIND) and token_digest(token) in load_tokens(tokens):
            return token_file
    token, _ = add_token(tokens, service=DEMO_SERVICE, tenant_id=None, now=datetime.now(UTC))
    write_private(token_file, token.encode())
    return token_file


async def _serves(port: int, context: ssl.SSLContext) -> bool:
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="localhost"
            )
            try:
                writer.write(_PROBE)
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False

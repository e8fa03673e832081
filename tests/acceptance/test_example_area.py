"""A new area is a folder, and a line in `argy.local.areas`: tried with one that isn't ours."""

import asyncio
import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import grpc_tools
import pytest

from argy.api.audit.v1.audit_pb2 import QueryEventsRequest
from argy.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from argy.base.crypto import KeyRing
from argy.base.errors import PermissionDenied
from argy.client import Connection, Endpoint
from argy.local.database import NAME
from argy.local.postgres import SUPERUSER
from argy.rpc.client import SignedChannel
from argy.rpc.pair_keys import RootKeys
from argy.rpc.tls import ClientTls
from argy.store.migrate import provision_login

CHECKOUT = Path(__file__).parents[2]
AREA = Path(__file__).parent / "example_area"
METHOD = "/argy.api.example.v1.NoteService/AddNote"
LIST = "AREAS: Final[tuple[Area[Any], ...]] = (AUTHZ, AUTHN, DIRECTORY, AUDIT)"
LAUNCHER = """
import pathlib, sys, types

import argy.local

# The list as a checkout with the new area would have it.
path = pathlib.Path(argy.local.__file__).with_name("areas.py")
text = path.read_text()
line = {line!r}
assert line in text
text = text.replace(line, line[:-1] + ", EXAMPLE)")
enters = "from argy.edge"
text = text.replace(enters, f"from argy.example.area import AREA as EXAMPLE\\n{{enters}}", 1)
areas = types.ModuleType("argy.local.areas")
sys.modules["argy.local.areas"] = argy.local.areas = areas
exec(compile(text, str(path), "exec"), areas.__dict__)

from argy.local.serve import main

sys.exit(main(sys.argv[1:], dict(__import__("os").environ)))
"""


@pytest.fixture
def area(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The area's folder, with the stubs of its contract."""
    root = tmp_path / "area"
    shutil.copytree(AREA, root)
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc", f"-I{CHECKOUT / 'protos'}", f"-I{root}",
            f"-I{Path(str(grpc_tools.__file__)).parent / '_proto'}", f"--python_out={root}",
            "argy/api/example/v1/note.proto",
        ],
        check=True,
    )  # fmt: skip
    monkeypatch.syspath_prepend(str(root))
    (root / "launch.py").write_text(LAUNCHER.format(line=LIST))
    yield root
    for name in [name for name in sys.modules if name.startswith("argy.api.example")]:
        del sys.modules[name]


async def _schema(dsn: str, root: Path) -> str:
    """Apply its migration; the DSN of its login."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute((root / "example.sql").read_text())
    finally:
        await connection.close()
    return await provision_login(dsn, "argy_example", "a-password-of-this-test-alone")


@pytest.fixture
async def server(platform: Any, replica_factory: Callable[..., Endpoint], area: Path) -> Endpoint:
    folder = platform.home / "postgres"
    port, password = (folder / "port").read_text(), (folder / "password").read_text().strip()
    admin = f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{NAME}"
    dsn = await _schema(admin, area)
    return replica_factory(
        "authz", "audit", "example",
        command=[sys.executable, str(area / "launch.py")],
        ARGY_EXAMPLE_DSN=dsn, PYTHONPATH=str(area),
    )  # fmt: skip


async def test_an_area_is_a_folder_and_a_line(
    platform: Any, server: Endpoint, area: Path, rows: Any
) -> None:
    (acme,) = [row for row in rows("tenant", "list") if row["slug"] == "acme"]
    tenant = UUID(acme["tenant_id"])
    pb = importlib.import_module("argy.api.example.v1.note_pb2")
    roots = RootKeys(KeyRing.load(platform.home / "keys" / "signing-keys.json"))

    async def add(source: str, text: str) -> Any:
        channel = SignedChannel(
            server.target, source=source, keys=roots, tenant_id=tenant,
            tls=ClientTls(Path(server.ca_file)),
        )  # fmt: skip
        try:
            call = channel.unary_unary(
                METHOD, pb.AddNoteRequest.SerializeToString, pb.AddNoteResponse.FromString
            )
            return await call(pb.AddNoteRequest(text=text), timeout=20)
        finally:
            await channel.close()

    async with Connection(server) as connection:
        async with asyncio.timeout(60):
            while not await connection.serving(timeout_s=1):  # noqa: ASYNC110 - it asks each time
                await asyncio.sleep(0)
        added = await add("cli", "hello")
        assert (added.notes, added.role) == (1, "argy_example")
        with pytest.raises(PermissionDenied):
            await add("edge", "may not")
        with pytest.raises(Exception, match="text"):
            await add("cli", "x" * 65)
        audit = AuditServiceStub(connection.channel(tenant))
        refused = "rpc.method:argy.api.example.v1.NoteService.AddNote"
        for action, resource, actor in (
            ("example.note.add", "example.note:new", "service:cli"),
            ("rpc.call.refuse", refused, "service:edge"),
        ):
            asked = QueryEventsRequest(action=action, resource=resource, actor=actor)
            async with asyncio.timeout(20):
                while not (events := (await audit.QueryEvents(asked)).events):
                    pass
            assert len(events) == 1

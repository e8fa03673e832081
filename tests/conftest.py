"""Real PostgreSQL and Valkey for every test that asks: one pair a run, one database a worker.

Under xdist the controller starts the servers and hands their addresses to the workers, so they
outlive any worker. Everything lies under ``.argy/test/<run>``, locked while the run lives: two runs
at once don't meet, and the next run removes what a killed one left. The launchers tie the servers'
lives to the process that started them.
"""

import asyncio
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import pytest
import redis
from hypothesis import HealthCheck, settings

from argy.base.ids import uuid7
from argy.local import guard
from argy.local.areas import ROLES
from argy.local.binaries import find_postgres, source_from
from argy.local.postgres import EmbeddedPostgres
from argy.local.valkey import EmbeddedValkey
from argy.store.database import Database
from argy.store.migrate import apply, provision_login, with_login
from argy.store.redis import RedisStore
from argy.trail.spool import lock_folder

TEMPLATE = "argy_template"
REDIS_DATABASES = 16
Factory = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class ServerAddresses:
    """Where a run's servers are; only ``redis_admin_url`` reaches keys outside tenants."""

    postgres_dsn: str
    password: str
    redis_admin_url: str
    redis_url: str


class TestServers:
    """One PostgreSQL and one Valkey, for a whole run."""

    __test__ = False

    def __init__(self) -> None:
        parent = Path(__file__).parents[1] / ".argy" / "test"
        parent.mkdir(parents=True, exist_ok=True)
        with (parent / "lock").open("a") as turn:
            # One run at a time: another's folder that has no lock yet is not left over.
            fcntl.flock(turn, fcntl.LOCK_EX)
            _remove_left_over(parent)
            self._folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
            self._folder.chmod(0o711)
            self._lock = lock_folder(self._folder)
        self._postgres = EmbeddedPostgres(
            self._folder / "postgres",
            binaries=find_postgres(source_from(os.environ, "ARGY_POSTGRES")),
            durable=False,
        )
        self._valkey = EmbeddedValkey(
            self._folder / "valkey", durable=False, allow=("acl", "flushdb")
        )

    def start(self) -> ServerAddresses:
        postgres_dsn = self._postgres.start()
        redis_admin_url = self._valkey.start()
        password = secrets.token_urlsafe(24)
        _run_apart(_make_template(postgres_dsn, password))
        redis_url = _limited_redis_user(redis_admin_url, password)
        return ServerAddresses(postgres_dsn, password, redis_admin_url, redis_url)

    def stop(self) -> None:
        self._valkey.stop()
        self._postgres.stop()
        if self._lock is not None:
            self._lock.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _remove_left_over(parent: Path) -> None:
    for folder in parent.glob("run-*"):
        # A folder without a lock file is being made at this moment.
        if (folder / "lock").exists() and (lock := lock_folder(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()


def database_dsn(dsn: str, database: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


async def _make_template(dsn: str, password: str) -> None:
    await _administer(dsn, f"CREATE DATABASE {TEMPLATE}")
    template = database_dsn(dsn, TEMPLATE)
    await apply(template)
    for role in ROLES:
        await provision_login(template, role, password)


def _run_apart(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, also when a loop is running in this thread."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def _administer(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _limited_redis_user(admin_url: str, password: str) -> str:
    """A user that can't touch a key outside a tenant's prefix, so no test can write one."""
    with redis.Redis.from_url(admin_url) as client:
        client.execute_command(
            "ACL", "SETUSER", "argy_test", "on", f">{password}", "~t:{*}:*", "&*", "+@all", "-acl"
        )
    parts = urlsplit(admin_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"argy_test:{password}@{host}", path=""))


def assert_tenant_keys(admin_url: str) -> None:
    """Every key of every database starts with a tenant's prefix."""
    for number in range(REDIS_DATABASES):
        with redis.Redis.from_url(admin_url, db=number) as client:
            strays = [key for key in client.scan_iter(count=1000) if not key.startswith(b"t:{")]
            assert not strays, f"Redis keys outside every tenant: {strays[:10]}"


class RunState:
    """The servers of this process's run, started when first needed."""

    def __init__(self) -> None:
        self._servers: TestServers | None = None
        self._addresses: ServerAddresses | None = None

    def addresses(self) -> ServerAddresses:
        if self._addresses is None:
            self._servers = TestServers()
            try:
                self._addresses = self._servers.start()
            except BaseException:
                self._servers.stop()
                raise
        return self._addresses

    def finish(self) -> None:
        try:
            if self._addresses is not None:
                assert_tenant_keys(self._addresses.redis_admin_url)
        finally:
            if self._servers is not None:
                self._servers.stop()


RUN = pytest.StashKey[RunState]()

# A slow machine breaks no property, and a run finds what the last one found. Whoever looks for more
# says --hypothesis-profile=explore.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "steady", settings.get_profile("explore"), derandomize=True, database=None
)
settings.load_profile("steady")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RUN] = RunState()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In xdist's controller: hand the addresses to a worker."""
    addresses = node.config.stash[RUN].addresses()
    node.workerinput["servers"] = json.dumps(asdict(addresses))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    try:
        session.config.stash[RUN].finish()
    except AssertionError as error:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        raise pytest.UsageError(str(error)) from error


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> ServerAddresses:
    """The run's servers."""
    if given := getattr(pytestconfig, "workerinput", None):
        return ServerAddresses(**json.loads(given["servers"]))
    return pytestconfig.stash[RUN].addresses()


@pytest.fixture(scope="session")
def worker_number() -> int:
    """0 without xdist, else the worker's number."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@pytest.fixture(scope="session")
def fresh_database(servers: ServerAddresses) -> Callable[..., str]:
    """Make a database and return its administrator DSN; migrated unless ``template`` says not."""

    def make(name: str, *, template: str = TEMPLATE) -> str:
        _run_apart(
            _administer(
                servers.postgres_dsn,
                f"DROP DATABASE IF EXISTS {name}",
                f"CREATE DATABASE {name} TEMPLATE {template}",
            )
        )
        return database_dsn(servers.postgres_dsn, name)

    return make


@pytest.fixture(scope="session")
def pg_dsn(fresh_database: Callable[..., str], worker_number: int) -> str:
    """Administrator DSN of this worker's migrated database."""
    return fresh_database(f"argy_worker_{worker_number}")


@pytest.fixture(scope="session")
def login_dsn(servers: ServerAddresses, pg_dsn: str) -> Callable[[str], str]:
    """Map a role to the DSN of its login."""
    return lambda role: with_login(pg_dsn, f"{role}_login", servers.password)


@pytest.fixture
async def db_factory(login_dsn: Callable[[str], str]) -> AsyncIterator[Factory]:
    """Open a Database for a role: ``await db_factory("argy_authz", max_size=2)``."""
    opened: list[Database] = []

    async def open_database(role: str, **options: Any) -> Database:
        db = await Database.open(login_dsn(role), role=role, **options)
        opened.append(db)
        return db

    yield open_database
    for db in opened:
        await db.close()


@pytest.fixture(scope="session")
def redis_url(servers: ServerAddresses, worker_number: int) -> str:
    """URL of this worker's Redis database."""
    return f"{servers.redis_url}/{worker_number % REDIS_DATABASES}"


@pytest.fixture
def tenant_key_check(servers: ServerAddresses) -> Callable[[], None]:
    """The check that ends every run: no key lies outside a tenant's prefix."""
    return lambda: assert_tenant_keys(servers.redis_admin_url)


@pytest.fixture
async def redis_store(redis_url: str) -> AsyncIterator[RedisStore]:
    """A RedisStore on this worker's database."""
    store = await RedisStore.open(redis_url)
    yield store
    await store.close()


@dataclass(frozen=True)
class TenantRow:
    """A tenant made for a test, and its orgs by slug."""

    tenant_id: UUID
    slug: str
    orgs: dict[str, UUID] = field(default_factory=dict)


@pytest.fixture
async def tenant_factory(db_factory: Factory) -> Factory:
    """Make a tenant with orgs: ``await tenant_factory(orgs=("sales",))``."""
    db = await db_factory("argy_directory", max_size=2)

    async def make(*, slug: str | None = None, orgs: tuple[str, ...] = ()) -> TenantRow:
        tenant_id = uuid7()
        tenant = TenantRow(tenant_id, slug or f"t-{tenant_id.hex}", {org: uuid7() for org in orgs})
        async with db.tenant(tenant_id) as tx:
            await tx.execute(
                "INSERT INTO directory.tenant (tenant_id, slug, display_name) VALUES ($1, $2, $2)",
                tenant_id,
                tenant.slug,
            )
            await tx.executemany(
                "INSERT INTO directory.org (tenant_id, org_id, slug, display_name)"
                " VALUES ($1, $2, $3, $3)",
                [(tenant_id, org_id, org) for org, org_id in tenant.orgs.items()],
            )
        return tenant

    return make


@pytest.fixture
def run_as_user() -> Callable[[Path, str], subprocess.CompletedProcess[str]]:
    """Run Python code as an ordinary user: ourselves or, for root, a mapped user without rights."""

    def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", code, str(folder)]
        if os.geteuid() == 0:
            spec = {
                "argv": argv,
                "env": dict(os.environ),
                "mode": "namespace",
                "uid": 65534,
                "gid": 65534,
                "stop": [[15, 10], [9, 5]],
                "death_signal": 15,
                "parent": os.getpid(),
            }
            argv = [sys.executable, "-I", "-S", str(guard.__file__), json.dumps(spec)]
        # The guard stops its child at the end of its input, so the pipe stays open meanwhile.
        read, write = os.pipe()
        try:
            return subprocess.run(
                argv, stdin=read, capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            os.close(read)
            os.close(write)

    return run

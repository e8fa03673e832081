"""The ACL users of the services, on a real Valkey: each uses its own kinds of keys, and no more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError
from redis_cluster import redis_cluster

from argy.authn.limits import RateLimits
from argy.authn.rates import ENTRY_BY_PERSON
from argy.authn.tokens.revocation import RevocationList, RevocationMirror
from argy.authz.publishing.floor import PolicyFloor
from argy.base.clock import SystemClock
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.local.areas import REDIS_USES as USES
from argy.local.valkey import EmbeddedValkey
from argy.store import redis_acl
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore, key

GUIDE = Path(__file__).parents[3] / "deploy" / "README.md"
KINDS = sorted({kind for purposes in USES.values() for one in purposes for kind in one.kinds})
ACME = UUID(int=1)
OPERATOR = "operator"
READS: tuple[tuple[str, ...], ...] = (
    ("GET",), ("HGETALL",), ("HMGET", "run"), ("ZRANGE", "0", "-1"), ("SMEMBERS",), ("TYPE",),
    ("DUMP",), ("EXISTS",), ("TTL",),
)  # fmt: skip
WRITES: tuple[tuple[str, ...], ...] = (
    ("SET", "x"), ("DEL",), ("UNLINK",), ("GETDEL",), ("HSET", "f", "v"), ("HDEL", "f"),
    ("ZADD", "1", "x"), ("ZREM", "x"), ("SADD", "x"), ("SREM", "x"), ("EXPIREAT", "1"),
    ("PEXPIRE", "1"), ("PERSIST",),
)  # fmt: skip
NAMING: tuple[tuple[str, ...], ...] = (
    ("SCAN", "0"), ("SCAN", "0", "MATCH", "t:{*}:session:*"), ("KEYS", "*"), ("RANDOMKEY",),
    ("DBSIZE",),
)  # fmt: skip
"""What tells the names of keys, or how many there are: key patterns don't bound it."""
RULING: tuple[tuple[str, ...], ...] = (
    ("FLUSHALL",), ("FLUSHDB",), ("SWAPDB", "0", "1"), ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"), ("CONFIG", "RESETSTAT",),
    ("ACL", "LIST"), ("ACL", "WHOAMI"), ("ACL", "SETUSER", "argy_audit", "allkeys"), ("ACL", "LOG"),
    ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "PAUSE", "1"),
    ("MONITOR",), ("SHUTDOWN", "NOSAVE"), ("DEBUG", "SLEEP", "0"), ("SAVE",), ("BGREWRITEAOF",),
    ("REPLICAOF", "NO", "ONE"), ("MODULE", "LIST"), ("SLOWLOG", "GET"), ("LATENCY", "LATEST"),
    ("MEMORY", "STATS"), ("SCRIPT", "FLUSH"), ("SCRIPT", "LOAD", "return 1"),
    ("FUNCTION", "LIST"), ("SUBSCRIBE", "x"), ("PUBLISH", "x", "y"), ("CLUSTER", "INFO"),
    ("COMMAND", "LIST"), ("WAIT", "1", "1"),
)  # fmt: skip


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Valkey as ``argy up`` sets it up, and one user more that writes what is to be attacked."""
    users = {redis_acl.user(name): redis_acl.rules(uses) for name, uses in USES.items()}
    server = EmbeddedValkey(
        tmp_path_factory.mktemp("valkey"), durable=False, users={**users, OPERATOR: "~* +@all"}
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=sorted(USES))
def service(request: pytest.FixtureRequest) -> str:
    """Each service."""
    return str(request.param)


@pytest.fixture
def client(valkey: EmbeddedValkey, service: str) -> Iterator[Any]:
    """A connection of the service's own user."""
    with redis.Redis.from_url(valkey.urls()[redis_acl.user(service)]) as made:
        yield made


def asks(client: Any, *words: str) -> bool:
    """Whether a command is let through; one that fails for another reason is."""
    try:
        client.execute_command(*words)
    except NoPermissionError:
        return False
    except redis.ResponseError as error:
        # DEBUG and MODULE LOAD are off for everybody, which is told before permissions are.
        return not any(word in str(error) for word in ("permission", "not allowed"))
    return True


def key_of(kind: str, tenant_id: UUID = ACME) -> str:
    """A key of a kind."""
    name, *more = kind.split(":")
    return key(tenant_id, name, *("x" for _ in more))


def access(service: str, kind: str) -> set[str]:
    found: set[str] = {one.access for one in USES[service] if kind in one.kinds}
    assert len(found) <= 2
    return found


def script(*words: str) -> str:
    return f"return redis.call({', '.join(repr(word) for word in words)})"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tenant_id", [ACME, PLATFORM_TENANT_ID])
def test_a_service_does_not_reach_a_key_of_another_service(
    valkey: EmbeddedValkey, client: Any, service: str, kind: str, tenant_id: UUID
) -> None:
    """Neither by a command, nor by a script that declares the key, nor by one that doesn't."""
    name, held = key_of(kind, tenant_id), access(service, kind)
    refused = [*(READS if held <= {"%W~"} else ()), *(WRITES if held <= {"%R~"} else ())]
    for command, *arguments in refused:
        words = (command, name, *arguments)
        assert not asks(client, *words), words
        for run in ("EVAL", "EVAL_RO"):
            assert not asks(client, run, script(*words), "0"), words
            assert not asks(client, run, script(*words), "1", name), words
    if not held:
        with redis.Redis.from_url(valkey.urls()[OPERATOR]) as operator:
            assert not operator.exists(name)


def test_a_service_does_not_list_another_tenants_keys(
    valkey: EmbeddedValkey, client: Any, service: str
) -> None:
    victim = key(uuid7(), "session", "victims-digest")
    with redis.Redis.from_url(valkey.urls()[OPERATOR]) as operator:
        operator.set(victim, "x", px=60_000)
    for words in NAMING:
        assert not asks(client, *words), words
        for run in ("EVAL", "EVAL_RO"):
            assert not asks(client, run, script(*words), "0"), words


def test_a_service_does_not_rule_the_server(client: Any) -> None:
    for words in RULING:
        assert not asks(client, *words), words
    assert client.ping()


def test_keys_outside_every_tenant_are_out_of_reach(client: Any) -> None:
    for name in ("x", "nonce:1", "t:nonce:1", "session:x", "t:{}nonce:1", "policy-floor"):
        for command, *arguments in (*READS, *WRITES):
            assert not asks(client, command, name, *arguments), (command, name)


def test_nobody_connects_without_a_password_of_their_own(valkey: EmbeddedValkey) -> None:
    host = f"127.0.0.1:{valkey.port}"
    urls = valkey.urls()
    passwords = [url.split(":")[2].partition("@")[0] for url in urls.values()]
    assert len(set(passwords)) == len(urls)
    for name in urls:
        path = valkey.folder / "users" / name
        assert path.stat().st_mode & 0o777 == 0o600
    for url in (f"redis://{host}", f"redis://:{passwords[0]}@{host}",
                f"redis://argy_authn:{passwords[0]}@{host}"):  # fmt: skip
        with redis.Redis.from_url(url) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
    assert not any(
        password in (valkey.folder / "valkey.conf").read_text() for password in passwords
    )


async def _uses_its_own(store: RedisStore, service: str) -> None:
    """What every server does as itself, and of a service what needs no more than Redis."""
    tenant_id = uuid7()
    if service == "server":
        nonces, expires_ms = NonceCache(store), SystemClock().now_ms() + 30_000
        assert [await nonces.seen(ACME, b"server".ljust(16), expires_ms) for _ in "ab"] == [
            False, True,
        ]  # fmt: skip
        await nonces.close()
        mirror = RevocationMirror(store)
        assert not (await mirror.renewed(tenant_id)).epoch
        await mirror.close()
    if service == "authz":
        assert await PolicyFloor(store).read() == 0
    if service == "authn":
        await RateLimits(store, SystemClock()).count(tenant_id, ENTRY_BY_PERSON, "ada")
        assert await RevocationList(store, SystemClock()).epoch(tenant_id)


async def test_a_service_uses_its_own_keys(valkey: EmbeddedValkey, service: str) -> None:
    store = await RedisStore.open(valkey.urls()[redis_acl.user(service)])
    await _uses_its_own(store, service)
    await store.close()


async def test_the_users_work_in_a_cluster(tmp_path: Path) -> None:
    async with redis_cluster(tmp_path) as cluster:
        for service in USES:
            user, secret = redis_acl.user(service), "of-this-test"
            rules = redis_acl.rules(USES[service], cluster=True).split()
            with redis.Redis.from_url(cluster.url) as node:
                node.execute_command("ACL", "SETUSER", user, "reset", "on", f">{secret}", *rules)
            host = cluster.url.rpartition("@")[2]
            store = await RedisStore.open(f"redis://{user}:{secret}@{host}", cluster=True)
            await _uses_its_own(store, service)
            with pytest.raises(NoPermissionError):
                await store.client.dbsize()
            await store.close()


def test_the_guide_tells_each_users_rules() -> None:
    text = GUIDE.read_text()
    for service in USES:
        line = f"ACL SETUSER {redis_acl.user(service)} reset on ><password> "
        assert f"{line}{redis_acl.rules(USES[service])}\n" in text
    assert text.count("ACL SETUSER argy_") == len(USES)


def test_kinds_of_different_services_are_apart() -> None:
    """No key of one kind is matched by another's pattern, whatever its parts are."""
    shared = {kind for purpose in USES["server"] for kind in purpose.kinds}
    own = [kind for kind in KINDS if kind not in shared]
    assert len({kind.split(":")[0] for kind in KINDS}) == len(KINDS)
    owners = {kind: [s for s in USES if access(s, kind)] for kind in own}
    assert all(len(found) == 1 for found in owners.values()), owners

"""The lane: nothing that it took is lost, and what it could not take is told."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from argy.base.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.store.database import Database
from argy.trail.lane import GAP_ACTION, AuditLane
from argy.trail.records import AuditRecord
from argy.trail.spool import Spool

Factory = Callable[..., Awaitable[Any]]


def denial(**changes: Any) -> AuditRecord:
    fields: dict[str, Any] = {
        "actor": "user:x",
        "action": "a.b",
        "resource": "thing:1",
        "outcome": "DENIED",
        "detail": {"n": 1},
    }
    return AuditRecord(**(fields | changes))


def files(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


async def events(db: Database, tenant_id: UUID) -> list[Any]:
    async with db.tenant(tenant_id) as tx:
        return list(
            await tx.fetch("SELECT id, action, reason, detail, actor_kind FROM audit.event")
        )


async def test_records_of_many_tenants_arrive_once(db_factory: Factory, tmp_path: Path) -> None:
    db, reader = await db_factory("argy_authz"), await db_factory("argy_audit")
    lane = AuditLane(db, tmp_path)
    await lane.start()
    tenants = [uuid7() for _ in range(3)]
    sent = [denial() for _ in range(3000)]
    for number, rec in enumerate(sent):
        lane.put(tenants[number % 3], rec)
    lane.put(tenants[0], sent[0])
    await lane.drain()
    for number, tenant_id in enumerate(tenants):
        found = await events(reader, tenant_id)
        assert {row["id"] for row in found} == {rec.id for rec in sent[number::3]}
        assert {row["actor_kind"] for row in found} == {"user"}
    assert lane.backlog_bytes == 0
    assert lane.delivered == 3001
    await lane.close()
    assert files(tmp_path, "*/*.jsonl") == []


async def test_a_restart_replays_the_spool(db_factory: Factory, tmp_path: Path) -> None:
    reader = await db_factory("argy_audit")
    closed = await db_factory("argy_authz")
    await closed.close()
    tenant_id = uuid7()
    first = AuditLane(closed, tmp_path)
    await first.start()
    sent = [denial() for _ in range(10)]
    for rec in sent:
        first.put(tenant_id, rec)
    await first.close(timeout_s=0.1)
    assert await events(reader, tenant_id) == []

    second = AuditLane(await db_factory("argy_authz"), tmp_path)
    await second.start()
    await second.drain()
    assert {row["id"] for row in await events(reader, tenant_id)} == {rec.id for rec in sent}
    await second.close()


async def test_what_a_dead_process_left_is_adopted(db_factory: Factory, tmp_path: Path) -> None:
    db, reader = await db_factory("argy_authz"), await db_factory("argy_audit")
    alive = AuditLane(db, tmp_path)
    await alive.start()
    dead = Spool(tmp_path)
    tenant_id, left = uuid7(), denial()
    line = f'["{tenant_id}",{{"actor":"user:x","action":"a.b","resource":"t:1","id":"{left.id}"}}]'
    dead.write([line.encode(), b"not a record"])
    files(tmp_path, "lane-0001")[0].joinpath("9.part").write_bytes(b"torn")
    dead.close()
    before = {row["id"] for row in await events(reader, PLATFORM_TENANT_ID)}
    heir = AuditLane(db, tmp_path)
    await heir.start()
    await heir.drain()
    assert [row["id"] for row in await events(reader, tenant_id)] == [left.id]
    # Rows come in no order, and other tests write in the platform tenant too.
    gaps = [row for row in await events(reader, PLATFORM_TENANT_ID) if row["id"] not in before]
    assert {row["reason"] for row in gaps} == {"INTERRUPTED", "DAMAGED"}
    await heir.close()
    await alive.close()


async def test_full_refuses_and_the_log_tells(db_factory: Factory, tmp_path: Path) -> None:
    db, reader = await db_factory("argy_authz"), await db_factory("argy_audit")
    lane = AuditLane(db, tmp_path, max_bytes=1000)
    await lane.start()
    tenant_id = uuid7()
    kept: list[AuditRecord] = []
    refused = 0
    for _ in range(50):
        rec = denial()
        try:
            lane.put(tenant_id, rec)
            kept.append(rec)
        except ResourceExhausted:
            refused += 1
    assert refused > 0
    with pytest.raises(ResourceExhausted) as caught:
        lane.put(tenant_id, denial())
    assert caught.value.reason == "AUDIT_LANE_FULL"
    refused += 1
    assert lane.backlog_bytes < 2000
    await lane.drain()
    last = denial()
    lane.put(tenant_id, last)
    await lane.drain()
    found = await events(reader, tenant_id)
    told = {row["reason"]: row["detail"] for row in found if row["action"] == GAP_ACTION}
    assert set(told) == {"BEGAN", "ENDED"}
    assert told["ENDED"] == f'{{"lost": {refused}}}'
    assert {row["id"] for row in found if row["action"] != GAP_ACTION} == {
        rec.id for rec in [*kept, last]
    }
    await lane.close()


async def test_a_record_that_the_database_refuses_blocks_nobody(
    db_factory: Factory, tmp_path: Path
) -> None:
    db, reader = await db_factory("argy_authz"), await db_factory("argy_audit")
    lane = AuditLane(db, tmp_path)
    await lane.start()
    tenant_id, good = uuid7(), denial()
    too_old = uuid7(1_000_000_000_000)
    for rec in (denial(actor="x" * 300), denial(detail={"a": "\x00"}), denial(id=too_old), good):
        lane.put(tenant_id, rec)
    with pytest.raises(InvalidArgument):
        lane.put(tenant_id, denial(detail={"a": object()}))
    await lane.drain()
    found = await events(reader, tenant_id)
    assert {row["reason"] for row in found} == {"", "REFUSED"}
    assert good.id in {row["id"] for row in found}
    assert len(found) == 2
    await lane.close()


def test_a_spool_has_one_owner(tmp_path: Path) -> None:
    one, two = Spool(tmp_path), Spool(tmp_path)
    assert one.write([b"x"]).path.parent != two.write([b"x"]).path.parent
    one.close()
    two.close()
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(FailedPrecondition, match="can't be used: File exists") as refused:
        Spool(blocked)
    assert refused.value.reason == "SPOOL_UNUSABLE"


def test_a_place_that_another_user_chose_is_not_used(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "000000000001.jsonl").write_bytes(b"{}\n")
    root = tmp_path / "spool"
    root.mkdir()
    (root / "lane-0000").symlink_to(elsewhere)
    open_to_all = root / "lane-0001"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "000000000001.jsonl").write_bytes(b"{}\n")
    spool = Spool(root)
    assert spool.adopt() == []
    segment = spool.write([b"a record"])
    assert segment.path.parent == root / "lane-0002"
    assert segment.path.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in elsewhere.iterdir()) == ["000000000001.jsonl"]
    spool.close()


async def test_a_lane_that_lost_a_task_to_a_bug_takes_nothing_more(
    db_factory: Factory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(AuditLane):
        async def _deliver(self, entries: Any) -> None:
            raise RuntimeError("a bug")

    lane = Broken(await db_factory("argy_authz"), tmp_path)
    await lane.start()
    lane.put(PLATFORM_TENANT_ID, denial())
    async with asyncio.timeout(60):
        while not lane.full(PLATFORM_TENANT_ID):  # noqa: ASYNC110 - what is waited for signals nobody
            await asyncio.sleep(0.005)
    with pytest.raises(ResourceExhausted):
        lane.put(PLATFORM_TENANT_ID, denial())
    assert "the audit lane is broken" in caplog.text
    await lane.close(timeout_s=0.1)
    assert files(tmp_path, "*/*.jsonl")


async def test_a_tenant_that_fills_its_share_of_the_lane_is_refused_alone(
    db_factory: Factory, tmp_path: Path
) -> None:
    db, reader = await db_factory("argy_authz"), await db_factory("argy_audit")
    lane = AuditLane(db, tmp_path, max_bytes=100_000)
    await lane.start()
    hostile, other = uuid7(), uuid7()
    while not lane.full(hostile):
        lane.put(hostile, denial())
    with pytest.raises(ResourceExhausted):
        lane.put(hostile, denial())
    mine = [denial() for _ in range(20)]
    for rec in mine:
        lane.put(other, rec)
    await lane.drain()
    assert {row["id"] for row in await events(reader, other)} == {rec.id for rec in mine}
    assert not lane.full(hostile)
    await lane.close()

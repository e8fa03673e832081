"""What this host can enforce, each wall tried for real."""

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from argy.agentd.run_spec import MIB, Limits, Outcome, RunSpec
from argy.agentd.sandbox import cgroups
from argy.agentd.sandbox.backend import Backend
from argy.agentd.sandbox.execute import execute
from argy.base.errors import ArgyError

_LIMITS: Final = Limits(
    wall_seconds=20, memory_bytes=128 * MIB, processes=64, file_bytes=MIB, tmp_bytes=MIB,
    output_bytes=MIB, grace_seconds=1,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One wall: whether it holds, what holds it, and what was seen if it does not."""

    wall: str
    layer: str
    holds: bool
    required: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Probe:
    wall: str
    layer: str
    script: str
    """Shell that succeeds where the wall holds."""
    backends: tuple[str, ...] = ("bwrap", "landlock")


_BIG: Final = "head -c 2097152 /dev/zero"
_OUTER: Final = ("bwrap",)
_PROBES: Final = (
    _Probe("runs as uid 1001", "identity", 'test "$(id -u)" = 1001', _OUTER),
    _Probe("not root", "identity", 'test "$(id -u)" != 0'),
    _Probe("no capabilities", "identity", "grep -q 'CapEff:.*0000000000000000' /proc/self/status"),
    _Probe("no_new_privs", "kernel", "grep -q 'NoNewPrivs:.1' /proc/self/status"),
    _Probe("seccomp filter", "sandlock", "grep -q 'Seccomp:.2' /proc/self/status"),
    _Probe("the host is read-only", "Landlock", "! touch /etc/argy-probe 2>/dev/null"),
    _Probe("/root is closed", "Landlock", "! ls /root 2>/dev/null"),
    _Probe("the workspace is writable", "Landlock", "touch probe && rm probe"),
    _Probe("own processes only", "PID namespace", "test $$ -lt 100", _OUTER),
    _Probe("no other process can be signalled", "Landlock", "! kill -0 1 2>/dev/null"),
    _Probe("no network device", "net namespace", "! grep -qv 'lo:\\||' /proc/net/dev", _OUTER),
    _Probe("temporary files are bounded", "tmpfs", f"! {_BIG} >$TMPDIR/x 2>/dev/null", _OUTER),
    _Probe("no file over its limit", "rlimit", f"! {_BIG} >big 2>/dev/null"),
    _Probe("no core dumps", "rlimit", 'test "$(ulimit -c)" = 0'),
    _Probe("no controlling terminal", "session", "! (: </dev/tty) 2>/dev/null"),
)  # fmt: skip


async def examine(backend: Backend) -> list[Finding]:
    """Try every wall of ``backend``; what does not hold and is required makes it unusable here."""
    if backend.name == "unsafe_host":
        return [
            Finding("any wall", "none", False, not backend.unsafe_confirmed, "nothing is isolated")
        ]
    findings = [await _starts(backend)]
    if findings[0].holds:
        findings += await _walls(backend)
        findings.append(await _outlived(backend))
    findings.append(_cgroup())
    other = replace(backend, name="landlock" if backend.name == "bwrap" else "bwrap")
    findings.append(replace(await _starts(other), required=False))
    return findings


async def _starts(backend: Backend) -> Finding:
    outcome, _ = await _run(backend, "exit 7")
    holds = outcome.kind == "exited" and outcome.status == 7
    detail = "" if holds else outcome.reason or outcome.kind
    return Finding(f"backend {backend.name}", "all", holds, True, detail)


async def _walls(backend: Backend) -> list[Finding]:
    probes = [probe for probe in _PROBES if backend.name in probe.backends]
    script = "".join(
        f"if ( {probe.script} ); then echo holds; else echo open; fi\n" for probe in probes
    )
    outcome, output = await _run(backend, script)
    answers = output.splitlines()[-len(probes) :] if outcome.kind == "exited" else []
    answers += ["open"] * (len(probes) - len(answers))
    return [
        Finding(probe.wall, probe.layer, answer == "holds", True)
        for probe, answer in zip(probes, answers, strict=True)
    ]


async def _outlived(backend: Backend) -> Finding:
    """Whether a process that left its session outlives its run: its pipe would stay open."""
    outcome, _ = await _run(backend, "(setsid sleep 60 &) ; exit 0")
    holds = outcome.kind == "exited" and outcome.usage.wall_seconds < 10
    layer = "PID namespace" if backend.name == "bwrap" else "subreaper"
    return Finding("nothing outlives its run", layer, holds, True)


def _cgroup() -> Finding:
    made = cgroups.create("doctor", _LIMITS)
    if made:
        made.remove()
    detail = "" if made else "none can be made: sandlock and the watch limit memory and tasks alone"
    return Finding("control group", "cgroup", made is not None, False, detail)


async def _run(backend: Backend, script: str) -> tuple[Outcome, str]:
    output = bytearray()

    async def keep(_stream: str, chunk: bytes) -> None:
        output.extend(chunk)

    with _workspace(backend) as run_id:
        if not run_id:
            return Outcome("refused", reason="no workspace can be made"), ""
        spec = RunSpec(run_id, (shutil.which("sh") or "/bin/sh", "-c", script), limits=_LIMITS)
        outcome = await execute(spec, backend, keep, asyncio.Event())
    return outcome, output.decode(errors="replace")


@contextlib.contextmanager
def _workspace(backend: Backend) -> Iterator[str]:
    run_id = f"doctor-{secrets.token_hex(6)}"
    try:
        backend.workspaces.create(run_id)
    except ArgyError:
        yield ""
        return
    try:
        yield run_id
    finally:
        backend.workspaces.wipe(run_id)


def table(findings: list[Finding]) -> str:
    """The findings for people, a line each."""
    rows = [("wall", "layer", "holds")]
    for found in findings:
        answer = "yes" if found.holds else ("NO" if found.required else "no")
        rows.append((found.wall, found.layer, f"{answer}  {found.detail}".rstrip()))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(
        f"{wall:<{widths[0]}}  {layer:<{widths[1]}}  {tail}" for wall, layer, tail in rows
    )

"""An agent of one run: reads from stdin what to run, as JSON, and prints how it ended."""

import asyncio
import base64
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from argy.agentd.identity import run_user
from argy.agentd.run_spec import Limits, RunSpec
from argy.agentd.sandbox.backend import Backend
from argy.agentd.sandbox.execute import execute
from argy.agentd.workspace import Workspaces


def peak_bytes() -> int:
    """The most memory this process had; unlike getrusage's, nothing of who started it."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.split("\n") if "VmHWM" in line)


async def main() -> None:
    asked = json.load(sys.stdin)
    workspaces = Workspaces(Path(asked["root"]), run_user())
    backend = Backend(asked["backend"], workspaces, **asked.get("host", {}))
    spec = RunSpec(
        asked["run_id"],
        tuple(asked["argv"]),
        env={name: text.replace("@PID@", str(os.getpid())) for name, text in asked["env"].items()},
        secrets={name: text.encode() for name, text in asked["secrets"].items()},
        limits=Limits(**asked["limits"]),
        network=tuple(asked["network"]),
    )
    workspace = workspaces.create(spec.run_id)
    for name, text in asked["files"].items():
        (workspace / name).write_text(text)
        (workspace / name).chmod(0o644)
    cancelled = asyncio.Event()
    output, received = bytearray(), 0

    async def keep(_stream: str, chunk: bytes) -> None:
        nonlocal received
        received += len(chunk)
        output.extend(chunk[: max(0, 1 << 20) - len(output)])
        output[:] = output[-(1 << 20) :]
        if asked["cancel_at"] and asked["cancel_at"].encode() in output:
            cancelled.set()
        if asked["announce"]:
            sys.stderr.write(chunk.decode())
            sys.stderr.flush()

    outcome = await execute(spec, backend, keep, cancelled)
    left = sorted(path.name for path in workspace.iterdir()) if asked["list"] else []
    if asked["wipe"]:
        workspaces.wipe(spec.run_id)
    told = {
        "outcome": asdict(outcome),
        "output": base64.b64encode(output).decode(),
        "received": received,
        "left": left,
        "wiped": not workspace.exists(),
        "agent_peak_bytes": peak_bytes(),
    }
    print(json.dumps(told))


asyncio.run(main())

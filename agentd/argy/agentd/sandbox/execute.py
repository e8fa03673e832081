"""Execute one run: start it behind its walls, hand on its output, end it, say how it ended."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from argy.agentd.run_spec import Kind, Limits, Outcome, RunSpec, Usage
from argy.agentd.sandbox import cgroups
from argy.agentd.sandbox.backend import Backend, Descriptors, command
from argy.base.errors import FailedPrecondition

OnOutput = Callable[[str, bytes], Awaitable[None]]
"""Takes the stream (``stdout`` or ``stderr``) and bytes of it; the job waits until it returns."""

_CHUNK: Final = 65_536
_KILL_SECONDS: Final = 10.0
_MAX_REPORT: Final = 8192


async def execute(
    spec: RunSpec, backend: Backend, on_output: OnOutput, cancelled: asyncio.Event
) -> Outcome:
    """Execute ``spec`` in its workspace, which must exist, and return when nothing of it is alive.

    When ``cancelled`` is set, and at the wall-clock limit, the job gets SIGTERM and after the grace
    period SIGKILL. What ``on_output`` raises ends the run, and is raised.
    """
    try:
        _check(spec, backend)
        with _secrets(spec, backend) as secrets:
            return await _Run(spec, backend, on_output, cancelled).run(secrets)
    except FailedPrecondition as error:
        return Outcome("refused", reason=error.message)


def _check(spec: RunSpec, backend: Backend) -> None:
    if backend.name == "unsafe_host" and not backend.unsafe_confirmed:
        raise FailedPrecondition("the backend unsafe_host isolates nothing and was not confirmed")
    workspace = backend.workspaces.path(spec.run_id)
    if workspace.is_symlink() or not workspace.is_dir():
        raise FailedPrecondition(f"{workspace} is no folder: the workspace is to be made first")
    free = os.statvfs(workspace)
    if free.f_bavail * free.f_frsize < min(spec.limits.disk_bytes, 1 << 30):
        raise FailedPrecondition(f"{workspace}: too little disk space is left for the run")


@contextlib.contextmanager
def _secrets(spec: RunSpec, backend: Backend) -> Iterator[str]:
    """Without a mount namespace: make the folders that bubblewrap has inside."""
    if backend.name == "bwrap":
        yield ""
        return
    user = backend.workspaces.user
    temporary = backend.workspaces.path(spec.run_id) / ".tmp"
    temporary.mkdir(mode=0o700, exist_ok=True)
    if user.drop:
        os.chown(temporary, user.uid, user.gid, follow_symlinks=False)
    if not spec.secrets:
        yield ""
        return
    if _file_system(backend.shared_memory) != "tmpfs":
        raise FailedPrecondition(f"{backend.shared_memory} is no tmpfs: secrets never go to a disk")
    try:
        folder = Path(tempfile.mkdtemp(prefix="argy-", dir=backend.shared_memory))
    except OSError as error:
        raise FailedPrecondition(f"{backend.shared_memory}: {error.strerror}") from error
    try:
        for name, secret in spec.secrets.items():
            fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with os.fdopen(fd, "wb") as file:
                file.write(secret)
                if user.drop:
                    os.fchown(fd, user.uid, user.gid)
        if user.drop:
            os.chown(folder, user.uid, user.gid)
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _file_system(path: Path) -> str:
    """The type of the file system that is mounted at ``path`` itself; empty if none is."""
    kind = ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, source = line.partition(" - ")
        if fields.split()[4] == str(path):
            kind = source.split()[0]
    return kind


class _Output:
    """Both streams of a run, cut together at one limit."""

    def __init__(self, limit: int, on_output: OnOutput, failed: asyncio.Event) -> None:
        self._limit, self._left = limit, limit
        self._on_output, self._failed = on_output, failed
        self.truncated = False
        self.error: BaseException | None = None
        self.last_words = b""

    async def pump(self, stream: asyncio.StreamReader, name: str) -> None:
        """Hand on a stream until its end; past the limit it is read and thrown away."""
        while chunk := await stream.read(_CHUNK):
            shown = chunk[: self._left]
            self._left -= len(shown)
            if name == "stderr":
                self.last_words = (self.last_words + shown)[-500:]
            if len(shown) < len(chunk) and not self.truncated:
                self.truncated = True
                shown += f"\n[output cut at {self._limit} bytes]\n".encode()
            if shown and self.error is None:
                try:
                    await self._on_output(name, shown)
                except Exception as error:  # noqa: BLE001 - raised again when the run has ended
                    self.error = error
                    self._failed.set()


class _Run:
    def __init__(
        self, spec: RunSpec, backend: Backend, on_output: OnOutput, cancelled: asyncio.Event
    ) -> None:
        self._spec, self._backend, self._cancelled = spec, backend, cancelled
        self._failed = asyncio.Event()
        self._output = _Output(spec.limits.output_bytes, on_output, self._failed)

    async def run(self, secrets: str) -> Outcome:
        limits, loop = self._spec.limits, asyncio.get_running_loop()
        cgroup = cgroups.create(self._spec.run_id, limits)
        began = loop.time()
        try:
            process, ours = await self._start(cgroup, secrets)
            control, writer = await asyncio.open_unix_connection(sock=ours, limit=_MAX_REPORT)
            streams = ((process.stdout, "stdout"), (process.stderr, "stderr"))
            pumps = asyncio.gather(
                *(self._output.pump(stream, name) for stream, name in streams if stream)
            )
            try:
                ended, told = await self._until_ended(control, writer)
                await pumps
                await process.wait()
            finally:
                writer.close()  # the reaper kills the job when the agent's end is closed
                if process.returncode is None:
                    await asyncio.shield(_end(process, pumps))
            if self._output.error:
                raise self._output.error
            outcome = self._outcome(ended, told)
            usage = Usage(
                wall_seconds=loop.time() - began,
                cpu_seconds=float(told.get("cpu_seconds", 0.0)),
                peak_memory_bytes=int(told.get("peak_memory_bytes", 0)),
            )
            if cgroup:
                peak = max(usage.peak_memory_bytes, cgroup.peak_memory_bytes())
                usage = replace(usage, peak_memory_bytes=peak)
                if cgroup.out_of_memory() and outcome.kind in ("signalled", "exited"):
                    reason = f"memory: over {limits.memory_bytes} bytes (cgroup)"
                    outcome = replace(outcome, kind="limit_exceeded", status=None, reason=reason)
            return replace(outcome, usage=usage, truncated=self._output.truncated)
        finally:
            if cgroup:
                cgroup.remove()

    async def _start(
        self, cgroup: cgroups.Cgroup | None, secrets: str
    ) -> tuple[asyncio.subprocess.Process, socket.socket]:
        user = self._backend.workspaces.user
        ours, theirs = socket.socketpair()
        files = Descriptors()
        entrances: tuple[int, ...] = ()
        try:
            program, argv, environment = command(
                self._spec, self._backend, files, agent=theirs.fileno(), secrets=secrets
            )
            entrances = cgroup.open_entrances() if cgroup else ()

            def enter() -> None:
                """In the child: into the control group while still allowed to, then down."""
                for entrance in entrances:
                    os.write(entrance, b"0")
                if user.drop:
                    for output in (1, 2):  # so that the job may open /dev/stdout
                        os.fchown(output, user.uid, user.gid)
                    os.setgroups([])
                    os.setresgid(user.gid, user.gid, user.gid)
                    os.setresuid(user.uid, user.uid, user.uid)

            process = await asyncio.create_subprocess_exec(
                *argv,
                executable=program,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_CHUNK,
                cwd="/",
                env=environment,
                pass_fds=(*files.numbers, theirs.fileno()),
                start_new_session=True,
                preexec_fn=enter,
            )
        except OSError as error:
            ours.close()
            raise FailedPrecondition(f"the sandbox can't be started: {error.strerror}") from error
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            files.close()
            for entrance in entrances:
                os.close(entrance)
        return process, ours

    async def _until_ended(
        self, control: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[Kind | None, dict[str, Any]]:
        """Wait for the job, or end it; why the agent ended it, and what the reaper reported."""
        limits = self._spec.limits
        report = asyncio.create_task(_report(control))
        stop = [asyncio.create_task(event.wait()) for event in (self._cancelled, self._failed)]
        try:
            await asyncio.wait(
                {report, *stop}, timeout=limits.wall_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if report.done():
                return None, report.result()
            kind: Kind = "cancelled" if any(task.done() for task in stop) else "timed_out"
            for order, patience in ((b"T", limits.grace_seconds), (b"K", _KILL_SECONDS)):
                with contextlib.suppress(OSError):
                    writer.write(order)
                    await writer.drain()
                await asyncio.wait({report}, timeout=patience)
                if report.done():
                    return kind, report.result()
            return kind, {}
        finally:
            for task in (report, *stop):
                task.cancel()

    def _outcome(self, ended: Kind | None, told: dict[str, Any]) -> Outcome:
        limits: Limits = self._spec.limits
        if ended == "cancelled":
            return Outcome("cancelled", reason="cancelled")
        if ended == "timed_out":
            return Outcome("timed_out", reason=f"wall clock: over {limits.wall_seconds:g} seconds")
        if "kind" in told:
            reason = str(told.get("reason", ""))
            if told["kind"] == "signalled" and not reason:
                reason = f"the job was ended by {signal.Signals(told['status']).name}"
            return Outcome(told["kind"], told.get("status"), reason)
        words = self._output.last_words.decode(errors="replace").strip()
        if told.get("started"):
            return Outcome("limit_exceeded", reason="the sandbox was killed from outside")
        return Outcome("refused", reason=f"the sandbox could not be put up: {words}")


async def _report(control: asyncio.StreamReader) -> dict[str, Any]:
    """What the launcher says until it is gone: whether it started, and how the job ended."""
    started, _, report = (await control.read(-1)).partition(b"\n")
    told: dict[str, Any] = {"started": started == b"started"}
    with contextlib.suppress(ValueError):
        told |= json.loads(report)
    return told


async def _end(process: asyncio.subprocess.Process, pumps: "asyncio.Future[Any]") -> None:
    """The agent gives up: the reaper has its time to kill what it guards, then goes itself."""
    try:
        await asyncio.wait_for(process.wait(), _KILL_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    pumps.cancel()

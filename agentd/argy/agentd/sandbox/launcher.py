"""The program between the agent and a job: it puts up the inner wall, watches, and leaves nobody.

A bare interpreter runs it, as the user that runs jobs, inside of bubblewrap where that is the outer
wall. It and its neighbours import nothing but the standard library and sandlock. Two processes:

- the *supervisor* starts the job through sandlock (Landlock, seccomp, limits) and waits for it;
- the *reaper*, its parent, adopts every orphan of the job (a subreaper), measures memory and disk,
  obeys the agent, and ends when nothing of the job is alive. When the agent dies it does too.

On the socket the agent says ``T`` (SIGTERM to the job) or ``K`` (kill); the reaper says ``started``
on a line of its own, and at the end one JSON object.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import sys
from typing import Any, NoReturn

from argy.agentd.sandbox.reaper import MAX_REPORT, Reaper

_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
# What sandlock's own list leaves to the kernel's other checks. memfd_create: its memory is nobody's
# that the limits could see. The rest is of no use to a job and was a way out of sandboxes before.
_DENIED_SYSCALLS = [
    "chroot",
    "fsopen",
    "fsmount",
    "fsconfig",
    "fspick",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "pidfd_getfd",
    "process_vm_readv",
    "kcmp",
    "acct",
    "quotactl",
    "quotactl_fd",
    "syslog",
    "kexec_file_load",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "memfd_create",
    "memfd_secret",
    "fanotify_init",
    "vhangup",
    "move_pages",
    "migrate_pages",
    "modify_ldt",
]
_LINK_LOCAL = ["169.254.0.0/16", "fe80::/10"]
_libc = ctypes.CDLL(None, use_errno=True)


def main(agent_socket: int, job_file: int) -> NoReturn:
    """Run the job that the agent handed over: the numbers of a socket to it and of a JSON file."""
    agent = socket.socket(fileno=agent_socket)
    with os.fdopen(job_file, "rb") as file:
        job = json.load(file)
    agent.set_inheritable(False)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    results, result = os.pipe()
    supervisor = os.fork()
    if supervisor == 0:
        agent.close()
        os.close(results)
        _supervise(job, result)
    _close_all_but(agent.fileno(), results)
    agent.sendall(b"started\n")
    null = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)  # the output ends with the last process of the job
    report = Reaper(job, agent, supervisor, results).run()
    report["cpu_seconds"] = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    with contextlib.suppress(OSError):
        agent.sendall(json.dumps(report).encode()[:MAX_REPORT])
    os._exit(0)


def _supervise(job: dict[str, Any], result: int) -> NoReturn:
    """Start the job behind sandlock, wait for it, and write how it ended."""
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them; so would the job
            signal.signal(number, signal.SIG_DFL)
        ended = _run_behind_sandlock(job, result) if job["sandlock"] else _run_unconfined(job)
    except BaseException as error:  # noqa: BLE001 - told to the agent, which tells people
        ended = {"kind": "refused", "reason": f"sandlock: {type(error).__name__}: {error}"}
    os.write(result, json.dumps(ended).encode()[:MAX_REPORT])
    os._exit(0)


def _run_behind_sandlock(job: dict[str, Any], result: int) -> dict[str, Any]:
    import pathlib

    # sandlock resolves the path of its library, which here is reached through a descriptor alone.
    pathlib.Path.resolve = lambda self, strict=False: self.absolute()  # type: ignore[method-assign]
    sys.path.append(job["sandlock"])
    import sandlock
    import sandlock._sdk

    limits = job["limits"]
    sandbox = sandlock.Sandbox(
        fs_readable=[path for path in job["readable"] if os.path.lexists(path)],
        fs_writable=[path for path in job["writable"] if os.path.lexists(path)],
        cwd=job["cwd"],
        clean_env=True,
        env=job["env"],
        net_allow=[f"tcp://{endpoint}" for endpoint in job["network"]],
        net_deny=_LINK_LOCAL if job["network"] else [],
        extra_deny_syscalls=_DENIED_SYSCALLS,
        max_memory=limits["memory_bytes"],
        max_open_files=limits["open_files"],
        max_cpu=limits["cpu_percent"] if (limits["cpu_percent"] or 101) <= 100 else None,
        name=job["env"]["ARGY_RUN_ID"],  # unique: sandlock has one register of a user's sandboxes
    )
    _limit_resources(limits)
    _close_all_but(result)
    ended = sandbox.popen(job["argv"]).wait()
    if ended.reason == sandlock._sdk.ExitReason.EXITED:
        return {"kind": "exited", "status": ended.exit_code}
    if ended.reason == sandlock._sdk.ExitReason.SIGNALED:
        return {"kind": "signalled", "status": ended.signal}
    told = f"the job itself, or sandlock at the memory limit of {limits['memory_bytes']} bytes"
    return {"kind": "signalled", "status": signal.SIGKILL, "reason": f"killed by {told}"}


def _run_unconfined(job: dict[str, Any]) -> dict[str, Any]:
    """The backend unsafe_host: limits of the kernel alone."""
    import subprocess

    _limit_resources(job["limits"])
    nofile = (job["limits"]["open_files"],) * 2
    resource.setrlimit(resource.RLIMIT_NOFILE, nofile)
    try:
        done = subprocess.run(job["argv"], cwd=job["cwd"], env=job["env"], check=False)  # noqa: S603
        code = done.returncode
    except OSError as error:
        sys.stderr.write(f"{job['argv'][0]}: {error.strerror}\n")
        code = 127
    if code < 0:
        return {"kind": "signalled", "status": -code}
    return {"kind": "exited", "status": code}


def _limit_resources(limits: dict[str, Any]) -> None:
    """What the job inherits and can't raise. The reaper stays without: it must always work."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_bytes"],) * 2)
    tasks = limits["processes"] + _tasks_of_user()
    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    tasks = tasks if most == resource.RLIM_INFINITY else min(tasks, most)
    resource.setrlimit(resource.RLIMIT_NPROC, (tasks, tasks))
    # The job is what the kernel takes first when the machine runs out of memory.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _close_all_but(*keep: int) -> None:
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd not in keep:
            with contextlib.suppress(OSError):
                os.close(fd)


def _tasks_of_user() -> int:
    """How many tasks the user has already: RLIMIT_NPROC counts all of them in a user namespace."""
    count, me = 16, os.getuid()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(entry.path).st_uid == me:
                    count += len(os.listdir(f"/proc/{entry.name}/task"))
    return count

"""The guard: a small process between the launcher and one server, run as a script.

It starts the server under the wanted identity and stops it when told (SIGTERM), when the launcher
dies, kill -9 included (pidfd, and end of file on stdin), and hands on the server's exit status. If
the guard itself is killed the kernel signals the server (PR_SET_PDEATHSIG). The death signal alone
would not do in the launcher: it fires when the *thread* that forked ends, and setuid clears it.

Linux 5.3 or newer; standard library only, for it runs with ``python -I -S``. The specification is
one JSON argument: see ``argy.local.process``.
"""

import ctypes
import json
import os
import select
import signal
import sys
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CLONE_NEWUSER = 0x10000000
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522


def _libc_call(name: str, *args: Any) -> None:
    """Call a libc function that returns 0 or sets errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _enter_user_namespace(uid: int, gid: int) -> None:
    """Show the current user as ``uid`` in a namespace of its own; files keep their real owner."""
    real_uid, real_gid = os.geteuid(), os.getegid()
    _libc_call("unshare", _CLONE_NEWUSER)
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {real_uid} 1"),
        ("gid_map", f"{gid} {real_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(line)


def _permitted() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16)
    return 0


def _drop(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _drop_but_traverse(uid: int, gid: int) -> None:
    """Become ``uid`` and keep one capability: to pass folders that are closed to it."""
    held = _permitted()
    # Containers grant DAC_OVERRIDE by default and READ_SEARCH, the smaller right, seldom.
    wanted = _CAP_DAC_READ_SEARCH if held >> _CAP_DAC_READ_SEARCH & 1 else _CAP_DAC_OVERRIDE
    _libc_call("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    _drop(uid, gid)
    mask = 1 << wanted
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    _libc_call("capset", header, data)
    _libc_call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, wanted, 0, 0)


def _become(spec: dict[str, Any], guard: int) -> NoReturn:
    """Replace this forked child by the server."""
    os.setsid()
    os.umask(0o077)
    mode, uid, gid = spec["mode"], spec["uid"], spec["gid"]
    if mode == "namespace":
        _enter_user_namespace(uid, gid)
    elif mode == "drop":
        _drop(uid, gid)
    elif mode == "drop-traverse":
        _drop_but_traverse(uid, gid)
    elif mode != "same":
        raise ValueError(f"unknown mode {mode!r}")
    # After the identity change, which clears it; then look whether the guard died meanwhile.
    _libc_call("prctl", _PR_SET_PDEATHSIG, spec["death_signal"], 0, 0, 0)
    if os.getppid() != guard:
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.execve(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - the guard's purpose


def _fork_server(spec: dict[str, Any]) -> int:
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        _become(spec, guard)
    except Exception as error:  # noqa: BLE001 - a forked child must not return into the guard
        sys.stderr.write(f"guard: cannot start {spec['argv'][0]} ({spec['mode']}): {error}\n")
        sys.stderr.flush()
        os._exit(127)


def _exited(child_fd: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(child_fd, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def _stop(spec: dict[str, Any], child: int, child_fd: int) -> None:
    for number, seconds in spec["stop"]:
        if _exited(child_fd, 0):
            return
        if number == signal.SIGKILL:
            os.killpg(child, number)
        else:
            os.kill(child, number)
        if _exited(child_fd, seconds):
            return


def main() -> int:
    """Run one server to its end and return its exit status (128 + n when signal n killed it)."""
    spec = json.loads(sys.argv[1])
    parent_fd = os.pidfd_open(spec["parent"])
    if os.getppid() != spec["parent"]:
        return 1
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    child = _fork_server(spec)
    for number in signals:
        signal.signal(number, lambda *_: None)
    child_fd = os.pidfd_open(child)
    poller = select.poll()
    for fd in (0, parent_fd, child_fd, wake_read):
        poller.register(fd, select.POLLIN)
    poller.poll()
    _stop(spec, child, child_fd)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())

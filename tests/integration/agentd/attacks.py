"""What a hostile job tries. Run by any Python 3, it prints each attempt's result as JSON.

A result is ``done`` or what was got, if the attempt succeeded, else the name of the error number
that stopped it. The same program, run outside of the sandbox, is the control. It imports nothing
of Argy.
"""

import array
import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
T = json.loads(os.environ.get("TARGETS", "{}"))
T["agent_pid"] = int(T.get("agent_pid", 0))
# Backwards, so that the job's own environment does not hold it.
CANARY = T.get("reversed_canary", "")[::-1].encode()
ATTACKS: dict[str, Callable[[], object]] = {}
X86 = platform.machine() == "x86_64"
# Numbers of system calls: x86-64, then the generic table of the other 64-bit architectures.
CALLS = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "capset": (126, 91),
    "clone3": (435, 435),
    "finit_module": (313, 273),
    "fork": (57, 220),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "kexec_load": (246, 104),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "ptrace": (101, 117),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmget": (29, 194),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}


def attack(function: Callable[[], object]) -> Callable[[], object]:
    ATTACKS[function.__name__] = function
    return function


def name_of(number: int) -> str:
    return errno.errorcode.get(number, str(number))


def call(name: str, *arguments: object) -> int:
    """A raw system call; raises OSError."""
    number = CALLS[name][0 if X86 else 1]
    whole = [ctypes.c_long(given) if isinstance(given, int) else given for given in arguments]
    got: int = libc.syscall(ctypes.c_long(number), *whole)
    if got < 0:
        raise OSError(ctypes.get_errno(), name)
    return got


def in_child(function: Callable[[], object]) -> object:
    """Try in a process of its own; its result, or the signal that ended it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.write(writer, json.dumps(attempt(function)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        told = file.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return json.loads(told)


def attempt(function: Callable[[], object]) -> object:
    try:
        got = function()
    except OSError as error:
        return name_of(error.errno or 0)
    return "done" if got is None else got


def write(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")


# --- files ---------------------------------------------------------------------------------------


@attack
def write_root_folder() -> None:
    write("/argy-escape")


@attack
def write_etc() -> None:
    write("/etc/argy-escape")


@attack
def write_usr() -> None:
    write("/usr/argy-escape")


@attack
def write_what_anyone_may_write() -> None:
    write(T["open_folder"] + "/escape")


@attack
def write_host_tmp() -> object:
    write("/tmp/escape-" + T["nonce"])  # noqa: S108
    return None


@attack
def list_other_workspace() -> object:
    return os.listdir(T["other_workspace"])


@attack
def read_other_workspace() -> object:
    return Path(T["other_workspace"], "result").read_text()


@attack
def write_other_workspace() -> None:
    write(T["other_workspace"] + "/escape")


@attack
def read_agent_key() -> object:
    return Path(T["agent_key"]).read_text()


@attack
def write_agent_key() -> None:
    write(T["agent_key"])


@attack
def read_hidden_settings() -> object:
    return Path(T["hidden"]).read_text()


@attack
def read_agent_program() -> object:
    return len(Path(T["agent_program"]).read_text()) > 0


@attack
def list_root_home() -> object:
    return os.listdir("/root")


@attack
def read_through_symlink() -> object:
    os.symlink(T["open_folder"] + "/host", "link")
    return Path("link").read_text()


@attack
def hard_link_from_outside() -> None:
    os.link(T["open_folder"] + "/host", "hard")


@attack
def rename_from_outside() -> None:
    os.rename(T["open_folder"] + "/moved", "moved")


@attack
def climb_with_dots() -> object:
    return Path("../" * 20 + T["open_folder"].lstrip("/"), "host").read_text()


@attack
def climb_through_proc_root() -> object:
    return Path(f"/proc/{T['agent_pid']}/root{T['open_folder']}/host").read_text()


@attack
def climb_through_init_root() -> object:
    return os.listdir("/proc/1/root")


@attack
def inherited_descriptors() -> object:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(fd))
        except OSError:
            continue  # the listing itself
        if int(fd) > 2:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return found


@attack
def open_kernel_devices() -> object:
    return [attempt(partial(os.open, path, os.O_RDWR)) for path in T["devices"]]


@attack
def write_core_pattern() -> None:
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))


@attack
def write_sysrq() -> None:
    os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY))


@attack
def write_cgroup() -> None:
    os.mkdir("/sys/fs/cgroup/memory/argy-escape")


@attack
def make_device() -> None:
    os.mknod("null", 0o20666, os.makedev(1, 3))


@attack
def make_block_device() -> None:
    os.mknod("disk", 0o60666, os.makedev(8, 0))


@attack
def mount_tmpfs() -> None:
    os.makedirs("mnt", exist_ok=True)
    call("mount", b"none", b"mnt", b"tmpfs", 0, None)


@attack
def unmount_proc() -> None:
    call("umount2", b"/proc", 2)


@attack
def new_mount_api() -> None:
    os.close(call("fsopen", b"tmpfs", 0))


@attack
def clone_mount_tree() -> None:
    os.close(call("open_tree", -100, b"/", 1))


@attack
def change_root() -> None:
    call("chroot", b".")


@attack
def pivot_root() -> None:
    call("pivot_root", b".", b".")


@attack
def handle_of_a_file() -> None:
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    call("name_to_handle_at", -100, b".", handle, ctypes.byref(ctypes.c_int()), 0)


@attack
def open_by_handle() -> None:
    handle = ctypes.create_string_buffer(struct.pack("Ii", 8, 1) + struct.pack("II", 2, 0))
    os.close(call("open_by_handle_at", os.open(".", os.O_RDONLY), handle, os.O_RDONLY))


# --- other processes -----------------------------------------------------------------------------


@attack
def read_agent_environment() -> object:
    return CANARY in Path(f"/proc/{T['agent_pid']}/environ").read_bytes()


@attack
def find_canary_in_any_environment() -> object:
    found = False
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            found |= CANARY in path.read_bytes()
        except OSError:
            continue
    return found


@attack
def find_secret_in_any_command_line() -> object:
    found = False
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found |= T["reversed_secret"][::-1].encode() in path.read_bytes()
        except OSError:
            continue
    return found


@attack
def see_agent() -> object:
    return str(T["agent_pid"]) in os.listdir("/proc")


@attack
def read_agent_memory() -> None:
    os.close(os.open(f"/proc/{T['agent_pid']}/mem", os.O_RDONLY))


@attack
def signal_agent() -> None:
    os.kill(T["agent_pid"], 0)


@attack
def signal_neighbour() -> None:
    os.kill(T["victim_pid"], signal.SIGCONT)


@attack
def signal_supervisor() -> None:
    os.kill(os.getppid(), signal.SIGKILL)


@attack
def ptrace_neighbour() -> None:
    call("ptrace", 0x4206, T["victim_pid"], None, None)  # PTRACE_SEIZE: undone when we end


@attack
def ptrace_own_child() -> None:
    child = os.fork()
    if child == 0:
        time.sleep(60)
    try:
        call("ptrace", 16, child, None, None)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@attack
def read_memory_of_supervisor() -> None:
    os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY))


@attack
def process_vm_readv() -> None:
    call("process_vm_readv", os.getpid(), None, 0, None, 0, 0)


@attack
def steal_descriptor() -> None:
    pidfd = call("pidfd_open", os.getppid(), 0)
    os.close(call("pidfd_getfd", pidfd, 0, 0))


# --- privileges ----------------------------------------------------------------------------------


@attack
def become_root() -> None:
    os.setresuid(0, 0, 0)


@attack
def join_groups() -> None:
    os.setgroups([0])


@attack
def take_capabilities() -> None:
    header = struct.pack("Ii", 0x20080522, 0)
    call("capset", header, struct.pack("6I", 1 << 21, 1 << 21, 0, 0, 0, 0))


@attack
def setuid_program() -> object:
    """Which user su is while it waits for a password."""
    su = subprocess.Popen(
        ["/usr/bin/su", "root", "-c", "true"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(500):
            status = Path(f"/proc/{su.pid}/status").read_text()
            if "Name:\tsu\n" in status:
                line = next(line for line in status.splitlines() if line.startswith("Uid:"))
                return "root" if line.split()[2] == "0" else "not root"
            time.sleep(0.01)
        return "never ran"
    finally:
        su.kill()
        su.communicate()


@attack
def status() -> object:
    wanted = ("NoNewPrivs", "Seccomp", "CapEff", "CapPrm", "CapInh", "CapAmb", "Groups")
    lines = (line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: text.strip() for name, text in lines if name in wanted}


@attack
def user() -> object:
    return [os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups()]


def unshare(flags: int) -> None:
    call("unshare", flags)


@attack
def new_user_namespace() -> object:
    return in_child(lambda: unshare(0x10000000))


@attack
def new_mount_namespace() -> object:
    return in_child(lambda: unshare(0x10020000))


@attack
def new_namespace_by_clone3() -> object:
    arguments = struct.pack("8Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    child = call("clone3", ctypes.c_char_p(arguments), len(arguments))
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return None


@attack
def enter_namespace() -> None:
    fd = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    call("setns", fd, 0)


@attack
def raise_priority() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, -5)


@attack
def real_time_priority() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


@attack
def escape_out_of_memory_killer() -> None:
    Path("/proc/self/oom_score_adj").write_text("-500")


@attack
def raise_limits() -> object:
    found = []
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE):
        _, most = resource.getrlimit(limit)
        try:
            resource.setrlimit(limit, (most + 1, most + 1))
            found.append("done")
        except (ValueError, OverflowError):
            found.append("EPERM")
    return found


@attack
def dump_core() -> object:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
        return "done"
    except ValueError:
        pass

    def abort() -> None:
        os.abort()

    before = set(os.listdir("."))
    in_child(abort)
    return sorted(set(os.listdir(".")) - before)


@attack
def set_hostname() -> None:
    call("sethostname", b"escaped", 7)


@attack
def set_clock() -> None:
    call("settimeofday", None, struct.pack("ii", 0, 0))


@attack
def load_module() -> None:
    call("init_module", None, 0, b"")


@attack
def load_module_from_file() -> None:
    call("finit_module", 0, b"", 0)


@attack
def load_kernel() -> None:
    call("kexec_load", 0, 0, None, 1 << 31)


@attack
def swap_on() -> None:
    call("swapon", b"/nonexistent", 0)


@attack
def reboot() -> None:
    call("reboot", 0, 0, 0, None)


@attack
def read_kernel_log() -> None:
    call("syslog", 10, None, 0)


# --- dangerous parts of the kernel ---------------------------------------------------------------


@attack
def io_uring() -> None:
    os.close(call("io_uring_setup", 2, ctypes.create_string_buffer(120)))


@attack
def userfaultfd() -> None:
    os.close(call("userfaultfd", 1))  # UFFD_USER_MODE_ONLY


@attack
def bpf() -> None:
    os.close(call("bpf", 0, struct.pack("4I", 2, 4, 4, 1) + bytes(100), 116))


@attack
def perf_events() -> None:
    attributes = struct.pack("II5Q", 1, 120, 1, 0, 0, 0, 1 << 5 | 1 << 6) + bytes(80)
    os.close(call("perf_event_open", attributes, 0, -1, -1, 0))


@attack
def add_key() -> None:
    call("add_key", b"user", b"argy", b"x", 1, -3)


@attack
def read_keyring() -> None:
    call("keyctl", 0, -4, 0)


@attack
def anonymous_file() -> None:
    os.close(call("memfd_create", b"x", 0))


@attack
def secret_memory() -> None:
    os.close(call("memfd_secret", 0))


@attack
def system_v_memory() -> None:
    call("shmget", 0, 4096, 0o1600)


@attack
def compatibility_calls() -> object:
    """getpid by the 32-bit entry, whose numbers a filter of the 64-bit ones would not match."""
    if not X86:
        return "SIGSYS"

    def enter() -> object:
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        got = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
        return "done" if got == os.getpid() else name_of(-got)

    return in_child(enter)


@attack
def x32_calls() -> object:
    """unshare by its x32 number."""
    if not X86:
        return "SIGSYS"

    def enter() -> None:
        if libc.syscall(ctypes.c_long(0x40000000 | 272), 0x10000000) < 0:
            raise OSError(ctypes.get_errno(), "x32")

    return in_child(enter)


@attack
def push_into_terminal() -> object:
    """TIOCSTI; without a filter /dev/null answers ENOTTY."""
    fcntl.ioctl(0, 0x5412, b"x")
    return None


@attack
def paste_into_console() -> object:
    fcntl.ioctl(0, 0x541C, array.array("b", [3]))  # TIOCLINUX
    return None


@attack
def open_controlling_terminal() -> None:
    os.close(os.open("/dev/tty", os.O_RDWR))


# --- network -------------------------------------------------------------------------------------


def connect(family: int, address: str | tuple[str, int], kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(family, kind) as client:
        client.settimeout(5)
        client.connect(address)


@attack
def connect_loopback() -> None:
    connect(socket.AF_INET, ("127.0.0.1", T["port"]))


@attack
def connect_loopback_6() -> None:
    connect(socket.AF_INET6, ("::1", T["port6"]))


@attack
def connect_host_address() -> None:
    connect(socket.AF_INET, ("127.0.0.2", T["port"]))


@attack
def connect_metadata() -> None:
    connect(socket.AF_INET, ("169.254.169.254", 80))


@attack
def send_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", T["port"]))


@attack
def raw_socket() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


@attack
def packet_socket() -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()


@attack
def vsock() -> None:
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).connect((2, 1))


@attack
def listen_on_port() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()


@attack
def abstract_socket() -> None:
    connect(socket.AF_UNIX, "\0" + T["abstract"])


@attack
def socket_by_path() -> None:
    connect(socket.AF_UNIX, T["socket"])


@attack
def network_devices() -> object:
    names = [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()]
    return sorted(name for name in names if "|" not in name)


# --- exhaustion that ends by itself --------------------------------------------------------------


@attack
def open_many_files() -> object:
    opened: list[int] = []
    try:
        while len(opened) < 5000:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        return name_of(error.errno or 0)
    finally:
        for fd in opened:
            os.close(fd)
    return "done"


def bomb(fork: Callable[[], int]) -> object:
    children: list[int] = []
    stopped = "done"
    try:
        while len(children) < 600:
            child = fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)
    except OSError as error:
        stopped = name_of(error.errno or 0)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return [stopped, len(children)]


@attack
def fork_bomb() -> object:
    return bomb(os.fork)


@attack
def fork_bomb_by_raw_call() -> object:
    return bomb(lambda: call("fork") if X86 else os.fork())


@attack
def thread_bomb() -> object:
    def start() -> object:
        count, threading_stack = 0, threading.stack_size(65536)
        try:
            while count < 3000:
                threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
                count += 1
        except RuntimeError:
            return ["EAGAIN", count]
        finally:
            threading.stack_size(threading_stack)
        return ["done", count]

    return in_child(start)


@attack
def write_large_file() -> object:
    def grow() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with open("large", "wb") as file:
            file.truncate(T["file_bytes"] + 1)

    result = in_child(grow)
    Path("large").unlink(missing_ok=True)
    return result


@attack
def fill_tmp() -> None:
    folder = os.environ.get("TMPDIR", ".")
    with open(f"{folder}/full", "wb", buffering=0) as file:
        try:
            for _ in range(T["file_bytes"] // 65536 + 1):
                file.write(bytes(65536))
        finally:
            os.unlink(f"{folder}/full")


@attack
def environment() -> object:
    return sorted(name for name in os.environ if name not in ("TARGETS", "LC_CTYPE"))


@attack
def secret_file() -> object:
    folder = Path(os.environ["ARGY_SECRETS_DIR"])
    written = attempt(lambda: write(str(folder / "token")))
    return [(folder / "token").read_text(), oct((folder / "token").stat().st_mode & 0o777), written]


def main() -> None:
    names = sys.argv[1:] or list(ATTACKS)
    print(json.dumps({name: attempt(ATTACKS[name]) for name in names}))


if __name__ == "__main__":
    main()

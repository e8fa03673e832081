"""Ways out of the sandbox, each tried inside of it for real: by each backend, as each user.

A table says for every attack what stops it: the result (mostly the name of an error number) and the
layer it comes from. Results are exact, so that nothing passes by accident; and ``CONTROL`` tells
what the same program gets outside of the sandbox, as the same user, where that is harmless.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_stand import ATTACKS, IDS, LIMITS, MARKER, PYTHON, ROOT, WALLS, Ran, an_agent

VIEW = "bubblewrap: mount namespace"
PIDS = "bubblewrap: PID namespace"
NET = "bubblewrap: network namespace"
LANDLOCK = "sandlock: Landlock"
SECCOMP = "sandlock: seccomp"
NOTIFY = "sandlock: supervised system call"
RLIMIT = "rlimit"
USER = "uid 1001 without capabilities"

# Attack: the result and the layer behind both walls, then behind sandlock alone.
HELD: dict[str, tuple[object, str, object, str]] = {
    "write_root_folder": ("EROFS", VIEW, "EACCES", LANDLOCK),
    "write_etc": ("EROFS", VIEW, "EACCES", LANDLOCK),
    "write_usr": ("EROFS", VIEW, "EACCES", LANDLOCK),
    "write_what_anyone_may_write": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "list_other_workspace": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "read_other_workspace": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "write_other_workspace": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "read_agent_key": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "write_agent_key": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "read_hidden_settings": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "read_agent_program": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "list_root_home": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "read_through_symlink": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "hard_link_from_outside": ("ENOENT", VIEW, "EXDEV", LANDLOCK),
    "rename_from_outside": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "climb_with_dots": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "climb_through_proc_root": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "climb_through_init_root": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "inherited_descriptors": ([], "sandlock: closed at exec", [], "sandlock: closed at exec"),
    "write_core_pattern": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "write_sysrq": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "write_cgroup": ("ENOENT", VIEW, "EACCES", LANDLOCK),
    "make_device": ("EPERM", USER, "EPERM", USER),
    "make_block_device": ("EPERM", USER, "EPERM", USER),
    "mount_tmpfs": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "unmount_proc": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "new_mount_api": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "clone_mount_tree": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "change_root": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "pivot_root": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "handle_of_a_file": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "open_by_handle": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "read_agent_environment": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "find_canary_in_any_environment": (False, PIDS, False, LANDLOCK),
    "find_secret_in_any_command_line": (False, PIDS, False, NOTIFY),
    "see_agent": (False, PIDS, False, NOTIFY),
    "read_agent_memory": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "signal_agent": ("ESRCH", PIDS, "EPERM", LANDLOCK),
    "signal_neighbour": ("ESRCH", PIDS, "EPERM", LANDLOCK),
    "signal_supervisor": ("EPERM", LANDLOCK, "EPERM", LANDLOCK),
    "ptrace_neighbour": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "ptrace_own_child": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "read_memory_of_supervisor": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "process_vm_readv": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "steal_descriptor": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "become_root": ("EINVAL", "bubblewrap: user namespace", "EPERM", USER),
    "join_groups": ("EPERM", USER, "EPERM", USER),
    "take_capabilities": ("EPERM", USER, "EPERM", USER),
    "setuid_program": ("not root", "no_new_privs", "not root", "no_new_privs"),
    "new_user_namespace": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "new_mount_namespace": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "new_namespace_by_clone3": ("ENOSYS", SECCOMP, "ENOSYS", SECCOMP),
    "enter_namespace": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "raise_priority": ("EACCES", USER, "EACCES", USER),
    "real_time_priority": ("EPERM", USER, "EPERM", USER),
    "escape_out_of_memory_killer": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "raise_limits": (["EPERM"] * 3, RLIMIT, ["EPERM"] * 3, RLIMIT),
    "dump_core": ([], RLIMIT, [], RLIMIT),
    "set_hostname": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "set_clock": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "load_module": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "load_module_from_file": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "load_kernel": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "swap_on": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "reboot": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "read_kernel_log": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "io_uring": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "userfaultfd": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "bpf": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "perf_events": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "add_key": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "read_keyring": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "anonymous_file": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "secret_memory": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "system_v_memory": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "compatibility_calls": ("SIGSYS", SECCOMP, "SIGSYS", SECCOMP),
    "x32_calls": ("SIGSYS", SECCOMP, "SIGSYS", SECCOMP),
    "push_into_terminal": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "paste_into_console": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "open_controlling_terminal": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "connect_loopback": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "connect_loopback_6": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "connect_host_address": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "connect_metadata": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "send_datagram": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "raw_socket": ("EPERM", SECCOMP, "EPERM", SECCOMP),
    "packet_socket": ("EAFNOSUPPORT", NOTIFY, "EAFNOSUPPORT", NOTIFY),
    "vsock": ("EAFNOSUPPORT", NOTIFY, "EAFNOSUPPORT", NOTIFY),
    "listen_on_port": ("EACCES", LANDLOCK, "EACCES", LANDLOCK),
    "abstract_socket": ("ECONNREFUSED", NET, "EPERM", LANDLOCK),
    "socket_by_path": ("ECONNREFUSED", VIEW, "EACCES", NOTIFY),
    "network_devices": (["lo"], NET, ["lo"], NOTIFY),
    "open_many_files": ("EMFILE", RLIMIT, "EMFILE", RLIMIT),
    "write_large_file": ("EFBIG", RLIMIT, "EFBIG", RLIMIT),
    "fill_tmp": ("ENOSPC", "tmpfs", "EFBIG", RLIMIT),
}

SEEN = (
    "write_host_tmp",
    "open_kernel_devices",
    "status",
    "user",
    "environment",
    "secret_file",
    "fork_bomb",
    "fork_bomb_by_raw_call",
    "thread_bomb",
)

CONTROL: dict[str, object] = {
    "write_what_anyone_may_write": "done",
    "list_other_workspace": ["result"],
    "read_other_workspace": "of another run",
    "write_other_workspace": "done",
    "read_through_symlink": "of the host",
    "rename_from_outside": "done",
    "climb_with_dots": "of the host",
    "climb_through_proc_root": "of the host",
    "read_agent_environment": True,
    "find_canary_in_any_environment": True,
    "see_agent": True,
    "read_agent_memory": "done",
    "signal_agent": "done",
    "signal_neighbour": "done",
    "ptrace_neighbour": "done",
    "ptrace_own_child": "done",
    "process_vm_readv": "done",
    "handle_of_a_file": "done",
    "new_user_namespace": "done",
    "new_mount_namespace": "done",
    "new_namespace_by_clone3": "done",
    "io_uring": "done",
    "userfaultfd": "done",
    "add_key": "done",
    "read_keyring": "done",
    "anonymous_file": "done",
    "system_v_memory": "done",
    "compatibility_calls": "done",
    "push_into_terminal": "ENOTTY",
    "paste_into_console": "ENOTTY",
    "connect_loopback": "done",
    "connect_loopback_6": "done",
    "connect_host_address": "done",
    "send_datagram": "done",
    "listen_on_port": "done",
    "abstract_socket": "done",
    "socket_by_path": "done",
    "setuid_program": "root",
}


@pytest.fixture(scope="module", params=WALLS, ids=IDS)
def attacked(request: pytest.FixtureRequest) -> Iterator[tuple[str, Ran]]:
    """All of the attacks in one run, behind each backend as each user."""
    backend, who = request.param
    with tempfile.TemporaryDirectory(prefix="argy-agentd-") as folder:
        Path(folder).chmod(0o755)
        with an_agent(backend, who, Path(folder)) as agent:
            yield backend, agent.attack(*HELD, *SEEN, limits=LIMITS, secrets={"token": MARKER})


@pytest.fixture(scope="module")
def outside() -> Iterator[dict[str, Any]]:
    """The same attacks without a sandbox, by the user that runs jobs."""
    with tempfile.TemporaryDirectory(prefix="argy-agentd-") as folder:
        Path(folder).chmod(0o755)
        who = "root" if ROOT else "ordinary"
        with an_agent("bwrap", who, Path(folder)) as agent:
            workspace = Path(folder, "cwd")
            workspace.mkdir()
            if ROOT:
                os.chown(workspace, 1001, 1001)
            targets = agent.targets | {"agent_pid": agent.targets["victim_pid"]}
            done = subprocess.run(
                [PYTHON, "-", *CONTROL],
                cwd=workspace,
                env={"TARGETS": json.dumps(targets)},
                input=ATTACKS.read_text(),
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
                user=1001 if ROOT else None,
                group=1001 if ROOT else None,
                extra_groups=[] if ROOT else None,
            )
            yield json.loads(done.stdout)


@pytest.mark.parametrize("attack", HELD)
def test_held_back(attacked: tuple[str, Ran], attack: str) -> None:
    backend, run = attacked
    both, both_layer, alone, alone_layer = HELD[attack]
    expected, layer = (both, both_layer) if backend == "bwrap" else (alone, alone_layer)
    assert run.results[attack] == expected, f"{attack} is not stopped as expected by: {layer}"


@pytest.mark.parametrize("attack", CONTROL)
def test_the_attack_works_where_no_wall_is(outside: dict[str, Any], attack: str) -> None:
    assert outside[attack] == CONTROL[attack]
    both, _, alone, _ = HELD[attack]
    assert outside[attack] not in (both, alone)


def test_the_agent_and_the_workspace_are_unharmed(attacked: tuple[str, Ran]) -> None:
    _, run = attacked
    assert (run.outcome["kind"], run.outcome["status"], run.wiped) == ("exited", 0, True)


def test_it_is_nobody(attacked: tuple[str, Ran], request: pytest.FixtureRequest) -> None:
    _, run = attacked
    nothing = "0" * 16
    assert run.results["status"] == {
        **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapAmb"), nothing),
        "Groups": run.results["status"]["Groups"],
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    uid, effective, *_ = run.results["user"]
    assert uid == effective != 0
    assert uid == 1001 or ("landlock" in request.node.name and not ROOT)


def test_the_temporary_folder_is_its_own(attacked: tuple[str, Ran]) -> None:
    backend, run = attacked
    assert run.results["write_host_tmp"] == ("done" if backend == "bwrap" else "EACCES")
    assert not list(Path("/tmp").glob("escape-argy-agentd-*"))  # noqa: S108


def test_kernel_devices_are_closed(attacked: tuple[str, Ran]) -> None:
    backend, run = attacked
    allowed = {"ENOENT"} if backend == "bwrap" else {"ENOENT", "EACCES"}
    assert set(run.results["open_kernel_devices"]) <= allowed


def test_the_environment_is_minimal(attacked: tuple[str, Ran]) -> None:
    _, run = attacked
    own = {"ARGY_RUN_ID", "ARGY_SECRETS_DIR"}
    common = {"HOME", "LANG", "LOGNAME", "PATH", "TMPDIR", "USER"}
    assert set(run.results["environment"]) == own | common


def test_a_secret_is_a_file_that_can_only_be_read(attacked: tuple[str, Ran]) -> None:
    _, run = attacked
    assert run.results["secret_file"] == [MARKER, "0o400", "EACCES"]


@pytest.mark.parametrize("bomb", ["fork_bomb", "fork_bomb_by_raw_call", "thread_bomb"])
def test_tasks_are_bounded(attacked: tuple[str, Ran], bomb: str) -> None:
    """Layer: rlimit (RLIMIT_NPROC), and the control group where there is one."""
    _, run = attacked
    stopped, count = run.results[bomb]
    assert stopped == "EAGAIN"
    assert 0 < count <= LIMITS["processes"] + 32

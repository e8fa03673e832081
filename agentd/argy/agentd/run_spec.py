"""What one run is, what bounds it, and how it ended: values only, checked when they are made."""

import ipaddress
import re
from dataclasses import dataclass, field, fields
from typing import Final, Literal

from argy.base.errors import FieldViolation, InvalidArgument

RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SECRET_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ENDPOINT: Final = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?):(?P<port>[0-9]{1,5})"
)
MAX_ARGV_BYTES: Final = 131_072
MAX_SECRETS_BYTES: Final = 1_048_576

MIB: Final = 1 << 20
GIB: Final = 1 << 30

Kind = Literal["exited", "signalled", "timed_out", "cancelled", "limit_exceeded", "refused"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use. Sizes in bytes; each must be positive."""

    wall_seconds: float = 3600.0
    memory_bytes: int = 2 * GIB
    """Anonymous and shared memory of all processes together."""
    processes: int = 1024
    """Tasks at once: processes and their threads."""
    disk_bytes: int = 4 * GIB
    """What the workspace may hold, files that are deleted but open included."""
    files: int = 200_000
    """Files and folders in the workspace."""
    file_bytes: int = 2 * GIB
    """Size of one file."""
    tmp_bytes: int = 256 * MIB
    """Each of the temporary file systems (backend bwrap)."""
    open_files: int = 1024
    """File descriptors of one process."""
    output_bytes: int = 16 * MIB
    """Standard output and standard error together."""
    cpu_percent: int | None = None
    """Share of one core: 100 is one whole core; None is unlimited."""
    grace_seconds: float = 5.0
    """From SIGTERM to SIGKILL, at a cancellation and at the wall-clock limit."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run.

    ``secrets`` become files, each named by its key, in the folder that ``ARGY_SECRETS_DIR`` names.
    ``network`` lists what may be reached, as ``host:port`` (TCP); empty is no network at all.
    ``artifacts`` are globs relative to the workspace; ``**`` stands for any number of folders.

    Raises:
        InvalidArgument: with every problem at once, each naming its field.
    """

    run_id: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, bytes] = field(default_factory=dict, repr=False)
    limits: Limits = Limits()
    network: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = [FieldViolation(name, told) for name, told in self._problems()]
        if problems:
            told = "; ".join(f"{problem.field}: {problem.description}" for problem in problems)
            raise InvalidArgument(told, reason="RUN_SPEC_INVALID", violations=problems)

    def _problems(self) -> list[tuple[str, str]]:
        problems = []
        if not RUN_ID.fullmatch(self.run_id):
            problems.append(
                ("run_id", "must be 1-64 of A-Z a-z 0-9 _ -, beginning with none of _ -")
            )
        texts = [*self.argv, *self.env, *self.env.values(), *self.artifacts]
        if any("\0" in text for text in texts):
            problems.append(("argv, env, artifacts", "must not hold NUL"))
        if not self.argv or not self.argv[0]:
            problems.append(("argv", "must name a program"))
        if sum(len(text.encode(errors="surrogateescape")) + 1 for text in texts) > MAX_ARGV_BYTES:
            problems.append(("argv, env, artifacts", f"together over {MAX_ARGV_BYTES} bytes"))
        problems += [
            ("env", f"{name[:40]!r} is no name of a variable, or reserved")
            for name in self.env
            if not _NAME.fullmatch(name) or name.startswith("ARGY_")
        ]
        problems += [
            ("secrets", f"{name[:40]!r} is no name of a file")
            for name in self.secrets
            if not _SECRET_NAME.fullmatch(name)
        ]
        if sum(map(len, self.secrets.values())) > MAX_SECRETS_BYTES:
            problems.append(("secrets", f"together over {MAX_SECRETS_BYTES} bytes"))
        for limit in fields(Limits):
            value = getattr(self.limits, limit.name)
            if value is not None and value <= 0:
                problems.append((f"limits.{limit.name}", "must be positive"))
        problems += [("network", told) for told in map(_endpoint_problem, self.network) if told]
        for glob in self.artifacts:
            parts = glob.split("/")
            if not glob or glob.startswith("/") or any(part in ("", ".", "..") for part in parts):
                problems.append(("artifacts", f"{glob[:80]!r} must be relative, without . and .."))
        return problems


def _endpoint_problem(endpoint: str) -> str:
    found = _ENDPOINT.fullmatch(endpoint)
    if not found or not 1 <= int(found["port"]) <= 65535:
        return f"{endpoint[:80]!r} must be host:port"
    try:
        address = ipaddress.ip_address(found["host"].strip("[]"))
    except ValueError:
        return ""
    # A cloud's metadata service hands out the machine's own credentials.
    return f"{endpoint} is link-local" if address.is_link_local else ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run used: seconds, and bytes at its peak (the highest sample, or the cgroup's own)."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    ``status`` is the exit status if it ``exited``, the signal's number if it was ``signalled``.
    ``reason`` names the layer or the limit that ended it, for people. ``truncated``: output is cut.
    """

    kind: Kind
    status: int | None = None
    reason: str = ""
    truncated: bool = False
    usage: Usage = Usage()

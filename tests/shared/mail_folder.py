"""The folder that a running platform writes mail to, for tests."""

import asyncio
import json
import time
from collections.abc import Container
from pathlib import Path
from typing import Any, Final

PATIENCE_S: Final = 60.0
_STEP_S: Final = 0.05


def link_in(folder: Path, email: str, *, used: Container[str] = ()) -> str | None:
    """The secret of the newest link to somebody that is not ``used``; None when there is none."""
    # Names are UUIDv7, so they sort by time.
    for file in sorted(folder.glob("*.json"), reverse=True):
        mail = _read(file)
        if mail.get("to") != email:
            continue
        # Notices have no link, and may come after it.
        for line in mail["text"].splitlines():
            secret = str(line.rpartition("/link/")[2])
            if "/link/" in line and secret not in used:
                return secret
    return None


async def link_to(folder: Path, email: str, *, used: Container[str] = ()) -> str:
    """The secret of the newest link to somebody that is not ``used``, once it has come."""
    async with asyncio.timeout(PATIENCE_S):
        # Mail leaves after the answer, and signals nobody.
        while (secret := link_in(folder, email, used=used)) is None:  # noqa: ASYNC110
            await asyncio.sleep(_STEP_S)
    return secret


def wait_for_link(folder: Path, email: str) -> str:
    """As ``link_to``, where there is no loop."""
    ends_s = time.monotonic() + PATIENCE_S
    while (secret := link_in(folder, email)) is None:
        if time.monotonic() > ends_s:
            raise TimeoutError(f"no link to {email} came")
        time.sleep(_STEP_S)
    return secret


def _read(file: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}  # the folder keeps the newest few alone
    return document

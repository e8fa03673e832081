"""The columns that only lines of approvals have: how many, by whom, how, and until when."""

import re
from collections.abc import Callable, Mapping
from typing import Final

MAX_APPROVALS: Final = 10
"""Approvers that one line may ask for."""
MAX_ROLES: Final = 16
"""Roles that one line may name."""
MIN_EXPIRES_S: Final = 60
MAX_EXPIRES_S: Final = 30 * 86_400

_MODES: Final = ("require", "auto", "off")
_EXPIRES: Final = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_COUNT: Final = re.compile(r"[1-9][0-9]?")


def check_columns(fields: Mapping[str, str], refuse: Callable[[str, str], None]) -> None:
    """Refuse what is wrong in the columns that only an approval has."""
    count, mode = fields["approvals"], fields["mode"]
    if not _COUNT.fullmatch(count) or int(count) > MAX_APPROVALS:
        refuse(f"bad number of approvals {count!r}", f"write 1 to {MAX_APPROVALS}")
    roles = fields["roles"].split("|")
    if len(roles) > MAX_ROLES:
        refuse(f"more than {MAX_ROLES} roles", "make a role that these inherit")
    elif len(set(roles)) < len(roles):
        refuse(f"{fields['roles']!r} names a role twice", "name each role once")
    if mode not in _MODES:
        meant = mode.lower() if mode.lower() in _MODES else "require, auto or off"
        refuse(f"unknown mode {mode!r}", f"write {meant}")
    seconds = expires_s(fields["expires"])
    if not MIN_EXPIRES_S <= seconds <= MAX_EXPIRES_S:
        refuse(f"bad expiry {fields['expires']!r}", "write 1m to 30d, such as 30m, 24h or 7d")


def expires_s(text: str) -> int:
    """Seconds of ``30m``, ``24h`` or ``7d``; 0 for anything else."""
    match = _EXPIRES.fullmatch(text)
    return int(match[1]) * _SECONDS[match[2]] if match else 0

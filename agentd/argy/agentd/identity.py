"""The user that runs jobs: whom the agent drops to, and what the job sees itself as."""

import os
from dataclasses import dataclass
from typing import Any, Final

RUN_UID: Final = 1001
"""The user and group of every run."""


@dataclass(frozen=True, slots=True)
class RunUser:
    """The user outside of the sandbox. Inside of a user namespace it is always ``RUN_UID``."""

    uid: int
    gid: int
    drop: bool
    """The agent is root and becomes this user for a run, without any group besides."""

    def process_arguments(self) -> dict[str, Any]:
        """What ``subprocess`` needs to start a process as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.drop else {}


def run_user(uid: int | None = None) -> RunUser:
    """Root drops to ``RUN_UID``; anyone else stays who they are."""
    if (os.geteuid() if uid is None else uid) == 0:
        return RunUser(RUN_UID, RUN_UID, drop=True)
    return RunUser(os.geteuid(), os.getegid(), drop=False)

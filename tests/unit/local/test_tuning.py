"""What a serving process asks of the machine."""

import subprocess
import sys

_TUNED = """
import os
import threading
from argy.local.tuning import let_threads_finish
let_threads_finish()
seen = []
thread = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0)))
thread.start()
thread.join()
print(seen == [os.SCHED_BATCH])
"""


def test_threads_that_start_later_wait_for_each_others_turn() -> None:
    # In a process of its own: what is asked for holds for the whole of it.
    told = subprocess.run(
        [sys.executable, "-c", _TUNED], capture_output=True, text=True, check=True
    )
    assert told.stdout == "True\n"

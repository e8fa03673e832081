"""How a process that serves gets by with less of the processor."""

import gc
import os
import sys
from contextlib import suppress


def let_threads_finish() -> None:
    """Have the threads that are started from here on end their turn before the next one has its.

    gRPC's threads wake each other several times a call, and each that is woken interrupts the one
    that is at work. Under SCHED_BATCH it does not, so calls are handed on in groups; the share of
    the processor that the process gets stays the same (sched(7)).
    """
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def spare_the_collector() -> None:
    """Set what was loaded to start apart from what garbage collection looks through.

    A look after every 700 new objects, as is the default, costs a call some microseconds and finds
    little: most of what a call leaves behind goes with its last reference.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)

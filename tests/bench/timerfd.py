"""A timer of the Linux kernel as a file descriptor: precise to microseconds where an event loop's timers have milliseconds.

Python has it in `os` from 3.13 on; until then by ctypes.
"""

import ctypes
import os
import time

# <bits/timerfd.h>
TFD_NONBLOCK = os.O_NONBLOCK
TFD_CLOEXEC = os.O_CLOEXEC
TFD_TIMER_ABSTIME = 1

_LIBC = ctypes.CDLL(None, use_errno=True)


class Timespec(ctypes.Structure):
    """`struct timespec`."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Itimerspec(ctypes.Structure):
    """`struct itimerspec`."""

    _fields_ = (("interval", Timespec), ("value", Timespec))


def new_timer() -> int:
    """A timer on the monotonic clock; readable when it has fired."""
    timer = _LIBC.timerfd_create(time.CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
    if timer < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    return int(timer)


def arm(timer: int, due: float) -> None:
    """Let `timer` fire at `due` (monotonic seconds), at once if that has passed. Replaces what was set before."""
    seconds = int(due)
    value = Timespec(seconds, int((due - seconds) * 1e9))
    if _LIBC.timerfd_settime(timer, TFD_TIMER_ABSTIME, ctypes.byref(Itimerspec(Timespec(0, 0), value)), None) != 0:
        raise OSError(ctypes.get_errno(), "timerfd_settime")

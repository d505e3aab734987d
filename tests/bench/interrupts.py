"""Turns a signal that asks to stop into an exception at a place where it does no harm.

An exception raised by a signal handler inside a callback of an event loop is logged by the loop and forgotten. So while
the load runs a signal is only noted, and raised when the run is over, which takes under a second.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Whether somebody asked the benchmark to stop."""

    def __init__(self) -> None:
        self.number = 0
        self.is_held = False

    def listen(self) -> None:
        """Take over the signals, except those that whoever started us wants ignored."""
        for number in STOPS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.take)

    def ignore(self) -> None:
        """From here on the end is near anyhow, and must not be disturbed."""
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)

    def take(self, number: int, _frame: object) -> None:
        """Leave now, or note it for later. A second signal does not wait."""
        is_second = self.number != 0
        self.number = number
        if is_second or not self.is_held:
            raise SystemExit(128 + number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put a signal off until the end of the block."""
        self.is_held = True
        try:
            yield
        finally:
            self.is_held = False
        if self.number:
            raise SystemExit(128 + self.number)

"""Runs a `turnout` command that ends when its parent does: `python -P tied.py serve --port 0`.

The parent keeps a pipe to this process's stdin. When the pipe closes, because the parent closed it or because it died
in any way, `kill -9` included, this process gets the signal to stop that a person would send. So no gateway is left
behind by a demo that was broken off.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def end_with_stdin() -> None:
    """Wait for the end of stdin, then ask this process to stop."""
    # Not sys.stdin: its lock would still be held by this thread when the interpreter shuts down.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Start the watch, then be the `turnout` command."""
    from turnout.cli import main as turnout

    threading.Thread(target=end_with_stdin, name="parent", daemon=True).start()
    sys.argv[0] = "turnout"
    turnout()


if __name__ == "__main__":
    main()

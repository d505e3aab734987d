"""Raises how many files this process may have open: each client's and each vendor's connection counts as one.

The soft limit is 1,024 on many systems, for programs that use select(2), which we do not; a process may raise its own as
far as the hard one. Go's runtime does the same at start since 1.19.
"""

from __future__ import annotations

import sys
from contextlib import suppress

if sys.platform != "win32":
    import resource

    def raise_descriptor_limit() -> None:
        """Set the soft limit as high as it may go. Never raises: where it cannot be done, the old one holds."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with suppress(ValueError, OSError):  # macOS: a hard limit without end is more than its kernel lets anyone have
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

else:

    def raise_descriptor_limit() -> None:
        """Windows has no such limit."""

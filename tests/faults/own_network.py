"""Gives a test a network of its own: what it starts meanwhile sees only that, and it may lose and drop what it likes.

with own_network() as network:
    ...                                         # sockets and processes made here are in it
    network.nft("add rule ip filter output tcp dport 6379 drop")
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

CLONE_NEWNET = 0x40000000  # sched.h


class Network:
    """The namespace. Rules are of the table `ip filter`, chains `input` and `output`."""

    def nft(self, *rules: str) -> None:
        """Run nft commands."""
        subprocess.run(["nft", "-f", "-"], input="\n".join(rules).encode(), check=True)

    def heal(self) -> None:
        """No rules any more."""
        self.nft("flush chain ip filter output")


@contextmanager
def own_network() -> Iterator[Network]:
    """Enter a new network namespace with this thread, and leave it at the end. Skips the test where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip("needs the right to make a network namespace (root, or CAP_SYS_ADMIN)")
        try:
            network = Network()
            try:
                subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
                network.nft(
                    "add table ip filter",
                    "add chain ip filter output { type filter hook output priority 0; }",
                )
            except (OSError, subprocess.CalledProcessError):
                pytest.skip("needs nft and ip: apt-get install nftables iproute2")
            yield network
        finally:
            assert libc.setns(before, CLONE_NEWNET) == 0
    finally:
        os.close(before)

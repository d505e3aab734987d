"""Puts the whole benchmark into a network of its own, with nothing but loopback in it.

One peer listens on every interface and two ask hosts on the Internet for price lists when they start; in a network
namespace neither leaves the machine, and no name look-up blurs their time to ready. Needs root or user namespaces;
without them the benchmark says so and runs in the ordinary network.
"""

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

# <linux/sched.h>, <linux/sockios.h>, <linux/if.h>
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def enter_own_network() -> bool:
    """Move this process, and so all that it will start, into an empty network with loopback up. False if refused.

    Call it before any thread or socket exists.
    """
    if not hasattr(socket, "AF_INET") or not Path("/proc/self/ns/net").exists():
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET) != 0:
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            return False
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
    return True

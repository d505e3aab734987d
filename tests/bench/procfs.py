"""Reads what a tree of processes has cost: CPU time and memory. Linux only.

CPU comes from the kernel's clock of each process (`clock_gettime` on a process's CPU clock: user + system of all its
threads, those that ended included, in nanoseconds), because the ticks of /proc/<pid>/stat are 10 ms wide. Children that
have already ended are added from their parent's `cutime` and `cstime` there.
"""

import os
import time
from pathlib import Path

PROC = Path("/proc")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
# In <linux/posix-timers.h>: a process clock is the inverted id in the upper bits, 2 = CPUCLOCK_SCHED.
CLOCK_SCHED = 2


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the command's name; empty if the process is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return []
    return text.rpartition(") ")[2].split()


def tree_of(root: int) -> list[int]:
    """`root` and everything that descends from it. One pass over /proc."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            fields = stat_fields(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_s(pids: list[int]) -> float:
    """Seconds of CPU, user + system, that the processes and their ended children have used."""
    total = 0.0
    for pid in pids:
        fields = stat_fields(pid)
        if not fields:
            continue
        try:
            total += time.clock_gettime(((~pid) << 3) | CLOCK_SCHED)
        except OSError:
            continue
        total += (int(fields[13]) + int(fields[14])) * TICK_S
    return total


def pss_bytes(pids: list[int]) -> int:
    """Proportional set size: shared pages are divided among those who share them. RSS where the kernel tells no PSS."""
    total = 0
    for pid in pids:
        for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
            kib = kib_line(pid, name, key)
            if kib:
                total += kib * 1024
                break
    return total


def kib_line(pid: int, name: str, key: str) -> int:
    """The number in the line of /proc/<pid>/<name> that begins with `key`, in KiB; 0 if there is none."""
    try:
        text = (PROC / str(pid) / name).read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


def machine_busy_s() -> float:
    """Seconds of CPU that all processes on all cores have used since the machine started."""
    user, nice, system, _idle, _wait, *rest = (PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    interrupts = rest[:3]  # hard, soft, and what the hypervisor gave to others
    return sum(map(int, (user, nice, system, *interrupts))) * TICK_S


def cpu_name() -> str:
    """The processor as /proc/cpuinfo names it."""
    for line in (PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"

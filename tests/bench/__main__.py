"""Runs the benchmark: starts the stub and the gateways, measures them in rounds, prints the table, ends everything.

One core carries the stub and the load, the other one the gateways. With `--peers`, ferrogw, the LiteLLM proxy and nginx
run beside Turnout and take part in each round.
"""

import argparse
import datetime as dt
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench import measure, peers, procfs, report, targets
from tests.bench.interrupts import Interrupts
from tests.bench.isolation import enter_own_network
from tests.bench.measure import Stub, Subject, progress
from tests.bench.processes import Cores, Process, StartError, Workshop, free_port

# Above this share of the machine, what others did is said in the report.
DISTURBED = 0.05
# Rounds stop when this much has passed, whatever is left.
LIMIT_S = {"quick": 40.0, "full": 100.0, "peers": 300.0}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    names = [case.name for case in targets.CASES]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measures what a gateway costs.")
    parser.add_argument(
        "--peers", action="store_true", help="also ferrogw, the LiteLLM proxy, nginx and a bare uvicorn"
    )
    parser.add_argument("--only", metavar="NAMES", help=f"a comma-separated choice of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--rounds", type=int, help="how many rounds")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    parser.add_argument(
        "--install-size", action="store_true", help="also install the core into a scratch folder and weigh it"
    )
    options = parser.parse_args(arguments)
    options.names = (
        options.only.split(",") if options.only else (names if options.peers else list(targets.WITHOUT_PEERS))
    )
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        parser.error(f"unknown name {', '.join(unknown)}; there are {', '.join(names)}")
    return options


def prepare_peers(names: Iterable[str]) -> list[str]:
    """Install the peers among `names`; return those that could not be had. Needs the network, so it comes first."""
    missing = []
    for name in ("ferrogw", "litellm"):
        if name in names:
            try:
                peers.installed(name)
            except (OSError, subprocess.SubprocessError) as error:
                progress(f"skipping {name}: it could not be installed ({error})")
                missing.append(name)
    return missing


def start_stub(workshop: Workshop, cores: Cores, interrupts: Interrupts) -> Stub:
    """The stub upstream on the load's core."""
    port = free_port()
    command = (sys.executable, "-m", "tests.bench.stub", "--port", str(port))
    process = workshop.start(command, cores.load, targets.clean_env(PYTHONPATH=str(peers.ROOT)), "stub")
    process.wait_ready(port, "/v1/models", 20.0)
    return Stub(port, process, interrupts)


def start_target(
    workshop: Workshop, cores: Cores, stub: Stub, name: str, starts: int
) -> tuple[targets.Target, Process, dict[str, Any]]:
    """Start one gateway `starts` times for its time to ready; the last start stays."""
    times: list[float] = []
    while True:
        label = f"{name}-{len(times)}"
        folder = workshop.folder / label
        folder.mkdir()
        target = targets.BUILDERS[name](stub.port, folder)
        for path, text in target.files.items():
            (folder / path).write_text(text)
        process = workshop.start(target.command, cores.gateway, target.env, label)
        times.append(process.wait_ready(target.port, target.ready_path, target.ready_limit_s))
        if len(times) >= min(starts, target.starts):
            break
        process.stop()
    time.sleep(0.3)
    facts = {
        "version": target.version,
        # The first start may compile bytecode; a user's first one does, but every later one does not.
        "ready_s": statistics.median(times[1:] or times),
        "memory_rest_mb": process.pss_bytes() / 1e6,
    }
    return target, process, facts


def start_subjects(
    workshop: Workshop, cores: Cores, stub: Stub, names: Sequence[str], starts: int
) -> tuple[list[Subject], dict[str, dict[str, Any]], list[str]]:
    """Start what `names` need. Returns the rows, facts by target, and notes on what was skipped."""
    direct = Subject(targets.Case(measure.DIRECT, measure.DIRECT, targets.VENDOR_MODEL), stub.port, None, 16)
    subjects, facts, notes = [direct], {}, []
    running: dict[str, tuple[targets.Target, Process]] = {}
    for case in targets.CASES:
        if case.name not in names:
            continue
        if case.target not in running and case.target not in facts:
            progress(f"starting {case.target}")
            try:
                target, process, facts[case.target] = start_target(workshop, cores, stub, case.target, starts)
                running[case.target] = (target, process)
            except (targets.MissingTargetError, StartError) as error:
                notes.append(f"skipped {case.target}: {error}")
                progress(notes[-1])
                facts[case.target] = {}
        if case.target in running:
            target, process = running[case.target]
            subjects.append(Subject(case, target.port, process, target.streams, target.token))
    return subjects, facts, notes


class Others:
    """How much of the machine other programs use meanwhile: they disturb latencies first, then requests a second."""

    def __init__(self, ours: Sequence[Process]) -> None:
        self.ours = list({process.popen.pid: process for process in ours}.values())
        self.began = time.perf_counter()
        self.used_s = self.used_by_others_s()

    def used_by_others_s(self) -> float:
        """Seconds of CPU so far that are not ours."""
        return procfs.machine_busy_s() - time.process_time() - sum(process.cpu_s() for process in self.ours)

    def note(self, cores: int) -> list[str]:
        """A warning if it was enough to matter."""
        share = (self.used_by_others_s() - self.used_s) / (time.perf_counter() - self.began) / cores
        if share <= DISTURBED:
            return []
        return [f"other programs used {share:.0%} of the machine: trust the ratios, not the latencies nor requests/s"]


def benchmark(options: argparse.Namespace, interrupts: Interrupts) -> dict[str, Any]:
    """The whole run, from the installation of peers to the document."""
    cores = Cores()
    lengths = measure.QUICK if options.quick else measure.FULL
    if options.rounds:
        lengths = replace(lengths, rounds=options.rounds)
    has_peers = bool(set(options.names) - set(targets.WITHOUT_PEERS))
    limit_s = LIMIT_S["peers" if has_peers else "quick" if options.quick else "full"]
    missing = prepare_peers(options.names)
    names = [name for name in options.names if name not in missing]
    notes = [f"skipped {name}: it could not be installed" for name in missing]
    with Workshop(interrupts) as workshop:
        install_mb = peers.core_install_bytes(workshop.folder / "core") / 1e6 if options.install_size else None
        if not enter_own_network():
            notes.append("no network namespace to be had: the gateways ran in the machine's own network")
        if cores.is_shared:
            notes.append(
                "ONE CORE: gateway, stub and load shared it; latencies and requests/s say little, CPU figures are inflated"
            )
        cores_text = f"gateways on core {cores.gateway}, stub and load on core {cores.load}"
        os.sched_setaffinity(0, {cores.load})
        until = time.perf_counter() + limit_s
        stub = start_stub(workshop, cores, interrupts)
        subjects, facts, skipped = start_subjects(workshop, cores, stub, names, 3 if options.quick else 5)
        progress("warming up")
        measure.warm_up(subjects, stub, lengths)
        others = Others([stub.process, *(subject.process for subject in subjects if subject.process)])
        rounds = measure.measure_rounds(subjects, stub, lengths, progress, until)
        notes += others.note(len(cores.allowed))
        for subject in subjects:
            if subject.process is not None and facts[subject.case.target]:
                facts[subject.case.target]["memory_after_mb"] = subject.process.pss_bytes() / 1e6
    run_facts = {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{procfs.cpu_name()}, {len(cores.allowed)} cores, {cores_text}, {platform.system()} {platform.release()}",
        "python": f"Python {platform.python_version()}",
        "command": shlex.join(["python", "-m", "tests.bench", *sys.argv[1:]]),
        "rounds": rounds,
        "notes": notes + skipped,
        "install_mb": install_mb,
    }
    return report.document(subjects, run_facts, facts)


def main() -> int:
    """Run, print, and answer 1 if Turnout could not be measured (a peer may be missing)."""
    options = parse(sys.argv[1:])
    if not Path("/proc/self/stat").exists():
        sys.stderr.write("bench: this measures by /proc: it needs Linux\n")
        return 2
    interrupts = Interrupts()
    interrupts.listen()
    found = benchmark(options, interrupts)
    sys.stdout.write((json.dumps(found, indent=1, ensure_ascii=False) if options.json else report.text(found)) + "\n")
    wanted = {name for name in options.names if name in targets.WITHOUT_PEERS}
    is_whole = wanted <= {row["name"] for row in found["rows"] if not row["problems"]}
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())

"""Compares what a request costs in two or more source trees, with all of them at work at the same time on one core.

python -m tests.bench.compare ../before . [--case NAME] [--rounds N] [--seconds S] [--stream] [--bare] [--json]

On a machine that others use too, two measurements of the same tree one after the other may differ by a half. Trees that run
at once share whatever disturbs them: their ratio repeats within one or two per cent. They also share the core and its
caches, so each costs more than alone; only the ratios say something. Each round starts every tree anew, in another order.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvloop

from tests.bench import load, measure, targets
from tests.bench.__main__ import start_stub
from tests.bench.interrupts import Interrupts
from tests.bench.isolation import enter_own_network
from tests.bench.measure import Stub, progress
from tests.bench.peers import ROOT
from tests.bench.processes import Cores, Process, StartError, Workshop

RUN = "from {} import main; main()"
WHOLE, BARE = "turnout.cli", "tests.bench.bare"
PLAIN = targets.Case("plain", "turnout", targets.MODEL)
"""The least there is to configure, which every version knows."""

CASES = {case.name: case for case in (PLAIN, *targets.CASES) if case.target.startswith("turnout")}
CONNECTIONS = 16
WARM_S = 1.0
MICRO = 1e6


class Tree:
    """One source tree, and what its requests (with `is_stream`, its chunks) have cost, a value a round."""

    def __init__(self, root: Path, case: targets.Case, program: str = WHOLE) -> None:
        self.root = root
        self.case = case
        self.program = program
        self.micros: list[float] = []

    @property
    def name(self) -> str:
        """What the report calls it."""
        return f"{self.root}{' without its protections' if self.program == BARE else ''}"

    def start(self, workshop: Workshop, cores: Cores, stub: Stub, label: str) -> tuple[Process, targets.Target]:
        """Start its gateway."""
        folder = workshop.folder / label
        folder.mkdir()
        target = targets.BUILDERS[self.case.target](stub.port, folder)
        if self.case is PLAIN:
            config = json.loads(target.files["turnout.yaml"])
            kept = {name: config[name] for name in ("server", "providers", "models")}
            kept["providers"].pop("limited")
            kept["models"] = {name: one for name, one in kept["models"].items() if one["provider"] == "stub"}
            target = replace(target, files={"turnout.yaml": json.dumps(kept)})
        for path, text in target.files.items():
            (folder / path).write_text(text)
        command = (sys.executable, "-c", RUN.format(self.program), *target.command[1:])
        env = {**target.env, "PYTHONPATH": f"{self.root / 'src'}{os.pathsep}{ROOT}"}
        process = workshop.start(command, cores.gateway, env, label)
        try:
            process.wait_ready(target.port, target.ready_path, target.ready_limit_s)
        except StartError as error:
            raise SystemExit(f"{self.name} does not serve the case {self.case.name}: {error}") from error
        return process, target


async def load_all(requests: Sequence[load.Request], seconds: float) -> list[load.Seen]:
    """Keep all gateways busy at once."""
    return await asyncio.gather(
        *(load.send_for(request, CONNECTIONS, seconds, measure.SPREAD_S, lambda: None) for request in requests)
    )


def measure_round(
    trees: Sequence[Tree], workshop: Workshop, cores: Cores, stub: Stub, number: int, options: argparse.Namespace
) -> None:
    """Start, warm up, measure and end all trees."""
    turned = [*trees[number % len(trees) :], *trees[: number % len(trees)]]
    started = [tree.start(workshop, cores, stub, f"{number}-{trees.index(tree)}") for tree in turned]
    headers = [(("authorization", f"Bearer {target.token}"), *options.case.headers) for _, target in started]
    wires = [
        load.chat_wire(target.port, targets.body_of(options.case.model, is_stream=options.stream), told)
        for (_, target), told in zip(started, headers, strict=True)
    ]
    requests = [
        load.Request(target.port, wire, wire, options.stream) for (_, target), wire in zip(started, wires, strict=True)
    ]
    uvloop.run(load_all(requests, WARM_S))
    before = [process.cpu_s() for process, _ in started]
    seen = uvloop.run(load_all(requests, options.seconds))
    for tree, (process, _), since, one in zip(turned, started, before, seen, strict=True):
        if one.errors or not one.replies:
            raise SystemExit(f"{tree.name}: {one.errors} errors, {one.replies} replies: {one.first_error}")
        count = (one.replies + one.openings) * (measure.EVENTS + measure.CLOSING_EVENTS if options.stream else 1)
        tree.micros.append((process.cpu_s() - since) / count * MICRO)
        process.stop()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compare", description="Compares source trees.")
    parser.add_argument("trees", nargs="+", type=Path, metavar="TREE", help="a folder with src/turnout in it")
    parser.add_argument("--case", choices=sorted(CASES), default=PLAIN.name, help="what is asked; default: plain")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round")
    parser.add_argument("--stream", action="store_true", help="streams, and what a chunk of them costs")
    parser.add_argument("--bare", action="store_true", help="the first tree once more, without what protects it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    for tree in options.trees:
        if not (tree / "src" / "turnout").is_dir():
            parser.error(f"{tree} has no src/turnout")
    options.case = CASES[options.case]
    return options


def main() -> int:
    """Run and print."""
    options = parse(sys.argv[1:])
    trees = [Tree(root.resolve(), options.case) for root in options.trees]
    if options.bare:
        trees.append(Tree(trees[0].root, options.case, BARE))
    interrupts = Interrupts()
    interrupts.listen()
    cores = Cores()
    with Workshop(interrupts) as workshop:
        enter_own_network()
        os.sched_setaffinity(0, {cores.load})
        stub = start_stub(workshop, cores, interrupts)
        stub.turn(measure.GAP_US)
        for number in range(options.rounds):
            measure_round(trees, workshop, cores, stub, number, options)
            progress(f"round {number + 1} of {options.rounds}: {', '.join(f'{one.micros[-1]:.1f}' for one in trees)}")
    found = [
        {
            "tree": tree.name,
            "micros": statistics.median(tree.micros),
            "ratio": statistics.median(
                [mine / first for mine, first in zip(tree.micros, trees[0].micros, strict=True)]
            ),
        }
        for tree in trees
    ]
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    for one in found:
        sys.stdout.write(f"{one['micros']:8.1f} µs  {one['ratio']:6.3f}  {one['tree']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

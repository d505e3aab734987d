"""What every numbered test gets: its size, its seed, a place for its figure, and the invariants after it."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import threading
import time
from pathlib import Path

import pytest

from tests.invariants import LONGEST_LAG_S, broken, unexpected
from tests.process import Served
from tests.rig import Rig

QUIET_S = 5.0
"""How long everything may take to be as before. Source: RELIABILITY I2, I4."""


def pytest_collection_modifyitems(config, items):
    """Leave the tests that only make sense in full to `make prove`."""
    if config.getoption("--full"):
        return
    slow = [item for item in items if item.get_closest_marker("prove")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("prove")]


def write(config, record):
    """Append one record for scripts/prove.py, if it asked."""
    path = config.getoption("--proof")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Note how each test ended."""
    report = yield
    if report.when == "call" or not report.passed:
        name = item.path.stem.removeprefix("test_").split("_")[0].upper()
        promise = (item.module.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        record = {"test": name, "promise": re.sub(r"^T\d+: *", "", promise), "outcome": report.outcome}
        if report.skipped:
            record["why"] = str(report.longrepr[-1]) if isinstance(report.longrepr, tuple) else ""
        write(item.config, record)
    return report


@pytest.fixture
def size(request):
    """`size(quick, full)`: the first in `make test`, the second in `make prove`."""
    is_full = request.config.getoption("--full")
    return lambda quick, full: full if is_full else quick


@pytest.fixture
def seed(request):
    """This run's seed; `--seed N` replays it. pytest shows the line of a test that fails."""
    given = request.config.getoption("--seed")
    value = random.SystemRandom().randrange(1_000_000_000) if given is None else given
    print(f"seed {value}")
    request.node.seed = value
    return value


@pytest.fixture
def proof(request):
    """`proof("what was measured")`: the figure for docs/proof.md."""

    def tell(figure):
        name = request.path.stem.removeprefix("test_").split("_")[0].upper()
        print(figure)
        write(request.config, {"test": name, "figure": figure, "seed": getattr(request.node, "seed", None)})

    return tell


def standing():
    """What is open now: descriptors, threads (not those that the loop resolves names in), tasks."""
    threads = [one.name for one in threading.enumerate() if not one.name.startswith("asyncio_")]
    tasks = [one.get_name() for one in asyncio.all_tasks() if one is not asyncio.current_task()]
    return sum(1 for _ in Path("/proc/self/fd").iterdir()), threads, sorted(tasks)


async def as_before(baseline):
    """Wait until nothing is open that was not before; return what still is when the time is over."""
    until = time.monotonic() + QUIET_S
    while (now := standing()) != baseline and (now[0] > baseline[0] or now[1:] != baseline[1:]):
        if time.monotonic() > until:
            return [f"I4: {before} before, {after} after" for before, after in zip(baseline, now, strict=True)]
        await asyncio.sleep(0.01)
    return []


@pytest.fixture(autouse=True)
async def invariants(request, caplog):
    """I1 to I9 of RELIABILITY §4.2, after every test, on every gateway that the test ran."""
    Rig.books.clear()
    Served.books.clear()
    Served.lags.clear()
    problems = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: problems.append(str(context)))
    caplog.set_level(logging.DEBUG, "turnout")
    baseline = standing()
    yield
    wrong = await as_before(baseline)
    records = caplog.get_records("call")
    wrong += unexpected(records, problems)
    may_amplify = request.node.get_closest_marker("amplifies") is not None
    may_overspend = request.node.get_closest_marker("overspends") is not None
    for books in (*Rig.books, *Served.books):
        books.texts = [*books.texts, *(record.getMessage() for record in records)]
        wrong += broken(books, may_amplify=may_amplify, may_overspend=may_overspend)
    if request.config.getoption("--full"):
        wrong += [f"I8: the loop was held up for {lag:.3f} s" for lag in Served.lags if lag > LONGEST_LAG_S]
    assert wrong == []

"""T98: no bytes from a vendor, a configuration or a log break what reads them.

The targets are in tests/fuzz, what was found is in its corpus, and `make test` replays that. FUZZ_SECONDS says how long
each target is fuzzed; without it ten minutes when this number is asked for alone (`make prove T=98`), else half a minute.
"""

import asyncio
import importlib.util
import os

import pytest

from tests.fuzz import TARGETS
from tests.fuzz.__main__ import AT_ONCE, all_targets

ALONE_S, AMONG_OTHERS_S = 600, 30


def seconds(config):
    """How long each target is fuzzed in this run."""
    usual = ALONE_S if "t98" in (config.getoption("keyword") or "") else AMONG_OTHERS_S
    return int(os.environ.get("FUZZ_SECONDS", usual))


@pytest.mark.prove
@pytest.mark.timeout(4 * 3600)
async def test_t98_fuzzing_finds_nothing(request, proof):
    """Every target, each in a process of its own."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("needs atheris: pip install -r requirements/prove.txt")
    each = seconds(request.config)
    outcomes = await asyncio.to_thread(all_targets, each)
    assert [outcome for outcome in outcomes if outcome.failure] == []
    assert all(outcome.executions > 100 for outcome in outcomes)
    told = ", ".join(f"{outcome.target} {outcome.executions:,}" for outcome in outcomes)
    proof(f"{len(TARGETS)} targets for {each} s each, {AT_ONCE} at a time: 0 failures in {told} executions")

"""`python -m lead_desk`: the desk as a client of a gateway that runs already.

    python -m lead_desk --base-url http://127.0.0.1:4000/v1 --leads leads.jsonl

The key comes from TURNOUT_MASTER_KEY, so that it stands in no list of processes. `turnout demo` is the same desk with a
gateway of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .client import Client
from .desk import CONCURRENCY, OUT, Options, run
from .stage import Stage


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Read the command line and do the work; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="lead_desk", description="Sales leads to analyses, drafts and plans, as files."
    )
    parser.add_argument("--base-url", default="http://127.0.0.1:4000/v1", help="the gateway (default: %(default)s)")
    parser.add_argument("--leads", type=Path, help="a .jsonl or .eml file, or a folder of them (default: our 24)")
    parser.add_argument("--out", type=Path, default=OUT, help="where answers go (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="only the first N leads")
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY, help="jobs at once (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="do finished jobs again")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    chosen = parser.parse_args(arguments)
    key = environment.get("TURNOUT_MASTER_KEY", "")
    if not key:
        parser.error("set TURNOUT_MASTER_KEY to the gateway's key")
    try:
        Client(chosen.base_url, key)
    except ValueError as error:
        parser.error(str(error))
    options = Options(
        leads=chosen.leads,
        out=chosen.out,
        as_json=chosen.json,
        limit=chosen.limit,
        concurrency=chosen.concurrency,
        is_fresh=chosen.fresh,
        gateway=Stage(chosen.base_url, key, (f"Gateway: {chosen.base_url}",)),
        again="the same command again",
    )
    return run(options, environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

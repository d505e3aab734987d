"""`turnout demo`: the lead desk (examples/lead_desk) with a gateway of its own.

The example is no part of the package: it is what an application looks like. It stands beside the package in a wheel,
and in `examples/` of a clone.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

import turnout
from turnout.config.environment import Environment


def lead_desk_home() -> Path:
    """The folder that holds the `lead_desk` package. Raises ClickException if it is not there."""
    package = Path(turnout.__file__).resolve().parent
    for folder in (package / "examples", package.parent.parent / "examples"):
        if (folder / "lead_desk" / "desk.py").is_file():
            return folder
    raise click.ClickException("The lead desk is not installed here: run `make demo` in a clone of the repository.")


@click.command()
@click.option(
    "--leads",
    type=click.Path(path_type=Path, exists=True),
    help="A .jsonl or .eml file, or a folder of them; default: our 24.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="lead_desk_out",
    show_default=True,
    help="Where answers go.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object (progress to stderr).")
@click.option("--limit", type=click.IntRange(1), help="Only the first N leads.")
@click.option("--concurrency", type=click.IntRange(1, 32), default=2, show_default=True, help="Jobs at once.")
@click.option("--fresh", "is_fresh", is_flag=True, help="Do finished jobs again.")
def demo(*, leads: Path | None, out: Path, as_json: bool, limit: int | None, concurrency: int, is_fresh: bool) -> int:
    """Turn 24 sales leads into analyses, e-mail drafts and task plans, as files. Nothing is ever sent.

    Starts a gateway of its own. Free models are real with OPENROUTER_API_KEY in the environment, else simulated; the
    last resort is the local model, if it is installed. Costs $0.00. A second run goes on where the first one ended.
    """
    environment = Environment.of_process()
    sys.path.insert(0, str(lead_desk_home()))
    desk = importlib.import_module("lead_desk.desk")
    chosen = {"leads": leads, "out": out, "as_json": as_json, "limit": limit}
    options = desk.Options(**chosen, concurrency=concurrency, is_fresh=is_fresh)
    return int(desk.run(options, {name: text for name in desk.VARIABLES if (text := environment.get(name))}))

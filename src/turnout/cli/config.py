"""`turnout init` writes a file to start from; `turnout check` prints the effective configuration or all that is wrong."""

from __future__ import annotations

import json
import pkgutil
import sys
from pathlib import Path

import click

from turnout.config.describe import Line, effective, lines
from turnout.config.environment import Environment
from turnout.config.load import USUAL, Loaded, find_config, load
from turnout.errors import ConfigError


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=USUAL)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(path: Path, *, force: bool) -> None:
    """Write a commented configuration to PATH (default: turnout.yaml). A file that is there is kept, unless --force."""
    text = pkgutil.get_data("turnout.config", "starting.yaml")
    assert text is not None
    if path.is_dir():
        path /= USUAL
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(text)
    except FileExistsError:
        raise click.ClickException(f"{path} is there already; --force replaces it.") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}.") from None
    click.echo(f"Wrote {path}. Next: `turnout check {path}`, then `turnout serve --config {path}`.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, also for what is wrong.")
def check(file: Path | None, *, as_json: bool) -> None:
    """Print the effective configuration and where each value came from; exit code 2 and every problem if it is wrong.

    FILE: $TURNOUT_CONFIG, else ./turnout.yaml, else the defaults alone. Secrets are shown as ***.
    """
    environment = Environment.of_process()
    path = find_config(file, environment)
    try:
        loaded = load(path, environment)
    except ConfigError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"ok": False, "problems": list(error.problems)}, indent=2))
        raise click.exceptions.Exit(2) from None
    if as_json:
        click.echo(json.dumps(_as_values(loaded, path), indent=2))
        return
    told = lines(loaded.snapshot)
    if sys.stdout.isatty():
        _print_table(told)
    else:
        _print_plain(told)
    for notice in loaded.notices:
        click.echo(notice)
    held = loaded.snapshot
    click.echo(
        f"{path or 'defaults'}: all well; {len(held.accounts)} providers, {len(held.models)} models, "
        f"{len(held.tasks)} tasks, {len(held.routes)} routes, {len(held.rollouts)} rollouts (revision {held.revision})"
    )


def _as_values(loaded: Loaded, path: Path | None) -> dict[str, object]:
    return {
        "ok": True,
        "file": str(path) if path else None,
        "revision": loaded.snapshot.revision,
        "config": effective(loaded.snapshot),
        "origins": dict(loaded.snapshot.origins),
        "notices": list(loaded.notices),
    }


def _print_plain(told: list[Line]) -> None:
    """One value a line: key, value, origin, with a tab between, for eyes and for cut."""
    for line in told:
        click.echo(f"{line.key}\t{line.value}\t{line.origin}")


def _print_table(told: list[Line]) -> None:
    """The same for a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("key", style="cyan", overflow="fold")
    table.add_column("value", overflow="fold", ratio=1)
    table.add_column("from", style="dim", overflow="fold")
    for line in told:
        table.add_row(Text(line.key), Text(line.value), Text(line.origin))
    Console().print(table)

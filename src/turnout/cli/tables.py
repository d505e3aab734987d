"""Prints rows as a table: columns as wide as their widest cell, what cannot be printed escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from turnout.core.redact import printable


def called(id_: str, names: Mapping[str, str], none: str = "-") -> str:
    """Return an id with the name that it has, if it has one: "k_4f2a (shop)"; `none` for no id."""
    name = names.get(id_, "")
    return f"{id_} ({name})" if name else id_ or none


def print_table(rows: Sequence[Sequence[str]], left: int | None = None) -> None:
    """Print rows, the heads first. left: how many columns are text, the others are numbers and times and stand to the
    right; None for all.
    """
    clear = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clear, strict=True)]
    left = len(widths) if left is None else left
    for row in clear:
        cells = [
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())

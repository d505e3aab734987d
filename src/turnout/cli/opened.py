"""Opens what the commands beside `serve` look into: the config, and the state under TURNOUT_HOME."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from turnout.config.environment import Environment
from turnout.config.load import Loaded, find_config, load
from turnout.errors import StoreError
from turnout.stores.sqlite import SqliteStateStore


def loaded_config(path: Path | None) -> Loaded:
    """Load the config as `serve` would. Raises ConfigError."""
    environment = Environment.of_process()
    return load(find_config(path, environment), environment)


@contextmanager
def opened_state(path: Path | None) -> Iterator[tuple[Loaded, SqliteStateStore]]:
    """Give the config and the state store; a store that cannot be opened is an error with the path in it."""
    loaded = loaded_config(path)
    try:
        state = SqliteStateStore(Path(loaded.snapshot.server.home) / "state.sqlite3")
    except StoreError as error:
        raise click.ClickException(error.message) from error
    try:
        yield loaded, state
    finally:
        state.close()

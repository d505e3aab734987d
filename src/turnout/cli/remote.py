"""Asks a running gateway over its admin API, for commands about what only a process in service knows.

Where: as --url says, else where the config says that the gateway listens. With the master key, or an admin's, in
TURNOUT_MASTER_KEY, else the config's, else one is asked for on a terminal. No redirect is followed and no proxy is used, so that the key goes to that address alone.
"""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from turnout.cli.opened import loaded_config
from turnout.config.environment import Environment
from turnout.core.catalog import Server
from turnout.core.secret import Secret

TIMEOUT_S = 10.0
"""An admin answer is made of what is in memory; a gateway that takes longer is ill."""

T = TypeVar("T", bound=Callable[..., Any])


def options(command: T) -> T:
    """Add what every command here takes: --url, --config, --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--config", "path", type=click.Path(path_type=Path), help="The YAML file; default: as serve."),
        click.option("--url", help="The gateway's address; default: where the config says that it listens."),
    ):
        command = option(command)
    return command


def ask(method: str, route: str, *, url: str | None, path: Path | None) -> dict[str, Any]:
    """Return what the gateway answers. route: with its query. Raises ClickException, in words, for everything else."""
    environment = Environment.of_process()
    written = environment.get("TURNOUT_MASTER_KEY")
    server = Server() if url and written else loaded_config(path).snapshot.server
    origin = (url or _origin(server)).rstrip("/")
    status, body = _answer(method, origin, route, Secret(written) if written else server.master_key or _prompted())
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise click.ClickException(f"What answers at {origin} is no Turnout (status {status}).")
    if status != 200:
        why = told.get("error")
        raise click.ClickException(str(why.get("message") if isinstance(why, dict) else f"status {status}"))
    return told


def _answer(method: str, origin: str, route: str, key: Secret) -> tuple[int, bytes]:
    try:
        parts = urlsplit(origin)
        connect = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[parts.scheme]
        connection = connect(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    except (KeyError, ValueError, http.client.InvalidURL):
        raise click.BadParameter("is no address, write http://HOST:PORT", param_hint="--url") from None
    try:
        connection.request(method, parts.path + route, headers={"authorization": f"Bearer {key.reveal()}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        what = f"No gateway answers at {origin} ({error})."
        raise click.ClickException(f"{what} Start one with `turnout serve`, or say where it is: --url.") from None
    finally:
        connection.close()


def _origin(server: Server) -> str:
    """Where a client on this machine finds a gateway that listens there."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104 - not to listen on
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


def _prompted() -> Secret:
    if not sys.stdin.isatty():
        raise click.ClickException("A key is asked for: put the master key, or an admin's, into TURNOUT_MASTER_KEY.")
    return Secret(click.prompt("The master key, or an admin's", hide_input=True, err=True))

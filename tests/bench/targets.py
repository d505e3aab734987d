"""Says how each gateway under test is configured and started: what a user would write, and no special switches.

Each is pointed at the stub as an OpenAI-compatible upstream and, where it knows the word, asked for authentication. What
differs from a product's defaults stands beside it with the reason.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.bench import peers
from tests.bench.processes import free_port

BIN = Path(sys.executable).parent
KEY = "bench-5f0d6c1e9a7b43d28c04f1e6b95a3d77"
MODEL = "bench-model"
TASK = "bench-task"
CACHED = "bench-cached"
TOGETHER = "bench-together"
FULL = "bench-full"
VENDOR_MODEL = "gpt-4o-mini"
READY_S = 20.0


class MissingTargetError(Exception):
    """A target that this machine cannot run; says what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """One gateway process, ready to be started."""

    name: str
    version: str
    port: int
    ready_path: str
    command: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)  # path in its own folder → text
    env: Mapping[str, str] = field(default_factory=dict)
    ready_limit_s: float = READY_S
    # How many streams at once it can carry at the pace of the benchmark without falling behind.
    streams: int = 16
    starts: int = 5
    token: str = KEY


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the report: a target, and the name it is asked for."""

    name: str
    target: str
    model: str
    can_stream: bool = True
    has_upstream: bool = True
    headers: tuple[tuple[str, str], ...] = ()


CASES = (
    Case("turnout", "turnout", MODEL),
    Case("turnout-task", "turnout", TASK),
    # Everything on: a quota, the line, the cache; and nothing of it helps, as the client wants every answer anew.
    Case("turnout-full", "turnout", FULL, headers=(("cache-control", "no-cache"),)),
    # Everything that money needs: limits and budgets of the user, the workspace and all together, beside journal and ledger.
    Case("turnout-books", "turnout-books", MODEL),
    # The same question again and again. (Not streamed: the streams of the stub change from one kind of run to the next.)
    Case("turnout-cached", "turnout", CACHED, can_stream=False, has_upstream=False),
    # Kept for a millisecond only: whoever asks meanwhile reads along.
    Case("turnout-together", "turnout", TOGETHER, has_upstream=False),
    Case("floor", "floor", MODEL, can_stream=False, has_upstream=False),
    Case("nginx", "nginx", MODEL),
    Case("ferrogw", "ferrogw", MODEL),
    # What of the above it can do: limits, a budget, and each request written down before and after, in SQLite.
    Case("ferrogw-books", "ferrogw-books", MODEL),
    Case("litellm", "litellm", MODEL),
)
WITHOUT_PEERS = ("turnout", "turnout-task", "turnout-full", "turnout-books", "turnout-cached", "turnout-together")


def output_of(*command: str) -> str:
    """What a short command prints, stdout and stderr; empty if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip()


def clean_env(**extra: str) -> dict[str, str]:
    """The smallest environment a program needs, so that none of the caller's keys and switches leaks in."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **extra}


def turnout(stub_port: int, folder: Path) -> Target:
    """`turnout serve` with a config of its own; everything else as it comes."""
    command = BIN / "turnout"
    if not command.exists():
        raise MissingTargetError("no `turnout` beside this Python: run `make .venv/core`")
    port = free_port()
    model = {"provider": "stub", "id": VENDOR_MODEL, "price": {"input": 0.15, "output": 0.60}, "context": 128000,
             "can": ["tools", "json"]}  # fmt: skip
    stub = {"kind": "compatible", "base_url": f"http://127.0.0.1:{stub_port}/v1", "api_key": "sk-stub"}
    # Never short, so that what is measured is the counting and not the waiting.
    quota = {"requests_per_minute": 10**9, "requests_per_day": 10**9, "tokens_per_minute": 10**12, "at_once": 10**6}
    models = [MODEL, "bench-spare"]
    limited = ["bench-limited", "bench-limited-spare"]
    config = {
        "server": {"host": "127.0.0.1", "port": port},
        "providers": {"stub": stub, "limited": {**stub, "quota": quota}},
        "models": {
            **dict.fromkeys(models, model),
            **{name: {**model, "provider": "limited"} for name in limited},
        },
        "tasks": {
            TASK: {"models": models, "because": "what the benchmark asks for"},
            CACHED: {"models": models, "cache": "1h"},
            TOGETHER: {"models": models, "cache": "1ms"},
            FULL: {"models": limited, "cache": "5m"},
        },
    }
    return Target(
        "turnout", output_of(str(command), "--version").rpartition(" ")[2] or "unknown", port, "/health/ready",
        (str(command), "serve", "--config", str(folder / "turnout.yaml")),
        # JSON is YAML.
        files={"turnout.yaml": json.dumps(config, indent=1)},
        env=clean_env(HOME=str(folder), TURNOUT_HOME=str(folder / "home"), TURNOUT_MASTER_KEY=KEY),
    )  # fmt: skip


def turnout_books(stub_port: int, folder: Path) -> Target:
    """The same with a virtual key, whose user, workspace and tier have limits and budgets, as have all together."""
    target = turnout(stub_port, folder)
    much = {"requests_per_minute": 10**9, "tokens_per_minute": 10**9, "at_once": 10**6}
    config = json.loads(target.files["turnout.yaml"]) | {
        "tiers": {"bench": {**much, "budget": "1000000/month"}},
        "limits": {"all": much, "workspace:*": much},
        "budgets": {"all": "10000000/month", "workspace:*": "1000000/month"},
    }
    text = json.dumps(config, indent=1)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "turnout.yaml"
    path.write_text(text, encoding="utf-8")

    def told(*words: str) -> bytes:
        command = (str(BIN / "turnout"), *words, "--config", str(path))
        return subprocess.run(command, env=target.env, check=True, capture_output=True).stdout

    told("workspaces", "set", "w")
    told("users", "set", "anna", "--tier", "bench")
    key = json.loads(told("keys", "create", "--user", "anna", "--workspace", "w", "--json"))["key"]
    return replace(target, name="turnout-books", files={"turnout.yaml": text}, token=key)


def floor(stub_port: int, folder: Path) -> Target:
    """An application that does nothing, under uvicorn: what the server's edge costs."""
    del stub_port, folder
    port = free_port()
    command = (str(BIN / "python"), "-m", "uvicorn", "tests.bench.floor:app", "--app-dir", str(peers.ROOT),
               "--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--lifespan", "off")  # fmt: skip
    version = output_of(str(BIN / "python"), "-c", "import uvicorn; print(uvicorn.__version__)")
    return Target("floor", f"uvicorn {version}", port, "/", command, env=clean_env())


NGINX_CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 100000000;
  upstream stub {{ server 127.0.0.1:{stub_port}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location = /ready {{ return 200 "ready"; }}
    location / {{
      proxy_pass http://stub; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def nginx(stub_port: int, folder: Path) -> Target:
    """A plain reverse proxy (nginx), which looks into nothing: the price of moving the bytes.

    Not its defaults: connections upstream are kept alive, replies are not buffered (as streams need), no access log.
    """
    command = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if command is None:
        raise MissingTargetError("no `nginx` on PATH: install your system's nginx package to compare with it")
    port = free_port()
    text = NGINX_CONFIG.format(folder=folder, stub_port=stub_port, port=port)
    return Target(
        "nginx", output_of(command, "-v").rpartition("/")[2], port, "/ready",
        (command, "-p", str(folder), "-c", str(folder / "nginx.conf")),
        files={"nginx.conf": text}, env=clean_env(),
    )  # fmt: skip


def ferrogw(stub_port: int, folder: Path) -> Target:
    """Ferro Labs AI Gateway with its master key and one OpenAI target.

    Not its defaults: its limit of 20 requests a second per address is raised out of the way (it stays on), and the
    model's alias is declared, as every gateway here renames one.
    """
    port = free_port()
    config = {
        "strategy": {"mode": "fallback"},
        "targets": [{"virtual_key": "openai", "models": [VENDOR_MODEL]}],
        "aliases": {MODEL: VENDOR_MODEL},
    }
    env = clean_env(
        HOME=str(folder), PORT=str(port), GATEWAY_CONFIG=str(folder / "config.json"), MASTER_KEY=f"fgw_{KEY}",
        OPENAI_API_KEY="sk-stub", OPENAI_BASE_URL=f"http://127.0.0.1:{stub_port}/v1",
        RATE_LIMIT_RPS="1000000", RATE_LIMIT_BURST="1000000",
    )  # fmt: skip
    return Target(
        "ferrogw", peers.pinned_version("ferrogw"), port, "/readyz",
        (str(peers.installed("ferrogw") / "ferrogw"), "serve"),
        files={"config.json": json.dumps(config)}, env=env, token=f"fgw_{KEY}",
    )  # fmt: skip


def ferrogw_books(stub_port: int, folder: Path) -> Target:
    """The same with its plugins for limits, a budget and a request log in SQLite, beside `turnout-books`.

    It does less with them: limits and spend are in memory alone, spend is looked at before and added after without a
    reservation, and the log holds tokens but no money (its own documentation, 1.5).
    """
    target = ferrogw(stub_port, folder)
    much = {"requests_per_second": 10**9, "burst": 10**9, "key_rpm": 10**9, "user_rpm": 10**9}
    spend = {"spend_limit_usd": 10**6, "input_per_m_tokens": 0.15, "output_per_m_tokens": 0.60}
    plugins = [
        {"name": name, "type": kind, "stage": stage, "enabled": True, "config": config}
        for name, kind, config, stages in (
            ("rate-limit", "ratelimit", much, ("before_request",)),
            ("budget", "ratelimit", spend, ("before_request", "after_request")),
            ("request-logger", "logging", {"persist": True}, ("before_request", "after_request")),
        )
        for stage in stages
    ]
    config = json.loads(target.files["config.json"]) | {"plugins": plugins}
    env = {**target.env, "REQUEST_LOG_STORE_BACKEND": "sqlite", "REQUEST_LOG_STORE_DSN": str(folder / "requests.db")}
    return replace(target, name="ferrogw-books", files={"config.json": json.dumps(config)}, env=env)


def litellm(stub_port: int, folder: Path) -> Target:
    """The LiteLLM proxy with a master key, one worker and no database.

    Not its defaults: the price list is the one in the package, so that it does not ask the Internet at start.
    """
    port = free_port()
    upstream = {
        "model": f"openai/{VENDOR_MODEL}", "api_base": f"http://127.0.0.1:{stub_port}/v1", "api_key": "sk-stub",
    }  # fmt: skip
    config = {
        "model_list": [{"model_name": MODEL, "litellm_params": upstream}],
        "general_settings": {"master_key": f"sk-{KEY}"},
    }
    env = clean_env(HOME=str(folder), LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="ERROR")
    command = (str(peers.installed("litellm") / "litellm"), "--config", str(folder / "config.yaml"), "--host",
               "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False")  # fmt: skip
    return Target(
        "litellm", peers.pinned_version("litellm"), port, "/health/readiness", command,
        files={"config.yaml": json.dumps(config)}, env=env, ready_limit_s=120.0, streams=2, starts=1, token=f"sk-{KEY}",
    )  # fmt: skip


BUILDERS: Mapping[str, Callable[[int, Path], Target]] = {
    "turnout": turnout,
    "turnout-books": turnout_books,
    "floor": floor,
    "nginx": nginx,
    "ferrogw": ferrogw,
    "ferrogw-books": ferrogw_books,
    "litellm": litellm,
}


def body_of(model: str, *, is_stream: bool) -> bytes:
    """A chat request as an application sends it, about 350 bytes."""
    fields: dict[str, object] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You answer in two sentences, in Danish, for a cleaning company."},
            {"role": "user", "content": "A flat of 92 square metres in Aarhus, every other week: what is the price?"},
        ],
        "temperature": 0.2,
        "max_tokens": 180,
        "user": "user-4711",
    }
    if is_stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(fields, separators=(",", ":")).encode()

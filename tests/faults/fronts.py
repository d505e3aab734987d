"""nginx and HAProxy before the gateway, started by a test with a configuration of its own.

async with nginx(tmp_path, port) as front:
    front.port, front.paths()          # where it listens; the paths of the requests that it took, as it understood them
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from asyncio.subprocess import DEVNULL, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

START_S = 10.0

NGINX = """
daemon off; master_process off; pid {home}/nginx.pid; error_log {home}/error.log;
events {{ worker_connections 4096; }}
http {{
  log_format path '$request_uri';
  access_log {home}/paths.log path;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s; lingering_timeout 1s;
  upstream gateway {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://gateway;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_request_buffering off;
      proxy_next_upstream off;
    }}
  }}
}}
"""

HAPROXY = """
global
  maxconn 4096
  nbthread 1
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "%HP"
  timeout connect 1s
  timeout client 1s
  timeout server 3s
  timeout http-request 1s
  timeout http-keep-alive 1s
  http-reuse always
  retries 0
frontend front
  bind 127.0.0.1:{port}
  default_backend gateway
backend gateway
  server one 127.0.0.1:{upstream}
"""


@dataclass
class Front:
    """A running proxy. log: where it writes a path a line."""

    port: int
    log: Path

    def paths(self) -> Counter[str]:
        """How often it took a request for each path."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return Counter(re.sub(r"^[a-z]+://[^/]*", "", line) for line in lines)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def _until_listening(process: Process, port: int) -> None:
    async with asyncio.timeout(START_S):
        while True:
            assert process.returncode is None, "the proxy ended: see its log"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return


@asynccontextmanager
async def _running(port: int, log: Path, out: Path, *command: str) -> AsyncIterator[Front]:
    with out.open("wb") as said:
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=said, stderr=said)
    try:
        await _until_listening(process, port)
        yield Front(port, log)
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), START_S)


@asynccontextmanager
async def nginx(home: Path, upstream: int) -> AsyncIterator[Front]:
    """nginx before `upstream` on loopback; skips the test without it."""
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("needs nginx: apt-get install nginx")
    port, config = _free_port(), home / "nginx.conf"
    config.write_text(NGINX.format(home=home, port=port, upstream=upstream), encoding="utf-8")
    command = (program, "-p", str(home), "-e", str(home / "error.log"), "-c", str(config))
    async with _running(port, home / "paths.log", home / "nginx.out", *command) as front:
        yield front


@asynccontextmanager
async def haproxy(home: Path, upstream: int) -> AsyncIterator[Front]:
    """HAProxy before `upstream` on loopback; skips the test without it."""
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("needs HAProxy: apt-get install haproxy")
    port, config, log = _free_port(), home / "haproxy.cfg", home / "paths.log"
    config.write_text(HAPROXY.format(port=port, upstream=upstream), encoding="utf-8")
    async with _running(port, log, log, program, "-db", "-f", str(config)) as front:
        yield front


FRONTS = {"nginx": nginx, "haproxy": haproxy}

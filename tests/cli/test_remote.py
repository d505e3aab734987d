"""cli/remote.py: how commands reach a gateway that runs, and what they say when none does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import click
import pytest

from tests.rig import KEY, Rig
from turnout.cli import run
from turnout.cli.remote import ask


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A folder without a config, and no variable of ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("TURNOUT_MASTER_KEY", "TURNOUT_CONFIG", "TURNOUT_HOST", "TURNOUT_PORT"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


class _Other(BaseHTTPRequestHandler):
    """Some other server: it answers with what stands in its path, and remembers what it was sent."""

    seen: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        """200 with a text, 302 elsewhere, or an error of an odd shape."""
        self.seen.append((self.path, self.headers["authorization"]))
        bodies = {"/text": (200, b"hello"), "/list": (200, b"[]"), "/odd": (418, b'{"error": "teapot"}')}
        status, body = bodies.get(self.path, (302, b"{}"))
        self.send_response(status)
        if status == 302:
            self.send_header("location", "/text")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def other() -> Iterator[str]:
    """Its address."""
    _Other.seen.clear()
    server = HTTPServer(("127.0.0.1", 0), _Other)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


def refusal(route: str, url: str) -> str:
    """What a person is told."""
    with pytest.raises(click.ClickException) as refused:
        ask("GET", route, url=url, path=None)
    return refused.value.message


async def test_the_config_says_where_it_listens_and_with_which_key(tmp_path: Path) -> None:
    """The same file as the gateway's; the key too, where it stands there."""
    async with Rig(tmp_path) as rig:
        config = tmp_path / "mine.yaml"
        config.write_text(f"server: {{host: 0.0.0.0, port: {rig.port}, master_key: {KEY}}}\n")
        told = await asyncio.to_thread(ask, "GET", "/admin/config", url=None, path=config)
        assert told["revision"] == rig.service.snapshot.revision


async def test_address_and_key_may_be_said(tmp_path: Path, place: pytest.MonkeyPatch) -> None:
    """Then no config is read, not even a broken one; a wrong key is told in the gateway's words."""
    async with Rig(tmp_path) as rig:
        (tmp_path / "broken.yaml").write_text("server: {port: http}\n")
        place.setenv("TURNOUT_CONFIG", str(tmp_path / "broken.yaml"))
        place.setenv("TURNOUT_MASTER_KEY", KEY)
        told = await asyncio.to_thread(ask, "GET", "/admin/config", url=rig.url + "/", path=None)
        assert told["revision"] == rig.service.snapshot.revision
        place.setenv("TURNOUT_MASTER_KEY", "sk-wrong")
        assert "key" in await asyncio.to_thread(refusal, "/admin/config", rig.url)


def test_where_nobody_listens_the_way_out_is_named(
    place: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit code 1; the key is not in it."""
    place.setenv("TURNOUT_MASTER_KEY", KEY)
    assert run(["cache", "stats", "--url", "http://127.0.0.1:9"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("Error: No gateway answers at http://127.0.0.1:9 (")
    assert told.endswith(" Start one with `turnout serve`, or say where it is: --url.\n")
    assert KEY not in told
    for url in ("127.0.0.1:4000", "ftp://x", "http://x:port", "http://[x"):
        assert run(["cache", "stats", "--url", url]) == 2
        assert "is no address" in capsys.readouterr().err


def test_the_default_address_is_one_that_a_client_can_reach(place: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All addresses of the machine are not an address to ask."""
    place.setenv("TURNOUT_MASTER_KEY", KEY)
    for host, shown in (("0.0.0.0", "127.0.0.1:1"), ("'::'", "[::1]:1"), ("127.0.0.2", "127.0.0.2:1")):
        (tmp_path / "turnout.yaml").write_text(f"server: {{host: {host}, port: 1}}\n")
        with pytest.raises(click.ClickException, match=rf"http://{shown}".replace("[", r"\[").replace("]", r"\]")):
            ask("GET", "/admin/config", url=None, path=None)


def test_another_server_is_told_apart_and_no_redirect_is_followed(place: pytest.MonkeyPatch, other: str) -> None:
    """The key goes to the address that was named, once."""
    place.setenv("TURNOUT_MASTER_KEY", KEY)
    for route, status in (("/text", 200), ("/list", 200)):
        assert refusal(route, other) == f"What answers at {other} is no Turnout (status {status})."
    assert refusal("/odd", other) == "status 418"
    _Other.seen.clear()
    assert refusal("/moved", other) == "status 302"
    assert _Other.seen == [("/moved", f"Bearer {KEY}")]


def test_without_a_key_it_is_asked_for(other: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody can type one, the variable is named; nothing is sent."""
    assert run(["cache", "stats", "--url", other]) == 1
    assert "put the master key, or an admin's, into TURNOUT_MASTER_KEY" in capsys.readouterr().err
    assert _Other.seen == []

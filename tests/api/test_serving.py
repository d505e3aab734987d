"""Binding to a socket, and the server that serves on it."""

import asyncio
import os
import signal
import socket

import pytest

from tests.rig import CONFIG, Rig
from turnout.api.app import App
from turnout.api.serving import KEEP_ALIVE_S, listen, make_server


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_port_0_takes_a_free_one_on_either_family(host, family):
    """It listens at once, and never blocks."""
    with listen(host, 0) as listener:
        assert listener.family == family
        assert listener.getsockname()[1] > 0
        assert not listener.getblocking()
        with socket.create_connection(listener.getsockname()[:2]):
            pass


def test_a_port_that_is_taken_is_an_error_and_leaves_no_socket_open():
    """Warnings are errors here: an unclosed socket would fail this test."""
    with listen("127.0.0.1", 0) as taken, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_a_port_can_be_taken_again_right_after_its_gateway_ended():
    """TIME_WAIT of old connections does not hold a restart up."""
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        first.setblocking(True)
        served, _ = first.accept()
        served.close()
        client.close()
    listen("127.0.0.1", port).close()


async def test_every_default_is_said_aloud(tmp_path):
    """No server header, no websocket, no trust in proxies' headers; the grace is the config's."""
    async with Rig(tmp_path, config=CONFIG + "server: {{grace: 7}}\n") as rig, rig.http() as client:
        config = make_server(rig.service, App(rig.service), takes_signals=False).config
        headers = (await client.get("/health")).headers
    assert config.timeout_graceful_shutdown == 7
    assert (config.timeout_keep_alive, config.proxy_headers, config.access_log) == (KEEP_ALIVE_S, False, False)
    assert "server" not in headers
    assert "date" in headers


async def test_sighup_reads_the_config_again_and_sigterm_stops_readiness_first_and_kills_nobody(tmp_path):
    """The process goes on after the server: what it captured is not raised again."""
    before = signal.getsignal(signal.SIGTERM)
    async with Rig(tmp_path) as rig:
        server = make_server(rig.service, App(rig.service))
        listener = listen("127.0.0.1", 0)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0)
        first = rig.service.snapshot.revision
        rig.write_config(CONFIG.replace("cheapest first", "for another reason"))
        os.kill(os.getpid(), signal.SIGHUP)
        while rig.service.snapshot.revision == first:
            await asyncio.sleep(0)
        assert rig.service.snapshot.tasks["work"].because == "for another reason"
        os.kill(os.getpid(), signal.SIGTERM)
        while rig.service.is_ready:
            await asyncio.sleep(0)
        assert server.should_exit
        await serving
    assert signal.getsignal(signal.SIGTERM) == before

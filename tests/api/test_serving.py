"""Binding to a socket, and the server that serves on it."""

import asyncio
import os
import signal
import socket
import time

import httpx2
import openai
import pytest

from tests.rig import CONFIG, Rig
from turnout.api.app import App
from turnout.api.serving import listen, make_server


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
    """No server header, no websocket, no trust in proxies' headers; uvicorn has no say in how long a stop takes."""
    async with Rig(tmp_path) as rig, rig.http() as client:
        config = make_server(rig.service, App(rig.service), takes_signals=False).config
        headers = (await client.get("/health")).headers
    told = (config.timeout_keep_alive, config.proxy_headers, config.access_log)
    assert told == (rig.service.bounds.idle_s, False, False)
    assert "server" not in headers
    assert "date" in headers


class Place:
    """A server of its own over a Rig's service, with signals."""

    def __init__(self, rig):
        self.started = 0
        self.server = make_server(rig.service, App(rig.service), on_started=self.count)
        self.listener = listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.serving = asyncio.ensure_future(self.server.serve(sockets=[self.listener]))

    def count(self):
        self.started += 1

    async def until_started(self):
        while not self.started:
            await asyncio.sleep(0)
        return self

    async def ended(self):
        """Wait for the end; return how long it took."""
        began = time.perf_counter()
        await asyncio.wait_for(self.serving, 20)
        return time.perf_counter() - began


async def test_sighup_reads_the_config_again_and_sigterm_stops_readiness_first_and_kills_nobody(tmp_path):
    """The process goes on after the server, with the signals as they were."""
    before = signal.SIG_DFL
    signal.signal(signal.SIGTERM, before)  # whatever another test's loop has left there
    async with Rig(tmp_path) as rig:
        place = await Place(rig).until_started()
        first = rig.service.snapshot.revision
        rig.write_config(CONFIG.replace("cheapest first", "for another reason"))
        os.kill(os.getpid(), signal.SIGHUP)
        while rig.service.snapshot.revision == first:
            await asyncio.sleep(0)
        assert rig.service.snapshot.tasks["work"].because == "for another reason"
        os.kill(os.getpid(), signal.SIGTERM)
        while rig.service.is_ready:
            await asyncio.sleep(0)
        assert place.server.should_exit
        await place.ended()
        assert place.started == 1
    assert signal.getsignal(signal.SIGTERM) == before


async def test_new_connections_have_the_bounds_of_the_new_config_and_old_ones_keep_theirs(tmp_path):
    """Within a tenth of a second, without a restart."""
    async with Rig(tmp_path, config=CONFIG + "server: {{max_body: 2000}}\n") as rig:
        body = b'{"model":"first","messages":[{"role":"user","content":"' + b"a" * 4000 + b'"}]}'
        async with rig.http() as old, rig.http() as new:
            assert (await old.post("/v1/chat/completions", content=b"{}")).status_code == 400
            rig.write_config(CONFIG + "server: {{max_body: 8000}}\n")
            assert rig.service.reload() == ()
            while rig._server.config.http_protocol_class.bounds != rig.service.bounds:
                await asyncio.sleep(0.01)
            statuses = [(await one.post("/v1/chat/completions", content=body)).status_code for one in (old, new)]
    assert statuses == [413, 200]


@pytest.mark.parametrize(("sign", "longest_s"), [(signal.SIGINT, 2.0), (signal.SIGQUIT, 2.0)])
async def test_only_sigterm_waits_for_load_balancers(tmp_path, sign, longest_s):
    """A person who presses Ctrl-C waits for connections in use, and for a second for those that were."""
    async with Rig(tmp_path, config=CONFIG + "server: {{lame_duck: 15}}\n") as rig:
        place = await Place(rig).until_started()
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{place.port}") as client:
            assert (await client.get("/health/live")).status_code == 200
            os.kill(os.getpid(), sign)
            assert await place.ended() < longest_s


async def test_a_lame_duck_takes_new_connections_and_each_answer_there_is_the_last(tmp_path):
    """Until its time is over; then nobody listens, and what was under way goes on."""
    async with Rig(tmp_path, config=CONFIG + "server: {{lame_duck: 0.5, grace: 10}}\n") as rig:
        rig.world.queue.append("delay=1.2")
        place = await Place(rig).until_started()
        origin = f"http://127.0.0.1:{place.port}"
        key = {"authorization": f"Bearer {rig.key}"}
        asked = {"model": "alone", "messages": [{"role": "user", "content": "hej"}]}
        async with httpx2.AsyncClient(base_url=origin, headers=key) as client, httpx2.AsyncClient() as later:
            waiting = asyncio.ensure_future(client.post("/v1/chat/completions", json=asked, timeout=10))
            while not rig.world.witness.count:
                await asyncio.sleep(0.005)
            os.kill(os.getpid(), signal.SIGTERM)
            while rig.service.is_ready:
                await asyncio.sleep(0)
            taken = await later.get(f"{origin}/health/ready")
            await asyncio.sleep(0.8)
            with pytest.raises(httpx2.ConnectError):
                await httpx2.AsyncClient().get(f"{origin}/health/ready")
            answer = await waiting
        await place.ended()
    assert (taken.status_code, taken.headers["connection"]) == (503, "close")
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")


async def test_a_stop_before_it_is_ready_ends_the_start_and_a_failed_start_is_told(tmp_path):
    """`get_ready` says whether there is something to serve; a cancellation that is not ours goes on its way."""
    async with Rig(tmp_path) as rig:

        class Slow:
            """A service that takes long to start."""

            snapshot = rig.service.snapshot
            bounds = rig.service.bounds
            is_ready = False
            reload_soon = rig.service.reload_soon

            async def start(self):
                await asyncio.sleep(30)

        server = make_server(Slow(), App(rig.service))
        with server.capture_signals():
            loop = asyncio.get_running_loop()
            loop.call_soon(os.kill, os.getpid(), signal.SIGTERM)
            assert await server.get_ready() is False
            other = make_server(Slow(), App(rig.service), takes_signals=False)
            starting = asyncio.ensure_future(other.get_ready())
            await asyncio.sleep(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting


async def test_a_signal_that_means_nothing_is_said_to_mean_nothing(tmp_path, caplog):
    """Log rotation sends SIGUSR1; its default would end the process."""
    async with Rig(tmp_path) as rig:
        place = await Place(rig).until_started()
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
        while "SIGUSR1" not in caplog.text or "SIGUSR2" not in caplog.text:
            await asyncio.sleep(0)
        place.server.stop()
        place.server.stop()  # twice is once
        await place.ended()


async def test_what_has_no_time_left_is_told_and_counted(tmp_path, caplog):
    """A second signal is the end of the grace."""
    async with Rig(tmp_path, config=CONFIG + "server: {{grace: 30, lame_duck: 30}}\n") as rig:
        rig.world.queue.append("stall-event=3")
        place = await Place(rig).until_started()
        client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{place.port}/v1", api_key=rig.key, max_retries=0)
        async with client:
            stream = await client.chat.completions.create(
                model="alone", messages=[{"role": "user", "content": "hej"}], stream=True
            )
            await anext(aiter(stream))
            os.kill(os.getpid(), signal.SIGTERM)
            while rig.service.is_ready:
                await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(openai.APIError, match="stopping"):
                async for _ in stream:
                    pass
            assert await place.ended() < 2.0
        (trace,) = await rig.traced()
    assert (trace.outcome, trace.status) == ("gateway_stopping", 503)
    assert "1 requests had no time to finish" in caplog.text

"""The application as a whole over HTTP: which paths there are, who may, and what a bug looks like from outside."""

import asyncio
import logging

import httpx2
import pytest

from tests.rig import CONFIG, KEY, Rig
from turnout.api.app import App
from turnout.api.serving import listen, make_server
from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.core.books.audit import Wanted, latest
from turnout.core.health import Health
from turnout.dialects import DIALECTS
from turnout.gateway.clock import SystemClock
from turnout.gateway.engine import Engine
from turnout.gateway.memory_transport import MemoryTransport, Scripted
from turnout.gateway.service import Service
from turnout.policies import POLICIES
from turnout.providers import PROVIDERS

CHAT = {"model": "task:work", "messages": [{"role": "user", "content": "hej"}]}


# ── paths ──


@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_every_data_path_is_there_with_and_without_v1(rig, prefix):
    """As the SDKs of both products have it."""
    async with rig.http() as client:
        chat = await client.post(f"{prefix}/chat/completions", json=CHAT)
        vectors = await client.post(f"{prefix}/embeddings", json={"model": "vectors", "input": "hej"})
        models = await client.get(f"{prefix}/models")
    assert [one.status_code for one in (chat, vectors, models)] == [200, 200, 200]
    assert chat.json()["object"] == "chat.completion"
    assert vectors.json()["object"] == "list"
    assert {one["object"] for one in models.json()["data"]} == {"model"}


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/v1/chat/completion", 404, "There is no /v1/chat/completion here. Did you mean /v1/chat/completions?"),
        ("POST", "/v1/model", 404, "Did you mean /v1/models?"),
        ("GET", "/", 404, "There is no / here."),
        ("GET", "/v1/chat/completions/", 404, "Did you mean /v1/chat/completions?"),
        ("GET", "/%2e%2e/metrics", 404, "There is no /%2e%2e/metrics here."),
        ("GET", "/v1/chat/completions", 405, "/v1/chat/completions is asked with POST, not GET."),
        ("DELETE", "/embeddings", 405, "/embeddings is asked with POST, not DELETE."),
        ("POST", "/v1/models", 405, "/v1/models is asked with GET, not POST."),
        ("OPTIONS", "/health", 405, "/health is asked with GET, not OPTIONS."),
    ],
)
async def test_a_wrong_path_names_the_nearest_and_a_wrong_method_the_right_one(rig, method, path, status, words):
    """In the shape of every other error."""
    async with rig.http() as client:
        answer = await client.request(method, path)
    error = answer.json()["error"]
    assert answer.status_code == status
    assert words in error["message"]
    assert (error["code"], error["source"]) == ("invalid_request", "client")
    assert error["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/v1/embeddings", "POST"), ("POST", "/health", "GET, HEAD"), ("GET", "/x", None)],
)
async def test_a_wrong_method_is_told_the_right_ones_in_a_header_too(rig, method, path, allowed):
    """RFC 9110 §15.5.6; no other refusal says so."""
    async with rig.http() as client:
        answer = await client.request(method, path)
    assert answer.headers.get("allow") == allowed


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/metrics", "/nowhere", "/v1/chat/completions"])
async def test_head_is_get_without_the_body(rig, path):
    """Same status, and the length that GET would have."""
    async with rig.http() as client:
        head, got = await client.head(path), await client.get(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    if path in {"/health", "/v1/models"}:
        assert head.headers["content-length"] == got.headers["content-length"]


async def test_health_is_open_and_everything_else_asks_for_the_key(rig):
    """Load balancers have none; metrics name models and tasks, so they are guarded."""
    async with httpx2.AsyncClient(base_url=rig.url) as stranger, rig.http() as client:
        for path in ("/health", "/health/live", "/health/ready"):
            assert (await stranger.get(path)).status_code == 200
        for method, path in (
            ("GET", "/metrics"),
            ("GET", "/models"),
            ("POST", "/v1/chat/completions"),
            ("POST", "/embeddings"),
        ):
            refused = await stranger.request(method, path, json=CHAT)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthenticated")
            assert refused.headers["www-authenticate"] == "Bearer"
        metrics = await client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "turnout_uptime_seconds" in metrics.text
    assert rig.world.witness.count == 0


async def test_the_trail_says_whose_key_was_refused_and_what_it_asked_for(rig):
    """A model or a task that is not granted, another's address, a viewer's key, one that was revoked: each is somebody's."""
    ids = {}
    async with rig.http() as client:

        async def refused(name, made, status, body=CHAT, revoke=False):
            told = (
                await client.post("/admin/admins" if name == "vi" else "/admin/keys", json={"name": name, **made})
            ).json()
            ids[name] = told.get("id", "admin:vi")
            if revoke:
                await client.delete(f"/admin/keys/{name}")
            answer = await client.post(
                "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {told['key']}"}
            )
            assert status == answer.status_code

        await refused("model", {"models": ["second"]}, 403, CHAT | {"model": "first"})
        await refused("task", {"tasks": ["cheap"]}, 403)
        await refused("away", {"addresses": ["192.0.2.1"]}, 403)
        await refused("vi", {"role": "viewer"}, 403)
        await refused("gone", {}, 401, revoke=True)
        await client.post("/v1/chat/completions", json=CHAT, headers={"authorization": "Bearer sk-canary-no-key"})
        await client.get("/admin/config", headers={"authorization": "Bearer sk-canary-no-key"})
    await rig.service.trail.stop()
    rows = await rig.service.database.read(lambda: latest(Wanted(action="data.ask"), 10))
    assert {
        (ids["model"], "key", "model first", "permission_denied", 1),
        (ids["task"], "key", "task work", "permission_denied", 1),
        (ids["away"], "key", "", "permission_denied", 1),
        (ids["vi"], "viewer", "", "permission_denied", 1),
        (ids["gone"], "key", "", "unauthenticated", 1),
        ("", "", "", "unauthenticated", 1),
    } == {(row.actor, row.role, row.target, row.reason, row.times) for _, row in rows}


async def test_what_is_not_ready_says_so_and_is_alive_all_the_same(rig):
    """A load balancer takes it out, nobody restarts it."""
    rig.service.is_ready = False
    async with rig.http() as client:
        ready, live = await client.get("/health/ready"), await client.get("/health/live")
    assert (ready.status_code, ready.headers["retry-after"], ready.json()) == (503, "1", {"status": "not_ready"})
    assert (live.status_code, live.json()) == (200, {"status": "live"})


async def test_request_ids_are_unique_and_lead_to_the_trace(rig):
    """Of answers and of refusals."""
    async with rig.http() as client:
        answers = await asyncio.gather(
            *(client.post("/v1/chat/completions", json=CHAT | {"model": name}) for name in ("first", "nope") * 20)
        )
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == 40
    assert {trace.request_id: trace.status for trace in await rig.traced()} == {
        answer.headers["x-request-id"]: answer.status_code for answer in answers
    }


# ── bugs ──


class BrokenPolicy:
    """A policy with a bug."""

    name = "priority"

    def order(self, candidates, weights, loads, draw):
        raise ZeroDivisionError("sk-canary and the user's prompt")


class LateDialect:
    """A dialect whose bug strikes when the answer has begun."""

    def __init__(self):
        self._whole = DIALECTS["openai_chat"]
        self.name = "openai_chat"

    def __getattr__(self, name):
        return getattr(self._whole, name)

    def relay(self, call):
        return LateRelay(self._whole.relay(call))


class LateRelay:
    """Feeds well once."""

    def __init__(self, whole):
        self._whole = whole
        self._feeds = 0

    def __getattr__(self, name):
        return getattr(self._whole, name)

    def feed(self, data):
        self._feeds += 1
        if self._feeds > 1:
            raise ZeroDivisionError("sk-canary and the user's prompt")
        return self._whole.feed(data)


class Broken:
    """A whole gateway, in this loop, whose engine has a plug-in with a bug."""

    def __init__(self, home, *, policies=POLICIES, dialects=DIALECTS, transport=None):
        path = home / "turnout.yaml"
        path.write_text(CONFIG.format(url="http://127.0.0.1:1"))
        environment = Environment({"TURNOUT_HOME": str(home / "home"), "TURNOUT_MASTER_KEY": KEY})
        self.service = Service(load(path, environment), environment, SystemClock(), config=path)
        whole = self.service.engine
        self.service.engine = Engine(
            whole.index,
            health=Health(whole.index.snapshot.breaker),
            clock=self.service.clock,
            transports={"http": transport} if transport else {},
            dialects=dialects,
            providers=PROVIDERS,
            policies=policies,
            on_begin=self.service._on_begin,
            on_end=self.service._on_end,
        )

    async def __aenter__(self):
        await self.service.start()
        listener = listen("127.0.0.1", 0)
        self._server = make_server(self.service, App(self.service), takes_signals=False)
        self._serving = asyncio.get_running_loop().create_task(self._server.serve(sockets=[listener]))
        self.http = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", headers={"authorization": f"Bearer {KEY}"}
        )
        return self

    async def __aexit__(self, *exc):
        await self.http.aclose()
        self._server.should_exit = True
        await self._serving
        await self.service.stop()


async def test_a_bug_has_one_face_and_tells_nothing_of_its_text(tmp_path, caplog):
    """500 internal_error with the request's id; the log has the rest, under that id; the books are closed."""
    async with Broken(tmp_path, policies={**POLICIES, "priority": BrokenPolicy()}) as broken:
        with caplog.at_level(logging.ERROR, "turnout.app"):
            answer = await broken.http.post("/v1/chat/completions", json=CHAT)
        trace = (await broken.http.get(f"/admin/traces/{answer.headers['x-request-id']}")).json()
        assert broken.service.telemetry.in_flight == 0
    error = answer.json()["error"]
    assert answer.status_code == 500
    assert (error["code"], error["type"], error["source"]) == ("internal_error", "api_error", "gateway")
    assert error["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-should-retry"] == "false"
    assert "canary" not in answer.text
    assert (trace["outcome"], trace["status"]) == ("internal_error", 500)
    assert "canary" not in trace["message"]
    (record,) = [one for one in caplog.records if one.name == "turnout.app"]
    assert error["request_id"] == record.request_id
    assert record.exc_info[0] is ZeroDivisionError


async def test_a_bug_in_mid_stream_ends_the_connection_without_its_last_chunk(tmp_path):
    """What was begun cannot be refused any more; it must not look whole."""
    gate = asyncio.Event()
    said = b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hej"}}]}\n\n'
    transport = MemoryTransport(lambda _: Scripted(body=(said, gate, said, b"data: [DONE]\n\n")))
    dialects = {**DIALECTS, "openai_chat": LateDialect()}
    async with Broken(tmp_path, dialects=dialects, transport=transport) as broken:
        got = b""
        with pytest.raises(httpx2.RemoteProtocolError):
            async with broken.http.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as answer:
                async for piece in answer.aiter_bytes():
                    got += piece
                    gate.set()
        await broken.service.flush_traces()
        assert broken.service.telemetry.in_flight == 0
    assert got == said
    assert transport.open_responses == 0


async def test_a_bug_in_the_control_plane_has_the_same_face(tmp_path, caplog):
    """Planning without a call goes through the same policy."""
    async with Broken(tmp_path, policies={**POLICIES, "priority": BrokenPolicy()}) as broken:
        with caplog.at_level(logging.CRITICAL):
            answer = await broken.http.post("/admin/explain", json={"task": "work"})
        again = await broken.http.get("/admin/rollouts")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "canary" not in answer.text
    assert again.status_code == 200


@pytest.mark.parametrize("path", ["/admin", "/admin/", "/admin/rollouts/", "/admin/nope/x"])
async def test_no_address_is_made_of_a_requests_host(rig, path):
    """A path that is not one of ours is a 404, never a redirect to where the client says it is."""
    async with httpx2.AsyncClient(base_url=rig.url, headers={"host": "evil.example"}) as stranger:
        answer = await stranger.get(path)
    assert answer.status_code == 404
    assert "location" not in answer.headers
    assert "evil" not in answer.text


async def test_shutting_down_tells_a_client_that_still_waits_to_come_again(tmp_path, caplog):
    """Nothing was sent yet, so it can still be said, and an SDK tries again by itself; nothing in the log is a traceback."""
    async with Rig(tmp_path, config=CONFIG + "server: {{grace: 0.2}}\n") as rig, rig.http() as client:
        rig.world.queue.append("stall")
        asked = asyncio.ensure_future(client.post("/v1/chat/completions", json=CHAT))
        while not rig.world.witness.count:
            await asyncio.sleep(0.005)
        rig._server.should_exit = True
        answer = await asked
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "gateway_stopping"
    assert "x-should-retry" not in answer.headers
    assert answer.headers["retry-after"] == "1"
    assert [record for record in caplog.records if record.exc_info or "ASGI" in record.message] == []


async def test_shutting_down_cuts_what_does_not_end_in_time(tmp_path):
    """The client sees that its answer is not whole, and the upstream connection is closed."""
    async with Rig(tmp_path, config=CONFIG + "server: {{grace: 0.2}}\n") as rig, rig.http() as client:
        rig.world.queue.append("stall-event=3")
        with pytest.raises(httpx2.RemoteProtocolError):
            async with client.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as answer:
                async for _ in answer.aiter_bytes():
                    rig._server.should_exit = True
        (trace,) = await rig.traced()
    assert (trace.outcome, trace.status) == ("gateway_stopping", 503)


async def test_a_virtual_key_is_not_told_what_only_whoever_runs_the_gateway_needs(tmp_path):
    """Neither addresses nor commands; the master key is, and so is `turnout explain`."""
    config = CONFIG.replace("models:\n", '  gone: {{kind: compatible, base_url: "http://127.0.0.1:9/v1", api_key: sk-canary-x}}\n'
        '  shut: {{kind: compatible, base_url: "http://127.0.0.1:9/v1", api_key: stored}}\nmodels:\n'
        "  away: {{provider: gone, id: x, price: free}}\n  unready: {{provider: shut, id: x, price: free}}\n", 1)  # fmt: skip
    async with Rig(tmp_path, config=config) as rig, rig.http() as client:
        key = (await client.post("/admin/keys", json={"name": "app"})).json()["key"]
        for name, address, command in (("away", "127.0.0.1:9", ""), ("unready", "", "turnout secrets set shut")):
            ask = CHAT | {"model": name}
            told = (await client.post("/v1/chat/completions", json=ask)).json()["error"]["message"]
            assert address + command in told
            answer = await client.post("/v1/chat/completions", json=ask, headers={"authorization": f"Bearer {key}"})
            outside = answer.json()["error"]["message"]
            assert name in outside
            assert [] == [one for one in ("127.0.0.1", "secrets set") if one in outside]
            trace = (await client.get(f"/admin/traces/{answer.headers['x-request-id']}")).text
            assert address + command in trace

"""T84: no prompt and no key is in a log, a metric, a trace, a file or another client's answer, whatever breaks.

Every prompt, every wrong key and every provider key holds a word of its own. The gateway runs in its own process and logs
everything (DEBUG); its vendors commit every fault that the simulator knows, and one repeats all that it is sent.
"""

import asyncio
import contextlib
import json
import re
from asyncio.subprocess import PIPE
from pathlib import Path

import httpx2
import pytest

from tests.process import TURNOUT, Served, SimulatedVendor, environment, turnout
from tests.rig import KEY
from turnout.config.environment import Environment
from turnout.config.load import load, shipped
from turnout.core.redact import redact
from turnout.core.simulation.faults import KINDS, RESET_ACCEPT

AT_ONCE = 24
SHORTER = {
    "big-error": "big-error=1000000",
    "1xx": "1xx=200",
    "delay": "delay=0.2",
    "slow": "slow=0",
    "huge-event": "huge-event=100000",
}
"""The same faults, in less time."""

CONFIG = """
server: {{max_answer: 1000000}}
providers:
  stub: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-provider-stub}}
  claude: {{kind: anthropic, base_url: "{url}", api_key: sk-canary-provider-claude}}
  echo: {{kind: compatible, base_url: "{echo}/v1", api_key: sk-canary-provider-echo}}
  echo_claude: {{kind: anthropic, base_url: "{echo}", api_key: sk-canary-provider-other}}
  kept: {{kind: compatible, base_url: "{echo}/v1", api_key: stored}}
timeouts: {{connect: 1, first_chunk: 0.5, idle: 0.3, total: 2}}
retry: {{max_retries: 0}}
models:
"""

ECHOES = [200, 302, 400, 401, 402, 403, 404, 408, 413, 422, 429, 451, 500, 502, 503, 529]
"""Statuses of the vendor that repeats; 200 stands for an error inside a stream or an answer."""


@contextlib.asynccontextmanager
async def echo():
    """A vendor that repeats every header and the whole body of a request in its refusal, its reason and its headers.

    The model's name says the status.
    """

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(re.search(r"content-length: (\d+)", head)[1])
            body = (await reader.readexactly(length)).decode()
            status = re.search(r"echo-(\d+)", body)[1]
            keys = " ".join(re.findall(r"sk-canary\S+", head))
            said = f"{keys} {body} {head}"  # the worst first: what is quoted is cut
            told = {"error": {"message": said, "type": said, "code": said, "metadata": {"raw": said}}}
            content = json.dumps(told).encode()
            if status == "200" and '"stream":true' in body.replace(" ", ""):
                hello = {"choices": [{"index": 0, "delta": {"content": "hej"}}]}
                content = b"data: %b\n\ndata: %b\n\n" % (json.dumps(hello).encode(), content)
            flat = re.sub(r"[^\x20-\x7e]", " ", said)
            writer.write(
                f"HTTP/1.1 {status} {flat}\r\nconnection: close\r\nlocation: https://x/?key={flat}\r\n"
                f"x-said: {flat}\r\nretry-after: {flat}\r\ncontent-length: {len(content)}\r\n\r\n".encode()
                + content
            )
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def cases(is_full):
    """Return (model, provider, id, fault) of every case."""
    providers = ("stub", "claude") if is_full else ("stub",)
    faults = [
        (f"{provider}-{name}", provider, f"vendor/{name}", SHORTER.get(name, name))
        for provider in providers
        for name in KINDS
        if name != RESET_ACCEPT
    ]
    echoing = ("echo", "echo_claude", "kept") if is_full else ("echo", "kept")
    return faults + [
        (f"{provider}-{status}", provider, f"echo-{status}", "") for provider in echoing for status in ECHOES
    ]


def asked(number, model, *, stream):
    """A request that holds its own word wherever a client can write one."""
    word = f"canary-prompt-{number}-"
    return {
        "model": model,
        "stream": stream,
        "messages": [
            {"role": "system", "content": f"{word} http://x/?q={word}"},
            {"role": "user", "content": f"Hej, jeg hedder {word}. Skriv en mail\n{word}"},
        ],
        "stop": [word],
        "metadata": {"note": word},
        "tools": [
            {"type": "function", "function": {"name": "f", "description": word, "parameters": {"type": "object"}}}
        ],
    }


async def hear(client, number, method, path, **request):
    """Send one request; return its number, and the head and the body that came back."""
    head = body = ""
    with contextlib.suppress(httpx2.HTTPError):
        async with client.stream(method, path, **request) as answer:
            head = f"{answer.status_code} {answer.headers!r}"
            async for text in answer.aiter_text():
                body += text
    return number, (head, body)


def odd_requests(numbers):
    """Requests that end before a vendor is asked: wrong keys, unreadable bodies, paths that are not there."""
    for key in ("authorization", "x-api-key", "cookie"):
        number = next(numbers)
        wrong = f"sk-canary-prompt-{number}-"
        yield (
            number,
            "POST",
            "/v1/chat/completions",
            {
                "json": {"model": "x", "messages": []},
                "headers": {"authorization": "", key: f"Bearer {wrong}" if key == "authorization" else wrong},
            },
        )
    for body in ('{{"messages": "{}', '{{"messages": {{"{}": 1}}}}', "[{}", '{{"messages": [1], "user": "{}\\ud800"}}'):
        number = next(numbers)
        yield number, "POST", "/v1/chat/completions", {"content": body.format(f"canary-prompt-{number}-").encode()}
    for path in ("/admin/config", "/admin/keys", "/admin/keys/x/rotate"):
        number = next(numbers)
        yield number, "POST", path, {"headers": {"authorization": f"Bearer sk-turnout-admin-canary-prompt-{number}-"}}
    for method, path in (
        ("GET", "/v1/{}"),
        ("DELETE", "/health?key={}"),
        ("GET", "/admin/traces/{}"),
        ("PUT", "/admin/x/{}"),
    ):
        number = next(numbers)
        yield number, method, path.format(f"canary-prompt-{number}-"), {}


async def ask_all(gateway, vendor, models, forms, virtual):
    """Send every case in every form, AT_ONCE at a time, every second one with the key `virtual`; return what each client
    heard, by its number.
    """
    turns = asyncio.Semaphore(AT_ONCE)
    numbers = iter(range(100_000))
    async with gateway.http() as client, httpx2.AsyncClient(base_url=vendor.origin) as drill:

        async def one(number, method, path, **request):
            async with turns:
                return await hear(client, number, method, path, timeout=20, **request)

        by_model = {vendors_name: fault for _, _, vendors_name, fault in models if fault}
        await drill.put("/faults", json={"queue": [RESET_ACCEPT], "by_model": by_model})
        first = next(numbers)
        first_model = models[0][0]
        heard = [await one(first, "POST", "/v1/chat/completions", json=asked(first, first_model, stream=False))]
        work = [one(number, method, path, **request) for number, method, path, request in odd_requests(numbers)]
        for stream in forms:
            for model, *_ in models:
                number = next(numbers)
                by = {"headers": {"authorization": f"Bearer {virtual}"}} if number % 2 else {}
                work.append(one(number, "POST", "/v1/chat/completions", json=asked(number, model, stream=stream), **by))
        heard += await asyncio.gather(*work)
    return dict(heard)


async def stored(home, provider, key):
    """Store a provider's key, as a person does."""
    process = await asyncio.create_subprocess_exec(
        *TURNOUT, "secrets", "set", provider, cwd=home, env=environment(home), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    _, wrong = await process.communicate(f"{key}\n".encode())
    assert process.returncode == 0, wrong


async def made(gateway):
    """Return the text of a new virtual key, which one answer holds and no other."""
    async with gateway.http() as client:
        answer = await client.post("/admin/keys", json={"name": "t84"})
    assert answer.status_code == 201, answer.text
    return next(value for value in answer.json().values() if str(value).startswith("sk-turnout-"))


async def everything_written(gateway, home):
    """Return what others than the client who asked can read, by its place."""
    async with gateway.http() as client:
        places = {"/metrics": (await client.get("/metrics")).text, "/v1/models": (await client.get("/v1/models")).text}
        for path in ("/admin/config", "/admin/keys", "/admin/users", "/admin/admins", "/admin/quotas"):
            answer = await client.get(path)
            assert answer.status_code == 200
            places[path] = answer.text
        assert (await client.get("/admin/traces/none")).status_code == 404  # writes the traces that wait
        code, told, wrong = await turnout(home, "explain", "--last", "1000", "--json")
        assert code == 0, wrong
        traces = json.loads(told)
        name = traces[0]["request_id"]
        places["/admin/traces"] = (await client.get(f"/admin/traces/{name}")).text
        places["explain"] = (await turnout(home, "explain", name))[1]
    places["explain --json"] = told
    for command in (("audit", "list", "--count", "1000"), ("keys", "list"), ("secrets", "list")):
        code, places[" ".join(command)], wrong = await turnout(home, *command, "--json")
        assert code == 0, wrong
    limits = await asyncio.to_thread(Path(f"/proc/{gateway.process.pid}/limits").read_text)
    assert re.search(r"Max core file size +0 ", limits)  # what no dump can hold
    assert await gateway.stop() == 0
    places["the log"] = "\n".join(gateway.said)
    for path in sorted((home / "home").rglob("*")):
        if path.is_file():
            places[path.name] = path.read_bytes().decode("latin-1")
    return places, traces


async def test_t84_no_prompt_and_no_key_is_written_anywhere_whatever_breaks(tmp_path, size, proof):
    """Logs at DEBUG, metrics, traces, `explain`, the files in TURNOUT_HOME, and what other clients hear: 0 hits."""
    is_full = size(False, True)
    models = cases(is_full)
    async with SimulatedVendor(tmp_path) as vendor, echo() as echo_url:
        rows = [
            f"  {name}: {{provider: {provider}, id: {vendors_name}, price: free}}"
            for name, provider, vendors_name, _ in models
        ]
        config = CONFIG.format(url=vendor.origin, echo=echo_url) + "\n".join(rows)
        (tmp_path / "turnout.yaml").write_text(config)
        await stored(tmp_path, "kept", "sk-canary-provider-kept")
        arguments = ("--port", "0", "--log-level", "debug", "--log-format", "json")
        # Without its books: `reset-next` takes a request twice, by design.
        async with Served(tmp_path, *arguments) as gateway:
            virtual = await made(gateway)
            heard = await ask_all(gateway, vendor, models, (False, True), virtual)
            places, traces = await everything_written(gateway, tmp_path)
    hits = [
        f"{place}: …{text[max(0, text.find(word) - 60) :][:120]}"
        for place, text in places.items()
        for word in ("canary", KEY, virtual)
        if word in text
    ]
    assert hits == []
    others = [
        (number, word)
        for number, told in heard.items()
        for word in re.findall(r"canary-prompt-(\d+)-", str(told))
        if int(word) != number
    ]
    assert others == []
    assert [told for told in heard.values() if re.search(f"canary-provider|{KEY}|{virtual}", str(told))] == []
    assert [head for head, _ in heard.values() if "canary" in head] == []
    echoed = sum("canary-prompt" in body for _, body in heard.values())
    assert echoed > 5  # the vendors did repeat, and the client who asked was told
    assert len(traces) >= 2 * len(models)
    proof(
        f"{len(heard)} requests over {len(KINDS)} faults and {len(ECHOES)} echoed refusals; {len(places)} places "
        f"({sum(map(len, places.values()))} characters): 0 prompts, 0 keys"
    )


async def test_t84_the_search_would_find_a_word_that_is_written(tmp_path):
    """The control: what docs say is stored (the model asked for, the user's label) is found in the trace and its file."""
    async with Served(tmp_path, "--port", "0", "--log-level", "debug") as gateway:
        async with gateway.http() as client:
            body = {
                "model": "a-word-to-find",
                "user": "a-label-to-find",
                "messages": [{"role": "user", "content": "x"}],
            }
            await client.post("/v1/chat/completions", json=body)
        places, _ = await everything_written(gateway, tmp_path)
    found = {place for place, text in places.items() if "a-word-to-find" in text and "a-label-to-find" in text}
    assert {"explain --json", "/admin/traces", "explain"} <= found
    assert any(place.startswith("traces.sqlite3") for place in found)


def test_t84_no_form_of_a_configuration_prints_a_key(tmp_path):
    """repr, str and format of everything between the file and the Snapshot."""
    path = tmp_path / "turnout.yaml"
    path.write_text(
        "server: {master_key: sk-canary-Zq7Lm2Xv9Tb4Rk8Wc1Yp6Nd3}\n"
        'providers: {stub: {kind: compatible, base_url: "http://127.0.0.1:1/v1", api_key: sk-canary-file},'
        ' claude: {kind: anthropic, api_key: "${CANARY}"}}\n'
        "models: {m: {provider: stub, price: free}, n: {provider: claude, price: free}}\n"
    )
    environment = Environment({"CANARY": "canary-in-the-environment", "TURNOUT_HOME": str(tmp_path)})
    loaded = load(path, environment)
    snapshot = loaded.snapshot
    things = [loaded, snapshot, environment, shipped(), *snapshot.accounts.values(), *snapshot.candidates.values()]
    assert snapshot.accounts["stub"].api_key.reveal() == "sk-canary-file"
    assert not [one for one in things if "canary" in f"{one!r} {one!s} {one}"]


@pytest.mark.parametrize("name", ["key", "api_key", "access_token", "token", "sig"])
def test_t84_a_key_in_the_url_of_an_exception_is_taken_out(name):
    """Clients of other libraries put the URL into their exceptions; the log has it without the key."""
    with pytest.raises(httpx2.HTTPStatusError) as caught:
        httpx2.Response(403, request=httpx2.Request("GET", f"https://x/v1?a=1&{name}=canary-key#f")).raise_for_status()
    assert "canary" in str(caught.value)
    assert "canary" not in redact(str(caught.value))
    assert f"?a=1&{name}=***" in redact(str(caught.value))

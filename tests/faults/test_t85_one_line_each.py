"""T85: whatever a client, a vendor or a configuration says, a record is one line: JSON without a raw control byte.

Line breaks, terminal escapes, line separators, text that ends a JSON string, format strings and a megabyte of each, in
every field that is logged or kept: names, labels, headers, models' answers, refusals, keys and values of the config.
"""

import asyncio
import contextlib
import json
import os
import re
import sqlite3
from urllib.parse import quote

import httpx2

from tests.process import PATIENCE_S, TURNOUT, Served, environment, turnout
from tests.rig import KEY

NASTY = {
    "line breaks": 'a\r\n{"level": "forged"}\r\nb',
    "terminal": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "separators": "a\u2028b\u2029c\x85d",
    "JSON": '"}, {"forged": [\\',
    "format": "%s %n %(name)s {0} {self.__class__} ${HOME} $(id)",
    "controls": "\x00\x01\x08\x7f",
    "directions": "\u202etxt.exe\u2066\ufeff",
    "halves": "\ud800 \udfff",
}
LONG = "x" * 1_000_000

CONFIG = """
server: {{max_body: 4000000}}
providers: {{nasty: {{kind: compatible, base_url: "{url}/v1", api_key: any}}, dead: {{kind: compatible, base_url: "http://127.0.0.1:1/v1", api_key: any}}}}
models:
  m: {{provider: nasty, price: free}}
  dead: {{provider: dead, price: free}}
tasks: {{t: {{models: [m], max_retries: 0}}}}
timeouts: {{connect: 1, first_chunk: 2, idle: 1, total: 3}}
retry: {{max_retries: 0}}
"""


@contextlib.asynccontextmanager
async def vendor():
    """Says what it is asked for in `stop`, as an answer, a stream, an error in either, or a refusal: `user` says which."""

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = json.loads(await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1])))
            said, form = body.get("stop", ""), body.get("seed", "error")
            status = form if isinstance(form, int) else 200
            delta = {
                "choices": [{"index": 0, "delta": {"content": said}, "message": {"role": "assistant", "content": said}}]
            }
            error = {"error": {"message": said, "type": said, "code": said}}
            content = json.dumps({**delta, "model": said, "id": said} if form == "answer" else error).encode()
            if form == "stream":
                content = b"data: %b\n\ndata: %b\n\n" % (json.dumps(delta).encode(), json.dumps(error).encode())
            # A reason and a header cannot hold a line break; everything else that the wire carries is there.
            flat = re.sub(rb"[\r\n\0]", b"", said[:5000].encode("utf-8", "replace"))
            writer.write(b"HTTP/1.1 %d %b\r\nx-said: %b\r\n" % (status, flat, flat))
            writer.write(b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(content) + content)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def requests(text):
    """Everything that a client can say, with `text` where it says it."""
    chat = "/v1/chat/completions"
    messages = [{"role": "user", "content": text}]
    for form in ("answer", "stream", "error", 400, 429, 500, 503):
        body = {"model": "task:t", "stop": text, "seed": form, "user": text, "stream": form == "stream"}
        yield chat, {"json_body": body | {"messages": messages, "metadata": {"a": text}}}
    yield chat, {"json_body": {"model": text, "messages": messages}}
    yield (
        chat,
        {"json_body": {"model": f"nasty/{text}", "messages": messages, "stop": text, "seed": "answer", "user": text}},
    )
    yield chat, {"json_body": {"model": "dead", "messages": messages, "user": text}}
    yield chat, {"json_body": {"model": "auto", "messages": messages, "metadata": {"task": text}}}
    yield (
        chat,
        {
            "json_body": {
                "model": "t",
                "messages": messages,
                "response_format": {"type": text},
                "tools": [{"type": text}],
            }
        },
    )
    yield chat, {"content": b'{"model": "' + text.encode("utf-8", "surrogatepass") + b'"'}
    yield "/v1/embeddings", {"json_body": {"model": text, "input": text}}
    header = re.sub(rb"[\x00-\x1f\x7f]", b"?", text[:5000].encode("utf-8", "replace"))
    for name in (
        b"x-turnout-task",
        b"x-turnout-user",
        b"x-turnout-session",
        b"content-encoding",
        b"authorization",
        b"user-agent",
    ):
        yield (
            chat,
            {
                "json_body": {"model": "m", "messages": messages, "stop": "x", "seed": "answer"},
                "headers": [(name, header)],
            },
        )
    yield "/" + quote(text[:2000], errors="replace"), {"json_body": {}}
    yield "/admin/explain", {"json_body": {"model": text[:5000], "task": text[:5000], "user": text[:5000]}}


async def send(client, path, *, json_body=None, content=b"", headers=()):
    """Post a body (JSON in ASCII, so that it can hold halves of surrogate pairs); return status, head and text, cut or not."""
    body = content if json_body is None else json.dumps(json_body).encode()
    async with client.stream("POST", path, content=body, headers=headers, timeout=20) as answer:
        text = ""
        with contextlib.suppress(httpx2.RemoteProtocolError):
            async for piece in answer.aiter_text():
                text += piece
    return answer.status_code, b"".join(name + value for name, value in answer.headers.raw), text


def nasty_config(text):
    """A configuration that is refused, with `text` as a key, a value, a name and a reference."""
    said = json.dumps(text.encode("utf-8", "replace").decode())
    return f"server: {{port: {said}}}\n{said}: 1\nmodels: {{m: {{provider: {said}}}}}\ntasks: {{{said}: {{models: [{said}]}}}}\n"


def is_one_object(line):
    """Whether a line of the log is a JSON object in ASCII without a control character."""
    return line.isascii() and line.isprintable() and isinstance(json.loads(line), dict)


async def test_t85_every_line_of_the_log_is_one_json_object_whatever_is_said(tmp_path, size, proof):
    """A gateway that logs everything, in Python's development mode, with hostile text in every field."""
    texts = {**NASTY, "long": LONG} if size(False, True) else {**NASTY, "long": LONG[:100_000]}
    async with vendor() as url:
        file = tmp_path / "turnout.yaml"
        file.write_text(CONFIG.format(url=url))
        arguments = ("--port", "0", "--log-level", "debug", "--log-format", "json")
        variables = {"TURNOUT_MASTER_KEY": KEY, "PYTHONDEVMODE": "1", "PYTHONWARNINGS": "always"}
        async with Served(tmp_path, *arguments, env=variables) as gateway, gateway.http() as client:
            answers = []
            for text in texts.values():
                some = [send(client, path, **more) for path, more in requests(text)]
                answers += await asyncio.gather(*some)
                file.write_text(nasty_config(text))
                refused = await client.post("/admin/reload")
                assert refused.status_code == 422
            file.write_text(CONFIG.format(url=url))
            assert (await client.post("/admin/reload")).status_code == 200
            metrics = (await client.get("/metrics")).text
            assert (await client.get("/admin/traces/none")).status_code == 404  # writes the traces that wait
            code, told, _ = await turnout(tmp_path, "explain", "--last", "1000")
            code_json, as_json, _ = await turnout(tmp_path, "explain", "--last", "1000", "--json")
            stories = [await turnout(tmp_path, "explain", one["request_id"]) for one in json.loads(as_json)[:3]]
        kept = stored(tmp_path / "home" / "traces.sqlite3")
    assert [line for line in gateway.said if not is_one_object(line)] == []
    records = [json.loads(line) for line in gateway.said]
    assert len([one for one in records if one["message"].startswith("config not taken")]) >= 3 * len(texts)
    assert not [one for one in records if "forged" in one or one["level"] == "forged"]
    assert max(map(len, gateway.said)) < 30_000
    assert [text for status, _, text in answers if status == 500] == []
    assert re.search(rb"[\x00-\x1f\x7f]", b"".join(head for _, head, _ in answers)) is None
    assert re.search(r"[^\n\x20-\x7e]", metrics) is None
    assert (code, code_json) == (0, 0)
    assert as_json.rstrip("\n").isprintable()
    assert as_json.isascii()
    shown = [line for text in (told, *(story for _, story, _ in stories)) for line in text.splitlines()]
    assert all(line.isprintable() for line in shown)
    assert len(kept) == len(json.loads(as_json)) > 10 * len(texts)
    assert all(isinstance(json.loads(line), dict) and re.search(rb"[\x00-\x1f]", line) is None for line in kept)
    proof(
        f"{len(answers)} requests and {len(texts)} configurations with {len(texts)} kinds of hostile text: "
        f"{len(records)} lines of log and {len(kept)} traces, each one JSON object, 0 raw control bytes"
    )


def stored(path):
    """Every line of the trace store, as it is on disk."""
    with contextlib.closing(sqlite3.connect(path)) as rows:
        bodies = [body for (body,) in rows.execute("SELECT body FROM batch")]
    return [line for body in bodies for line in body.split(b"\n") if line]


async def test_t85_text_for_a_person_is_one_line_a_record_too(tmp_path):
    """`--log-format text`: as many lines as records, each printable, and the cursor of the terminal stays where it is."""
    file = tmp_path / "turnout.yaml"
    file.write_text(CONFIG.format(url="http://127.0.0.1:1"))
    async with Served(tmp_path, "--port", "0", "--log-format", "text") as gateway, gateway.http() as client:
        began = len(gateway.said)
        for text in NASTY.values():
            file.write_text(nasty_config(text))
            assert (await client.post("/admin/reload")).status_code == 422
    lines = gateway.said[began:]
    assert len(lines) >= len(NASTY)
    assert [
        line
        for line in lines
        if not re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z ERROR turnout\.service config not taken", line)
    ] == []
    assert [line for line in lines if not line.isprintable()] == []


async def started(home, stderr):
    """Start `turnout serve` with this stderr and no word about the log."""
    return await asyncio.create_subprocess_exec(
        *(*TURNOUT, "serve", "--port", "0"), cwd=home, env=environment(home, TURNOUT_MASTER_KEY=KEY), stderr=stderr
    )


async def test_t85_a_terminal_gets_text_and_everything_else_json(tmp_path):
    """Without `--log-format`: who reads it decides."""
    process = await started(tmp_path, asyncio.subprocess.PIPE)
    piped = await asyncio.wait_for(process.stderr.readline(), PATIENCE_S)
    process.terminate()
    rest = await process.stderr.read()
    await process.wait()
    assert piped
    assert all(is_one_object(line) for line in (piped + rest).decode().splitlines())

    ours, theirs = os.openpty()
    process = await started(tmp_path, theirs)
    os.close(theirs)
    shown = await asyncio.wait_for(asyncio.to_thread(os.read, ours, 7), PATIENCE_S)
    process.terminate()
    with contextlib.suppress(OSError):  # a terminal that nobody has open any more
        while await asyncio.to_thread(os.read, ours, 4096):
            pass
    os.close(ours)
    await process.wait()
    assert shown == b"Turnout"

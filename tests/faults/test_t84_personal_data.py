"""T84: what is personal leaves as placeholders where the task says so, comes back to whoever sent it, and is written nowhere.

Every request holds an address, a phone number, a card, an account, a CPR and a key of its own, wherever a client can write
one. Its vendor repeats what it was sent: whole, in a stream of three letters at a time, in refusals, in streams that break
off. The gateway runs in its own process, logs everything (DEBUG), and keeps prompts.
"""

import asyncio
import contextlib
import itertools
import json
import re

import httpx2

from tests.faults.test_t84_silence import everything_written
from tests.process import Served, turnout
from tests.rig import KEY

CONFIG = """
providers:
  echo: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-provider-echo}}
  claude: {{kind: anthropic, base_url: "{url}", api_key: sk-canary-provider-claude}}
models:
  chat: {{provider: echo, price: free}}
  translated: {{provider: claude, price: free}}
tasks:
  masked: {{models: [chat], mask: all, max_retries: 0}}
  foreign: {{models: [translated], mask: all, max_retries: 0}}
  cached: {{models: [chat], mask: all, max_retries: 0, cache: 60}}
  open: {{models: [chat], max_retries: 0}}
timeouts: {{connect: 1, first_chunk: 2, idle: 1, total: 5}}
privacy: {{prompts: redacted, keep: 1h}}
"""

FORMS = ("answer", "refusal", "cut", "error")
"""What the vendor does, as the request's `seed` or first stop sequence says."""


def luhn(prefix):
    """The prefix with its check digit."""
    total = sum(int(digit) if at % 2 else sum(divmod(2 * int(digit), 10)) for at, digit in enumerate(reversed(prefix)))
    return f"{prefix}{-total % 10}"


def values(number):
    """What is personal in request `number`, and in no other."""
    bank = f"DK00{number:014}"
    check = 98 - int(f"{number:014}132000") % 97
    return {
        "email": f"canary{number}@personal.example",
        "phone": f"+45 2{number:07}",
        "card": luhn(f"4111{number:011}"),
        "iban": bank.replace("DK00", f"DK{check:02}", 1),
        "cpr": f"010190-{number:04}",
        "secret": f"sk-canary{number:08}",
    }


def prose(number):
    """A text with all of them."""
    told = values(number)
    return f"Skriv til {told['email']} <b>{told['phone']}</b>; {told['card']}, {told['iban']}, CPR {told['cpr']}, {told['secret']}."


def chat_of(number, form, *, stream, task):
    """A request in OpenAI's format, personal wherever a client can write; the last message is what comes back."""
    told = values(number)
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": json.dumps({"to": told["email"], "n": 7})},
    }
    return {
        "model": f"task:{task}",
        "stream": stream,
        "stop": [form],
        "user": f"user-{number}",  # a label: the ledger keeps it, to say who used what
        "metadata": {"note": told["phone"]},
        "messages": [
            {"role": "system", "content": prose(number)},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": told["iban"]},
            {"role": "user", "content": [{"type": "text", "text": prose(number)}]},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "description": told["cpr"], "parameters": {"type": "object"}},
            }
        ],
    }


def last_text(body):
    """What the last message says."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def openai_answer(text, *, stream, form):
    """The text, whole or three letters at a time; cut: the stream ends half way; error: with an error that quotes it."""
    if not stream:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return json.dumps(
            {"id": "x", "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
        ).encode()
    pieces = [text[at : at + 3] for at in range(0, len(text), 3)]
    said = b"".join(
        b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, "delta": {"content": one}}]}).encode()
        for one in (pieces[: len(pieces) // 2] if form in {"cut", "error"} else pieces)
    )
    if form == "cut":
        return said
    if form == "error":
        return said + b"data: %b\n\n" % json.dumps({"error": {"message": text}}).encode()
    return said + b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def anthropic_answer(text):
    """The text as a message."""
    return json.dumps(
        {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "x",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
    ).encode()


@contextlib.asynccontextmanager
async def repeating(received):
    """A vendor that notes every byte that it is sent, and repeats the last message."""

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
            received.append(re.sub(rb"sk-canary-provider-\w+", b"", head) + body)
            asked = json.loads(body)
            text, form = last_text(asked), (asked.get("stop") or asked.get("stop_sequences"))[0]
            status, kind = b"200 OK", b"text/event-stream" if asked.get("stream") else b"application/json"
            if form == "refusal":
                status, content = b"400 Bad Request", json.dumps({"error": {"message": text, "code": text}}).encode()
            elif b"anthropic-version" in head:
                content = anthropic_answer(text)
            else:
                content = openai_answer(text, stream=bool(asked.get("stream")), form=form)
            length = b"" if form == "cut" else b"content-length: %d\r\n" % len(content)
            writer.write(
                b"HTTP/1.1 %b\r\ncontent-type: %b\r\n%bconnection: close\r\n\r\n%b" % (status, kind, length, content)
            )
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def said(answer):
    """The text of an answer, as a client adds it up."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return answer.json()["choices"][0]["message"]["content"]
    lines = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in lines if "choices" in one)


async def ask_all(gateway, count):
    """Ask for every form in every way; return (number, form, stream, what came back) of each."""
    turns = asyncio.Semaphore(24)
    ways = itertools.cycle(
        [(task, form, stream) for task in ("masked", "cached") for form in FORMS for stream in (False, True)]
        + [("foreign", form, False) for form in ("answer", "refusal")]
    )

    async def one(number, task, form, stream):
        async with turns:
            body = chat_of(number, form, stream=stream, task=task)
            try:
                answer = await client.post("/v1/chat/completions", json=body)
            except httpx2.HTTPError as broken:  # a stream that breaks off breaks off for the client
                return number, form, stream, broken
            return number, form, stream, answer

    async with gateway.http() as client:
        client.timeout = 30
        return await asyncio.gather(*(one(number, *way) for number, way in zip(range(count), ways, strict=False)))


def told_of(number):
    """What would give request `number` away."""
    return list(values(number).values())


async def test_t84_what_is_personal_is_with_its_client_alone(tmp_path, size, proof):
    """No vendor, no log, metric, trace, file or other client has it; the client who sent it has it whole."""
    count = size(36, 720)
    received = []
    async with repeating(received) as url:
        (tmp_path / "turnout.yaml").write_text(CONFIG.format(url=url))
        arguments = ("--port", "0", "--log-level", "debug", "--log-format", "json")
        async with Served(tmp_path, *arguments) as gateway:
            heard = await ask_all(gateway, count)
            name = next(one.headers["x-request-id"] for _, form, _, one in heard if form == "answer")
            code, shown, wrong = await turnout(
                tmp_path, "prompts", "show", name, "--json", "--url", gateway.url, TURNOUT_MASTER_KEY=KEY
            )
            assert code == 0, wrong
            places, traces = await everything_written(gateway, tmp_path)
    secret = [told for number in range(count) for told in told_of(number)]
    leaked = re.compile("|".join(map(re.escape, secret)))
    assert [] == [body for body in received if leaked.search(body.decode())]
    assert [] == [
        (place, leaked.search(text)[0]) for place, text in {**places, "prompts": shown}.items() if leaked.search(text)
    ]
    assert (
        "<EMAIL_1> <b><PHONE_1></b>; <CARD_1>, <IBAN_1>, CPR <CPR_1>, <SECRET_1>."
        in json.loads(shown)["fields"]["messages"][0]["content"]
    )
    for number, form, _, answer in heard:
        if not isinstance(answer, Exception):
            assert set(leaked.findall(answer.text)) <= set(told_of(number)), (number, form)
        if form == "answer":
            assert prose(number) == said(answer)
            assert "email=1" in answer.headers["x-turnout-masked"]
    assert len(traces) == count
    proof(
        f"{count} requests with {len(secret)} values, whole, streamed, refused and broken off: 0 with the vendor "
        f"({len(received)} calls), 0 in {len(places) + 1} places, 0 with another client; every answer had its own back"
    )


async def test_t84_a_task_that_does_not_mask_writes_nothing_personal_either(tmp_path):
    """The control: the vendor sees all of it then, and the log, the traces and the kept prompts still nothing."""
    received = []
    async with repeating(received) as url:
        (tmp_path / "turnout.yaml").write_text(CONFIG.format(url=url))
        async with Served(tmp_path, "--port", "0", "--log-level", "debug") as gateway:
            async with gateway.http() as client:
                answer = await client.post("/v1/chat/completions", json=chat_of(1, "answer", stream=False, task="open"))
            places, _ = await everything_written(gateway, tmp_path)
    assert all(told.encode() in received[0] for told in values(1).values())
    assert prose(1) == said(answer)
    assert [] == [(place, told) for place, text in places.items() for told in told_of(1) if told in text]

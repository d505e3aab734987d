"""T07: a reset at any byte of an answer is an error or unseen; no parser breaks, and nothing is asked again once a byte was shown."""

import json

import pytest

from tests.faults.sdk import UPSTREAMS, ask, paid, quick
from tests.gateway.wire import serving
from tests.rig import Rig

REPLY_BYTES = 4096
WORD = "rengøring "


def framed(events):
    """A chunked answer, one event a chunk."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in events) + b"0\r\n\r\n"


def sized(body):
    """A whole answer."""
    data = json.dumps(body, ensure_ascii=False).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data)
    return head + data


def openai_stream():
    def event(delta, reason=None):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        told = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
        return b"data: " + json.dumps(told, ensure_ascii=False).encode() + b"\n\n"

    usage = {"object": "chat.completion.chunk", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 9}}
    last = [event({}, "stop"), b"data: " + json.dumps(usage).encode() + b"\n\n", b"data: [DONE]\n\n"]
    events = [event({"role": "assistant", "content": ""})]
    while len(framed([*events, *last])) < REPLY_BYTES - 200:
        events.append(event({"content": WORD * 20}))
    return framed([*events, *last])


def claude_stream():
    def event(kind, **more):
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more}, ensure_ascii=False)}\n\n".encode()

    usage = {"input_tokens": 5, "output_tokens": 1}
    events = [
        event("message_start", message={"id": "msg_1", "model": "m", "usage": usage}),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    ]
    last = [
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9}),
        event("message_stop"),
    ]
    while len(framed([*events, *last])) < REPLY_BYTES - 200:
        events.append(event("content_block_delta", index=0, delta={"type": "text_delta", "text": WORD * 20}))
    return framed([*events, *last])


def openai_whole():
    message = {"role": "assistant", "content": WORD * 350}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return sized({"id": "chatcmpl-1", "model": "m", "choices": [choice], "usage": {"prompt_tokens": 5}})


def claude_whole():
    content = [{"type": "text", "text": WORD * 350}]
    return sized({"id": "msg_1", "model": "m", "content": content, "stop_reason": "end_turn"})


def vectors_whole():
    data = [{"object": "embedding", "index": 0, "embedding": [0.125] * 560}]
    return sized({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 5, "total_tokens": 5}})


REPLIES = {
    "openai": openai_whole(),
    "openai stream": openai_stream(),
    "claude": claude_whole(),
    "claude stream": claude_stream(),
    "vectors": vectors_whole(),
}
END = {"openai stream": b"data: [DONE]\n\n", "claude stream": b'message_stop"}\n\n'}
"""With this a stream is whole, whatever becomes of its connection."""


def offsets_of(reply, steps, head_steps):
    """Every `head_steps`-th byte of the head, every `steps`-th of the rest."""
    head = reply.index(b"\r\n\r\n") + 4
    return sorted({*range(0, head + 1, head_steps), *range(head, len(reply), steps), len(reply) - 1})


def outcome_of(told, asked_again, name, begun):
    """Name what the client saw; "wrong: …" if it is none of what it may see. begun: the part that the vendor sent."""
    is_stream = name.endswith("stream")
    if not told.error:
        if told.headers["x-turnout-attempts"] == "2" and asked_again == 1 and told.text:
            return "answered by the next"
        is_whole = is_stream and END[name] in begun
        return "whole" if is_whole and asked_again == 0 else f"wrong: {told.text!r} after {begun[-30:]!r}"
    if is_stream and told.code == "stream_interrupted" and asked_again == 0:
        invented = told.reasons and b'"stop"' not in begun and b"end_turn" not in begun
        return "wrong: a finish_reason of our own" if invented else "raised"
    return f"wrong: {told.error} {told.message} after {begun[-30:]!r}"


@pytest.mark.parametrize("name", REPLIES)
async def test_t07_reset_at_every_offset(tmp_path, size, proof, name):
    """Beside a fallback: it answers as long as nothing was shown, and is never asked afterwards."""
    reply = REPLIES[name]
    upstream = name.split()[0]
    quick_steps = (32, 1) if name == "openai stream" else (128, 8)
    offsets = offsets_of(reply, *size(quick_steps, (1, 1)))
    at = 0

    async def script(peer):
        server.requests.append(await peer.request())
        await peer.answer(reply[: offsets[at]])
        peer.reset()

    counts = dict.fromkeys(("raised", "answered by the next", "whole"), 0)
    async with serving(script) as server:
        config = paid().replace("max_retries: 0", "max_retries: 1")
        # Only the spare is at the simulated vendor.
        good = 'good: {{kind: compatible, base_url: "{url}/v1"'
        config = (
            config.replace(good, "GOOD").replace('"{url}', f'"http://127.0.0.1:{server.port}').replace("GOOD", good)
        )
        async with Rig(tmp_path, config=config) as rig, quick(rig) as client:
            for at in range(len(offsets)):
                rig.service.engine.health.succeeded(f"{upstream}@{'claude' if upstream == 'claude' else 'openai'}")
                before = rig.world.witness.count
                told = await ask(client, f"{upstream}-spare", UPSTREAMS[upstream], stream=name.endswith("stream"))
                seen = outcome_of(told, rig.world.witness.count - before, name, reply[: offsets[at]])
                assert seen in counts, f"offset {offsets[at]}: {seen}"
                assert len(server.requests) == at + 1
                counts[seen] += 1
    assert sum(counts.values()) == len(offsets)
    if name.endswith("stream"):
        assert counts["raised"] > counts["answered by the next"] > 0
    else:
        assert counts["answered by the next"] == len(offsets)
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    proof(f"{name}: {len(offsets)} offsets of {len(reply)} bytes: {told}")

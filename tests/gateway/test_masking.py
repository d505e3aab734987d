"""Where a task says so, what is personal leaves as placeholders and comes back: whole, streamed, cached, in every format."""

import asyncio
import json

import pytest

from tests.gateway.lab import ANSWER, CONFIG, OK, Client, Lab, chunk, read
from turnout.core.plan import Ask
from turnout.core.privacy.kinds import ALL
from turnout.core.privacy.masking import Mask
from turnout.dialects import DIALECTS
from turnout.gateway.masking import AT_ONCE_BYTES, Restoring
from turnout.gateway.memory_transport import Scripted

MASKED = CONFIG.replace("alone: {models: [second]}", "alone: {models: [second], mask: [email, phone]}").replace(
    "work: {models: [first, second, third]}", "work: {models: [third], mask: all, cache: 60}"
)
MAIL = "Skriv til ola@x.dk og kari@x.dk (ikke ola@x.dk)"
FINISHED = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def echoing(outgoing):
    """A vendor that says the last message back: whole, or three letters at a time."""
    asked = json.loads(bytes(outgoing.body))
    text = asked["messages"][-1]["content"]
    if "anthropic-version" in dict(outgoing.headers):
        usage = {"input_tokens": 1, "output_tokens": 1}
        told = {"id": "m", "type": "message", "model": "x", "content": text, "stop_reason": "end_turn", "usage": usage}
        return Scripted(body=(json.dumps(told).encode(),))
    if asked.get("stream"):
        return Scripted(body=(*(chunk(text[at : at + 3]) for at in range(0, len(text), 3)), FINISHED))
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Scripted(body=(json.dumps({**ANSWER, "choices": [choice]}).encode(),))


async def say(lab, name, content, **fields):
    """Ask for one thing; return the client."""
    return await lab.ask(name, messages=[{"role": "user", "content": content}], **fields)


def said(client):
    """The answer's text, whole or streamed."""
    if client.headers["content-type"] == "application/json":
        return json.loads(client.body)["choices"][0]["message"]["content"]
    events = [json.loads(line[6:]) for line in client.body.decode().splitlines() if line.startswith("data: {")]
    return "".join(one["choices"][0]["delta"].get("content", "") for one in events)


def sent(lab):
    """What the vendor was asked, the last time."""
    return bytes(lab.transport.sent[-1].body).decode()


@pytest.mark.parametrize("stream", [False, True])
async def test_the_vendor_sees_placeholders_and_the_client_does_not(tmp_path, stream):
    """The answer says what the question said, and its head how many values were hidden."""
    lab = Lab(tmp_path, echoing, config=MASKED)
    client = await say(lab, "task:alone", f"{MAIL}, tlf. 20304050, cpr 010190-1234", stream=stream)
    assert "Skriv til <EMAIL_1> og <EMAIL_2> (ikke <EMAIL_1>), tlf. <PHONE_1>, cpr 010190-1234" in sent(lab)
    assert f"{MAIL}, tlf. 20304050, cpr 010190-1234" == said(client)
    assert "email=2, phone=1" == client.headers["x-turnout-masked"]
    assert ("finish" if stream else "answer") == client.ended


async def test_a_translated_answer_comes_back_too(tmp_path):
    """A client of one format, a vendor of the other."""
    lab = Lab(tmp_path, echoing, config=MASKED)
    client = await say(lab, "task:work", MAIL)
    assert "ola@x.dk" not in sent(lab)
    assert MAIL == said(client)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_holds_nothing_personal_goes_and_comes_as_it_is(tmp_path, stream):
    """To the byte, though the answer has brackets; no header."""
    bodies = {}
    for config in (CONFIG, MASKED):
        lab = Lab(tmp_path, echoing, config=config)
        client = await say(lab, "task:alone", "<b>&lt;EMAIL_1&gt;</b> a < b", stream=stream)
        bodies[config] = (sent(lab), client.body, client.headers)
    assert bodies[CONFIG] == bodies[MASKED]


async def test_a_task_that_does_not_mask_costs_nothing_and_changes_nothing(tmp_path):
    """The client's own bytes go out."""
    lab = Lab(tmp_path, {"backup": [OK]}, config=CONFIG)
    client = await say(lab, "task:alone", MAIL)
    assert MAIL in sent(lab)
    assert "x-turnout-masked" not in client.headers


async def test_the_cache_holds_placeholders_and_serves_each_client_its_own(tmp_path):
    """The same question about another person is the same question: one call, and neither sees the other's."""
    lab = Lab(tmp_path, echoing, config=MASKED)
    first = await say(lab, "task:work", "Skriv til ola@x.dk")
    second = await say(lab, "task:work", "Skriv til kari@y.dk")
    assert (1, "Skriv til ola@x.dk", "Skriv til kari@y.dk") == (len(lab.transport.sent), said(first), said(second))
    kept = [kept.body for kept in lab.engine.cache.shelf._entries.values()]
    assert kept
    assert not [body for body in kept if b"x.dk" in body]


async def test_two_clients_of_one_flight_get_their_own(tmp_path):
    """Streamed, at the same time."""
    lab = Lab(tmp_path, echoing, config=MASKED.replace("[second], mask", "[second], cache: 60, mask"))
    clients = await asyncio.gather(
        *(say(lab, "task:alone", f"Skriv til {name}@x.dk", stream=True) for name in ("ola", "kari", "per"))
    )
    assert ["Skriv til ola@x.dk", "Skriv til kari@x.dk", "Skriv til per@x.dk"] == [said(one) for one in clients]
    assert 1 == len(lab.transport.sent)


async def test_a_large_request_is_looked_through_beside_the_loop(tmp_path):
    """In a thread: the loop's other work goes on meanwhile."""
    lab = Lab(tmp_path, echoing, config=MASKED)
    text = f"{'Hej med dig. ' * (AT_ONCE_BYTES // 10)} ola@x.dk"
    client = await say(lab, "task:alone", text)
    assert "ola@x.dk" not in sent(lab)
    assert text == said(client)


async def test_what_is_reckoned_with_is_what_is_sent(tmp_path):
    """A placeholder may be longer than what it stands for, and a budget must not be overdrawn by that."""
    lab = Lab(tmp_path, echoing, config=MASKED)
    text = " ".join(f"{number}@x.dk" for number in range(200))
    await say(lab, "task:alone", text)
    call = lab.ended[0].call
    plain = read({"model": "task:alone", "messages": [{"role": "user", "content": text}]})
    assert call.size > plain.size
    assert plain.input_tokens + (call.size - plain.size) // 4 == call.input_tokens


async def test_a_refusal_that_quotes_the_question_quotes_placeholders(tmp_path):
    """What is masked stays masked in an error, which others may read."""
    told = json.dumps({"error": {"message": "cannot take <EMAIL_1>"}}).encode()
    lab = Lab(tmp_path, {"backup": [Scripted(400, {}, (told,))]}, config=MASKED)
    with pytest.raises(Exception, match="<EMAIL_1>"):
        await say(lab, "task:alone", MAIL)


async def test_embeddings_are_masked_too(tmp_path):
    """The input leaves as placeholders; a vector has nothing to put back."""
    config = MASKED.replace(
        "models:\n", "models:\n  vectors: {provider: backup, id: v, mode: embedding, price: free}\n", 1
    )
    config = config.replace("tasks:\n", "tasks:\n  embed: {models: [vectors], mask: all}\n")
    answer = {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    lab = Lab(tmp_path, {"backup": [Scripted(body=(json.dumps(answer).encode(),))]}, config=config)
    call = DIALECTS["openai_embeddings"].decode(b'{"model": "task:embed", "input": ["til ola@x.dk"]}')
    client = Client()
    await lab.engine.serve(call, Ask(call.name, kind="embedding", needs=call.needs), "r", client)
    assert '["til <EMAIL_1>"]' in sent(lab)
    assert answer == json.loads(client.body)


async def test_what_is_held_goes_out_before_the_connection_is_cut(tmp_path):
    """A stream that breaks off in the middle of what may be a placeholder: the client has every letter, and the error."""
    lab = Lab(tmp_path, {"backup": [Scripted(body=(chunk("til <EMAIL_1> og <EMA"),))]}, config=MASKED)
    client = Client()
    call = read({"model": "task:alone", "stream": True, "messages": [{"role": "user", "content": MAIL}]})
    with pytest.raises(Exception, match="broke off"):
        await lab.engine.serve(call, Ask(call.name, stream=True, needs=call.needs), "r", client)
    assert "cut" == client.ended
    texts = client.body.decode().split("\n\n")
    assert ["til ola@x.dk og ", "<EMA"] == [json.loads(one[6:])["choices"][0]["delta"]["content"] for one in texts[:2]]
    assert "stream_interrupted" in texts[2]


async def test_a_client_that_restores_is_the_client_itself_in_everything_else():
    """Who leaves, who is slow, who has begun: the client's own; an end that is held is written before a cut."""
    client = Client()
    mask = Mask(ALL)
    mask.hide("ola@x.dk")
    down = Restoring(client, mask)
    gone = []
    down.on_gone = lambda: gone.append(1)
    assert down.on_gone is client.on_gone
    assert (False, False) == (down.is_started, down.is_paused)
    down.start(200, [(b"a", b"b")])
    client.is_paused = True
    assert (True, True) == (down.is_started, down.is_paused)
    await down.drain()
    assert 1 == client.drains
    down.write(b'data: {"choices": [{"delta": {"con')
    assert b"" == client.body
    down.write(b'tent": "<"}}]}\n\n')
    down.cut()
    assert client.body.endswith(b'"content":"<"},"finish_reason":null}]}\n\n')
    assert "cut" == client.ended

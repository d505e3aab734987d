"""A request with an Idempotency-Key, over the whole gateway."""

import asyncio
import json

import pytest

from tests.rig import CONFIG, Rig


def body(words="hej", **more):
    return {"model": "first", "messages": [{"role": "user", "content": words}], **more}


async def post(rig, key, told, path="/v1/chat/completions", **headers):
    async with rig.http(idempotency_key=key, **headers) as client:
        return await client.post(path, json=told)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def leaving(rig, key, told):
    """Send a request on a bare socket; return its writer, to leave by."""
    data = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {rig.key}\r\nidempotency-key: {key}\r\n"
    writer.write(head.encode() + b"content-length: %d\r\n\r\n%b" % (len(data), data))
    return reader, writer


async def test_a_repeat_is_told_the_same_and_asks_nobody(rig):
    """Status, headers and body; one header says that it is one, and one metric counts it."""
    first = await post(rig, "k", body())
    again = await post(rig, "k", body())
    assert (again.status_code, again.content) == (first.status_code, first.content)
    ours = {**again.headers}
    assert ours.pop("idempotent-replayed") == "true"
    assert {name: value for name, value in ours.items() if name != "date"} == {
        name: value for name, value in first.headers.items() if name != "date"
    }
    assert rig.world.witness.count == 1
    assert "turnout_idempotent_replays_total 1.0" in rig.service.metrics().decode()
    assert len(await rig.traced()) == 1


async def test_without_the_header_nothing_is_kept(rig, tmp_path):
    """Not even a file."""
    async with rig.http() as client:
        await client.post("/v1/chat/completions", json=body())
    assert not (tmp_path / "home" / "answers.sqlite3").exists()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/embeddings", {"model": "vectors", "input": "hej"}),
        ("/v1/messages", {"model": "third", "max_tokens": 9, "messages": [{"role": "user", "content": "hej"}]}),
        (
            "/v1/messages",
            {"model": "first", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hej"}]},
        ),
    ],
)
async def test_every_dialect_has_it(rig, path, told):
    """And a key of one is no key of another: that is another request."""
    first, again = await post(rig, "k", told, path), await post(rig, "k", told, path)
    assert (first.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert rig.world.witness.count == 1
    assert (await post(rig, "k", body())).status_code == 422


async def test_workspaces_do_not_share_keys_and_users_do_not_share_answers(rig):
    """The same key elsewhere is another; for another user it is refused, not answered with the first one's words."""
    await post(rig, "k", body())
    other = await post(rig, "k", body(), x_turnout_workspace="b")
    assert "idempotent-replayed" not in other.headers
    refused = await post(rig, "k", body(), x_turnout_user="somebody else")
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "idempotency-key")


async def test_a_key_that_is_none_is_refused_before_anything_is_asked(rig):
    """400, and no file."""
    refused = await post(rig, "k" * 256, body())
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "idempotency-key")
    assert rig.world.witness.count == 0


@pytest.mark.parametrize(
    ("script", "status", "is_again"),
    [
        ("400", 400, True),
        ("500", 502, True),
        ("reset", 502, True),
        ("429", 429, False),
        ("503", 502, False),
    ],
)
async def test_errors_are_kept_if_a_vendor_may_have_worked(tmp_path, script, status, is_again):
    """The vendor's refusal, and what may have been billed; not its `not now`, which a repeat finds over."""
    config = (
        'providers: {{stub: {{kind: compatible, base_url: "{url}", api_key: sk-canary-1}}}}\n'
        "models: {{first: {{provider: stub, id: v/first, price: {{input: 1, output: 2}}}}}}\n"
        "retry: {{max_retries: 0}}\n"
    )
    async with Rig(tmp_path, config=config) as rig:
        rig.world.queue.append(script)
        first = await post(rig, "k", body())
        asked = rig.world.witness.count
        again = await post(rig, "k", body())
        assert first.status_code == status
        assert again.headers.get("idempotent-replayed") == ("true" if is_again else None)
        assert again.status_code == (status if is_again else 200)
        assert rig.world.witness.count == asked + (not is_again)
        assert not is_again or again.content == first.content


async def test_our_own_refusals_are_not_kept(rig):
    """The model may be there tomorrow."""
    assert (await post(rig, "k", {**body(), "model": "task:nowhere"})).status_code == 404
    assert (await post(rig, "k", {**body(), "model": "nothing"})).status_code == 404
    assert (await post(rig, "k", body())).status_code == 200


async def test_a_broken_stream_is_repeated_as_it_broke(rig):
    """Error event and cut connection: SDKs raise again, and nobody is asked twice."""
    rig.world.queue.append("cut-event=3")
    said = []
    for _ in range(2):
        reader, writer = await leaving(rig, "k", body(stream=True))
        _, _, answer = (await reader.read()).partition(b"\r\n\r\n")
        said.append(b"".join(line for line in answer.split(b"\r\n") if line.startswith(b"data")))
        writer.close()
    assert b"broke off" in said[0]
    assert b"[DONE]" not in said[0]
    assert said[0] == said[1]
    assert rig.world.witness.count == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_finds_its_answer_when_it_comes_back(rig, stream):
    """What it asked for with a key is finished and kept."""
    rig.world.queue.append("delay=0.1")
    _, writer = await leaving(rig, "k", body(stream=stream))
    await until(lambda: rig.world.witness.count == 1)
    writer.close()
    answer = await post(rig, "k", body(stream=stream))
    assert answer.headers["idempotent-replayed"] == "true"
    assert b"[DONE]" in answer.content if stream else answer.json()["choices"]
    assert rig.world.witness.count == 1
    assert [trace.outcome for trace in await rig.traced()] == ["ok"]


async def test_a_client_that_leaves_while_it_waits_takes_nothing_along(rig):
    """It is only gone."""
    rig.world.queue.append("delay=0.2")
    asking = asyncio.ensure_future(post(rig, "k", body()))
    await until(lambda: rig.world.witness.count == 1)
    _, writer = await leaving(rig, "k", body())
    await until(lambda: rig.service.admission.in_flight == 2)
    writer.close()
    await until(lambda: rig.service.admission.in_flight == 1)
    assert (await asking).status_code == 200


async def test_a_large_request_is_told_apart_too(rig):
    """Off the loop; to the last byte."""
    told = body("x" * 400_000)
    first, again = await post(rig, "k", told), await post(rig, "k", told)
    assert first.content == again.content
    assert (await post(rig, "k", body("x" * 399_999 + "y"))).status_code == 422
    assert rig.world.witness.count == 1


async def test_a_long_stream_is_kept_in_pieces_and_is_the_same_again(rig):
    """Far longer than what may wait in memory."""
    rig.world.queue.append("long=3000000")
    first, again = [await post(rig, "k", body(stream=True)) for _ in range(2)]
    assert len(first.content) > 3_000_000
    assert first.content == again.content
    assert again.headers["idempotent-replayed"] == "true"


async def test_stopping_ends_a_run_and_frees_its_key(tmp_path):
    """The next gateway serves it anew: nobody has that answer."""
    patient = CONFIG.replace("idle: 0.5", "idle: 30") + "server: {{grace: 0.1, lame_duck: 0}}\n"
    async with Rig(tmp_path, config=patient) as rig:
        rig.world.queue.append("stall-event=2")
        reader, writer = await leaving(rig, "k", body(stream=True))
        await reader.readuntil(b"data: ")
    assert b"gateway_stopping" in await reader.read()
    writer.close()
    async with Rig(tmp_path) as rig:
        answer = await post(rig, "k", body(stream=True))
        assert answer.status_code == 200
        assert "idempotent-replayed" not in answer.headers

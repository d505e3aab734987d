"""What a data request may hold: labels, encodings, sizes and depths; and what is made of it."""

import asyncio
import json

import pytest

from tests.rig import CONFIG, Rig
from turnout.api.data import LABEL_LENGTH, LARGE_BYTES, MEMBERS, MOST_TOKENS

CHAT = {"model": "first", "messages": [{"role": "user", "content": "hej"}]}
PATH = "/v1/chat/completions"
ROOMY = CONFIG.replace("context: 128000", "context: 10000000")
SMALL = CONFIG + "server: {{max_body: 2KiB, max_depth: 64}}\n"


async def test_task_user_and_session_come_from_headers_before_the_body(rig):
    """An application that cannot change its body can still say what a request is for."""
    async with rig.http(x_turnout_task="work", x_turnout_user="anna", x_turnout_session="s1") as client:
        answer = await client.post(PATH, json=CHAT | {"model": "auto", "user": "carl", "metadata": {"task": "alone"}})
        bare = await client.post(PATH, json=CHAT, headers={"x-turnout-task": "", "x-turnout-user": ""})
    later, first = await rig.traced()
    assert (first.target, first.asked_task, first.user) == ("task work", "work", "anna")
    assert answer.headers["x-turnout-task"] == "work"
    assert (later.target, later.user) == ("model first", "")
    assert "x-turnout-task" not in bare.headers


async def test_the_body_names_task_and_user_too(rig):
    """`metadata.task` is ours and does not go on; `user` is the application's and does."""
    async with rig.http() as client:
        await client.post(PATH, json=CHAT | {"model": "", "user": "carl", "metadata": {"task": "work", "trip": "7"}})
    (trace,) = await rig.traced()
    assert (trace.task, trace.user) == ("work", "carl")
    sent = json.loads(rig.world.witness.dispatches[0].body)
    assert (sent["user"], sent["metadata"]) == ("carl", {"trip": "7"})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("x-turnout-priority", "urgent", "high, medium or low"),
        ("x-turnout-timeout", "soon", "number of seconds"),
        ("x-turnout-by", "tomorrow", "an instant with its offset"),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused(rig, name, value, words):
    """With the header's name, before anything is sent."""
    async with rig.http() as client:
        answer = await client.post(PATH, json=CHAT, headers={name: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
    assert words in answer.json()["error"]["message"]
    assert rig.world.witness.count == 0


@pytest.mark.parametrize("name", ["x-turnout-task", "x-turnout-user", "x-turnout-session", "x-turnout-workspace"])
async def test_a_label_that_is_too_long_is_refused(rig, name):
    """With the header's name; the longest that is allowed passes."""
    async with rig.http() as client:
        long = await client.post(PATH, json=CHAT, headers={name: "x" * (LABEL_LENGTH + 1)})
        most = await client.post(PATH, json=CHAT, headers={name: "x" * LABEL_LENGTH})
    assert (long.status_code, long.json()["error"]["param"]) == (400, name)
    assert most.status_code == (404 if name == "x-turnout-task" else 200)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": "x" * (LABEL_LENGTH + 1)}, "model"),
        ({"metadata": {"task": "x" * (LABEL_LENGTH + 1)}}, "metadata.task"),
    ],
)
async def test_a_name_in_the_body_that_is_too_long_is_refused(rig, more, param):
    """Names are kept in every trace, so a megabyte of one is not taken."""
    async with rig.http() as client:
        answer = await client.post(PATH, json=CHAT | more)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert rig.world.witness.count == 0


async def test_a_user_of_any_length_passes_on_whole_and_is_kept_short(rig):
    """It is the application's text; our trace holds its beginning."""
    user = "ø" * 100_000
    async with rig.http() as client:
        answer = await client.post(PATH, json=CHAT | {"user": user})
    assert answer.status_code == 200
    assert json.loads(rig.world.witness.dispatches[0].body)["user"] == user
    (trace,) = await rig.traced()
    assert trace.user == user[:LABEL_LENGTH]


@pytest.mark.parametrize("path", [PATH, "/v1/messages"])
@pytest.mark.parametrize("many", [-(10**30), -1, 10**9, 2**63, 2**64, 10**30])
async def test_a_length_that_cannot_be_is_counted_within_bounds_and_passes_on_as_it_is(rig, path, many):
    """What it may cost is set aside and written down before its vendor is asked, who refuses it, or does not."""
    async with rig.http() as client:
        model = "third" if path == "/v1/messages" else "first"
        answer = await client.post(path, json=CHAT | {"model": model, "max_tokens": many})
        assert answer.status_code == 200, answer.text
    assert many == json.loads(rig.world.witness.dispatches[0].body)["max_tokens"]


async def test_the_longest_answer_fits_the_books_however_many_are_asked_for(rig):
    """A number of the books has 63 bits."""
    async with rig.http() as client:
        answer = await client.post(PATH, json=CHAT | {"max_tokens": 10**30, "n": 10**30})
    assert answer.status_code == 200, answer.text
    assert MOST_TOKENS * 100_000 < 2**63


async def test_a_label_that_is_no_utf8_is_read_as_well_as_it_goes(rig):
    """Bytes from a client end up in a trace and on a terminal."""
    async with rig.http() as client:
        answer = await client.post(PATH, json=CHAT, headers={b"x-turnout-user": b"J\xf8rgen"})
    assert answer.status_code == 200
    (trace,) = await rig.traced()
    assert trace.user == "J\ufffdrgen"


@pytest.mark.parametrize(
    ("encoding", "status"), [("gzip", 415), ("br, gzip", 415), ("identity", 200), ("Identity", 200)]
)
async def test_a_compressed_body_is_not_taken(rig, encoding, status):
    """No bomb is unpacked here."""
    async with rig.http() as client:
        answer = await client.post(PATH, content=json.dumps(CHAT).encode(), headers={"content-encoding": encoding})
    assert answer.status_code == status
    if status == 415:
        assert answer.json()["error"]["param"] == "content-encoding"


@pytest.mark.parametrize("path", [PATH, "/embeddings"])
async def test_a_body_over_the_bound_is_refused_with_what_to_raise(tmp_path, path):
    """413, and the connection ends; one byte less passes the bound."""
    async with Rig(tmp_path, config=SMALL) as rig, rig.http() as client:
        body = json.dumps(CHAT | {"pad": ""}).encode()
        exact = body.replace(b'"pad": ""', b'"pad": "%b"' % (b"x" * (2048 - len(body))))
        over = await client.post(path, content=exact + b" ")
        fits = await client.post(PATH, content=exact)
    assert (over.status_code, over.json()["error"]["code"]) == (413, "request_too_large")
    assert "server.max_body" in over.json()["error"]["message"]
    assert over.headers["connection"] == "close"
    assert fits.status_code == 200
    assert rig.world.witness.count == 1


async def test_a_body_far_over_the_shipped_bound_is_refused_while_it_is_still_being_sent(rig):
    """10 MB; the client gets its answer although it has not finished."""
    async with rig.http() as client:
        answer = await client.post(PATH, content=b"x" * (12 * 1024 * 1024))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(("levels", "status"), [(64, 200), (65, 400)])
async def test_nesting_is_bounded_before_any_parser_sees_it(rig, levels, status):
    """64 levels, the object around it counted."""
    deep = b"[" * (levels - 1) + b"]" * (levels - 1)
    body = json.dumps(CHAT).encode()[:-1] + b', "deep": ' + deep + b"}"
    async with rig.http() as client:
        answer = await client.post(PATH, content=body)
    assert answer.status_code == status
    if status == 400:
        assert "64 levels" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("inside", "status", "words"),
    [
        (b"[" * 63 + b"]" * 63, 200, ""),
        (b"[" * 64 + b"]" * 64, 400, "64 levels"),
        (b'{"a":' * 10**6, 400, "64 levels"),
        (b'[{"a":1' + b',"a":1' * (MEMBERS - 7) + b"}]", 200, ""),
        (b'[{"a":1' + b',"a":1' * (MEMBERS - 6) + b"}]", 400, "100,000 members"),
    ],
)
async def test_a_large_body_is_bounded_in_pieces(tmp_path, inside, status, words):
    """As a small one is; and no million members are split, which a small one has no room for."""
    chat = json.dumps(CHAT).encode()[:-1]  # four members, and the two that follow
    body = chat + b', "pad": "' + b'\\"[{' * LARGE_BYTES + b'", "inside": ' + inside + b"}"
    async with Rig(tmp_path, config=ROOMY) as rig, rig.http() as client:
        answer = await client.post(PATH, content=body)
    assert (answer.status_code, rig.world.witness.count) == (status, status == 200), answer.text[:300]
    assert words in answer.text


async def test_a_client_that_leaves_while_its_large_body_is_looked_through_costs_nothing(tmp_path):
    """Nothing is sent upstream for nobody."""
    body = json.dumps(CHAT | {"pad": "x" * 30 * LARGE_BYTES}).encode()
    async with Rig(tmp_path, config=ROOMY) as rig:
        _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {rig.key}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        while not (there := list(rig._server.server_state.connections)) or not (exchange := there[0].cycle):
            await asyncio.sleep(0)
        while exchange.more_body:
            await asyncio.sleep(0)
        writer.transport.abort()
        await asyncio.wait([exchange.task])
        assert (rig.service.telemetry.in_flight, rig.world.witness.count) == (0, 0)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ('application/json;charset="UTF-8"', 200),
        ("text/plain; charset=us-ascii", 200),
        ("application/json; charset=utf-16", 400),
        ("application/json; Charset = 'utf-8'", 400),
        ("application/json; charset=utf-8; charset=latin1", 400),
    ],
)
async def test_a_body_in_another_character_set_is_refused(rig, content_type, status):
    """JSON is UTF-8 (RFC 8259 §8.1); what says otherwise would be read otherwise by somebody (T50)."""
    async with rig.http() as client:
        answer = await client.post(PATH, content=json.dumps(CHAT).encode(), headers={"content-type": content_type})
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["error"]["param"] == "content-type"


async def test_who_has_no_key_is_told_so_before_anything_is_read(rig):
    """Not even the body's encoding or size."""
    async with rig.http(authorization="Bearer wrong", content_encoding="gzip") as client:
        answer = await client.post(PATH, content=b"x")
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"model": "first"}', b'\xff{"model": 1}', b'{"model": 1, "messages": [{}]}']
)
async def test_what_is_no_request_is_a_400_that_says_why(rig, body):
    """Nothing is sent upstream."""
    async with rig.http() as client:
        answer = await client.post(PATH, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert rig.world.witness.count == 0

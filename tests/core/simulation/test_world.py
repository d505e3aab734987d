"""The world: what each request gets, when, and what is remembered of it."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation.profiles import DEFAULT, FREE, LISTED, Profile
from turnout.core.simulation.script import Body, Head, Reset, Script, Stall
from turnout.core.simulation.world import World

WALL = 1_700_000_000.0
FREE_MODEL = "z-ai/glm-4.5-air:free"


def post(
    world: World,
    *,
    path: str = "/v1/chat/completions",
    headers: Mapping[str, str] | None = None,
    now: float = 100.0,
    raw: bytes | None = None,
    **fields: Any,
) -> Script:
    """Send a chat request to the world."""
    known = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hej"}]}
    body = msgspec.json.encode({**known, **fields}) if raw is None else raw
    return world.receive("POST", path, list((headers or {}).items()), body, now=now, wall=WALL)


def get(world: World, path: str, method: str = "GET", body: bytes = b"") -> tuple[int, Any]:
    """Ask the world for one of its own pages."""
    script = world.receive(method, path, [], body, now=0.0, wall=WALL)
    assert script.dispatch is None
    return head(script).status, msgspec.json.decode(sent(script))


def head(script: Script) -> Head:
    """Return the head of a script."""
    return next(step.action for step in script.steps if isinstance(step.action, Head))


def sent(script: Script) -> bytes:
    """Return the body of a script."""
    return b"".join(step.action.data for step in script.steps if isinstance(step.action, Body))


def status(script: Script) -> int:
    """Return the status of a script."""
    return head(script).status


# ── sound answers ──


def test_a_chat_is_answered_and_marked_as_simulated() -> None:
    """Status, header, label, and a usage equal to what was said."""
    script = post(World.instant())
    reply = msgspec.json.decode(sent(script))
    text = reply["choices"][0]["message"]["content"]
    assert dict(head(script).headers)["x-simulated"] == "1"
    assert text.startswith("[simuleret] ")
    assert reply["usage"] == {
        "prompt_tokens": 1,
        "completion_tokens": -(-len(text) // 4),
        "total_tokens": 1 - (-len(text) // 4),
    }
    assert script.dispatch is not None
    assert script.dispatch.output_tokens == reply["usage"]["completion_tokens"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions", "/api/v1/chat/completions/?x=1"])
def test_any_prefix_is_accepted(path: str) -> None:
    """With and without /v1, or as another vendor has it."""
    assert status(post(World.instant(), path=path)) == 200


def test_a_stream_is_told_in_events_with_its_tokens() -> None:
    """The tokens of the steps add up to the tokens of the answer."""
    script = post(World.instant(), stream=True, stream_options={"include_usage": True})
    bodies = [step.action for step in script.steps if isinstance(step.action, Body)]
    assert dict(head(script).headers)["content-type"] == "text/event-stream"
    assert script.dispatch is not None
    assert sum(body.tokens for body in bodies) == script.dispatch.output_tokens
    assert [body.is_usage for body in bodies][-2:] == [True, False]
    assert bodies[-1].data == b"data: [DONE]\n\n"


def test_anthropics_messages() -> None:
    """Whole and streamed, with errors in their own format."""
    world = World.instant()
    assert msgspec.json.decode(sent(post(world, path="/v1/messages")))["type"] == "message"
    assert b"event: message_stop" in sent(post(world, path="/v1/messages", stream=True))
    assert msgspec.json.decode(sent(post(world, path="/v1/messages", raw=b"{}")))["type"] == "error"


def test_embeddings() -> None:
    """Vectors and an input count."""
    script = post(World(1), path="/v1/embeddings", model="text-embedding-3-small", input=["hej", "dav"])
    reply = msgspec.json.decode(sent(script))
    assert (len(reply["data"]), reply["usage"]["total_tokens"]) == (2, 2)
    assert script.steps[0].delay_s > 0


# ── chance and time ──


def test_the_same_seed_and_requests_give_the_same_world() -> None:
    """Byte for byte and delay for delay, whatever runs between."""
    first, second = World(7), World(7)
    post(second, messages=[{"role": "user", "content": "noget andet"}], model="gpt-4o-mini")
    assert post(first, stream=True).steps == post(second, stream=True).steps
    assert post(first, stream=True).steps == post(second, stream=True).steps
    assert post(World(8), stream=True).steps != post(World(7), stream=True).steps


def test_a_repetition_draws_anew() -> None:
    """The same body twice is two requests."""
    world = World(7)
    assert post(world).steps != post(world).steps


def test_what_was_seen_is_bounded() -> None:
    """After 100,000 bodies the count of repetitions begins anew."""
    world = World.instant()
    first = post(world, raw=b'{"model":"m","messages":[{}]}').steps
    world._seen.update({number.to_bytes(4): 1 for number in range(100_000)})
    assert post(world, raw=b'{"model":"m","messages":[{}]}').steps == first


@given(st.floats(min_value=0.5, max_value=100))
def test_speed_divides_every_delay(speed: float) -> None:
    """The same answer, sooner."""
    slow, fast = post(World(3), stream=True).steps, post(World(3, speed=speed), stream=True).steps
    assert [step.action for step in slow] == [step.action for step in fast]
    assert [step.delay_s for step in fast] == pytest.approx([step.delay_s / speed for step in slow])


def test_a_stream_has_a_wait_for_the_first_token_and_one_between_tokens() -> None:
    """Head after a quarter, the opening event at the first token, then evenly."""
    world = World(1, {"*": Profile(first_token_s=1.0, per_token_s=0.1)})
    delays = [step.delay_s for step in post(world, stream=True, max_tokens=3).steps]
    assert delays == pytest.approx([0.25, 0.75, 0.0, 0.1, 0.1, 0.0, 0.0, 0.0])


def test_a_plain_answer_waits_for_all_of_it() -> None:
    """First token and two more."""
    world = World(1, {"*": Profile(first_token_s=1.0, per_token_s=0.1)})
    assert post(world, max_tokens=3).steps[0].delay_s == pytest.approx(1.2)


def test_free_models_show_comments_before_the_first_token() -> None:
    """As OpenRouter does."""
    script = post(World(1, failure_rate=0.0), model=FREE_MODEL, stream=True)
    assert sent(script).startswith(b": OPENROUTER PROCESSING\n\n")


def test_speed_must_be_positive() -> None:
    """Time does not stand still."""
    with pytest.raises(ValueError, match="speed"):
        World(speed=0)


# ── refusals of the vendor's own ──


def test_the_free_allowance_is_shared_by_models_and_not_by_accounts() -> None:
    """16 a minute over all free models of one key; the reset is told in real time, divided by the speed."""
    world = World(1, failure_rate=0.0, speed=20.0)
    mine = {"authorization": "Bearer a"}
    for number in range(16):
        assert status(post(world, model=f"m{number}:free", headers=mine)) == 200
    refused = post(world, model=FREE_MODEL, headers=mine, now=101.0)
    assert status(refused) == 429
    reset = int(dict(head(refused).headers)["x-ratelimit-reset"])
    assert reset == 1000 * WALL + 1000 * (60 / 20 - 1)
    assert status(post(world, model=FREE_MODEL, headers={"x-api-key": "b"})) == 200
    assert status(post(world, headers=mine)) == 200
    assert status(post(world, model=FREE_MODEL, headers=mine, now=103.0)) == 200


def test_eight_percent_of_free_requests_are_refused() -> None:
    """As by a busy host, without a hint."""
    world = World(5, free_per_minute=0, free_per_day=0)
    refused = [script for _ in range(1000) if status(script := post(world, model=FREE_MODEL)) == 429]
    assert 55 <= len(refused) <= 105
    assert "x-ratelimit-reset" not in dict(head(refused[0]).headers)
    assert 0 < refused[0].steps[0].delay_s < 2


def test_failure_rate_is_for_free_models() -> None:
    """Paid ones stay as they are."""
    world = World(1, failure_rate=1.0)
    assert (status(post(world, model=FREE_MODEL)), status(post(world))) == (429, 200)


def test_concurrency_is_per_account_and_model_and_freed_at_the_end() -> None:
    """The third at once is refused until one has ended."""
    world = World(1, {"*": Profile(concurrency=2)})
    first, _ = post(world), post(world)
    refused = post(world)
    assert status(refused) == 429
    assert first.dispatch is not None
    assert refused.dispatch is not None
    world.ended(refused.dispatch, "complete", 1.0)
    world.ended(first.dispatch, "complete", 1.0)
    world.ended(first.dispatch, "client-closed", 2.0)
    assert first.dispatch.outcome == "complete"
    assert [status(post(world)), status(post(world))] == [200, 429]


def test_nothing_is_left_in_flight_when_all_has_ended() -> None:
    """No memory per account or model remains."""
    world = World.instant()
    script = post(world)
    assert script.dispatch is not None
    world.ended(script.dispatch, "complete", 1.0)
    assert (world._in_flight, world.witness.open) == ({}, 0)


def test_a_prompt_that_does_not_fit_is_refused() -> None:
    """By the profile's context."""
    world = World(1, {"*": Profile(context_tokens=8)})
    script = post(world, messages=[{"role": "user", "content": "x" * 40}])
    assert status(script) == 400
    assert b"context_length_exceeded" in sent(script)


def test_a_models_own_output_bound_holds() -> None:
    """Whatever the request allows."""
    reply = msgspec.json.decode(sent(post(World(1, {"*": Profile(max_output_tokens=5)}))))
    assert (reply["usage"]["completion_tokens"], reply["choices"][0]["finish_reason"]) == (5, "length")


def test_unreadable_requests_and_unknown_models() -> None:
    """400 with the field, 404 with the name."""
    world = World.instant()
    assert status(post(world, raw=b"{")) == 400
    assert msgspec.json.decode(sent(post(world, raw=b'{"model":"m"}')))["error"]["param"] == "messages"
    assert b"The model 'x' does not exist" in sent(post(World(1, {"gpt-*": Profile()}), model="x"))


# ── faults ──


def test_faults_from_a_queue_come_in_order() -> None:
    """An empty one is a sound answer; afterwards all is well."""
    world = World.instant(faults=["503", "", "reset"])
    assert [status(post(world)), status(post(world))] == [503, 200]
    assert post(world).steps[-1].action == Reset()
    assert status(post(world)) == 200


def test_faults_by_model_stay() -> None:
    """Until they are taken away, and before the queue."""
    world = World.instant(faults={"gpt-4o*": "500"})
    world.queue.append("503")
    assert [status(post(world, model="gpt-4o-mini")), status(post(world, model="gpt-4o"))] == [500, 500]
    assert status(post(world, model="claude")) == 503
    world.by_model.clear()
    assert status(post(world)) == 200


def test_faults_from_a_function() -> None:
    """It is asked with the model's name."""
    world = World.instant(faults=lambda model: "stall" if model == "slow" else "")
    assert post(world, model="slow").steps[-1].action == Stall()
    assert status(post(world)) == 200


def test_a_requests_own_fault_goes_first() -> None:
    """Its header; a fault that does not exist is a 400 that lists them."""
    world = World.instant(faults=["503"])
    assert status(post(world, headers={"x-fault": "529"})) == 529
    assert b"unknown fault" in sent(post(world, headers={"x-fault": "nonsense"}))
    assert status(post(world)) == 503


@pytest.mark.parametrize("faults", [["nonsense"], {"*": "nonsense"}])
def test_faults_that_do_not_exist_are_refused_at_once(faults: Any) -> None:
    """When the world is made."""
    with pytest.raises(ValueError, match="nonsense"):
        World.instant(faults=faults)


def test_usage_tokens_and_huge_events() -> None:
    """Faults of the answer itself."""
    world = World.instant()
    assert b'"prompt_tokens":-2' in sent(post(world, headers={"x-fault": "usage=negative"}))
    absent = post(world, headers={"x-fault": "usage=absent"}, stream=True, stream_options={"include_usage": True})
    assert b'"usage"' not in sent(absent)
    long = msgspec.json.decode(sent(post(world, headers={"x-fault": "tokens=300"}, max_tokens=5)))
    assert long["usage"]["completion_tokens"] == 300
    huge = post(world, headers={"x-fault": "huge-event=100000"}, stream=True)
    assert max(len(step.action.data) for step in huge.steps if isinstance(step.action, Body)) > 100_000
    embedded = post(world, path="/v1/embeddings", input="x", headers={"x-fault": "usage=absent"})
    assert b'"usage"' not in sent(embedded)


def test_a_scripted_refusal_is_quick_and_counts_against_the_allowance() -> None:
    """It does not wait as long as an answer, but for its own `delay`."""
    world = World(1, {"*:free": Profile(first_token_s=50.0, is_free=True)}, free_per_minute=2)
    asked = {"x-fault": "500;delay=2"}
    refused = post(world, model=FREE_MODEL, headers=asked)
    assert (status(refused), refused.steps[0].delay_s) == (500, 2.0)
    assert [status(post(world, model=FREE_MODEL)) for _ in range(2)] == [200, 429]


def test_a_scripted_fault_goes_before_the_vendors_own_refusals() -> None:
    """A drill is not disturbed by chance."""
    world = World(1, {"*": Profile(failure_rate=1.0)})
    assert status(post(world, headers={"x-fault": "delay=0"})) == 200


def test_connections_can_be_refused_from_the_queue() -> None:
    """Each takes one from the queue, and is counted."""
    world = World.instant(faults=["reset-accept", "500"])
    assert [world.accepts(), world.accepts()] == [False, True]
    assert (world.witness.connections, world.witness.refused_connections) == (2, 1)
    assert status(post(world)) == 500
    assert world.accepts()


# ── the witness and the world's own pages ──


def test_every_model_call_is_written_down() -> None:
    """Who, what, how much, by which id; the key itself only in memory."""
    records: list[dict[str, object]] = []
    world = World.instant(observe=records.append)
    script = post(
        world, headers={"authorization": "Bearer sk-1", "x-request-id": "req_7", "x-fault": "503"}, stream=True
    )
    seen = world.witness.dispatches[0]
    assert seen is script.dispatch
    assert (seen.number, seen.request_id, seen.model, seen.stream, seen.fault) == (1, "req_7", "gpt-4o", True, "503")
    assert (seen.status, seen.received_at, seen.received_wall) == (503, 100.0, WALL)
    assert len(seen.account) == 12
    assert records == [seen.record("received")]
    assert world.witness.find(b"sk-1") == [1]
    assert post(world, headers={"x-fault": "reset"}).dispatch == world.witness.dispatches[1]
    assert world.witness.dispatches[1].status == 0


def test_health_and_models() -> None:
    """Not model calls: the witness does not count them."""
    world = World.instant()
    assert get(world, "/health") == (200, {"status": "ok", "simulated": True})
    assert [one["id"] for one in get(world, "/v1/models")[1]["data"]] == list(LISTED)
    assert get(world, "/v1/models/some/model:free")[1]["id"] == "some/model:free"
    assert world.witness.count == 0


def test_a_world_of_named_models_lists_them() -> None:
    """And knows no others."""
    world = World(1, {"a": FREE, "b*": FREE})
    assert [one["id"] for one in get(world, "/models")[1]["data"]] == ["a"]
    assert get(world, "/models/c")[0] == 404


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/v1/chat/completions"), ("POST", "/v1/responses"), ("POST", "/health")]
)
def test_what_is_not_there(method: str, path: str) -> None:
    """404 in the vendor's form."""
    code, reply = get(World.instant(), path, method)
    assert code == 404
    assert path in reply["error"]["message"]


def test_the_book_can_be_read_and_searched() -> None:
    """`GET /witness`, and `?find=` for a canary."""
    world = World.instant()
    post(world, messages=[{"role": "user", "content": "kanarie-1"}])
    code, book = get(world, "/witness")
    assert (code, book["count"], book["dispatches"][0]["model"]) == (200, 1, "gpt-4o")
    assert get(world, "/witness?find=kanarie-1")[1] == {"found": [1]}


def test_faults_can_be_set_from_outside() -> None:
    """All valid or nothing changes."""
    world = World.instant()
    wanted = {"queue": ["503"], "by_model": {"gpt-*": "500"}}
    assert get(world, "/faults", "PUT", msgspec.json.encode(wanted)) == (200, wanted)
    for wrong in (b'{"queue": ["nonsense"]}', b'{"queue": 1}', b"{"):
        assert get(world, "/faults", "PUT", wrong)[0] == 400
    assert (list(world.queue), world.by_model) == (["503"], {"gpt-*": "500"})


def test_the_default_world_is_the_free_tier() -> None:
    """16 a minute, 50 a day, eight percent refused (FACTS §3)."""
    assert DEFAULT["*:free"].failure_rate == 0.08
    world = World(failure_rate=0.0)
    passed = sum(status(post(world, model=FREE_MODEL, now=60.0 * minute)) == 200 for minute in range(60))
    assert passed == 50

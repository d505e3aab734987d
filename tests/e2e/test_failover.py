"""Failing over before anyone notices: the official SDK sees one good answer, or one error that says what to do."""

import json

import openai
import pytest

from tests.faults.test_t01_unreachable import closed_port
from tests.rig import CONFIG, Rig

MESSAGES = [{"role": "user", "content": "Skriv en mail til Mette"}]
QUICK = CONFIG.replace("first_chunk: 1", "first_chunk: 0.2")
TASKS = [
    "calendar-check",
    "calendar-create",
    "chat",
    "code-generation",
    "complex-reasoning",
    "data-analysis",
    "email-analysis",
    "email-draft",
    "invoice-create",
    "lead-analysis",
]


async def answer(client, model, *, stream, **more):
    """Ask as an application does; return the text and the headers."""
    raw = await client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, stream=stream, **more)
    parsed = raw.parse()
    if not stream:
        return parsed.choices[0].message.content, raw.headers
    chunks = [chunk async for chunk in parsed]
    assert [one.choices[0].finish_reason for one in chunks if one.choices[0].finish_reason] == ["stop"]
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks), raw.headers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "script", ["429", "retry-after=3", "500", "503", "stall", "reset", "close", "bad-http", "redirect=302"]
)
async def test_the_second_answers_when_the_first_fails_and_the_sdk_notices_nothing(tmp_path, script, stream):
    """Whatever ails it, one answer, from the second, with both in the books."""
    async with Rig(tmp_path, config=QUICK) as rig, rig.openai() as client:
        rig.world.by_model["vendor/first"] = script
        text, headers = await answer(client, "task:work", stream=stream)
        (trace,) = await rig.traced()
    assert text.startswith("[simuleret]")
    assert (headers["x-turnout-model"], headers["x-turnout-attempts"]) == ("second", "2")
    assert headers["x-turnout-tried"] == "first@stub, second@backup"
    assert [one.model for one in rig.world.witness.dispatches] == ["vendor/first", "vendor/second"]
    assert [attempt.outcome for attempt in trace.attempts][1:] == ["ok"]
    assert trace.attempts[0].outcome.startswith("upstream_")
    assert rig.service.telemetry.fallbacks == {"work": 1}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_refused_connection_is_a_fallback_too(tmp_path, stream):
    """Nobody listens at the first one's address."""
    config = QUICK.replace(
        'stub: {{kind: compatible, base_url: "{url}/v1"',
        f'stub: {{{{kind: compatible, base_url: "http://127.0.0.1:{closed_port()}/v1"',
    )
    async with Rig(tmp_path, config=config) as rig, rig.openai() as client:
        _, headers = await answer(client, "task:work", stream=stream)
    assert headers["x-turnout-model"] == "second"


async def test_the_third_speaks_another_protocol_and_the_sdk_notices_nothing(tmp_path):
    """Two failures, then a Messages API behind the same stream of chunks."""
    async with Rig(tmp_path, config=QUICK) as rig, rig.openai() as client:
        rig.world.by_model |= {"vendor/first": "503", "vendor/second": "reset"}
        for stream in (False, True):
            text, headers = await answer(client, "task:work", stream=stream)
            assert text.startswith("[simuleret]")
            assert headers["x-turnout-provider"] == "claude"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("script", ["429", "503", "reset"])
async def test_alone_a_candidate_is_tried_again_with_backoff(tmp_path, script, stream):
    """Three attempts, with waits between that grow at most to the configured one."""
    async with Rig(tmp_path, config=QUICK) as rig, rig.openai() as client:
        rig.world.queue.extend([script, script])
        _, headers = await answer(client, "task:alone", stream=stream)
        (trace,) = await rig.traced()
    assert headers["x-turnout-attempts"] == "3"
    assert [attempt.model for attempt in trace.attempts] == ["first"] * 3
    waits = [
        later.started_s - earlier.ended_s for earlier, later in zip(trace.attempts, trace.attempts[1:], strict=False)
    ]
    assert all(0 <= wait < 0.3 for wait in waits)


async def test_a_hint_is_waited_for_if_it_fits(tmp_path):
    """Not shorter than the vendor said."""
    async with Rig(tmp_path, config=QUICK) as rig, rig.openai() as client:
        rig.world.queue.append("retry-after-ms=150")
        await answer(client, "task:alone", stream=False)
        (trace,) = await rig.traced()
    assert 0.15 <= trace.attempts[1].started_s - trace.attempts[0].ended_s < 0.6


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_without_retries_nobody_else_is_asked(tmp_path, stream):
    """`max_retries: 0`, for a task and for everything."""
    task = QUICK.replace(
        "work: {{models: [first, second, third]", "work: {{max_retries: 0, models: [first, second, third]"
    )
    everything = QUICK.replace("retry: {{", "retry: {{max_retries: 0, ")
    for number, config in enumerate((task, everything)):
        home = tmp_path / str(number)
        home.mkdir()
        async with Rig(home, config=config) as rig, rig.openai() as client:
            rig.world.by_model["vendor/first"] = "503"
            with pytest.raises(openai.InternalServerError) as caught:
                await answer(client, "task:work", stream=stream)
            assert (caught.value.status_code, caught.value.code) == (502, "upstream_fault")
            assert "first at stub" in caught.value.message
            assert rig.world.witness.count == 1


async def test_an_sdk_that_retries_by_itself_does_not_multiply_what_was_tried(tmp_path):
    """`x-should-retry: false` on what has been tried everywhere."""
    async with Rig(tmp_path, config=QUICK) as rig, rig.openai(max_retries=2) as client:
        rig.world.by_model |= {"vendor/*": "503", "claude-*": "503"}
        with pytest.raises(openai.InternalServerError) as caught:
            await answer(client, "task:work", stream=False)
        traces = await rig.traced()
    assert caught.value.code == "no_candidate"
    for who in ("first at stub", "second at backup", "third at claude"):
        assert who in caught.value.message
    assert len(traces) == 1
    assert rig.world.witness.count == 3


WINDOWS = CONFIG.replace(
    "id: vendor/first, price: free, context: 128000",
    "id: vendor/first, price: free, context: 500, context_fallbacks: [second]",
)


async def test_a_prompt_that_is_too_long_goes_to_a_larger_window_before_it_is_sent(tmp_path):
    """The estimate is far beyond the first window, so the first is not asked."""
    async with Rig(tmp_path, config=WINDOWS) as rig, rig.openai() as client:
        long = [{"role": "user", "content": "Rengøring af kontor. " * 400}]
        raw = await client.chat.completions.with_raw_response.create(model="task:alone", messages=long)
        (trace,) = await rig.traced()
    assert raw.headers["x-turnout-model"] == "second"
    assert [one.model for one in rig.world.witness.dispatches] == ["vendor/second"]
    assert [(one.model, one.code) for one in trace.filtered] == [("first", "context")]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_vendor_that_says_it_does_not_fit_is_believed(tmp_path, stream):
    """Its own count is what counts; the larger model answers, although a 400 is final otherwise."""
    async with Rig(tmp_path, config=WINDOWS) as rig, rig.openai() as client:
        rig.world.by_model["vendor/first"] = "overflow=500"
        _, headers = await answer(client, "task:alone", stream=stream)
    assert headers["x-turnout-model"] == "second"
    assert [one.model for one in rig.world.witness.dispatches] == ["vendor/first", "vendor/second"]


async def test_where_nobody_holds_more_the_vendors_own_words_are_the_answer(tmp_path):
    """As it wrote them."""
    async with Rig(tmp_path, config=CONFIG.replace("[first]", "[third]")) as rig, rig.openai() as client:
        rig.world.by_model["claude-third"] = "overflow=500"
        with pytest.raises(openai.BadRequestError) as caught:
            await answer(client, "task:alone", stream=False)
    assert caught.value.body is not None
    assert rig.world.witness.count == 1


async def test_a_price_ceiling_names_what_was_passed_over_and_why(tmp_path):
    """Free means free: the request is refused rather than paid for."""
    async with Rig(
        tmp_path, config=CONFIG.replace("cheap: {{models: [first, third]", "cheap: {{models: [third]")
    ) as rig:
        async with rig.openai() as client:
            with pytest.raises(openai.InternalServerError) as caught:
                await answer(client, "task:cheap", stream=False)
        (trace,) = await rig.traced()
    message = caught.value.message
    assert caught.value.code == "no_candidate"
    assert "third (claude) costs $3 in, $15 out per million tokens; the price ceiling is free" in message
    assert "tasks.cheap.price_ceiling" in message
    assert trace.status == 503
    assert rig.world.witness.count == 0


async def test_under_a_price_ceiling_a_failure_never_falls_back_to_what_costs(tmp_path):
    """The dear one is passed over, not tried last."""
    async with Rig(tmp_path, config=QUICK) as rig, rig.openai() as client:
        rig.world.by_model["vendor/first"] = "503"
        with pytest.raises(openai.InternalServerError):
            await answer(client, "task:cheap", stream=False)
        (trace,) = await rig.traced()
    assert {one.model for one in rig.world.witness.dispatches} == {"vendor/first"}
    assert [(one.model, one.code) for one in trace.filtered] == [("third", "price")]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_model_that_is_named_is_forced_even_where_the_task_prefers_another(tmp_path, stream):
    """The task still labels the request and gives its terms."""
    async with Rig(tmp_path) as rig, rig.openai(default_headers={"x-turnout-task": "work"}) as client:
        _, headers = await answer(client, "second", stream=stream)
    assert (headers["x-turnout-model"], headers["x-turnout-task"]) == ("second", "work")
    async with Rig(tmp_path) as rig, rig.openai(default_headers={"x-turnout-task": "cheap"}) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await answer(client, "third", stream=stream)
    assert "third" in caught.value.message
    assert "second" not in caught.value.message
    assert rig.world.witness.count == 0


async def test_an_unknown_task_lists_the_ten(tmp_path):
    """And those of the file; the nearest is named first."""
    async with Rig(tmp_path) as rig, rig.openai() as client:
        with pytest.raises(openai.NotFoundError) as caught:
            await answer(client, "task:email-drafts", stream=False)
    assert caught.value.param == "task"
    assert "Did you mean email-draft" in caught.value.message
    for task in [*TASKS, "work", "cheap", "alone"]:
        assert task in caught.value.message


async def test_what_the_client_asked_reaches_the_second_as_it_would_have_the_first(tmp_path):
    """Every field, but the model's name."""
    async with Rig(tmp_path, config=QUICK) as rig, rig.openai() as client:
        rig.world.by_model["vendor/first"] = "reset"
        await answer(client, "task:work", stream=False, temperature=0.25, seed=7, extra_body={"odd": {"a": [1]}})
    first, second = (json.loads(one.body) for one in rig.world.witness.dispatches)
    assert first.pop("model") == "vendor/first"
    assert second.pop("model") == "vendor/second"
    assert first == second
    assert (second["temperature"], second["seed"], second["odd"]) == (0.25, 7, {"a": [1]})


@pytest.mark.parametrize("second", ["works", "fails"])
async def test_a_candidate_whose_format_cannot_say_the_request_is_passed_over(tmp_path, second):
    """`n` has no place in Anthropic's format: whoever stands behind that candidate is asked, and explain says why."""
    config = CONFIG.replace("models: [first, second, third]", "models: [third, second]")
    async with Rig(tmp_path, config=config) as rig, rig.openai() as client:
        if second == "fails":
            rig.world.by_model["vendor/second"] = "status=402"
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(model="task:work", messages=MESSAGES, n=2)
        else:
            raw = await client.chat.completions.with_raw_response.create(model="task:work", messages=MESSAGES, n=2)
            assert raw.headers["x-turnout-model"] == "second"
            assert raw.headers["x-turnout-attempts"] == "1"
        (trace,) = await rig.traced()
    assert [one.model for one in rig.world.witness.dispatches] == ["vendor/second"]
    assert [(one.model, one.code) for one in trace.filtered] == [("third", "format")]
    assert "n" in trace.filtered[0].detail


async def test_if_nobodys_format_can_say_it_the_client_is_told_which_field(tmp_path):
    """400 with `param`; after a failure of somebody who could, that failure."""
    config = CONFIG.replace("models: [first, second, third]", "models: [first, third]")
    async with Rig(tmp_path, config=config) as rig, rig.openai() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="third", messages=MESSAGES, n=2)
        assert caught.value.param == "n"
        rig.world.by_model["vendor/first"] = "status=500"
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="task:work", messages=MESSAGES, n=2)

"""The official openai SDK against the gateway, over real sockets: nothing but its base URL is changed."""

import json

import openai
import pytest

QUESTION = [{"role": "user", "content": "Hvad koster flytterengøring?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "checkAvailability",
        "description": "Is a time free?",
        "parameters": {"type": "object", "properties": {"date": {"type": "string"}}, "required": ["date"]},
    },
}


@pytest.mark.parametrize("model", ["first", "task:work", "work", "stub/vendor/first"])
async def test_chat_by_model_task_and_account_slash_id(rig, model):
    """One question, one answer, one dispatch under the vendor's own name for the model."""
    async with rig.openai() as client:
        reply = await client.chat.completions.create(model=model, messages=QUESTION)
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.prompt_tokens > 0
    assert [one.model for one in rig.world.witness.dispatches] == ["vendor/first"]


async def test_headers_say_who_answered_and_what_it_cost(rig):
    """x-request-id and x-turnout-*."""
    async with rig.openai() as client:
        raw = await client.chat.completions.with_raw_response.create(model="task:work", messages=QUESTION)
    told = {name: value for name, value in raw.headers.items() if name.startswith("x-")}
    assert told.pop("x-request-id").startswith("req_")
    assert told == {
        "x-turnout-model": "first",
        "x-turnout-provider": "stub",
        "x-turnout-task": "work",
        "x-turnout-arm": "control",
        "x-turnout-attempts": "1",
        "x-turnout-cost": "0.000000",
    }


async def test_a_stream_gives_every_word_the_vendor_sent(rig):
    """Chunk by chunk, with one finish reason, and no usage chunk that was not asked for."""
    async with rig.openai() as client:
        stream = await client.chat.completions.create(model="first", messages=QUESTION, stream=True)
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    (dispatch,) = rig.world.witness.dispatches
    assert text.startswith("[simuleret] ")
    assert -(-len(text) // 4) == dispatch.output_tokens == dispatch.sent_tokens
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.choices for chunk in chunks)


async def test_a_stream_tells_its_usage_if_asked(rig):
    """stream_options.include_usage is the client's to ask; upstream it is always asked, for the books."""
    async with rig.openai() as client:
        stream = await client.chat.completions.create(
            model="first", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    assert chunks[-1].choices == []


async def test_tools_are_called_and_their_results_are_taken(rig):
    """Both halves of a tool conversation."""
    async with rig.openai() as client:
        asked = await client.chat.completions.create(
            model="first", messages=QUESTION, tools=[TOOL], tool_choice="required"
        )
        call = asked.choices[0].message.tool_calls[0]
        assert call.function.name == "checkAvailability"
        assert isinstance(json.loads(call.function.arguments), dict)
        history = [
            *QUESTION,
            asked.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": '{"free": true}'},
        ]
        answered = await client.chat.completions.create(model="first", messages=history, tools=[TOOL])
    assert asked.choices[0].finish_reason == "tool_calls"
    assert answered.choices[0].message.content


async def test_tool_calls_in_a_stream_are_put_together_by_the_sdk(rig):
    """Arguments come in pieces."""
    async with (
        rig.openai() as client,
        client.chat.completions.stream(
            model="first", messages=QUESTION, tools=[TOOL], tool_choice="required"
        ) as stream,
    ):
        final = await stream.get_final_completion()
    call = final.choices[0].message.tool_calls[0]
    assert call.function.name == "checkAvailability"
    assert isinstance(json.loads(call.function.arguments), dict)


async def test_json_mode_gives_json(rig):
    """response_format passes through."""
    async with rig.openai() as client:
        reply = await client.chat.completions.create(
            model="first", messages=QUESTION, response_format={"type": "json_object"}
        )
    assert isinstance(json.loads(reply.choices[0].message.content), dict)


async def test_embeddings(rig):
    """One vector an input, in order, with usage."""
    async with rig.openai() as client:
        reply = await client.embeddings.create(model="vectors", input=["et", "to", "et"], encoding_format="float")
    assert [one.index for one in reply.data] == [0, 1, 2]
    assert reply.data[0].embedding == reply.data[2].embedding != reply.data[1].embedding
    assert reply.usage.prompt_tokens > 0


async def test_the_models_are_listed(rig):
    """Models, routes and tasks."""
    async with rig.openai() as client:
        listed = [model.id async for model in client.models.list()]
    assert {"first", "second", "third", "vectors", "task:work", "task:chat"} <= set(listed)


async def test_an_unknown_field_reaches_the_vendor_untouched(rig):
    """Pass-through, byte for byte."""
    async with rig.openai() as client:
        await client.chat.completions.create(
            model="first", messages=QUESTION, extra_body={"some_vendor_field": {"deep": [1, 2.50, "å"]}}
        )
    sent = json.loads(rig.world.witness.dispatches[-1].body)
    assert sent["some_vendor_field"] == {"deep": [1, 2.5, "å"]}
    assert sent["model"] == "vendor/first"


@pytest.mark.parametrize(
    ("options", "kind", "code", "words"),
    [
        ({"model": "frist"}, openai.NotFoundError, "model_not_found", "Did you mean first"),
        ({"model": "task:nope"}, openai.NotFoundError, "model_not_found", "email-draft"),
        ({"model": "first", "messages": []}, openai.BadRequestError, "invalid_request", "messages"),
        ({"model": "vectors"}, openai.InternalServerError, "no_candidate", "vectors"),
    ],
)
async def test_errors_are_the_sdks_own_classes_and_say_what_to_do(rig, options, kind, code, words):
    """In OpenAI's error shape."""
    async with rig.openai() as client:
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(**{"messages": QUESTION, **options})
    assert caught.value.code == code
    assert words in caught.value.message
    assert rig.world.witness.count == 0


async def test_a_wrong_key_is_an_authentication_error_everywhere_but_at_health(rig):
    """Deny by default; health is for load balancers."""
    async with rig.openai(api_key="sk-wrong") as client:
        for call in (
            lambda: client.chat.completions.create(model="first", messages=QUESTION),
            lambda: client.embeddings.create(model="vectors", input="x"),
            lambda: client.models.list(),
        ):
            with pytest.raises(openai.AuthenticationError):
                await call()
    assert rig.world.witness.count == 0


async def test_a_vendors_own_400_reaches_the_client_unchanged(rig):
    """Status and body, no retry, no fallback."""
    rig.world.queue.append("status=422")
    async with rig.openai() as client:
        with pytest.raises(openai.UnprocessableEntityError):
            await client.chat.completions.create(model="task:work", messages=QUESTION)
    assert rig.world.witness.count == 1


async def test_our_own_credential_refused_is_never_the_clients_401(rig):
    """The next candidate answers; alone, it is a 502 that names the provider."""
    rig.world.by_model["vendor/first"] = "status=401"
    async with rig.openai() as client:
        raw = await client.chat.completions.with_raw_response.create(model="task:work", messages=QUESTION)
        assert raw.headers["x-turnout-provider"] == "backup"
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="task:alone", messages=QUESTION)
    assert caught.value.status_code == 502
    assert "stub" in caught.value.message
    assert "canary" not in caught.value.message

"""The official Anthropic SDK against the gateway: its own vendor behind (the fast lane), and another (translated)."""

import anthropic
import pytest

from tests.rig import Rig

QUESTION = [{"role": "user", "content": "Skriv en kort mail til Mette"}]
TOOL = {
    "name": "checkAvailability",
    "description": "Ledige tider",
    "input_schema": {"type": "object", "properties": {"date": {"type": "string"}}, "required": ["date"]},
}
BEHIND = ["third", "first"]
"""A model of a vendor that speaks this format, and one of a vendor that speaks another."""


def sdk(rig, **options):
    options.setdefault("max_retries", 0)
    return anthropic.AsyncAnthropic(base_url=rig.url, api_key=rig.key, **options)


@pytest.mark.parametrize("model", BEHIND)
async def test_a_message(rig, model):
    """Text, stop reason, usage; and who gave it."""
    async with sdk(rig) as client:
        raw = await client.messages.with_raw_response.create(
            model=model,
            max_tokens=100,
            system="Svar på dansk.",
            messages=QUESTION,
            extra_body={"temperature": 0.3},
            stop_sequences=["SLUT"],
        )
    reply = await raw.parse()
    assert reply.content[0].text.startswith("[simuleret] ")
    assert (reply.role, reply.type, reply.stop_reason) == ("assistant", "message", "end_turn")
    assert reply.usage.output_tokens == rig.world.witness.dispatches[0].output_tokens
    assert raw.headers["x-turnout-model"] == model


@pytest.mark.parametrize("model", BEHIND)
async def test_a_stream(rig, model):
    """The SDK's own accumulator takes every event, and its end."""
    async with sdk(rig) as client, client.messages.stream(model=model, max_tokens=100, messages=QUESTION) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert text == final.content[0].text
    assert text.startswith("[simuleret] ")
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", rig.world.witness.dispatches[0].output_tokens)


@pytest.mark.parametrize("model", BEHIND)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_call_and_its_result(rig, model, stream):
    """The model asks for a tool; the answer to its result is text."""
    asked = {"model": model, "max_tokens": 200, "tools": [TOOL], "tool_choice": {"type": "any"}}
    async with sdk(rig) as client:
        if stream:
            async with client.messages.stream(messages=QUESTION, **asked) as events:
                reply = await events.get_final_message()
        else:
            reply = await client.messages.create(messages=QUESTION, **asked)
        call = reply.content[-1]
        assert (call.type, call.name, reply.stop_reason) == ("tool_use", "checkAvailability", "tool_use")
        assert isinstance(call.input, dict)
        turns = [
            *QUESTION,
            {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in reply.content]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "kl. 10"}]},
        ]
        answer = await client.messages.create(
            model=model, max_tokens=200, tools=[TOOL], tool_choice={"type": "none"}, messages=turns
        )
    assert answer.content[0].type == "text"


async def test_a_task_is_named_as_everywhere(rig):
    """By the header, or in metadata; the vendor never sees our word."""
    async with sdk(rig) as client:
        raw = await client.messages.with_raw_response.create(
            model="auto", max_tokens=9, messages=QUESTION, extra_headers={"x-turnout-task": "work"}
        )
    assert raw.headers["x-turnout-task"] == "work"


@pytest.mark.parametrize("model", BEHIND)
async def test_a_vendor_that_fails_is_an_error_that_the_sdk_knows(rig, model):
    """A class by status, a message that says what happened."""
    rig.world.by_model["claude-third"] = rig.world.by_model["vendor/first"] = "status=503"
    rig.world.by_model["vendor/second"] = "status=503"
    async with sdk(rig) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.create(model=model, max_tokens=9, messages=QUESTION)
    assert caught.value.status_code in {502, 503}
    assert caught.value.body["error"]["type"] == "api_error"


async def test_bad_keys_and_bad_requests(rig):
    """401 and 400 with the field's name."""
    async with anthropic.AsyncAnthropic(base_url=rig.url, api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(model="third", max_tokens=9, messages=QUESTION)
    async with sdk(rig) as client:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.messages.create(model="third", max_tokens=9, messages=[])
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.create(model="nobody", max_tokens=9, messages=QUESTION)
    assert caught.value.body["error"]["param"] == "messages"


@pytest.mark.parametrize("fault", ["stall-event=5", "reset-event=5", "cut-event=5", "no-done", "error-event=2"])
@pytest.mark.parametrize("model", BEHIND)
async def test_a_broken_stream_always_raises(tmp_path, model, fault):
    """Never a normal end, never an invented stop reason."""
    async with Rig(tmp_path) as rig, sdk(rig) as client:
        rig.world.by_model["claude-third"] = rig.world.by_model["vendor/first"] = fault
        reasons = []
        with pytest.raises(anthropic.APIError):
            async for event in await client.messages.create(
                model=model, max_tokens=100, messages=QUESTION, stream=True
            ):
                reasons += [event.delta.stop_reason] if event.type == "message_delta" else []
    assert fault == "no-done" or reasons == []

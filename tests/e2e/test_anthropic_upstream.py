"""An OpenAI client in front, an Anthropic-shaped vendor behind, over real sockets."""

import json

import openai
import pytest

from tests.e2e.test_openai_sdk import QUESTION, TOOL

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def sent(rig):
    return json.loads(rig.world.witness.dispatches[-1].body)


async def test_a_chat_is_translated_both_ways(rig):
    """System, text, image, limits there; text, finish reason, usage back."""
    messages = [
        {"role": "system", "content": "Svar på dansk."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Hvad er det?"},
                {"type": "image_url", "image_url": {"url": PIXEL}},
            ],
        },
    ]
    async with rig.openai() as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="third", messages=messages, max_tokens=50, temperature=0.5, stop=["SLUT"], user="u1"
        )
    reply = raw.parse()
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason in {"stop", "length"}
    assert reply.usage.prompt_tokens > 0
    assert float(raw.headers["x-turnout-cost"]) > 0
    body = sent(rig)
    assert rig.world.witness.dispatches[-1].path == "/v1/messages"
    assert body["model"] == "claude-third"
    assert "Svar på dansk." in json.dumps(body["system"], ensure_ascii=False)
    assert [part["type"] for part in body["messages"][0]["content"]] == ["text", "image"]
    assert (body["max_tokens"], body["temperature"], body["stop_sequences"]) == (50, 0.5, ["SLUT"])
    dispatch = rig.world.witness.dispatches[-1]
    assert dispatch.header("x-api-key") == "sk-canary-claude-key-3"
    assert dispatch.header("anthropic-version") == "2023-06-01"
    assert dispatch.header("authorization") == ""


async def test_a_stream_is_translated_event_by_event(rig):
    """The SDK sees an ordinary OpenAI stream, usage included when asked."""
    async with rig.openai() as client:
        stream = await client.chat.completions.create(
            model="third", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    (dispatch,) = rig.world.witness.dispatches
    assert text.startswith("[simuleret] ")
    assert -(-len(text) // 4) == dispatch.output_tokens
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage.completion_tokens == dispatch.output_tokens


async def test_tools_and_their_results_are_translated(rig):
    """tool_use and tool_result blocks."""
    async with rig.openai() as client:
        asked = await client.chat.completions.create(
            model="third", messages=QUESTION, tools=[TOOL], tool_choice="required"
        )
        call = asked.choices[0].message.tool_calls[0]
        await client.chat.completions.create(
            model="third",
            messages=[
                *QUESTION,
                asked.choices[0].message.model_dump(exclude_none=True),
                {"role": "tool", "tool_call_id": call.id, "content": "ledig"},
            ],
            tools=[TOOL],
        )
    assert asked.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "checkAvailability"
    roles = [message["role"] for message in sent(rig)["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert sent(rig)["messages"][2]["content"][0]["type"] == "tool_result"


async def test_a_streamed_tool_call_is_translated(rig):
    """input_json_delta becomes arguments."""
    async with (
        rig.openai() as client,
        client.chat.completions.stream(
            model="third", messages=QUESTION, tools=[TOOL], tool_choice="required"
        ) as stream,
    ):
        final = await stream.get_final_completion()
    assert isinstance(json.loads(final.choices[0].message.tool_calls[0].function.arguments), dict)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("status=400", openai.BadRequestError),
        ("status=529", openai.InternalServerError),
        ("ratelimit-rfc3339=100", openai.RateLimitError),
        ("status=401", openai.InternalServerError),
    ],
)
async def test_the_vendors_errors_become_openais(rig, script, kind):
    """By class, with a hint where there is one."""
    rig.world.by_model["claude-third"] = script
    async with rig.openai() as client:
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(
                model="third", messages=QUESTION, extra_headers={"x-turnout-task": "work"}
            )
    if kind is openai.RateLimitError:
        assert 90 <= int(caught.value.response.headers["retry-after"]) <= 101


async def test_a_cut_stream_makes_the_sdk_raise(rig):
    """No invented end, in the translated lane either."""
    rig.world.by_model["claude-third"] = "cut-event=6"
    async with rig.openai() as client:
        stream = await client.chat.completions.create(model="third", messages=QUESTION, stream=True)
        with pytest.raises(openai.APIError):
            async for chunk in stream:
                assert chunk.choices[0].finish_reason is None

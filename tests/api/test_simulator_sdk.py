"""The official OpenAI SDK against the simulated world on a socket."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from turnout.api.simulator import SimulatorServer
from turnout.core.simulation.witness import Dispatch
from turnout.core.simulation.world import World

HELLO: list[Any] = [{"role": "user", "content": "Hej æøå"}]


@pytest.fixture
async def server() -> AsyncIterator[SimulatorServer]:
    """A world without latency on a free port."""
    async with SimulatorServer(World.instant()) as running:
        yield running


@pytest.fixture
async def client(server: SimulatorServer) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official SDK, which does not retry."""
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="sk-test", max_retries=0) as sdk:
        yield sdk


def last(server: SimulatorServer) -> Dispatch:
    """Return the newest dispatch that the witness saw."""
    return server.world.witness.dispatches[-1]


async def test_the_sdk_chats(server: SimulatorServer, client: openai.AsyncOpenAI) -> None:
    """Whole answers, with a usage that equals the witness's."""
    reply = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert (reply.choices[0].message.content or "").startswith("[simuleret] ")
    assert reply.usage is not None
    seen = last(server)
    assert (seen.input_tokens, seen.output_tokens) == (reply.usage.prompt_tokens, reply.usage.completion_tokens)
    assert (seen.outcome, seen.sent_tokens, seen.is_usage_sent) == ("complete", seen.output_tokens, True)


async def test_the_sdk_streams(server: SimulatorServer, client: openai.AsyncOpenAI) -> None:
    """Events in order, a reason, and the usage at the end."""
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("[simuleret] ")
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == last(server).sent_tokens


async def test_the_sdk_uses_tools(client: openai.AsyncOpenAI) -> None:
    """The model calls a tool, streamed too, and speaks once it has the result."""
    tools: list[Any] = [
        {
            "type": "function",
            "function": {
                "name": "checkAvailability",
                "parameters": {"type": "object", "properties": {"date": {"type": "string", "format": "date"}}},
            },
        }
    ]
    reply = await client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=tools)
    message = reply.choices[0].message
    assert reply.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls
    call: Any = message.tool_calls[0]
    assert json.loads(call.function.arguments) == {"date": "2026-12-01"}
    stream = await client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=tools, stream=True)
    pieces = [chunk.choices[0].delta.tool_calls[0] async for chunk in stream if chunk.choices[0].delta.tool_calls]
    assert "".join(piece.function.arguments or "" for piece in pieces if piece.function) == call.function.arguments
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "ledig kl. 10"}
    history: list[Any] = [*HELLO, message.model_dump(), result]
    after = await client.chat.completions.create(model="gpt-4o", messages=history, tools=tools)
    assert after.choices[0].finish_reason == "stop"


async def test_the_sdk_embeds_and_lists(client: openai.AsyncOpenAI) -> None:
    """Vectors of the model's length, equal for equal texts; the list of models."""
    reply = await client.embeddings.create(model="text-embedding-3-small", input=["hej", "hej", "nej"])
    one, same, other = (entry.embedding for entry in reply.data)
    assert len(one) == 1536
    assert one == same != other
    assert "gpt-4o" in [model.id for model in (await client.models.list()).data]
    assert (await client.models.retrieve("gpt-4o")).id == "gpt-4o"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("400", openai.BadRequestError),
        ("overflow", openai.BadRequestError),
        ("401", openai.AuthenticationError),
        ("403", openai.PermissionDeniedError),
        ("404", openai.NotFoundError),
        ("409", openai.ConflictError),
        ("422", openai.UnprocessableEntityError),
        ("retry-after=7", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("503", openai.InternalServerError),
        ("529", openai.InternalServerError),
        ("reset", openai.APIConnectionError),
        ("close", openai.APIConnectionError),
        ("reset-at=20", openai.APIConnectionError),
        ("close-at=20", openai.APIConnectionError),
        ("bad-http", openai.APIConnectionError),
        ("bad-chunk", openai.APIConnectionError),
        ("malformed", json.JSONDecodeError),
        ("cut", json.JSONDecodeError),
    ],
)
async def test_the_sdk_meets_each_error(client: openai.AsyncOpenAI, fault: str, kind: type[Exception]) -> None:
    """As the class that a real vendor would cause."""
    with pytest.raises(kind):
        await client.chat.completions.create(model="gpt-4o", messages=HELLO, extra_headers={"x-fault": fault})


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("error-event", openai.APIError),
        ("error-event=3", openai.APIError),
        ("error-chunk=3", openai.APIError),
        ("reset-event=3", openai.APIConnectionError),
        ("close-event=3", openai.APIConnectionError),
        ("malformed", json.JSONDecodeError),
    ],
)
async def test_the_sdk_sees_a_stream_break(client: openai.AsyncOpenAI, fault: str, kind: type[Exception]) -> None:
    """An exception, and never an ordinary end."""
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=HELLO, stream=True, extra_headers={"x-fault": fault}
    )
    with pytest.raises(kind):
        async for _ in stream:
            pass

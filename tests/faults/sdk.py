"""Asks as an application does, by the official SDK, and writes down all that the application would see.

told = await ask(client, "task:work", "chat", stream=True)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx2
import openai

MESSAGES = [{"role": "user", "content": "Skriv en mail til Mette"}]


@dataclass
class Told:
    """What an application saw. error: the exception's name, "" for an answer. code: of the error's body.

    reasons: every finish_reason. is_final: whether the SDK was told not to try again by itself.
    """

    error: str = ""
    status: int = 0
    code: str = ""
    message: str = ""
    body: object = None
    text: str = ""
    reasons: list[str] = field(default_factory=list)
    usage: object = None
    headers: httpx2.Headers = field(default_factory=httpx2.Headers)

    @property
    def is_final(self) -> bool:
        return self.headers.get("x-should-retry") == "false"


async def ask(client, model, kind="chat", *, stream=False, messages=MESSAGES) -> Told:
    """One request. kind: chat or embeddings. Exceptions other than the SDK's own fail the test."""
    told = Told()
    try:
        if kind == "embeddings":
            raw = await client.embeddings.with_raw_response.create(model=model, input="Kære Mette")
            told.headers, reply = raw.headers, raw.parse()
            told.text, told.usage = str(reply.data[0].embedding), reply.usage
        elif stream:
            raw = await client.chat.completions.with_raw_response.create(
                model=model, messages=messages, stream=True, stream_options={"include_usage": True}
            )
            told.headers = raw.headers
            async for chunk in raw.parse():
                told.usage = chunk.usage or told.usage
                for choice in chunk.choices:
                    told.text += choice.delta.content or ""
                    told.reasons += [choice.finish_reason] if choice.finish_reason else []
        else:
            raw = await client.chat.completions.with_raw_response.create(model=model, messages=messages)
            told.headers, reply = raw.headers, raw.parse()
            told.text, told.usage = reply.choices[0].message.content, reply.usage
            told.reasons = [reply.choices[0].finish_reason]
    except openai.APIStatusError as error:
        told.headers, told.status = error.response.headers, error.status_code
        _note(told, error)
    except openai.APIError as error:
        _note(told, error)
    return told


def _note(told: Told, error: openai.APIError) -> None:
    told.error, told.code, told.message, told.body = type(error).__name__, error.code or "", error.message, error.body


def quick(rig, **options):
    """The SDK against a rig, made without reading the system's certificates: a client costs 20 ms otherwise."""
    return rig.openai(http_client=httpx2.AsyncClient(verify=False, timeout=30), **options)


UPSTREAMS = {"openai": "chat", "claude": "chat", "vectors": "embeddings"}
"""Each wire protocol that we speak upstream, and what is asked of it."""

WAYS = (("openai", False), ("openai", True), ("claude", False), ("claude", True), ("vectors", False))
"""(upstream, stream) of every kind of request."""

PAID = """
providers:
  openai: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-openai-key}}
  claude: {{kind: anthropic, base_url: "{url}", api_key: sk-canary-claude-key}}
  good: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-good-key}}
models:
  openai: {{provider: openai, id: vendor/openai, price: {{input: 1, output: 2}}}}
  claude: {{provider: claude, id: vendor-claude, price: {{input: 3, output: 15}}, max_output: 4096}}
  vectors: {{provider: openai, id: vendor/embedding, price: {{input: 1}}, mode: embedding}}
  spare: {{provider: good, id: good/chat, price: free}}
  spare-vectors: {{provider: good, id: good/embedding, price: free, mode: embedding}}
routes:
  openai-alone: {{policy: priority, models: [openai]}}
  claude-alone: {{policy: priority, models: [claude]}}
  vectors-alone: {{policy: priority, models: [vectors]}}
  openai-spare: {{policy: priority, models: [openai, spare]}}
  claude-spare: {{policy: priority, models: [claude, spare]}}
  vectors-spare: {{policy: priority, models: [vectors, spare-vectors]}}
timeouts: {{connect: 5, first_chunk: FIRST_CHUNK, idle: IDLE}}
retry: {{backoff: 0.01, max_backoff: 0.05, max_retries: RETRIES, ambiguous: AMBIGUOUS, budget_floor: 100}}
breaker: {{failures: 1000}}
"""


def paid(*, first_chunk="10", idle="10", retries=0, ambiguous=True) -> str:
    """A config with one model of each protocol that costs money, alone and beside a spare that does not."""
    text = PAID.replace("FIRST_CHUNK", first_chunk).replace("IDLE", idle).replace("RETRIES", str(retries))
    return text.replace("AMBIGUOUS", str(ambiguous).lower())

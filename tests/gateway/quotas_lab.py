"""A Lab in virtual time, whose vendors allow only so much."""

from __future__ import annotations

import json

from tests.gateway.lab import ANSWER, OK, Client, Lab, chunk, read
from turnout.core.eligible import Ask
from turnout.gateway.memory_transport import Scripted
from turnout.gateway.virtual_time import VirtualClock, run_virtually

MONDAY = 1_795_392_000.0

CONFIG = """
providers:
  stub: {kind: compatible, base_url: "http://stub.invalid/v1", api_key: sk-canary-stub, quota: {requests_per_minute: 1}}
  backup: {kind: compatible, base_url: "http://backup.invalid/v1", api_key: sk-canary-backup, quota: {requests_per_minute: 1}}
  paid: {kind: compatible, base_url: "http://paid.invalid/v1", api_key: sk-canary-paid}
models:
  first: {provider: stub, id: vendor/first, price: free}
  second: {provider: backup, id: vendor/second, price: free}
  third: {provider: paid, id: vendor/third, price: {input: 3, output: 15}}
tasks:
  work: {models: [first, second, third]}
  free: {models: [first, second]}
  alone: {models: [first]}
  later: {models: [first], priority: low}
  quick: {models: [first, second], hedge: true}
timeouts: {first_chunk: 5, total: 600}
retry: {backoff: 0.01}
"""
TOOLS = [{"type": "function", "function": {"name": f"tool{number}", "parameters": {}}} for number in range(3)]
STREAM = Scripted(body=(chunk("Hej"), b"data: [DONE]\n\n"))


def calling(name="tool0"):
    """An answer that calls a tool."""
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    choice = {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [call]}}
    return Scripted(body=(json.dumps({**ANSWER, "choices": [{**choice, "finish_reason": "tool_calls"}]}).encode(),))


class Turnout(Lab):
    """A Lab in virtual time."""

    def __init__(self, folder, answers, loop, config=CONFIG):
        super().__init__(folder, answers, config=config, clock=VirtualClock(loop, began=MONDAY))
        self.loop = loop
        self.began = loop.time()

    def at(self):
        return self.loop.time() - self.began

    async def say(self, task, client=None, *, said=None, **fields):
        """One exchange. said: what its headers say."""
        client = client or Client()
        call = read({"model": f"task:{task}", "messages": [{"role": "user", "content": "Hej"}], **fields})
        ask = Ask(call.name, stream=call.stream, input_tokens=call.input_tokens, tools=call.tools, **(said or {}))
        await self.engine.serve(call, ask, self.clock.request_id(), client)
        return client

    @property
    def scheduler(self):
        return self.engine.scheduler

    def used(self, name, what="requests_minute"):
        views = {view.name: view for view in self.scheduler.quotas.views(self.loop.time(), MONDAY)}
        return next(gauge.used for gauge in views[name].gauges if gauge.what == what)


def played(folder, answers, scene, config=CONFIG):
    async def main(loop):
        lab = Turnout(folder, answers, loop, config)
        result = await scene(lab)
        assert len(lab.scheduler) == 0
        assert all(load.in_flight == 0 for load in lab.health.loads().values())
        return result

    return run_virtually(main)


def vendors(**more):
    return {"stub": [OK], "backup": [OK], "paid": [OK], **more}

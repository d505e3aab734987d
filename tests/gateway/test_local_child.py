"""The local model's process, from outside: three lines of talk, an OpenAI server between them, no life after its parent."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from turnout.gateway import local_child


def start(order: str) -> subprocess.Popen[str]:
    """Start the process with an empty environment and give it its first line."""
    process = subprocess.Popen(
        [sys.executable, "-I", local_child.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(order + "\n")
    process.stdin.flush()
    return process


def answer(process: subprocess.Popen[str]) -> dict[str, str]:
    """Its one line."""
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def end(process: subprocess.Popen[str]) -> int:
    """Close its stdin, as a dying parent does, and wait for it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        return process.wait(10)
    finally:
        process.kill()
        process.stdout.close()


def post(base_url: str, body: dict[str, Any], key: str) -> tuple[int, bytes]:
    """One chat completion."""
    parts = urlsplit(base_url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    connection.request("POST", f"{parts.path}/chat/completions", json.dumps(body), headers)
    reply = connection.getresponse()
    status, content = reply.status, reply.read()
    connection.close()
    return status, content


@pytest.mark.parametrize("order", ["not json", "{}", '{"port": "x", "api_key": ""}', "[]"])
def test_an_order_that_makes_no_sense_is_answered_with_an_error(order: str) -> None:
    """The parent reads why, instead of guessing from an exit code."""
    process = start(order)
    assert {"error"} == set(answer(process))
    assert end(process) == 1


def test_the_serving_module_runs_without_turnout() -> None:
    """It starts with `-I` in an empty environment, so it may import nothing but the standard library and the extra."""
    source = Path(local_child.__file__).read_text(encoding="utf-8")
    assert "turnout." not in source.partition('"""\n\n')[2]


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The real model, once for all: its base URL."""
    process = start('{"port": 0, "api_key": "sesame"}')
    yield answer(process)["base_url"]
    end(process)


@pytest.mark.local_model
def test_it_answers_as_an_openai_server(served: str) -> None:
    """A chat completion has text and true usage."""
    body = {"model": local_child.ALIAS, "max_tokens": 8, "messages": [{"role": "user", "content": "Say hello."}]}
    status, content = post(served, body, "sesame")
    reply = json.loads(content)
    assert (200, local_child.ALIAS) == (status, reply["model"])
    assert reply["choices"][0]["message"]["content"]
    assert 1 <= reply["usage"]["completion_tokens"] <= 8


@pytest.mark.local_model
def test_it_streams_to_the_end_marker(served: str) -> None:
    """Chunks, then `[DONE]`."""
    body = {"max_tokens": 8, "stream": True, "messages": [{"role": "user", "content": "Say hello."}]}
    status, content = post(served, body, "sesame")
    assert (200, True) == (status, content.rstrip().endswith(b"data: [DONE]"))


@pytest.mark.local_model
def test_it_asks_for_the_key_that_it_was_given(served: str) -> None:
    """Another program on this machine, or a page in its browser, gets nothing."""
    assert post(served, {"messages": []}, "guess")[0] == 401


@pytest.mark.local_model
def test_it_listens_on_loopback_only(served: str) -> None:
    """Nobody outside this machine reaches it."""
    assert urlsplit(served).hostname == "127.0.0.1"


@pytest.mark.local_model
def test_it_ends_when_its_parent_is_gone() -> None:
    """The end of stdin is the end of the process, without a signal."""
    process = start('{"port": 0, "api_key": ""}')
    assert "base_url" in answer(process)
    assert end(process) == 0

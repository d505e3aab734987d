"""Asks the gateway, as any application would: the OpenAI API over HTTP, with the standard library.

One client serves one thread and keeps its connection. It connects to the gateway's address and to nothing else. A
refusal that says when to come back is followed once, if that is soon. `stop()` may be called from another thread.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from .jobs import Job

TIMEOUT_S: Final = 120.0
LONGEST_WAIT_S: Final = 5.0
WILL_PASS: Final = frozenset({429, 503})


class AskError(Exception):
    """The gateway refused or broke off. retry_after_s: when it says to come back, None if it does not."""

    def __init__(self, message: str, *, status: int = 0, code: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class Stopped(Exception):
    """`stop()` was called."""


class Reply(NamedTuple):
    """What came back. headers: lower-case names. first_s, total_s: seconds since the question was sent."""

    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    headers: dict[str, str]
    first_s: float
    total_s: float


class Client:
    """base_url: the gateway's, with its path (`http://127.0.0.1:4000/v1`). key: sent as the bearer."""

    def __init__(self, base_url: str, key: str, *, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{base_url!r} is not the address of a gateway: http://HOST:PORT/v1")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)
        self._path = parts.path.rstrip("/") + "/chat/completions"
        self._key = key
        self._stopped = threading.Event()

    def ask(self, job: Job, on_text: Callable[[str], None]) -> Reply:
        """Send one job; `on_text` hears each piece of a streamed answer. Raises AskError, Stopped."""
        try:
            return self._ask(job, on_text)
        except AskError as error:
            wait_s = error.retry_after_s
            if error.status not in WILL_PASS or wait_s is None or wait_s > LONGEST_WAIT_S:
                raise
            if self._stopped.wait(wait_s):
                raise Stopped from None
            return self._ask(job, on_text)

    def stop(self) -> None:
        """End what is under way, now; every later question raises Stopped."""
        self._stopped.set()
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(self, job: Job, on_text: Callable[[str], None]) -> Reply:
        if self._stopped.is_set():
            raise Stopped
        began = time.perf_counter()
        try:
            response = self._send(json.dumps(body_of(job), ensure_ascii=False).encode(), self._headers(job))
            headers = {name.lower(): value for name, value in response.getheaders()}
            if response.status != 200:
                raise refusal(response.status, headers, response.read())
            if job.stream:
                return read_stream(response, headers, began, on_text)
            fields = object_of(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            if self._stopped.is_set():
                raise Stopped from None
            raise AskError(f"the gateway did not answer properly: {type(error).__name__}: {error}") from error
        except AskError:
            self._connection.close()
            if self._stopped.is_set():
                raise Stopped from None
            raise
        took = time.perf_counter() - began
        text, reason = content_of(fields, "message")
        return Reply(text, reason, *usage_of(fields), headers, took, took)

    def _send(self, body: bytes, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Send on the kept connection; if the gateway had closed it meanwhile, on a new one."""
        was_kept = self._connection.sock is not None
        try:
            self._connection.request("POST", self._path, body, headers)
            return self._connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection.close()
            if not was_kept or self._stopped.is_set():
                raise
        self._connection.request("POST", self._path, body, headers)
        return self._connection.getresponse()

    def _headers(self, job: Job) -> dict[str, str]:
        return {
            "authorization": f"Bearer {self._key}",
            "content-type": "application/json",
            "x-turnout-task": job.task,
            "x-turnout-user": f"lead-{''.join(c for c in job.lead.id if (c.isascii() and c.isalnum()) or c in '-_')}",
        }


def body_of(job: Job) -> dict[str, Any]:
    """The request: an ordinary chat completion whose model is the task."""
    messages = [{"role": "system", "content": job.system}, {"role": "user", "content": job.user}]
    body: dict[str, Any] = {"model": f"task:{job.task}", "messages": messages, "max_tokens": job.max_tokens}
    if job.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def read_stream(
    response: http.client.HTTPResponse, headers: dict[str, str], began: float, on_text: Callable[[str], None]
) -> Reply:
    """Read server-sent events to their end marker. Raises AskError on an error event and on a stream without an end."""
    pieces: list[str] = []
    reason, usage, first_s = "", (0, 0), 0.0
    while line := response.readline():
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            response.read()
            total_s = time.perf_counter() - began
            return Reply("".join(pieces), reason, *usage, headers, first_s or total_s, total_s)
        fields = object_of(data)
        if fields.get("error"):
            raise refusal(0, {}, data)
        text, ended = content_of(fields, "delta")
        reason, usage = ended or reason, usage_of(fields) if fields.get("usage") else usage
        if text:
            first_s = first_s or time.perf_counter() - began
            pieces.append(text)
            on_text(text)
    raise AskError("the answer broke off before its end", code="stream_interrupted")


def content_of(fields: dict[str, Any], member: str) -> tuple[str, str]:
    """The words and the finish reason in a completion (member: message) or a chunk (member: delta)."""
    choices = fields.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    said = choice.get(member) if isinstance(choice, dict) else None
    text = said.get("content") if isinstance(said, dict) else None
    reason = choice.get("finish_reason") if isinstance(choice, dict) else None
    return text if isinstance(text, str) else "", reason if isinstance(reason, str) else ""


def usage_of(fields: dict[str, Any]) -> tuple[int, int]:
    """Tokens in and out; 0 where nothing is said."""
    usage = fields.get("usage")
    counts = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    into, out = (count if isinstance(count, int) else 0 for count in counts)
    return into, out


def object_of(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError on anything else."""
    fields = json.loads(data)
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 what json raises for what is not JSON
    return fields


def refusal(status: int, headers: dict[str, str], body: bytes) -> AskError:
    """The error that an OpenAI-shaped refusal tells."""
    try:
        fields = json.loads(body).get("error") or {}
        message, code = str(fields.get("message") or ""), str(fields.get("code") or "")
    except (ValueError, AttributeError):
        message, code = "", ""
    try:
        retry_after_s = float(headers["retry-after"])
    except (KeyError, ValueError):
        retry_after_s = None
    return AskError(message or f"HTTP {status}", status=status, code=code, retry_after_s=retry_after_s)

"""Sends bodies by a socket of its own, and sees how long the answer takes once the last byte is there, and what it costs."""

from __future__ import annotations

import asyncio
import fcntl
import re
import struct
import termios
import time
from pathlib import Path
from typing import NamedTuple

from tests.process import Served
from tests.rig import CONFIG

CHAT = "/v1/chat/completions"
ROOMY = CONFIG.replace("context: 128000", "context: 10000000").replace("context: 200000", "context: 10000000")
"""No body of these tests is too long for its model."""
MESSAGES = b'"messages":[{"role":"user","content":"hej"}]'
PATIENCE_S = 30.0


def chat(more: bytes, model: bytes = b'"first"') -> bytes:
    """A request with further members."""
    return b'{"model":%b,%b,%b}' % (model, MESSAGES, more)


class Answer(NamedTuple):
    """An answer, and how many seconds it took from the body's last byte on."""

    status: int
    head: bytes
    body: bytes
    seconds: float


def head_of(key: str, length: int | None, path: str = CHAT, more: str = "") -> bytes:
    """The head of a POST. length: None for a chunked body. more: further header lines, each with its line end."""
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    text = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n{more}{framing}\r\n\r\n"
    return text.encode("latin-1")


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """Read one answer with a length, whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return int(head[9:12]), head, await reader.readexactly(int(length[1])) if length else b""


async def arrived(gateway: Served, writer: asyncio.StreamWriter) -> None:
    """Wait until all that was written has reached the other side and has been looked at there."""
    sock = writer.get_extra_info("socket")
    while (
        writer.transport.get_write_buffer_size() or struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"0000"))[0]
    ):
        await asyncio.sleep(0.001)
    async with gateway.http() as client:
        for _ in range(2):  # the loop over there reads from us before it answers the second
            await client.get("/health/live")


async def post(gateway: Served, body: bytes, more: str = "", path: str = CHAT) -> Answer:
    """Post a body; the clock starts when all of it but the last byte has arrived."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]), limit=2**22)
        try:
            writer.write(head_of(gateway.key, len(body), path, more) + body[:-1])
            await arrived(gateway, writer)
            began = time.perf_counter()
            writer.write(body[-1:])
            status, head, told = await read_answer(reader)
            return Answer(status, head, told, time.perf_counter() - began)
        finally:
            writer.close()


def resident_kib(process_id: int) -> int:
    """How much memory a process holds now, in KiB."""
    return _status(process_id, "VmRSS")


def peak_kib(process_id: int) -> int:
    """The most memory that a process has held, in KiB; `forget_peak` starts anew."""
    return _status(process_id, "VmHWM")


def forget_peak(process_id: int) -> None:
    """Let the peak begin from what is held now."""
    Path(f"/proc/{process_id}/clear_refs").write_text("5", encoding="ascii")


def _status(process_id: int, name: str) -> int:
    text = Path(f"/proc/{process_id}/status").read_text(encoding="ascii")
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1])


async def longest_lag_s(gateway: Served) -> float:
    """The longest that the gateway's event loop was held up so far, in seconds."""
    async with gateway.http() as client:
        metrics = (await client.get("/metrics")).text
    found = re.search(r'^turnout_loop_lag_seconds\{[^}]*"max"[^}]*\} (\S+)$', metrics, re.MULTILINE)
    assert found is not None, metrics
    return float(found[1])

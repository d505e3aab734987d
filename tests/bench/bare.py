"""Turnout without what protects it, to tell what that costs: `python -m tests.bench.compare . --bare`. Not to be served with.

Left out is what a request pays for: deadlines of clients and vendors, bounds and strictness of heads and bodies both ways,
shedding and the lag that it goes by, the budget of retries. Not left out: comparisons within other work (a head's end in
`api/server.py`, a response's in `gateway/http1.py`), some ten of them, and the shape of the engine that hedging and
continuing need; what those cost is not in the figure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnout.api import data as data_plane
from turnout.api.ending import EndingProtocol
from turnout.api.server import BoundedProtocol
from turnout.cli import main as turnout
from turnout.core import openai_fields
from turnout.core.admission import Admission
from turnout.core.retry import RetryBudget
from turnout.gateway.connection import Connection
from turnout.gateway.http1 import HeadWriter, ResponseReader, Target
from turnout.gateway.lag import LagTimer


def nothing(*_: Any, **__: Any) -> None:
    """In place of what only refuses, counts or watches."""


def received(protocol: BoundedProtocol, data: bytes) -> None:
    """A client's bytes, however many and however late."""
    protocol._data_bytes = len(data)
    protocol.parser.feed_data(data)


def fed(reader: ResponseReader, data: bytes | memoryview) -> str:
    """A vendor's."""
    if not reader.has_head:
        reader.is_touched = True
        reader._before.append(bytes(data))
    reader._parser.feed_data(data)
    return ""


def written(writer: HeadWriter, method: str, target: Target, headers: Any, body_bytes: int) -> bytes:
    """A head for a vendor, whatever its values bring along."""
    lines = writer._lines.get(headers[:-1])
    if lines is None:
        lines = writer._lines[headers[:-1]] = "".join([f"{name}: {value}\r\n" for name, value in headers[:-1]])
    if headers:
        lines += f"{headers[-1][0]}: {headers[-1][1]}\r\n"
    length = f"content-length: {body_bytes}\r\n" if body_bytes or method != "GET" else ""
    return f"{method}{target.fixed}{length}{lines}\r\n".encode("latin-1")


PROTECTIONS: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (BoundedProtocol, "data_received", received),
    (BoundedProtocol, "_check_size", nothing),
    (BoundedProtocol, "_look_closer", lambda *_: False),
    (EndingProtocol, "_arm", nothing),
    (EndingProtocol, "_disarm", nothing),
    (EndingProtocol, "_idle", nothing),
    (data_plane, "_refuse_encodings", nothing),
    (data_plane, "_bounded", nothing),
    (data_plane, "exceeds", lambda *_: False),
    (openai_fields, "_refuse_repeats", nothing),
    (Admission, "enter", nothing),
    (Admission, "leave", nothing),
    (LagTimer, "start", nothing),
    (RetryBudget, "arrived", nothing),
    (RetryBudget, "succeeded", nothing),
    (Connection, "_set_alarm", nothing),
    (ResponseReader, "feed", fed),
    (HeadWriter, "encode", written),
)
"""Whose it is, its name, and what stands in its place."""


def strip() -> None:
    """Take all of it out of this process. Raises AttributeError if one of them has another name by now."""
    for owner, name, bare in PROTECTIONS:
        if name not in vars(owner):
            raise AttributeError(
                f"{owner.__name__} has no {name} of its own: what protects Turnout has changed, say it here"
            )
        setattr(owner, name, bare)


def main() -> None:
    """Run `turnout` so."""
    strip()
    turnout()

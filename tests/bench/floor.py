"""The cheapest ASGI application: reads the body, answers constant JSON, asks no upstream.

What it costs under uvicorn is the price of the server's edge alone; the rest of a gateway's cost is the gateway.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tests.bench.stub import whole_reply

Message = MutableMapping[str, Any]
BODY = whole_reply().partition(b"\r\n\r\n")[2]


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer any HTTP request."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})

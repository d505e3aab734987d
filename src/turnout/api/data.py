"""The data plane: chat completions and embeddings, from headers and body to the engine.

Reads what routing needs from the headers (task, user, session), bounds the body before it is parsed, and hands over.
"""

from __future__ import annotations

from collections.abc import Mapping

from turnout.api.auth import authenticate
from turnout.api.exchange import Exchange
from turnout.core.contracts import Call, Dialect
from turnout.core.json_depth import exceeds
from turnout.core.plan import Ask
from turnout.errors import InvalidRequest
from turnout.gateway.service import Service

LABEL_LENGTH = 256
"""Longest task, user or session name: longer than any UUID or e-mail address, short enough for a trace row."""


def _bounded(call: Call) -> None:
    """Hold what the body names to the same length. Raises InvalidRequest.

    A longer `user` is only cut, and for us alone: it is any text of the application's, and passes on whole.
    """
    for param, value in (("model", call.name), ("metadata.task", call.task)):
        if len(value) > LABEL_LENGTH:
            raise InvalidRequest(f"`{param}` is longer than {LABEL_LENGTH} characters.", param=param)
    call.user = call.user[:LABEL_LENGTH]


def _label(headers: Mapping[bytes, bytes], name: bytes) -> str:
    value = headers.get(name)
    if value is None:
        return ""
    if len(value) > LABEL_LENGTH:
        raise InvalidRequest(f"Header {name.decode()} is longer than {LABEL_LENGTH} bytes.", param=name.decode())
    return value.decode("utf-8", "replace").strip()


async def serve(
    service: Service, exchange: Exchange, headers: Mapping[bytes, bytes], dialect: Dialect, request_id: str
) -> None:
    """Serve one exchange. Raises GatewayError for the app to render; what the engine has answered is answered."""
    principal = authenticate(headers, service.ring)
    encoding = headers.get(b"content-encoding", b"identity").lower()
    if encoding != b"identity":
        error = InvalidRequest("Send the body as it is: compressed requests are not taken.", param="content-encoding")
        error.status = 415
        raise error
    body = await exchange.read()
    if exceeds(body, service.bounds.json_depth):
        raise InvalidRequest(f"The JSON is nested deeper than {service.bounds.json_depth} levels.")
    call = dialect.decode(body)
    _bounded(call)
    ask = Ask(
        name=call.name,
        task=_label(headers, b"x-turnout-task") or call.task,
        user=_label(headers, b"x-turnout-user") or call.user,
        session=_label(headers, b"x-turnout-session"),
        key_id=principal.key_id,
        kind=call.kind,
        stream=call.stream,
        needs=call.needs,
        input_tokens=call.input_tokens,
        max_output_tokens=call.max_output_tokens,
        tools=call.tools,
    )
    exchange.on_gone = exchange.task.cancel
    await service.engine.serve(call, ask, request_id, exchange)

"""The data plane: chat completions and embeddings, from headers and body to the engine.

Reads what routing needs from the headers (task, user, session, and in wishes.py how urgent it is), bounds the body before it is parsed, and hands over.

All in the event loop: a thread would not help, as the parser holds the interpreter's lock. So what is done at a stretch is
kept short (RELIABILITY F17, T48): a large body is looked through in pieces, with the loop's turn in between and after its
parsing. That is the longest stretch that remains: 20 ms for 32 MiB of text, 40 ms if it is not ASCII.
It is held once, in the buffer that it came into: what is parsed and sent on refers to it (core/pieces.py).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from turnout.api.auth import address_of, authenticate, require_asker
from turnout.api.exchange import Exchange
from turnout.api.idempotency import serve_once
from turnout.api.shedding import shed
from turnout.api.wishes import by, priority, timeout_s
from turnout.core.admission import Caller
from turnout.core.contracts import Call, Dialect
from turnout.core.json_depth import Nesting, exceeds
from turnout.core.pieces import LARGE_BYTES, Body
from turnout.core.plan import Ask
from turnout.core.principal import Principal, counted_for
from turnout.dialects import DIALECTS
from turnout.errors import InvalidRequest, PermissionDenied
from turnout.gateway.service import Service

DIALECT_OF: Mapping[str, Dialect] = {
    prefix + path: DIALECTS[name]
    for prefix in ("/v1", "")
    for path, name in (
        ("/chat/completions", "openai_chat"),
        ("/embeddings", "openai_embeddings"),
        ("/messages", "anthropic_messages"),
    )
}
"""The routes to models."""

LABEL_LENGTH = 256
"""Longest task, user or session name: longer than any UUID or e-mail address, short enough for a trace row."""

MOST_TOKENS = 100_000_000
"""The longest answer that is counted with: a hundred times what any model gives; a hundred thousand of them fit the books."""

MEMBERS = 100_000
"""The most members that the objects of a large body may have together; a smaller one has no room for so many. A thousand
messages have 2,000, a hundred tools with their schemas 10,000. A million in one object took 250 ms and 200 MB to split.
"""

_CHARSET = re.compile(rb'charset\s*=\s*"?\s*([^\s";]*)', re.IGNORECASE)
_JSON_CHARSETS = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})
_JSON = b"application/json"  # what nearly every client says, to the letter


def _refuse_encodings(headers: Mapping[bytes, bytes]) -> None:
    """Raise InvalidRequest if the body says that it is compressed, or in a character set that JSON is not in."""
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        error = InvalidRequest("Send the body as it is: compressed requests are not taken.", param="content-encoding")
        error.status = 415
        raise error
    content_type = headers.get(b"content-type", b"")
    if b"=" in content_type and any(
        charset.lower() not in _JSON_CHARSETS for charset in _CHARSET.findall(content_type)
    ):
        raise InvalidRequest("The body must be JSON in UTF-8 (RFC 8259, 8.1).", param="content-type")


def _too_deep(levels: int) -> InvalidRequest:
    return InvalidRequest(f"The JSON is nested deeper than {levels} levels.")


async def _look_through(body: Body, levels: int) -> None:
    """Raise InvalidRequest if `body`, a large one, is nested deeper than `levels`, or has more than MEMBERS members."""
    nesting = Nesting(levels)
    for begin in range(0, len(body), LARGE_BYTES):
        nesting.feed(body[begin : begin + LARGE_BYTES])
        if nesting.deepest > levels:
            raise _too_deep(levels)
        if nesting.members > MEMBERS:
            raise InvalidRequest(f"The objects in the JSON have more than {MEMBERS:,} members together.")
        await asyncio.sleep(0)


def _bounded(call: Call) -> None:
    """Hold what the body names to the same length. Raises InvalidRequest.

    A longer `user` is only cut, and for us alone: it is any text of the application's, and passes on whole. So does a length
    of the answer that cannot be, for its vendor to refuse: what is counted and set aside for it here has its bounds.
    """
    if len(call.name) > LABEL_LENGTH or len(call.task) > LABEL_LENGTH:
        param = "model" if len(call.name) > LABEL_LENGTH else "metadata.task"
        raise InvalidRequest(f"`{param}` is longer than {LABEL_LENGTH} characters.", param=param)
    if len(call.user) > LABEL_LENGTH:
        call.user = call.user[:LABEL_LENGTH]
    most = call.max_output_tokens
    if most is not None and not 0 <= most <= MOST_TOKENS:
        call.max_output_tokens = min(max(0, most), MOST_TOKENS)


def _label(headers: Mapping[bytes, bytes], name: bytes) -> str:
    value = headers.get(name)
    if value is None:
        return ""
    if len(value) > LABEL_LENGTH:
        raise InvalidRequest(f"Header {name.decode()} is longer than {LABEL_LENGTH} bytes.", param=name.decode())
    return value.decode("utf-8", "replace").strip()


def caller_of(principal: Principal, headers: Mapping[bytes, bytes]) -> Caller:
    """Return whose share of the places a request takes. Raises PermissionDenied if they may ask no model, InvalidRequest."""
    require_asker(principal)
    return principal.key_id, principal.user or _label(headers, b"x-turnout-user")


async def serve(
    service: Service, exchange: Exchange, headers: Mapping[bytes, bytes], dialect: Dialect, request_id: str
) -> None:
    """Serve one exchange. Raises GatewayError for the app to render; what the engine has answered is answered."""
    principal = authenticate(headers, service.ring, address_of(exchange.scope))
    caller = caller_of(principal, headers)
    reason = service.admission.enter(caller)
    if reason is not None:
        shed(exchange, headers, reason, request_id, service.telemetry)
        return
    try:
        call, ask = await _read(service, exchange, headers, dialect, principal, caller[1])
        idempotency_key = headers.get(b"idempotency-key")
        if idempotency_key is None:
            await service.engine.serve(call, ask, request_id, exchange)
        else:
            await serve_once(service, exchange, idempotency_key, call, ask, request_id)
    finally:
        service.admission.leave(caller)


async def _read(
    service: Service,
    exchange: Exchange,
    headers: Mapping[bytes, bytes],
    dialect: Dialect,
    principal: Principal,
    user: str,
) -> tuple[Call, Ask]:
    """Return the request that was let in, and what of it decides a route. user: whom the headers name, or the key is of.

    Raises GatewayError.
    """
    if headers.get(b"content-type") != _JSON or b"content-encoding" in headers:
        _refuse_encodings(headers)
    body = await exchange.read()
    exchange.on_gone = exchange.task.cancel
    levels = service.bounds.json_depth
    if len(body) > LARGE_BYTES:
        await _look_through(body, levels)
    elif exceeds(body, levels):
        raise _too_deep(levels)
    call = dialect.decode(body)
    _bounded(call)
    if len(body) > LARGE_BYTES:
        await asyncio.sleep(0)  # before it is written anew and sent
    user, workspace = user or call.user, _workspace(headers, principal)
    ask = Ask(
        name=call.name,
        task=_label(headers, b"x-turnout-task") or call.task,
        user=user,
        session=_label(headers, b"x-turnout-session"),
        key_id=principal.key_id,
        kind=call.kind,
        stream=call.stream,
        needs=call.needs,
        input_tokens=call.input_tokens,
        max_output_tokens=call.max_output_tokens,
        tools=call.tools,
        workspace=workspace,
        priority=priority(headers),
        timeout_s=timeout_s(headers),
        by=by(headers, service.clock.wall()),
        cache_control=headers.get(b"cache-control", b"").decode("latin-1"),
        grant=principal.grant,
        who=counted_for(principal, user, workspace),
    )
    return call, ask


def _workspace(headers: Mapping[bytes, bytes], principal: Principal) -> str:
    """Whose cache and share it is: a virtual key's own workspace, whatever the header says; else what that says.

    Raises PermissionDenied if a key names another than its own: it would not be told otherwise that it has no say in it.
    """
    said = _label(headers, b"x-turnout-workspace")
    if principal.role != "key" or said in {"", principal.workspace}:
        return principal.workspace or said
    raise PermissionDenied(
        f"This key belongs to {f'the workspace {principal.workspace}' if principal.workspace else 'no workspace'}: "
        "leave x-turnout-workspace out."
    )

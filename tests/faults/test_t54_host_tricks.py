"""T54: no Host, absolute target or X-Forwarded-* header changes a route, opens a door or names an address: it is refused
with 400, or ignored.
"""

import json
import re

import pytest

from tests.faults.edge import statuses, tell
from tests.rig import KEY

AUTH = f"Authorization: Bearer {KEY}"
HOSTS = [
    *(
        "x/?",
        "x/health?",
        "x#",
        "x/#",
        "y@x",
        "x@y:80",
        "x?y",
        "x\\y",
        "http://x",
        "x, y",
        "x y",
        "x:port",
        "x:80:80",
        "x:-1",
    ),
    *(
        "[::1",
        "::1",
        "[zz::1]",
        "[::1]y",
        "[::1]:80:80",
        "[]",
        "[v1.a]",
        "[::ffff:1.2.3.4.5]",
        "",
        " ",
        "{x}",
        "<x>",
        "x\x7f",
    ),
    *("x%0d%0a", "x%2f", "x`id`", "$(id)", "\u00e6", "x" * 300, "x;y", '"x"'),
]
SPOOFS = [
    "Forwarded: for=127.0.0.1;host=admin;proto=https",
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Host: admin/?",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 1",
    "X-Forwarded-Prefix: /admin",
    "X-Forwarded-Path: /admin/config",
    "X-Forwarded-User: admin",
    "X-Real-IP: 127.0.0.1",
    "X-Client-IP: 127.0.0.1",
    "X-Original-URL: /admin/config",
    "X-Rewrite-URL: /admin/config",
    "X-Original-Host: admin",
    "X-Host: admin",
    "X-HTTP-Method-Override: GET",
    "X-HTTP-Method: DELETE",
    "X-Method-Override: PUT",
    "X-Script-Name: /admin",
    "Via: 1.1 admin",
    "Referer: http://127.0.0.1/admin",
    "Origin: http://127.0.0.1",
    "X-User: admin",
    "X-Remote-User: admin",
]
PATHS = [
    ("GET", "/health/live", 200),
    ("GET", "/admin/config", 401),
    ("GET", "/metrics", 401),
    ("GET", "/nowhere", 404),
]
"""With no key: what each says."""


def ask(line, *headers, body=b""):
    """A request, the last of its connection. line: "METHOD TARGET"."""
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [f"{line} HTTP/1.1", *headers, "Connection: close", *length]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def settled(answer):
    """An answer without what differs from one to the next: its id, and what a model says."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b'"choices"' in body:
        head, body = re.sub(rb"content-length: \d+", b"", head), b""
    return re.sub(rb"req_[0-9a-f]+", b"", head + body)


async def test_t54_a_host_that_is_none(rig, proof):
    """Each before each route; also none, and more than one."""
    wrong = [[f"Host: {host}"] for host in HOSTS]
    wrong += [[], ["Host: x", "Host: x"], ["Host: x", "host: y"], ["Host: x", "Host: x/?"]]
    for headers in wrong:
        for method, path, _ in PATHS:
            answer, _ = await tell(rig.port, ask(f"{method} {path}", *headers))
            assert (headers, path, statuses(answer)) == (headers, path, [400])
            assert b"\r\nconnection: close\r\n" in answer
    proof(
        f"{len(wrong) * len(PATHS)} of {len(wrong) * len(PATHS)} requests with a bad, missing or second Host: 400, closed"
    )


@pytest.mark.parametrize("host", ["x", "x:4000", "127.0.0.1", "[::1]:4000", "other.example.com", "ADMIN"])
async def test_t54_a_host_that_is_one_changes_nothing(rig, host):
    """Any name is ours, and no route is another's."""
    for method, path, status in PATHS:
        answer, _ = await tell(rig.port, ask(f"{method} {path}", f"Host: {host}"))
        assert (path, statuses(answer)) == (path, [status])
        assert len(host) == 1 or host.encode() not in answer


async def test_t54_an_absolute_target_is_its_path(rig):
    """Whatever host it names, and whatever the Host says: the path is asked for, with its own door."""
    for authority in ("x", "y", "user:password@y", "127.0.0.1:1", "[::1]"):
        for method, path, status in PATHS:
            for scheme in ("http", "https"):
                answer, _ = await tell(rig.port, ask(f"{method} {scheme}://{authority}{path}", "Host: x"))
                assert (authority, path, statuses(answer)) == (authority, path, [status])
    for target in ("http://x/health/live?/admin/config", "/health/live?/../admin/config"):
        answer, _ = await tell(rig.port, ask(f"GET {target}", "Host: x"))
        assert answer.endswith(b'{"status":"live"}')
    for target in ("/admin/config#/health/live", "http://x/admin/config#/health", "http://", "//x/admin/config"):
        answer, _ = await tell(rig.port, ask(f"GET {target}", "Host: x"))
        assert (target, statuses(answer)[0] in {400, 404}) == (target, True)


async def test_t54_spoofed_headers_are_ignored(rig, proof):
    """The same answer, the same decision and the same trace with each of them as with none."""
    body = json.dumps({"model": "task:work", "messages": [{"role": "user", "content": "hej"}]}).encode()
    chat = ("POST /v1/chat/completions", "Host: x", AUTH)
    told = {}
    for spoofed in ([], *([spoof] for spoof in SPOOFS), SPOOFS):
        for method, path, _ in PATHS:
            answer, _ = await tell(rig.port, ask(f"{method} {path}", "Host: x", *spoofed))
            assert settled(answer) == told.setdefault(path, settled(answer))
        answer, _ = await tell(rig.port, ask(*chat, *spoofed, body=body))
        assert settled(answer) == told.setdefault("chat", settled(answer))
    traces = await rig.traced()
    decided = {(one.task, one.policy, one.choices, one.user, one.arm, len(one.attempts), one.outcome) for one in traces}
    assert len(traces) == len(SPOOFS) + 2
    assert len(decided) == 1
    proof(f"{len(SPOOFS)} spoofed headers, alone and together: no answer, decision or trace changed")

"""T86: every route answers every kind of key by every method exactly as the checked-in table says, and no route is without a row.

The table is tests/api/routes.toml; the routes are taken from the router itself. A virtual key, whoever it belongs to, reaches no
admin route; an expired or revoked key, of whatever kind, nothing that asks for one.
"""

from __future__ import annotations

import asyncio
import re
import tomllib
from pathlib import Path

from tests.faults.peopled import bearer, client_of, people
from tests.rig import Rig
from turnout.api.app import App
from turnout.api.data import DIALECT_OF
from turnout.core.books.audit import Wanted, latest

TABLE = tomllib.loads((Path(__file__).parents[1] / "api" / "routes.toml").read_text(encoding="utf-8"))
ROWS = TABLE["data"] | TABLE["admin"]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")

MAY = {
    "none": set(),
    "bad": set(),
    "expired": set(),
    "revoked": set(),
    "expired owner": set(),
    "revoked owner": set(),
    "elsewhere": set(),
    "tenant": {"known", "asker"},
    "other tenant": {"known", "asker"},
    "viewer": {"known", "viewer"},
    "admin": {"known", "asker", "viewer", "admin"},
    "narrowed admin": {"known", "asker", "viewer", "keys"},
    "owner": {"known", "asker", "viewer", "admin", "owner"},
    "master": {"known", "asker", "viewer", "admin", "owner"},
}
UNKNOWN = {"none", "bad", "expired", "revoked", "expired owner", "revoked owner"}
KEYS = re.compile(r"/admin/keys(/.*)?")
"""What an admin whose grant is narrowed may change."""


def expected(path, method, kind):
    """The status that the table says."""
    row = ROWS[path].get("GET" if method == "HEAD" else method)
    if row is None:
        return 405
    needed, answered = row
    if needed == "none":
        return answered
    if kind in UNKNOWN:
        return 401
    may = MAY[kind]
    is_own = needed == "admin" and "keys" in may and KEYS.fullmatch(path) is not None
    return answered if needed in may or is_own else 403


def told(path):
    """The path as it is asked for; nobody is called `x`."""
    return re.sub(r"\{\w+\}", "x", path)


async def test_t86_every_route_has_a_row_and_every_row_its_route(tmp_path):
    """Methods included, taken from the router."""
    async with Rig(tmp_path) as rig:
        app = App(rig.service)
        there = {path: {"POST"} for path in DIALECT_OF} | {path: {"GET"} for path in app._gets}
        for route in app._admin.routes:
            there.setdefault(route.path, set()).update(route.methods - {"HEAD"})
    assert there == {path: set(row) for path, row in ROWS.items()}


async def test_t86_every_key_is_answered_as_the_table_says(tmp_path, size, proof):
    """Each route, method and kind of key."""
    asked, wrong = 0, []
    async with Rig(tmp_path) as rig, client_of(rig) as client:
        keys = await people(rig)
        assert set(MAY) == set(keys)

        async def ask(path, method, kind):
            answer = await client.request(method, told(path), headers=bearer(keys[kind]))
            if answer.status_code != expected(path, method, kind):
                wrong.append((path, method, kind, answer.status_code, expected(path, method, kind)))
            if method != "HEAD" and answer.status_code in {401, 403}:
                assert (
                    answer.json()["error"]["code"]
                    == {401: "unauthenticated", 403: "permission_denied"}[answer.status_code]
                )

        for path, row in ROWS.items():
            for method in METHODS:
                is_taken = method in row or (method == "HEAD" and "GET" in row)
                kinds = list(keys) if is_taken else size(["none", "tenant", "master"], list(keys))
                await asyncio.gather(*(ask(path, method, kind) for kind in kinds))
                asked += len(kinds)
    assert [] == wrong
    assert asked > size(700, 3000)
    proof(
        f"{len(ROWS)} routes x {len(METHODS)} methods x {len(MAY)} kinds of key: {asked} requests, all as the table says"
    )


async def test_t86_a_method_in_lower_case_is_none(tmp_path):
    """Methods are case-sensitive (RFC 9110, 9.1): what is not read as one gets nowhere, with no key or the best."""
    async with Rig(tmp_path) as rig:
        for key in ("", f"authorization: Bearer {rig.key}\r\n"):
            for path in ROWS:
                reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
                writer.write(f"get {told(path)} HTTP/1.1\r\nhost: x\r\n{key}\r\n".encode())
                head = await reader.readline()
                writer.close()
                await writer.wait_closed()
                assert head.split()[1] in {b"400", b"405"}, (path, head)


async def test_t86_a_refused_attempt_is_in_the_audit_trail(tmp_path):
    """Who, what, why; and a virtual key's as any other."""
    async with Rig(tmp_path) as rig, rig.http() as master, client_of(rig) as client:
        made = (await master.post("/admin/keys", json={"name": "app"})).json()
        assert (await client.get("/admin/keys", headers=bearer(made["key"]))).status_code == 403
        await rig.service.trail.flush()
        (row,) = await rig.service.database.read(lambda: latest(Wanted(outcome="refused"), 10))
        record = row[1]
    assert (made["id"], "key", "GET /admin/keys", "permission_denied") == (
        record.actor,
        record.role,
        record.action,
        record.reason,
    )

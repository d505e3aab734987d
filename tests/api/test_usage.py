"""GET /admin/usage."""

from __future__ import annotations

import httpx2
import pytest

from tests.rig import KEY
from turnout.core.books.entry import Entry
from turnout.core.books.ledger import append

ENTRY = Entry(
    "r1-1", "r1", 1_763_683_200_000, "k1", "anna", "w1", "t1", "s1", "chat", "gpt", "openai", "gpt-4o", "control",
    "ok", "exact", 100, 10, 5, 3, 2, 1_000,
)  # fmt: skip


@pytest.fixture
async def admin(rig):
    """A client with the master key, and one attempt in the books."""
    await rig.service.database.write(lambda: append("w", [ENTRY]))
    async with httpx2.AsyncClient(base_url=rig.url, headers={"authorization": f"Bearer {KEY}"}) as client:
        yield client


async def test_what_was_used(admin):
    """By the names asked for, of those named alone."""
    asked = {"by": "day,user", "from": "2025-11-01", "to": "2025-11-30", "user": "anna"}
    told = (await admin.get("/admin/usage", params=asked)).json()
    (line,) = told["lines"]
    assert ("2025-11-21", "anna", 1, 1000) == tuple(line[name] for name in ("day", "user", "attempts", "cost_nano_usd"))
    assert 1 == told["total"]["attempts"]
    assert [] == (await admin.get("/admin/usage", params={**asked, "user": "bo"})).json()["lines"]
    assert ["day"] == (await admin.get("/admin/usage")).json()["by"]
    nothing = (await admin.get("/admin/usage?by=&from=&to=&zone=&key=&user=&arm=")).json()
    assert ("UTC", ["day"]) == (nothing["zone"], nothing["by"])


async def test_what_a_session_came_to(admin):
    """Told apart, or one alone."""
    asked = {"by": "session", "from": "2025-11-01", "to": "2025-11-30"}
    for query, sessions in (({}, ["s1"]), ({"session": "s1"}, ["s1"]), ({"session": "s2"}, [])):
        told = (await admin.get("/admin/usage", params={**asked, **query})).json()
        assert sessions == [line["session"] for line in told["lines"]]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("by=colour", "by"),
        ("from=x", "from"),
        ("from=32d&session=s1", "from"),
        ("from=32d&by=session", "from"),
        ("zone=Mars", "zone"),
        ("colour=red", "colour"),
    ],
)
async def test_what_cannot_be_meant_is_a_400(admin, query, param):
    """That names the parameter."""
    answer = await admin.get(f"/admin/usage?{query}")
    assert (400, param) == (answer.status_code, answer.json()["error"]["param"])


async def test_it_asks_for_a_key(admin):
    """As every admin route."""
    assert 401 == (await admin.get("/admin/usage", headers={"authorization": ""})).status_code

"""GET /admin/audit."""

import pytest

from tests.rig import CONFIG, Rig

ROLLOUT = "rollouts:\n  litellm: {{tasks: all, percent: 10, candidate: {{provider: backup}}}}\n"


@pytest.fixture
async def client(tmp_path):
    """A client with the master key, of a gateway that has changed a rollout twice."""
    async with Rig(tmp_path, config=CONFIG + ROLLOUT) as rig, rig.http() as made:
        for percent in (20, 30):
            await made.put("/admin/rollouts/litellm", json={"percent": percent})
        yield made


async def rows(client, query=""):
    """What the route answers."""
    answer = await client.get(f"/admin/audit?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


async def test_the_newest_rows_with_what_was_before_and_after(client):
    """Who, from where, what, of what."""
    first, second = (await rows(client, "what=rollout"))[:2]
    assert ({"percent": 20.0}, {"percent": 30.0}, {"percent": 20.0}) == (
        first["before"],
        first["after"],
        second["after"],
    )
    assert ("master", "owner", "127.0.0.1", "rollout.set", "litellm", "done") == tuple(
        first[name] for name in ("actor", "role", "address", "action", "target", "outcome")
    )


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("who=master", 2),
        ("who=nobody", 0),
        ("of=litellm", 2),
        ("what=rollout.set&outcome=done", 2),
        ("outcome=refused", 0),
        ("what=rollout&count=1", 1),
        ("what=rollout&since_ms=4000000000000", 0),
        ("what=rollout&below=1", 0),
        ("who=&what=rollout&of=&outcome=&since_ms=&count=&below=", 2),
        ("what=rollout&count=5000", 2),
    ],
)
async def test_only_what_is_asked_for(client, query, count):
    """By who, what, of what, outcome, since when; so many, and those before a row."""
    assert count == len(await rows(client, query))


@pytest.mark.parametrize(
    "query", ["count=x", "count=-1", "since_ms=1e9", "below=%C2%B2", "actor=master", "count=" + "9" * 20]
)
async def test_what_makes_no_sense_is_refused(client, query):
    """With the parameter that is meant."""
    answer = await client.get(f"/admin/audit?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]["message"]


async def test_looking_leaves_no_row_and_nothing_can_be_changed(client):
    """There is no route that writes."""
    before = len(await rows(client))
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await client.request(method, "/admin/audit", json={})).status_code == 405
    assert before == len(await rows(client))

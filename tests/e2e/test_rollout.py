"""A gradual rollout through the whole gateway: who goes which way, who turns it, and what happens when the new way fails."""

import asyncio

import pytest

from tests.process import Served, turnout
from tests.rig import CONFIG, Rig
from turnout.api.simulator import SimulatorServer
from turnout.core.simulation.world import World

USERS = [f"user-{number}@example.dk" for number in range(200)]
MESSAGES = [{"role": "user", "content": "hej"}]
RULE = "rollouts:\n  litellm: {{tasks: [work, alone], percent: %s, candidate: {{provider: new}}, include: [boss], exclude: [carl]}}\n"


def config(percent=0):
    """The rig's, with an account that serves the same models under other names."""
    providers, models = CONFIG.split("models:", 1)
    account = (
        '  new: {{kind: compatible, base_url: "{url}/v1", api_key: sk-canary-new-4, names: "{{provider}}/{{id}}"}}\n'
    )
    return f"{providers}{account}models:{models}{RULE % percent}"


async def arm_of(client, user, model="task:work"):
    """Which arm answers a user."""
    headers = {"x-turnout-user": user} if user else {}
    answer = await client.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-turnout-arm"]


async def on_candidate(client, users=USERS):
    """The users whom the candidate arm answers."""
    arms = []
    for begin in range(0, len(users), 50):
        arms += await asyncio.gather(*(arm_of(client, user) for user in users[begin : begin + 50]))
    return {user for user, arm in zip(users, arms, strict=True) if arm == "candidate"}


async def test_a_user_stays_on_a_side_and_raising_only_adds(tmp_path):
    """0 is nobody, 100 everybody, 50 about half; what is lowered again takes away the latest."""
    async with Rig(tmp_path, config=config()) as rig, rig.http() as client:
        sides = {}
        for percent in (0, 10, 50, 50, 100, 50):
            rig.service.set_rollout("litellm", percent, "a test")
            side = await on_candidate(client)
            assert sides.setdefault(percent, side) == side
    assert sides[0] == set()
    assert sides[0] < sides[10] < sides[50] < sides[100] == set(USERS)
    assert 5 <= len(sides[10]) <= 40
    assert 75 <= len(sides[50]) <= 125


async def test_the_new_way_calls_a_model_by_its_own_name_and_pays_with_its_own_key(tmp_path):
    """The `names` template; the account's key and no other."""
    async with Rig(tmp_path, config=config(100)) as rig, rig.http() as client:
        assert await arm_of(client, "anna") == "candidate"
        (dispatch,) = rig.world.witness.dispatches
    assert dispatch.model == "stub/vendor/first"
    assert dispatch.header("authorization") == "Bearer sk-canary-new-4"


async def test_included_and_excluded_users_and_tasks_that_it_does_not_concern(tmp_path):
    """At 0 only who is included, at 100 all but who is excluded; other tasks and named models never."""
    async with Rig(tmp_path, config=config(0)) as rig, rig.http() as client:
        off = [await arm_of(client, user) for user in ("boss", "carl", "anna")]
        rig.service.set_rollout("litellm", 100, "a test")
        on = [await arm_of(client, user) for user in ("boss", "carl", "anna")]
        other = [await arm_of(client, "anna", model) for model in ("task:cheap", "first")]
    assert off == ["candidate", "control", "control"]
    assert on == ["candidate", "control", "candidate"]
    assert other == ["control", "control"]


async def test_without_a_user_the_session_decides_and_stays_and_without_both_chance_does(tmp_path):
    """At 50 % twenty draws alike would be one in half a million."""
    async with Rig(tmp_path, config=config(50)) as rig, rig.http() as client:

        async def arms(headers, count):
            asked = {"model": "task:work", "messages": MESSAGES}
            answers = [await client.post("/v1/chat/completions", json=asked, headers=headers) for _ in range(count)]
            return {answer.headers["x-turnout-arm"] for answer in answers}

        sessions = [await arms({"x-turnout-session": f"s{number}"}, 3) for number in range(20)]
        drawn = await arms({}, 40)
    assert [len(arms) for arms in sessions] == [1] * 20
    assert set.union(*sessions) == {"control", "candidate"}
    assert drawn == {"control", "candidate"}


@pytest.mark.parametrize("script", ["status=500", "429", "reset", "status=401", "status=404", "stall"])
@pytest.mark.parametrize("stream", [False, True])
async def test_when_the_whole_new_way_fails_the_old_way_answers(tmp_path, script, stream):
    """Nobody goes without an answer while any layer works, whatever ails the new one."""
    fast = (
        config(100).replace("first_chunk: 1", "first_chunk: 0.2").replace("[first, second, third]", "[first, second]")
    )
    async with Rig(tmp_path, config=fast) as rig, rig.openai() as client:
        rig.world.by_model["stub/*"] = rig.world.by_model["backup/*"] = script
        raw = await client.chat.completions.with_raw_response.create(
            model="task:work", messages=MESSAGES, user="anna", stream=stream
        )
        if stream:
            async for _ in raw.parse():
                pass
        (trace,) = await rig.traced()
    assert raw.headers["x-turnout-arm"] == "control"
    assert raw.headers["x-turnout-provider"] == "stub"
    assert trace.arm == "candidate"
    assert [attempt.arm for attempt in trace.attempts] == ["candidate"] * (len(trace.attempts) - 1) + ["control"]
    assert [one.model for one in rig.world.witness.dispatches][-1] == "vendor/first"
    arms = {(arm, told): count for (_, arm, told), count in rig.service.telemetry.arms.items()}
    assert ("candidate", "ok") not in arms


@pytest.mark.parametrize(
    ("variables", "arms"),
    [
        ({}, ["control", "control"]),
        ({"LITELLM_ROLLOUT_PERCENTAGE": "100"}, ["candidate", "control"]),
        ({"LITELLM_ROLLOUT_PERCENTAGE": "100", "ENABLE_LITELLM": "true"}, ["candidate", "control"]),
        ({"LITELLM_ROLLOUT_PERCENTAGE": "100", "ENABLE_LITELLM": "false"}, ["control", "control"]),
        ({"LITELLM_ROLLOUT_PERCENTAGE": "0", "TURNOUT_ROLLOUT_LITELLM": "100"}, ["candidate", "control"]),
        ({"TURNOUT_ROLLOUT_LITELLM": "0"}, ["control", "control"]),
    ],
)
async def test_the_environment_sets_it_at_the_start(tmp_path, variables, arms):
    """The two variables of the first product, and ours, which wins."""
    async with Rig(tmp_path, config=config(0), env=variables) as rig, rig.http() as client:
        assert [await arm_of(client, user) for user in ("anna", "carl")] == arms


async def test_a_later_change_of_the_environment_wins_over_an_older_set(tmp_path):
    """Over a restart; and what was set holds as long as nobody has decided anew."""
    seen = []
    for variables in (
        {"TURNOUT_ROLLOUT_LITELLM": "0"},
        {"TURNOUT_ROLLOUT_LITELLM": "0"},
        {"TURNOUT_ROLLOUT_LITELLM": "1"},
    ):
        async with Rig(tmp_path, config=config(0), env=variables) as rig, rig.http() as client:
            if not seen:
                answer = await client.put("/admin/rollouts/litellm", json={"percent": 100})
                assert answer.status_code == 200
            shown = (await client.get("/admin/rollouts")).json()["rollouts"][0]
            seen.append((await arm_of(client, USERS[0]), shown["percent"], shown["from"].split(",")[0]))
    assert seen == [
        ("candidate", 100, "the admin API"),
        ("candidate", 100, "the admin API"),
        ("control", 1, "TURNOUT_ROLLOUT_LITELLM"),
    ]


async def test_another_process_turns_a_running_gateway_within_a_second_and_for_good(tmp_path):
    """`turnout rollout set`, in a shell that lacks the gateway's variables; it survives the gateway's restart."""
    async with SimulatorServer(World.instant(seed=1)) as vendor:
        (tmp_path / "turnout.yaml").write_text(config(10).format(url=vendor.origin))
        started_with = {"TURNOUT_MASTER_KEY": Served(tmp_path).key, "LITELLM_ROLLOUT_PERCENTAGE": "30"}
        async with Served(tmp_path, env=started_with) as gateway, gateway.http() as client:
            assert await arm_of(client, "boss") == "candidate"
            before = await on_candidate(client, USERS[:50])
            code, out, err = await turnout(tmp_path, "rollout", "set", "litellm", "100")
            assert (code, err) == (0, "")
            loop = asyncio.get_running_loop()
            began = loop.time()
            while await on_candidate(client, USERS[:50]) != set(USERS[:50]):
                assert loop.time() - began < 1.0
            await turnout(tmp_path, "rollout", "set", "litellm", "0")
            began = loop.time()
            while await on_candidate(client, USERS[:50]):
                assert loop.time() - began < 1.0
        async with Served(tmp_path, env=started_with) as again, again.http() as client:
            after = await on_candidate(client, USERS[:50])
            shown = (await client.get("/admin/rollouts")).json()["rollouts"][0]
        code, status, _ = await turnout(tmp_path, "rollout", "status")
    assert "within a second" in out
    assert before < set(USERS[:50])
    assert after == set()
    assert (shown["percent"], shown["from"].split(",")[0]) == (0, "turnout rollout set")
    assert status.startswith("litellm: 0 %")

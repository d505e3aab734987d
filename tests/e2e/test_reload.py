"""A new config in a running gateway: by signal, by file, all or nothing, and never under a request's feet."""

import asyncio
import signal

from tests.process import Served
from tests.rig import CONFIG, Rig
from turnout.api.simulator import SimulatorServer
from turnout.core.simulation.profiles import Profile
from turnout.core.simulation.world import World

CHAT = {"model": "task:work", "messages": [{"role": "user", "content": "hej"}]}
BROKEN = "models: {x: {provider: nobody}}\nserver: {port: http}\n"


async def model_of(client):
    """Who answers the task."""
    answer = await client.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-turnout-model"]


async def until_answered_by(client, name, seconds=2.0):
    """Ask until `name` answers; return how long that took. Every answer on the way is a whole one."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while await model_of(client) != name:
        assert loop.time() - began < seconds
    return loop.time() - began


async def test_a_running_gateway_takes_a_new_file_by_itself_and_on_sighup_and_refuses_a_broken_one(tmp_path):
    """As a process of its own: what it says on the way, and that it never fails a request."""
    path = tmp_path / "turnout.yaml"

    def write(models):
        path.write_text(CONFIG.replace("[first, second, third]", models).format(url=vendor.origin))

    async with SimulatorServer(World.instant(seed=1)) as vendor:
        write("[first]")
        async with Served(tmp_path) as gateway, gateway.http() as client:
            assert await model_of(client) == "first"
            write("[second]")
            assert await until_answered_by(client, "second") < 1.0
            said = await gateway.until_said("in force")
            assert "config revision " in said

            path.write_text(BROKEN)
            gateway.process.send_signal(signal.SIGHUP)
            assert "turnout.yaml:1:24 models.x.provider: " in await gateway.until_said("models.x.provider")
            assert "turnout.yaml:2:16 server.port: " in await gateway.until_said("server.port")
            assert "the old one serves on" in gateway.said[-1]
            assert await model_of(client) == "second"
            refused = await client.post("/admin/reload")
            assert (refused.status_code, len(refused.json()["problems"])) == (422, 2)

            write("[third]")
            gateway.process.send_signal(signal.SIGHUP)
            assert await until_answered_by(client, "third") < 1.0
        assert gateway.exit_code == 0
    assert "Traceback" not in "\n".join(gateway.said)


async def test_a_request_under_way_keeps_the_config_it_began_with(tmp_path):
    """Its fallbacks, its deadlines and its names, although all of them are gone by then."""
    async with Rig(tmp_path) as rig, rig.http() as client:
        rig.world.queue.append("delay=0.3;503")
        waiting = asyncio.ensure_future(client.post("/v1/chat/completions", json=CHAT))
        while rig.world.witness.count == 0:
            await asyncio.sleep(0.005)
        rig.write_config(CONFIG.replace("[first, second, third]", "[third]").replace("vendor/second", "vendor/renamed"))
        assert rig.service.reload() == ()
        assert await model_of(client) == "third"
        answer = await waiting
        later, first = sorted(await rig.traced(), key=lambda trace: -trace.at)
    assert answer.headers["x-turnout-model"] == "second"
    assert [one.model for one in rig.world.witness.dispatches] == ["vendor/first", "claude-third", "vendor/second"]
    assert later.revision != first.revision
    assert later.choices == ("third@claude",)


async def test_a_stream_goes_on_while_its_model_is_taken_away(tmp_path):
    """Every word of it, and the next request finds the model gone."""
    world = World(seed=1, models={"*": Profile(per_token_s=0.01)})
    async with Rig(tmp_path, world=world) as rig, rig.openai() as client, rig.http() as http:
        stream = await client.chat.completions.create(model="first", messages=CHAT["messages"], stream=True)
        chunks = [await anext(aiter(stream))]
        rig.write_config(CONFIG.replace("  first: {{", "  other: {{").replace("[first", "[other"))
        assert rig.service.reload() == ()
        gone = await http.post("/v1/chat/completions", json=CHAT | {"model": "first"})
        chunks += [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert gone.status_code == 404
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert text.startswith("[simuleret] ")
    assert (
        -(-len(text.encode()) // 4)
        >= world.witness.dispatches[0].output_tokens
        == world.witness.dispatches[0].sent_tokens
    )


async def test_nothing_is_refused_or_cut_while_configs_come_and_go(tmp_path):
    """200 requests over ten reloads, each on one config or the other."""
    async with Rig(tmp_path) as rig, rig.http() as client:
        is_over = asyncio.Event()

        async def ask():
            answers = []
            while not is_over.is_set() or len(answers) < 20:
                answers.append(await client.post("/v1/chat/completions", json=CHAT))
            return answers

        asking = [asyncio.ensure_future(ask()) for _ in range(10)]
        for turn in range(10):
            rig.write_config(CONFIG.replace("[first, second, third]", ("[second]", "[third]")[turn % 2]))
            assert (await client.post("/admin/reload")).json()["problems"] == []
        is_over.set()
        answers = [answer for answers in await asyncio.gather(*asking) for answer in answers]
    assert len(answers) >= 200
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-turnout-model"] for answer in answers} >= {"second", "third"}

"""A running gateway's life: what it opens, reloads, notices and closes."""

import asyncio
import logging
import sqlite3

import pytest

from tests.rig import CONFIG, KEY, Rig
from turnout.config.environment import Environment
from turnout.config.load import load
from turnout.errors import ConfigError, StoreError
from turnout.gateway.clearing import MARK
from turnout.gateway.clock import SystemClock
from turnout.gateway.service import WATCH_S, Service
from turnout.stores.sqlite import SqliteStateStore

ROLLOUT = "rollouts:\n  beta: {{percent: 10, candidate: {{provider: backup}}}}\n"


@pytest.fixture
def place(tmp_path):
    """A config file, and a way to make services over it."""
    return Place(tmp_path)


class Place:
    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "turnout.yaml"
        self.made = []
        self.write()

    def write(self, text=CONFIG + ROLLOUT):
        self.path.write_text(text.format(url="http://127.0.0.1:1"), encoding="utf-8")

    def service(self, **variables):
        environment = Environment({"TURNOUT_HOME": str(self.folder / "home"), **variables})
        self.made.append(Service(load(self.path, environment), environment, SystemClock(), config=self.path))
        return self.made[-1]

    def percent(self, service):
        return service.snapshot.rollouts["beta"].percent


async def until(condition, seconds=5.0):
    """Wait for `condition`; return how long it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        assert loop.time() - began < seconds
        await asyncio.sleep(0.01)
    return loop.time() - began


async def test_it_is_ready_between_start_and_stop_and_stopping_twice_is_well(place):
    """What it made for itself is there at once; at the end no task is left."""
    before = asyncio.all_tasks()
    service = place.service()
    assert service.new_master_key.startswith("sk-turnout-")
    assert not service.is_ready
    await service.start()
    assert service.is_ready
    assert service.bounds is service.snapshot.server.bounds
    await service.stop()
    assert not service.is_ready
    await service.stop()
    assert asyncio.all_tasks() == before


async def test_another_root_key_than_the_books_were_made_with_is_no_start(place):
    """Said with what to do; and with the former one it starts again."""
    first = place.service()
    await first.start()
    await first.stop()
    other = place.service(TURNOUT_ROOT_KEY="a9f3c1e7b5d2084f6e1a9c3b7d5f2e80")
    with pytest.raises(ConfigError) as caught:
        await other.start()
    await other.stop()
    assert caught.value.problems[0].startswith("TURNOUT_ROOT_KEY: the keys in these books were made with another")
    await (again := place.service()).start()
    await again.stop()


def test_a_home_that_cannot_be_opened_is_a_store_error(place):
    """With the path in it."""
    (place.folder / "home").write_text("")
    with pytest.raises(StoreError, match="home"):
        place.service()


async def test_a_reload_takes_all_or_nothing(place, caplog):
    """The problems are returned and logged; the old config serves on."""
    service = place.service()
    first = service.snapshot
    assert service.reload() == ()
    assert service.snapshot.revision == first.revision
    place.write("models: {{x: {{provider: nobody}}}}\n")
    with caplog.at_level(logging.WARNING, "turnout.service"):
        problems = service.reload()
        assert service.snapshot.revision == first.revision
        place.write(CONFIG)
        assert service.reload() == ()
    assert "nobody" in problems[0]
    assert service.snapshot.revision != first.revision
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert service.snapshot.revision in caplog.records[1].getMessage()
    await service.stop()


async def test_the_keys_of_every_configuration_are_secrets_from_then_on(place):
    """A key that was replaced stays one; so does the master key that was made."""
    service = place.service()
    place.write(CONFIG.replace("sk-canary-stub-key-1", "plain-key-of-another-form"))
    assert service.reload() == ()
    text = f"sk-canary-stub-key-1 plain-key-of-another-form {service.new_master_key[20:]} {service.new_master_key}"
    assert f"*** *** {service.new_master_key[20:]} ***" == service.secrets.redact(text)
    await service.stop()


async def test_a_changed_file_is_taken_once_it_stands_still(place):
    """An editor that empties the file before it writes does not take all routes away for a moment."""
    service = place.service()
    await service.start()
    revisions = {service.snapshot.revision}
    loop = asyncio.get_running_loop()
    until_then = loop.time() + 3 * WATCH_S
    while loop.time() < until_then:
        place.write("")  # valid, and nothing like what is meant
        await asyncio.sleep(0.02)
        revisions.add(service.snapshot.revision)
    assert len(revisions) == 1
    place.write(CONFIG)
    assert await until(lambda: service.snapshot.revision not in revisions) < 1.0 + WATCH_S
    assert "first" in service.snapshot.models
    await service.stop()


class Meddling(Environment):
    """Variables that change the config file when they are looked at, which is after the file was read."""

    __slots__ = ("change",)

    def get(self, name):
        if name == "TURNOUT_PORT" and self.change is not None:
            self.change()
            self.change = None
        return super().get(name)


async def test_what_is_written_while_the_file_is_read_is_a_change_to_come(place):
    """The stamp is taken before reading, so no edit falls between the two."""
    environment = Meddling({"TURNOUT_HOME": str(place.folder / "home")})
    environment.change = None
    service = Service(load(place.path, environment), environment, SystemClock(), config=place.path)
    environment.change = lambda: place.write(CONFIG + ROLLOUT.replace("percent: 10", "percent: 70"))
    assert service.reload() == ()
    assert environment.change is None
    assert place.percent(service) == 10
    await service.start()
    await until(lambda: place.percent(service) == 70)
    await service.stop()


async def test_a_file_that_a_key_is_in_is_watched(place):
    """Rotating a key is writing its file."""
    key = place.folder / "key"
    key.write_text("sk-canary-old")
    place.write(CONFIG.replace("api_key: sk-canary-stub-key-1", 'api_key: "file:key"'))
    service = place.service()
    await service.start()
    key.write_text("sk-canary-new")
    await until(lambda: service.snapshot.accounts["stub"].api_key.reveal() == "sk-canary-new")
    key.unlink()
    await asyncio.sleep(3 * WATCH_S)
    assert service.snapshot.accounts["stub"].api_key.reveal() == "sk-canary-new"
    await service.stop()


async def test_a_price_that_changes_on_a_day_is_taken_on_that_day(place):
    """Without anybody touching the file: what was loaded before that day is loaded again."""
    place.write("defaults: false\nmodels: {{a: {{provider: openrouter, id: meta-llama/llama-3.1-70b-instruct}}}}\n")
    variables = {"TURNOUT_HOME": str(place.folder / "home"), "OPENROUTER_API_KEY": "sk-canary"}
    the_day_before = 1_793_620_000.0  # 2026-11-02
    loaded = load(place.path, Environment(variables, the_day_before))
    service = Service(loaded, Environment(variables, the_day_before + 86_400), SystemClock(), config=place.path)
    assert 400 == service.snapshot.models["a"].price.input
    await service.start()
    await until(lambda: service.snapshot.models["a"].price.input == 720)
    await service.stop()


async def test_what_is_set_holds_at_once_and_after_a_restart(place):
    """Through the state file; an unknown name is refused."""
    service = place.service()
    service.set_rollout("beta", 30, "a test")
    assert place.percent(service) == 30
    with pytest.raises(ValueError, match="beta"):
        service.set_rollout("nope", 30, "a test")
    await service.stop()
    again = place.service()
    assert place.percent(again) == 30
    await again.stop()
    moved = place.service(TURNOUT_ROLLOUT_BETA="50")
    assert place.percent(moved) == 50
    await moved.stop()


async def test_what_another_process_sets_holds_within_a_second_whatever_it_took_for_the_base(place):
    """An emergency 0 from a shell without the gateway's variables; it outlives the gateway too."""
    service = place.service(TURNOUT_ROLLOUT_BETA="40")
    await service.start()
    bystander = place.service()
    bystander.set_rollout("beta", 0, "a shell with another environment")
    assert await until(lambda: place.percent(service) == 0) < 1.0
    await service.stop()
    again = place.service(TURNOUT_ROLLOUT_BETA="40")
    assert place.percent(again) == 0
    await again.stop()
    await bystander.stop()


async def test_what_another_process_clears_is_forgotten_within_a_second(tmp_path):
    """By a mark in the state file; a mark is no rollout, so nothing is made anew."""
    body = {"model": "first", "messages": [{"role": "user", "content": "hej"}]}
    async with Rig(tmp_path, config=CONFIG + "cache: {{ttl: 60}}\n") as rig, rig.http() as client:
        await client.post("/v1/chat/completions", json=body)
        cache, index = rig.service.engine.cache, rig.service.engine.index
        assert cache.stats().entries == 1
        other = SqliteStateStore(tmp_path / "home/state.sqlite3")
        other.put_fact(MARK, b"another")
        other.close()
        assert await until(lambda: cache.stats().entries == 0) < 1.0
        assert index is rig.service.engine.index


async def test_what_another_process_sets_right_before_a_reload_is_not_lost(place):
    """`turnout rollout set` and SIGHUP in one script, sooner than the gateway looks by itself."""
    service = place.service(TURNOUT_ROLLOUT_BETA="40")
    bystander = place.service()
    bystander.set_rollout("beta", 0, "a shell with another environment")
    assert service.reload() == ()
    assert place.percent(service) == 0
    await service.stop()
    await bystander.stop()


async def test_a_state_file_that_cannot_be_read_is_said_and_everything_else_goes_on(place, caplog):
    """And what is set once it can be read again is seen."""
    service = place.service()
    await service.start()
    with sqlite3.connect(place.folder / "home" / "state.sqlite3") as other:
        other.execute("ALTER TABLE rollout_change RENAME TO elsewhere")
    await until(lambda: "the state file cannot be read" in caplog.text)
    place.write(CONFIG.replace("cheapest first", "for another reason") + ROLLOUT)
    await until(lambda: service.snapshot.tasks["work"].because == "for another reason")
    other.execute("ALTER TABLE elsewhere RENAME TO rollout_change")
    other.close()
    shell = SqliteStateStore(place.folder / "home" / "state.sqlite3")
    shell.close()
    place.service().set_rollout("beta", 90, "a test")
    await until(lambda: place.percent(service) == 90)
    await place.made[-1].stop()
    await service.stop()


async def test_what_is_counted_is_what_is_told(tmp_path):
    """In flight while it lasts; then a trace, and the metrics with who rests."""
    async with Rig(tmp_path) as rig, rig.http() as client:
        rig.world.by_model["vendor/first"] = "retry-after=9"
        asked = {"model": "task:work", "messages": [{"role": "user", "content": "hej"}]}
        answer = await client.post("/v1/chat/completions", json=asked)
        (trace,) = await rig.traced()
        text = rig.service.metrics().decode()
    assert answer.status_code == 200
    assert trace.request_id == answer.headers["x-request-id"]
    assert 'turnout_candidate_resting_seconds{candidate="first@stub"} ' in text
    assert 'turnout_requests_total{model="second",status="200",task="work"} 1.0' in text
    assert "turnout_concurrent_requests 0.0" in text


def test_the_key_of_the_environment_is_the_one_that_opens(place):
    """And none is made."""
    service = place.service(TURNOUT_MASTER_KEY=KEY)
    assert service.new_master_key == ""
    assert service.ring.check(KEY.encode()) is not None
    service.traces.close()
    service.state.close()


async def test_it_looks_how_late_its_loop_is_and_tells_the_worst_since_it_was_asked(tmp_path):
    """Once: the next scrape tells of what came after."""
    async with Rig(tmp_path) as rig:
        await until(lambda: rig.service.telemetry.longest_lag_s > 0)
        rig.service.telemetry.longest_lag_s = 7.5
        asked = [rig.service.metrics().decode() for _ in range(2)]
    assert ['turnout_loop_lag_seconds{of="max"} 7.5' in text for text in asked] == [True, False]


async def test_a_new_bound_on_what_may_be_under_way_holds_soon_after_a_reload(tmp_path):
    """Taken on the loop, which counts them."""
    async with Rig(tmp_path, config=CONFIG + "server: {{concurrency: 10}}\n") as rig:
        assert rig.service.admission.room == 9
        rig.write_config(CONFIG + "server: {{concurrency: 20}}\n")
        await asyncio.to_thread(rig.service.reload)
        await until(lambda: rig.service.admission.room == 18)


async def test_what_only_a_restart_can_change_is_said(place, caplog):
    """And what can be changed, is: how many traces are kept. A change that is taken back needs no restart."""
    service = place.service()
    assert service.traces.bound == 50_000
    local = "  small: {{provider: here, id: x, price: free}}\n"
    place.write(
        CONFIG.replace("models:\n", "models:\n" + local, 1).replace(
            "providers:\n", "providers:\n  here: {{kind: local}}\n", 1
        )
        + "server: {{port: 4001, grace: 3}}\ntraces: {{rows: 77}}\n"
    )
    with caplog.at_level(logging.WARNING, "turnout.service"):
        assert service.reload() == ()
        said = [record.getMessage() for record in caplog.records if "needs a restart" in record.getMessage()]
        place.write(CONFIG)
        assert service.reload() == ()
    assert len(said) == 1
    assert said[0].endswith(": server.port, providers.here (a local model)")
    assert service.traces.bound == 50_000
    assert "needs a restart" not in caplog.records[-1].getMessage()
    await service.stop()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("ledger.url", "ledger: {{url: 'postgresql://turnout@127.0.0.1:1/books'}}"),
        ("valkey.url", "valkey: {{url: 'redis://127.0.0.1:1'}}"),
    ],
)
async def test_another_address_of_what_is_opened_at_the_start_needs_a_restart(place, caplog, key, text):
    """Else a reload would be taken by half: the books would go on where they were, and nobody would know."""
    service = place.service()
    place.write(CONFIG + text + "\n")
    with caplog.at_level(logging.WARNING, "turnout.service"):
        assert service.reload() == ()
        assert caplog.records[-1].getMessage().endswith(f"to take effect: {key}")
        place.write(CONFIG)
        assert service.reload() == ()
    assert "needs a restart" not in caplog.records[-1].getMessage()
    await service.stop()


async def test_a_signal_to_reload_is_taken_at_the_next_moment_and_many_are_one_or_two(place):
    """Off the loop: it turns on while the file is read."""
    service = place.service()
    await service.start()
    place.write(CONFIG.replace("cheapest first", "for another reason"))
    for _ in range(100):
        service.reload_soon()
    assert await until(lambda: service.snapshot.tasks["work"].because == "for another reason") < 1.0
    await service.stop()
    assert service.reload() == ()  # a thread that comes late finds it closed, and says nothing


async def test_a_state_file_that_somebody_has_locked_holds_up_nobody(place):
    """Neither the looks that are taken four times a second nor a change that has to wait for it."""
    service = place.service()
    await service.start()
    loop = asyncio.get_running_loop()
    longest = 0.0
    with sqlite3.connect(place.folder / "home" / "state.sqlite3", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        setting = asyncio.ensure_future(asyncio.to_thread(service.set_rollout, "beta", 30, "a test"))
        while not setting.done():
            before = loop.time()
            await asyncio.sleep(0.001)
            longest = max(longest, loop.time() - before)
        other.execute("ROLLBACK")
    other.close()
    with pytest.raises(StoreError, match="locked"):
        setting.result()
    assert longest < 0.25
    service.set_rollout("beta", 30, "a test")
    assert place.percent(service) == 30
    await service.stop()

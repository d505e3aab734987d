"""T74: a broken configuration is refused with file, line and key, in a second and without a traceback or a secret, and the old one serves on."""

import gc
import json
import random
import time

import pytest

from tests.faults.life import Vendor, ask, write_config
from tests.process import Served, turnout
from turnout.cli import run

WORK_S = 1.0
"""What a refusal may take, of its own time."""

GOOD = """defaults: false
providers:
  stub: {kind: compatible, base_url: "http://127.0.0.1:9/v1", api_key: sk-canary-in-the-file}
models:
  first: {provider: stub, id: vendor/first, price: free, context: 128000, can: [tools, json]}
  second: {provider: stub, id: vendor/second, price: {input: 3, output: 15}}
routes:
  pair: {models: {first: 2, second: 1}}
tasks:
  work: {models: [first, second], because: "cheapest first", needs: [json]}
aliases: {usual: work}
rollouts:
  beta: {percent: 10, candidate: {models: [second]}}
retry: {max_retries: 2, backoff: 100ms}
breaker: {failures: 5}
timeouts: {connect: 1, first_chunk: 5}
traces: {rows: 1000}
"""

TABLE = {
    "bad YAML": GOOD + "tasks: [work\n",
    "unknown key at the top": GOOD + "modles: {}\n",
    "unknown key in a table": GOOD.replace("failures: 5", "failurs: 5"),
    "duplicate key": GOOD + "retry: {max_retries: 1}\n",
    "duplicate key in a table": GOOD.replace("{connect: 1,", "{connect: 1, connect: 2,"),
    "a list for a number": GOOD.replace("rows: 1000", "rows: [1000]"),
    "a word for a number": GOOD.replace("percent: 10", "percent: many"),
    "a table for a name": GOOD.replace("provider: stub, id: vendor/first", "provider: {stub: 1}, id: vendor/first"),
    "a list for the whole": "- models\n- tasks\n",
    "a word for the whole": "turnout\n",
    "out of range": GOOD.replace("percent: 10", "percent: 101"),
    "negative price": GOOD.replace("input: 3", "input: -3"),
    "an alias of itself": GOOD.replace("{usual: work}", "{usual: other, other: usual}"),
    "an anchor in itself": GOOD + "x-a: &a [*a]\n",
    "a model that falls back to itself": GOOD.replace("can: [tools, json]", "can: [tools, json], fallbacks: [first]"),
    "unknown model": GOOD.replace("models: [first, second]", "models: [first, secnd]"),
    "unknown provider": GOOD.replace("first: {provider: stub", "first: {provider: stob"),
    "unknown model of a rollout": GOOD.replace("candidate: {models: [second]}", "candidate: {models: [nobody]}"),
    "unknown alias target": GOOD.replace("{usual: work}", "{usual: nobody}"),
    "tab": GOOD + "server:\n\tport: 4000\n",
    "control character": GOOD + "x-note: a\x07b\n",
    "no UTF-8": GOOD.encode() + b"x-note: \xff\xfe\n",
    "UTF-16": GOOD.encode("utf-16"),
    "NUL": GOOD.encode() + b"\x00" * 64,
    "tag": GOOD + "x-run: !!python/object/apply:os.system [id]\n",
    "two documents": GOOD + "---\n" + GOOD,
    "billion laughs": GOOD
    + "x-a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
    + "".join(f"x-a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)),
    "quadratic merge": GOOD + "x-b: &b {k: 1}\nx-c: [" + ", ".join(["{<<: [*b, *b, *b, *b]}"] * 30_000) + "]\n",
    "deep nesting": GOOD + "x-deep: " + "[" * 5000 + "]" * 5000 + "\n",
    "10 MB": GOOD + "x-note: " + "a" * 10_000_000 + "\n",
    "missing variable": GOOD.replace("sk-canary-in-the-file", '"${NO_SUCH_VARIABLE}"'),
    "unreadable key file": GOOD.replace("sk-canary-in-the-file", '"file:nowhere/key"'),
    "a device for a key file": GOOD.replace("sk-canary-in-the-file", '"file:/dev/zero"'),
    "a secret in the wrong place": GOOD.replace("rows: 1000", "rows: sk-canary-in-the-wrong-place"),
    "a secret with a line break": GOOD.replace("sk-canary-in-the-file", '"sk-canary\\nsplit"'),
    "a weak master key": GOOD + "server: {master_key: sk-1234}\n",
    "a port that is none": GOOD + "server: {port: 65536}\n",
    "half a file": GOOD[: len(GOOD) // 2],
}


def mutated(rng):
    """Break the good file in one place, in a way that a slip of the hand would. Some slips are no fault at all."""
    lines = GOOD.splitlines(keepends=True)
    at = rng.randrange(2, len(lines))
    line = lines[at]
    slip = rng.randrange(8)
    if slip == 0:
        lines[at] = line.replace(":", "", 1)
    elif slip == 1:
        lines[at] = "\t" + line
    elif slip == 2:
        lines.insert(at, line)
    elif slip == 3:
        spot = rng.randrange(len(line))
        lines[at] = line[:spot] + rng.choice("{}[]\"'&*!%@`|>,#") + line[spot:]
    elif slip == 4:
        spot = rng.randrange(len(line) - 1)
        lines[at] = line[:spot] + line[spot + 1 :]
    elif slip == 5:
        words = [word for word in line.replace("{", " ").replace(",", " ").split() if word.endswith(":")]
        word = rng.choice(words)
        lines[at] = line.replace(word, word[:-1] + "x:", 1)
    elif slip == 6:
        lines[at] = " " * rng.randrange(1, 5) + line
    else:
        lines[at] = line[: rng.randrange(1, len(line))] + "\n"
    return "".join(lines)


def broken_files(seed, count):
    """Name and bytes of `count` files, the table first."""
    rng = random.Random(seed)
    files = [(name, text.encode() if isinstance(text, str) else text) for name, text in TABLE.items()]
    while len(files) < count:
        text = mutated(rng)
        if text != GOOD:
            files.append((f"mutation {len(files)}", text.encode()))
    return files[:count]


@pytest.fixture
def _own_place(tmp_path, monkeypatch):
    """The command run in this process finds nothing of ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TURNOUT_HOME", str(tmp_path / "home"))


@pytest.fixture
def _nothing_to_look_through():
    """What other tests have left in this process stays out of the collector's looks, whose time would be the check's."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_own_place", "_nothing_to_look_through")
def test_t74_check_says_where_and_what_in_a_second(tmp_path, capsys, size, seed, proof):
    """Each file of the table is refused; a mutation is refused as well, or was no fault. Places lead into the file."""
    files = broken_files(seed, size(120, 1000))
    longest, refused = 0.0, 0
    assert run(["check", "--json"]) == 0
    for name, data in files:
        (tmp_path / "turnout.yaml").write_bytes(data)
        capsys.readouterr()
        began = time.process_time()
        code = run(["check", "--json"])
        longest = max(longest, time.process_time() - began)
        told = capsys.readouterr()
        answer = json.loads(told.out)
        assert "canary" not in told.out + told.err, name
        assert (code == 2) or name.startswith("mutation"), name
        assert answer["ok"] is (code == 0)
        if code:
            refused += 1
            lines = data.count(b"\n") + data.count(b"\r") + 2  # what is missing at the end is missed after it
            for problem in answer["problems"]:
                assert problem.startswith("turnout.yaml:"), (name, problem)
                assert 1 <= int(problem.split(":")[1]) <= lines, (name, problem)
    assert longest < WORK_S
    proof(
        f"{refused} of {len(files)} broken files refused by `check`, each with file and line; longest {longest:.2f} s"
    )


async def test_t74_a_reload_refuses_and_the_old_one_serves_on(tmp_path, size, seed, proof):
    """Every file of the table and mutations after it; a request is answered after each, by the configuration that stood."""
    files = broken_files(seed, 200)
    files = [one for one in files if one[0] != "a weak master key"]  # the environment has a better one, which wins
    files = random.Random(seed).sample(files, size(30, len(files)))
    async with Vendor() as vendor:
        write_config(tmp_path, vendor.origin)
        async with Served(tmp_path, vendor=vendor) as gateway, gateway.http() as client:
            port = int(gateway.url.rpartition(":")[2])
            good = (tmp_path / "turnout.yaml").read_bytes()
            revision = (await client.get("/admin/config")).json()["revision"]
            refused, longest = 0, 0.0
            for name, data in files:
                (tmp_path / "broken.yaml").write_bytes(data)
                (tmp_path / "broken.yaml").replace(tmp_path / "turnout.yaml")
                began = time.perf_counter()
                answer = await client.post("/admin/reload", timeout=30)
                longest = max(longest, time.perf_counter() - began)
                if answer.status_code == 200:  # a mutation that was no fault
                    assert name.startswith("mutation")
                    (tmp_path / "broken.yaml").write_bytes(good)
                    (tmp_path / "broken.yaml").replace(tmp_path / "turnout.yaml")
                    assert (await client.post("/admin/reload", timeout=30)).status_code == 200
                    continue
                refused += 1
                assert answer.status_code == 422, name
                assert answer.json()["revision"] == revision
                assert answer.json()["problems"][0].startswith("turnout.yaml:"), name
                assert (await ask(port, gateway.key, "quick")).status == 200
            (tmp_path / "turnout.yaml").unlink()
            (tmp_path / "turnout.yaml").symlink_to("/dev/zero")  # the link swapped under us
            swapped = await client.post("/admin/reload", timeout=30)
            (tmp_path / "turnout.yaml").unlink()
            gone = await client.post("/admin/reload", timeout=30)
            assert (await ask(port, gateway.key, "quick")).status == 200
    assert (swapped.status_code, gone.status_code) == (422, 422)
    said = "\n".join(gateway.said)
    assert "Traceback" not in said
    assert "sk-canary" not in said
    proof(f"{refused} broken files refused by a running gateway, all of {refused} requests after them answered")


async def test_t74_a_start_ends_at_once(tmp_path, size, proof):
    """As processes of their own: exit code 2, a line, no listener, no state."""
    names = size(["duplicate key", "billion laughs", "tab"], list(TABLE))
    for name in names:
        data = TABLE[name]
        (tmp_path / "turnout.yaml").write_bytes(data.encode() if isinstance(data, str) else data)
        code, out, told = await turnout(tmp_path, "serve", "--port", "0", "--log-format", "text")
        assert (code, out) == (2, ""), name
        assert told.startswith("turnout.yaml:"), told
        assert "Traceback" not in told
        assert "canary" not in told
    assert not (tmp_path / "home").exists()
    proof(f"{len(names)} starts on a broken file: exit code 2 each")

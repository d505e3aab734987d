"""T89: no path, query or name in a request reaches a file: 404 or 400, and nothing is opened outside the data folder.

Every open, listing and change of a file by the gateway's process is seen by an audit hook.
"""

import asyncio
import random
from pathlib import Path

import turnout
from tests.faults.audited import Events, watch
from tests.faults.edge import statuses, tell
from tests.process import Served, SimulatedVendor
from tests.rig import CONFIG, KEY

CLIMBS = (
    *(
        "../",
        "..%2f",
        "..%2F",
        "%2e%2e/",
        "%2e%2e%2f",
        "..%252f",
        "%252e%252e%252f",
        "..\\",
        "..%5c",
        "%2e%2e%5c",
        "..;/",
    ),
    *(
        "....//",
        "..//",
        "/..//",
        "..%00/",
        "%00../",
        "..%c0%af",
        "%c0%ae%c0%ae/",
        "%c0%2e%c0%2e/",
        "..%ef%bc%8f",
        "..%u2215",
    ),
    *(".././", "%2e/", "%2e%2e%2e/", "..%0d%0a/", "..%20/", "..%09/", "~/", "file:///", "\\\\localhost\\"),
)
FILES = (
    "etc/passwd",
    "etc%2fpasswd",
    "proc/self/environ",
    "turnout.yaml",
    "home/state.sqlite3",
    "home%2Fstate.sqlite3",
)
ROUTES = (
    *("GET /", "GET /admin/", "GET /admin/traces/", "GET /admin/traces/req_1", "GET /admin/config/", "GET /health/"),
    *(
        "GET /v1/models/",
        "GET /metrics/",
        "GET /static/",
        "GET /ui/",
        "PUT /admin/rollouts/",
        "POST /v1/chat/completions/",
    ),
    *("POST /v1/embeddings/", "POST /admin/explain/", "POST /admin/reload/", "GET /openapi.json/"),
)
TARGETS = (
    *("GET //etc/passwd", "GET ///", "GET /v1//models", "GET //v1/models", "GET /v1/models/", "GET /v1/models;a=b"),
    *("GET /v1/models%00", "GET /v1/models%2f", "GET /v1%2fmodels", "GET /%76%31/models", "GET /v1/./models"),
    *("GET /v1/x/../models", "GET /V1/MODELS", "GET /admin", "GET /admin//config", "GET /admin/%63onfig", "GET /.env"),
    *(
        "GET /admin/config/../config",
        "GET /admin/traces/%00",
        "GET /admin/traces/a%2fb",
        "GET /admin/traces/..",
        "GET *",
    ),
    *(
        "GET /admin/rollouts/../config",
        "GET http://localhost/../../etc/passwd",
        "GET file:///etc/passwd",
        "GET etc/passwd",
    ),
    *("GET http://localhost/admin/traces/..%2f..%2fetc%2fpasswd", "GET \\admin\\config", "GET /admin\\config"),
    *("GET /admin/config%3f", "GET /admin/config%23", "GET /admin/traces/" + "..%2f" * 6000, "GET /" + "a/" * 15_000),
    *("OPTIONS *", "GET /v1/models#/../../etc/passwd", "GET /admin/traces/../../home/state.sqlite3"),
)
HARMLESS = (
    *(
        "GET /v1/models?file=../../etc/passwd",
        "GET /health?path=/etc/passwd",
        "GET /admin/config?include=..%2f..%2fetc",
    ),
    *("GET http://localhost/v1/models", "GET http://[::1]/health?x=../..", "GET /metrics?name[]=../../etc/passwd"),
)
"""A query that nobody reads, and the absolute form that RFC 9112 §3.2.2 demands be taken: the route answers as ever."""

TOUCHING = ("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
            "os.truncate", "os.chmod", "sqlite3.connect", "glob.glob", "shutil.move", "shutil.copyfile")  # fmt: skip


def request(line: str, body: bytes = b"") -> bytes:
    """The bytes of a request with the master key. line: method and target."""
    head = f"{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def outside(event, folder: Path) -> bool:
    """Whether an event touches what is neither the gateway's data nor its own package."""
    path = Path(event.told[0])
    if event.told[0].isdigit():  # a descriptor that is open already
        return False
    return not any((folder / path).resolve().is_relative_to(room) for room in (folder, Path(turnout.__file__).parent))


async def test_t89_no_target_reaches_a_file(tmp_path, size, seed, proof):
    """Climbs of every spelling on every kind of route: 404 or 400, nothing of a file in the answer, no file touched."""
    lines = [
        f"{route}{climb * times}{file}" for route in ROUTES for climb in CLIMBS for times in (1, 5) for file in FILES
    ]
    lines = [*TARGETS, *random.Random(seed).sample(lines, size(300, len(lines)))]
    home = tmp_path / "work"
    home.mkdir()
    (home / "secret.txt").write_text("do not read")
    async with Served(home, "--port", "0", env=watch(tmp_path)) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        for line in HARMLESS:  # what is opened once is opened here
            assert [200] == statuses((await tell(port, request(line)))[0]), line
        events = Events(tmp_path)
        answers = {}
        for begin in range(0, len(lines), 50):
            some = lines[begin : begin + 50]
            told = await asyncio.gather(*(tell(port, request(line)) for line in some))
            answers.update(zip(some, (answer for answer, _ in told), strict=True))
        await tell(port, request("GET /health"))
        touched = events.named(*TOUCHING)
    assert {} == {
        line: answer[:200] for line, answer in answers.items() if statuses(answer) not in ([404], [400], [405], [414])
    }
    assert [] == [line for line, answer in answers.items() if b"root:" in answer or b"SQLite format" in answer]
    assert [] == [event for event in touched if outside(event, home)]
    proof(f"{len(answers)} targets: all 400, 404, 405 or 414; {len(touched)} files touched, all in the data folder")


NAMES = ("../../etc/passwd", "/etc/passwd", "..\\..\\x", "file:///etc/passwd", "\x00", "a\x00b", "%2e%2e%2f", "~root", "C:\\x",
         "{{7*7}}", "os.environ/HOME", "$HOME", "`id`", "task:../../x", "model:/etc/passwd", "route:..", ".", "..", "/")  # fmt: skip


async def name_it(client, name: str) -> list[tuple[str, int, str]]:
    """Give the name wherever a request can name something; return where, the status and the answer of each."""
    chat = {"model": "first", "messages": [{"role": "user", "content": "hej"}]}
    sendable = name.replace("\x00", "%00")
    headers = {"x-turnout-user": sendable, "x-turnout-session": sendable, "x-request-id": sendable}
    path = sendable.replace("/", "%2F")
    asked = {
        "model": client.post("/v1/chat/completions", json=chat | {"model": name}),
        "metadata": client.post("/v1/chat/completions", json=chat | {"model": "", "metadata": {"task": name}}),
        "task": client.post("/v1/chat/completions", json=chat, headers={"x-turnout-task": sendable}),
        "labels": client.post("/v1/chat/completions", json=chat, headers=headers),
        "plan": client.post("/admin/explain", json={"model": "first", "task": name}),
        "rollout": client.put(f"/admin/rollouts/{path}", json={"percent": 5}),
        "trace": client.get(f"/admin/traces/{path}"),
    }
    answers = [(where, await asking) for where, asking in asked.items()]
    return [(where, answer.status_code, answer.text) for where, answer in answers]


async def test_t89_no_name_reaches_a_file(tmp_path):
    """Model, task, user and session names, trace and rollout ids: a name is looked up, never opened."""
    home = tmp_path / "work"
    home.mkdir()
    async with SimulatedVendor(tmp_path) as vendor:
        (home / "turnout.yaml").write_text(CONFIG.format(url=vendor.origin))
        async with Served(home, "--port", "0", vendor=vendor, env=watch(tmp_path)) as gateway, gateway.http() as client:
            await name_it(client, "warm")
            events = Events(tmp_path)
            told = [one for name in NAMES for one in await name_it(client, name)]
            touched = events.named(*TOUCHING)
            await client.post("/admin/reload")
            control = events.named("open")
    assert {200} == {status for where, status, _ in told if where == "labels"}
    assert {404, 405} >= {status for where, status, _ in told if where != "labels"}
    assert [] == [one for one in told if "root:" in one[2]]
    assert [] == [event for event in touched if outside(event, home)]
    assert any(event.told[0] == "turnout.yaml" for event in control)

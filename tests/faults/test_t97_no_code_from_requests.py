"""T97: no request makes the gateway start a program, load or compile code, set a variable, or connect to an unlisted host.

The whole API is asked, well and badly, while every audit event of Python's and every such system call is written down. The
system calls are the second witness: what compiled code does (uvloop connects in C) raises no event.
"""

import asyncio
import re
from contextlib import suppress

import httpx2
import pytest

from tests.faults.audited import Event, Events, Traced, watch
from tests.process import Served, SimulatedVendor
from tests.rig import CONFIG

ROLLOUT = "rollouts:\n  move: {candidate: {models: [second]}, percent: 0}\n"
HEJ = [{"role": "user", "content": "hej {{7*7}} ${HOME} __import__('os').system('id') os.environ/HOME"}]
FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn"),
    *(
        "compile",
        "exec",
        "import",
        "ctypes.dlopen",
        "ctypes.dlsym",
        "marshal.loads",
        "pickle.find_class",
        "code.__new__",
    ),
    *("os.putenv", "os.unsetenv", "sqlite3.load_extension", "sys.addaudithook", "shutil.rmtree"),
    *("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind"),
)
"""`socket.connect` too: the gateway's loop connects without asking Python's socket module, so nothing else may either."""

WHERE = {"base_url": "http://169.254.169.254", "api_base": "http://169.254.169.254", "api_key": "os.environ/HOME"}
FAULTS = ("", "503", "429;retry-after=1", "cut-at=100", "html", "malformed", "status=401", "no-done", "error-event=1")
ADMIN = (
    ("GET", "/admin/rollouts", None),
    ("PUT", "/admin/rollouts/move", {"percent": 5}),
    ("PUT", "/admin/rollouts/move", {"percent": "__import__('os')"}),
    ("PUT", "/admin/rollouts/no", {"percent": 5}),
    ("GET", "/admin/traces/req_1", None),
    ("GET", "/admin/traces/..%2f..%2fetc%2fpasswd", None),
    ("POST", "/admin/explain", {"model": "first", "task": "{{7*7}}"}),
    ("POST", "/admin/explain", {"model": "", "task": "work", "stream": True, "needs": ["tools"]}),
    ("GET", "/admin/config", None),
    ("GET", "/admin/audit?who={{7*7}}", None),
    ("GET", "/admin/secrets", None),
    ("PUT", "/admin/secrets/stub", {"key": "${HOME}"}),
    ("PUT", "/admin/secrets/stub", {"key": "x", "base_url": "http://169.254.169.254"}),
    ("DELETE", "/admin/secrets/stub", None),
    ("POST", "/admin/keys", {"name": "__import__('os')", "user": "${HOME}"}),
    ("GET", "/admin/keys", None),
    ("POST", "/admin/reload", None),
    ("DELETE", "/admin/config", None),
)
PLAIN = ("/v1/models", "/models", "/metrics", "/health", "/health/live", "/health/ready", "/openapi.json", "/nope")


async def ask_everything(client, vendor, faults) -> int:
    """Ask every route of the gateway, well and badly; return how many requests that were."""
    count = 0
    for fault in faults:
        for model in ("first", "task:work", "third", "vectors", "nope", "../../etc/passwd"):
            for stream in (False, True):
                body = {"model": model, "stream": stream, "messages": HEJ, **WHERE}
                await client.put(f"{vendor.origin}/faults", json={"queue": [fault]})
                with suppress(httpx2.RemoteProtocolError):  # a stream that breaks off
                    await client.post("/v1/chat/completions", json=body)
                count += 1
        for given in ("hej", ["a", "b"], [[1, 2]]):
            await client.put(f"{vendor.origin}/faults", json={"queue": [fault]})
            await client.post("/v1/embeddings", json={"model": "vectors", "input": given, **WHERE})
            count += 1
    for body in (b"", b"[", b'{"model":1}', b'{"model":"first","messages":[{}],"a":' + b"[" * 1000, b"\xff" * 300_000):
        for path in ("/v1/chat/completions", "/chat/completions", "/v1/embeddings", "/embeddings"):
            await client.post(path, content=body)
            count += 1
    for key in ("", "Bearer sk-none", "Basic eDp5"):
        await client.get("/v1/models", headers={"authorization": key})
        count += 1
    for method, path, json in ADMIN:
        await client.request(method, path, json=json)
        count += 1
    for path in PLAIN:
        await client.get(path)
        count += 1
    return count


@pytest.mark.amplifies("every second answer is a fault, and most are tried elsewhere")
async def test_t97_no_request_starts_loads_or_connects_to_anything(tmp_path, size, proof):
    """Audit events and system calls from the first request on: none but threads, and connections to the vendor."""
    if not Traced.is_there():
        pytest.skip("needs strace: apt-get install strace")
    async with SimulatedVendor(tmp_path) as vendor:
        (tmp_path / "turnout.yaml").write_text(CONFIG.format(url=vendor.origin) + ROLLOUT)
        async with Served(tmp_path, "--port", "0", vendor=vendor, env=watch(tmp_path)) as gateway:
            events = Events(tmp_path)
            async with Traced(tmp_path, gateway.process.pid) as system, gateway.http() as client:
                count = await ask_everything(client, vendor, size(FAULTS[:2], FAULTS))
            found = events.named(*FORBIDDEN)
    connects = [call for call in system.calls if " connect(" in call]
    listed = f'sin_port=htons({vendor.origin.rpartition(":")[2]}), sin_addr=inet_addr("127.0.0.1")'
    other = [
        call for call in system.calls if call not in connects and "CLONE_THREAD" not in call and "resumed" not in call
    ]
    assert [] == found
    assert [] == [call for call in connects if listed not in call]
    assert [] == other
    assert connects
    proof(
        f"{count} requests over every route: 0 forbidden audit events of {len(FORBIDDEN)} kinds, 0 programs or processes "
        f"started, {len(connects)} connections, all to the listed vendor"
    )


async def test_t97_the_witnesses_see_what_they_are_for(tmp_path):
    """Code that does what is forbidden is noticed, by both: else their silence above would say nothing."""
    if not Traced.is_there():
        pytest.skip("needs strace: apt-get install strace")
    env = watch(tmp_path)
    code = "import subprocess, sys; sys.stdin.readline(); eval('1'); subprocess.run(['true'])"
    process = await asyncio.create_subprocess_exec(
        "python3", "-c", code, env={"PATH": "/usr/bin:/bin", **env}, stdin=asyncio.subprocess.PIPE
    )
    while not (tmp_path / "audit.jsonl").exists():
        await asyncio.sleep(0.01)
    async with Traced(tmp_path, process.pid) as system:
        events = Events(tmp_path)
        await process.communicate(b"\n")
    names = {event.name for event in events.named(*FORBIDDEN)}
    assert {"compile", "exec", "subprocess.Popen"} <= names
    assert Event("compile", ("1", "<string>")) in events.named("compile")
    assert any(re.search(r'execve\("[^"]*/true"', call) for call in system.calls)

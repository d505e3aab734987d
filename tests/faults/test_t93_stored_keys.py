"""T93: a stored provider key goes to the scheme, host and port that it was given for, whatever the config or its row say later.

Somebody changes where a provider is: in the config file, in the key's row, with a proxy or a certificate in between. Every
byte that arrives anywhere is looked through for the key.
"""

import asyncio
import contextlib
from asyncio.subprocess import PIPE

import msgspec

from tests.process import TURNOUT, Served, environment, turnout
from tests.rig import KEY
from turnout.core.books.statements import Sql
from turnout.core.trace import Trace
from turnout.stores.sqlite_books import SqliteBooks

STORED = "sk-canary-stored-0123456789-wxyz"
CONFIG = """
providers:
  stub: {{kind: compatible, base_url: "{url}/v1", api_key: stored{more}}}
models: {{only: {{provider: stub, price: free}}}}
timeouts: {{connect: 1, first_chunk: 1, idle: 1, total: 3}}
retry: {{max_retries: 0}}
"""
ASK = {"model": "only", "messages": [{"role": "user", "content": "hej"}]}
ANSWER = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hej"},"finish_reason":"stop"}]}'


class Heard:
    """A server that writes down what it is sent, and answers like a vendor."""

    def __init__(self):
        self.bytes = b""

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.bytes += (head := await reader.readuntil(b"\r\n\r\n"))
            if head.startswith(b"CONNECT"):
                writer.write(b"HTTP/1.1 200 ok\r\n\r\n")
                self.bytes += (head := await reader.readuntil(b"\r\n\r\n"))
            writer.write(
                b"HTTP/1.1 200 ok\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (len(ANSWER), ANSWER)
            )
            await writer.drain()
        writer.close()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc):
        self.server.close()
        await self.server.wait_closed()


async def told(home, *arguments, given=""):
    """Run `turnout` with something on its input; return what it says."""
    process = await asyncio.create_subprocess_exec(
        *TURNOUT, *arguments, cwd=home, env=environment(home), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate(f"{given}\n".encode())
    assert process.returncode == 0, err.decode()
    return out.decode()


async def until(gateway, status):
    """Ask until the answer has that status, as changes of the config and of stored keys take up to a second; return it."""
    async with gateway.http() as client, asyncio.timeout(20):
        while (answer := await client.post("/v1/chat/completions", json=ASK)).status_code != status:
            await asyncio.sleep(0.05)
        return answer


async def latest_trace(home, outcome):
    """What `turnout explain` says of the latest request, once its trace is written (up to a quarter of a second later)."""
    async with asyncio.timeout(20):
        while True:
            code, traces, _ = await turnout(home, "explain", "--last", "1", "--json")
            assert code == 0
            if outcome == msgspec.json.decode(traces, type=list[Trace])[0].outcome:
                return traces


async def test_t93_a_stored_key_never_goes_elsewhere(tmp_path, proof):
    """Not stored: nobody is asked. Stored: it is used. Moved: nobody is asked, until the key was given again."""
    config = tmp_path / "turnout.yaml"
    async with Heard() as right, Heard() as evil:
        config.write_text(CONFIG.format(url=right.url, more=""))
        async with Served(tmp_path, "--port", "0") as gateway:
            refused = await until(gateway, 503)
            assert "has no stored key: `turnout secrets set stub`" in refused.text
            assert b"" == right.bytes

            await told(tmp_path, "secrets", "set", "stub", given=STORED)
            await until(gateway, 200)
            assert f"Bearer {STORED}".encode() in right.bytes

            for moved in (
                CONFIG.format(url=evil.url, more=""),
                CONFIG.format(url=evil.url.replace("127.0.0.1", "localhost"), more=""),
                CONFIG.format(url=right.url, more=f', proxy: "{evil.url}"'),
            ):
                config.write_text(moved)
                refused = await until(gateway, 503)
                assert f"has a stored key that was given for {right.url}, and its address is now " in refused.text
                assert "canary" not in refused.text
            assert b"" == evil.bytes

            books = SqliteBooks(tmp_path / "home" / "books.sqlite3")
            await books.open()

            def row_moved():
                yield Sql("UPDATE change SET number = number + 1")
                yield Sql("UPDATE provider_secret SET origin = ?", (evil.url,))

            config.write_text(CONFIG.format(url=evil.url, more=""))
            await books.write(row_moved)
            async with asyncio.timeout(20):
                while "does not open" not in (refused := await until(gateway, 503)).text:
                    await asyncio.sleep(0.05)
            assert b"" == evil.bytes
            await books.close()

            await told(tmp_path, "secrets", "set", "stub", given="sk-canary-given-to-the-new-address")
            await until(gateway, 200)
            assert STORED.encode() not in evil.bytes
            assert b"Bearer sk-canary-given-to-the-new-address" in evil.bytes

            await told(tmp_path, "secrets", "delete", "stub")
            await until(gateway, 503)
            traces = await latest_trace(tmp_path, "no_candidate")
        asked = right.bytes.count(b"POST ") + evil.bytes.count(b"POST ")
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert [] == [path.name for path in files if STORED.encode() in path.read_bytes()]
        assert [] == [line for line in gateway.said if "canary" in line or KEY in line]
    assert "canary" not in traces
    proof(
        f"{asked} requests reached a vendor over 6 changes of address, proxy and row: the old key at its own origin alone"
    )

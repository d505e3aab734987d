"""T85: whatever a prompt holds, what is shown of it moves no terminal's cursor, and is one valid JSON object for programs."""

import json

from tests.faults.test_t85_one_line_each import NASTY
from tests.process import Served, turnout
from tests.rig import KEY

CONFIG = """
models: {m: {provider: simulated, id: m, price: free}}
providers: {simulated: {kind: simulated}}
privacy: {prompts: redacted, keep: 1h}
"""


async def test_t85_a_kept_prompt_is_shown_without_a_control_byte(tmp_path, size, proof):
    """Line breaks, escapes, separators, quotes, format strings, marks of direction; a megabyte of text."""
    nasty = [text for name, text in NASTY.items() if name != "halves"]  # of those no JSON is made at all: 400
    texts = [*size([" ".join(nasty)], nasty), "x " * size(200_000, 500_000)]
    (tmp_path / "turnout.yaml").write_text(CONFIG)
    async with Served(tmp_path, "--port", "0") as gateway, gateway.http() as client:
        for text in texts:
            body = {"model": "m", "messages": [{"role": "user", "content": f"{text} ola@x.dk"}]}
            answer = await client.post("/v1/chat/completions", json=body)
            assert answer.status_code == 200
            where = (answer.headers["x-request-id"], "--url", gateway.url)
            code, shown, wrong = await turnout(tmp_path, "prompts", "show", *where, TURNOUT_MASTER_KEY=KEY)
            assert (0, "") == (code, wrong)
            assert all(line.isprintable() for line in shown.split("\n"))
            assert "ola@x.dk" not in shown
            code, told, _ = await turnout(tmp_path, "prompts", "show", *where, "--json", TURNOUT_MASTER_KEY=KEY)
            kept = json.loads(told)
            assert told.count("\n") == 1
            assert told[:-1].isprintable()
            if not kept["cut"]:
                assert f"{text} <EMAIL_1>" == kept["fields"]["messages"][0]["content"]
    proof(f"{len(texts)} hostile prompts shown: 0 raw control bytes, every one a whole JSON object")

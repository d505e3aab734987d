"""T98: whatever a tool makes of the description at /openapi.json, no answer is a 5xx or another than described.

schemathesis asks a running gateway over a simulated vendor, once with the format that the vendor speaks, and once with
the other, so that every request is translated. Its checks: wrong data is refused, right data is taken, no route ignores
the key, other methods are a 405, and each answer's status, type, headers and body are as described.
"""

import asyncio
import importlib.util
import os
import re
import sys

import pytest

from tests.process import Served, SimulatedVendor
from tests.rig import CONFIG, KEY

ROLLOUT = "rollouts: {half: {tasks: all, percent: 0, candidate: {models: [second]}}}\n"

HOOKS = '''
"""A name that is there, so that requests get further than 404; a whole number is written as one."""
import schemathesis

@schemathesis.hook
def map_body(context, body):
    path = context.operation.path
    if isinstance(body, dict) and isinstance(body.get("model"), str) and 1 <= len(body["model"]) <= 256:
        body["model"] = "vectors" if "embeddings" in path else MESSAGES if "messages" in path else CHAT
    return whole(body)

def whole(value):
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(one) for one in value]
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    return value
'''

ALL = "all"
ANSWERS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
"""For the translated run: which messages can be translated is not in the description."""


async def judged(home, url, *, checks, chat, messages, examples, seed):
    """Run schemathesis; return its exit code, what it said, and how many requests it made."""
    (home / "hooks.py").write_text(f"CHAT, MESSAGES = {chat!r}, {messages!r}\n{HOOKS}")
    (home / "st.toml").write_text(f'[auth.openapi.bearer]\nbearer = "{KEY}"\n')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(home / "st.toml")),
        *("run", f"{url}/openapi.json", "--checks", checks, "-n", str(examples), "--seed", str(seed)),
        *("--no-color", "--continue-on-failure", "--phases", "coverage,fuzzing,stateful"),
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(home), "SCHEMATHESIS_HOOKS": "hooks"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode(errors="replace")
    counted = re.search(r"(\d+) generated", said)
    return process.returncode, said[-8000:], int(counted[1]) if counted else 0


@pytest.mark.prove
@pytest.mark.timeout(600)
async def test_t98_no_answer_is_a_5xx_or_other_than_described(tmp_path, proof, seed):
    """All checks in the vendor's own format; those about answers where requests are translated."""
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("needs schemathesis: pip install -r requirements/prove.txt")
    async with SimulatedVendor(tmp_path) as vendor:
        (tmp_path / "turnout.yaml").write_text(CONFIG.format(url=vendor.origin) + ROLLOUT)
        async with Served(tmp_path, "--port", "0", vendor=vendor) as gateway:
            runs = [
                await judged(tmp_path, gateway.url, checks=ALL, chat="first", messages="third", examples=40, seed=seed),
                await judged(
                    tmp_path, gateway.url, checks=ANSWERS, chat="third", messages="first", examples=40, seed=seed
                ),
            ]
            async with gateway.http() as client:
                metrics = (await client.get("/metrics")).text
    assert [said for code, said, _ in runs if code] == []
    assert re.findall(r'^turnout_errors_total\{.*status="5.*', metrics, re.MULTILINE) == []
    assert min(count for *_, count in runs) > 500
    proof(f"{runs[0][2]} requests by description and {runs[1][2]} translated: 0 answers of 5xx, 0 other than described")

"""T98: whatever a tool makes of the description at /openapi.json, no answer is a 5xx or another than described.

schemathesis asks a running gateway over a simulated vendor, once with the format that the vendor speaks, and once with
the other, so that every request is translated. Its checks: wrong data is refused, right data is taken, no route ignores
the key, other methods are a 405, and each answer's status, type, headers and body are as described. Where a request is as
described, the hooks below make it possible too (an instant to come, a zone that there is), so that any refusal of it counts:
how the impossible is refused is tested in tests/api.
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
"""A name that is there, so that requests get further than 404; a whole number is written as one; what is possible."""
import schemathesis
from datetime import datetime
from hashlib import sha256
from urllib.parse import quote, unquote
from zoneinfo import available_timezones

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

@schemathesis.hook
def before_call(context, case, kwargs):
    """Where all is as described, let it be possible too: what no schema can say would be refused, and is tested elsewhere."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.body, dict) and "/admin/" in case.operation.path:
        case.body = {name: possible(name, value) for name, value in case.body.items()}
        if case.body.get("user"):  # whose tier it is
            case.body.pop("tier", None)
    if isinstance(case.path_parameters, dict) and "name" in case.path_parameters:
        case.path_parameters["name"] = quote(printable(unquote(case.path_parameters["name"])), safe="")
    if isinstance(case.query, dict) and "usage" in case.operation.path:
        case.query = {name: possible(name, value) for name, value in case.query.items()}
        since, until = (case.query.get(name, "") for name in ("from", "to"))
        if until and until < since and not since.endswith("d"):
            case.query["from"], case.query["to"] = until, since
        if case.query.get("session") or "session" in str(case.query.get("by")):  # a month at most
            case.query["from"] = "31d"
    if case.headers and case.headers.get("idempotency-key"):
        said = [case.operation.path, repr(case.body), *sorted(f"{name}: {one}" for name, one in case.headers.items())]
        case.headers["idempotency-key"] = sha256("\\n".join(said).encode()).hexdigest()

REVOKED = set()

@schemathesis.check
def a_revoked_key_stays_revoked(ctx, response, case):
    if case.operation.path != "/admin/keys/{key}" or response.status_code != 200:
        return
    told = response.json()
    if case.operation.method == "delete":
        REVOKED.add(told["id"])
    assert told["id"] not in REVOKED or told["status"] == "revoked", told

def possible(name, value):
    if name == "expires_at" and isinstance(value, str):
        return value if is_to_come(value) else "2199-12-31T00:00:00Z"
    if name in ("from", "to") and isinstance(value, str):
        return value if value.endswith("d") else f"2024{value[4:]}" if value else "2024-12-31"
    if name == "zone" and value not in available_timezones():
        return "Europe/Copenhagen"
    if name == "budgets" and isinstance(value, list):
        each = {one.get("period", "month"): one for one in value}
        return [{field: possible(field, said) for field, said in one.items()} for one in each.values()]
    return printable(value) if name in ("name", "user", "workspace", "team") else value

def printable(value):
    return "".join(sign if sign.isprintable() else "?" for sign in value) if isinstance(value, str) else value

def is_to_come(instant):
    try:
        return datetime.now().timestamp() < datetime.fromisoformat(instant.upper()).timestamp() < 253_402_300_800
    except ValueError:
        return False
'''

JUDGED_BY = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 401, 402, 403, 404, 409, 413, 429, "5xx"]
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
[[operations]]
include-path-regex = "^/admin/keys/[{]key[}]"
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 409, 413, 429, "5xx"]
checks.use_after_free.enabled = false
"""
"""The statuses are schemathesis's own and two more: 402, as a budget that one request sets holds for others, and 413, as no
schema says how many bytes lists of names may have together. And 400 where a name is the name of several keys. What a key was is
told after it was revoked: another check takes the place of one that expects a 404.
"""

ALL = ()
"""Every check there is; said in words, it would go before the one that is switched off above."""
ANSWERS = (
    "--checks",
    ",".join(f"{what}_conformance" for what in ("status_code", "content_type", "response_headers", "response_schema"))
    + ",not_a_server_error",
)
"""For the translated run: which messages can be translated is not in the description."""


async def judged(home, url, *, checks, chat, messages, examples, seed):
    """Run schemathesis; return its exit code, what it said, and how many requests it made."""
    (home / "hooks.py").write_text(f"CHAT, MESSAGES = {chat!r}, {messages!r}\n{HOOKS}")
    (home / "st.toml").write_text(f'[auth.openapi.bearer]\nbearer = "{KEY}"\n{JUDGED_BY}')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(home / "st.toml")),
        *("run", f"{url}/openapi.json", *checks, "-n", str(examples), "--seed", str(seed)),
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
    found = [said for code, said, _ in runs if code]
    assert found == [], "\n".join(found)
    assert re.findall(r'^turnout_errors_total\{.*status="5.*', metrics, re.MULTILINE) == []
    assert min(count for *_, count in runs) > 500
    proof(f"{runs[0][2]} requests by description and {runs[1][2]} translated: 0 answers of 5xx, 0 other than described")

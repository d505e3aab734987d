"""The stage: its config is one that the gateway takes, its processes come up and leave nothing, its failures say why."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from examples.lead_desk import stage
from examples.lead_desk.client import Client
from examples.lead_desk.jobs import jobs_for
from examples.lead_desk.leads import Lead
from examples.lead_desk.stage import StageError, config_text, has_local_model, notes_of, staged
from turnout.config.environment import Environment
from turnout.config.load import load

SIMULATED = "  openrouter-simulated: {kind: simulated, base_url: http://127.0.0.1:9100/v1, api_key: any}"


def quiet(_text: str) -> None:
    """Nobody reads."""


def is_open(base_url: str) -> bool:
    """Whether somebody listens there."""
    parts = urlsplit(base_url)
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex((parts.hostname or "", parts.port or 0)) == 0


@pytest.mark.parametrize("has_local", [True, False])
@pytest.mark.parametrize("free", [SIMULATED, "  openrouter: {}"])
def test_the_config_is_one_that_the_gateway_takes(tmp_path: Path, free: str, has_local: bool) -> None:
    """Three tasks, all at the price ceiling free, the last candidate on this machine."""
    path = tmp_path / "turnout.yaml"
    path.write_text(config_text(free, has_local=has_local), encoding="utf-8")
    snapshot = load(path, Environment({"OPENROUTER_API_KEY": "sk-or-x", "TURNOUT_HOME": str(tmp_path)})).snapshot
    last = "smollm2-135m" if has_local else "stand-in"
    assert {"lead-analysis", "email-draft", "complex-reasoning"} == set(snapshot.tasks)
    assert {last} == {task.models[-1] for task in snapshot.tasks.values()}
    assert all(task.price_ceiling is not None and task.price_ceiling.is_free for task in snapshot.tasks.values())
    assert snapshot.aliases["task-planning"] == "complex-reasoning"
    assert all(model.price is not None and model.price.is_free for model in snapshot.models.values())


def test_the_notes_call_simulated_and_real_by_name() -> None:
    """A person is never left to guess what they look at."""
    assert "SIMULATED" in notes_of(is_real=False, has_local=True)[0]
    assert "20 times faster" in notes_of(is_real=False, has_local=True)[0]
    assert "Names and notes of leads go there" in notes_of(is_real=True, has_local=True)[0]
    assert "simulated stand-in" in notes_of(is_real=False, has_local=False)[1]
    assert "REAL model on this machine" in notes_of(is_real=False, has_local=True)[1]


def test_a_staged_gateway_answers_and_leaves_nothing(lead: Lead) -> None:
    """Up, one answer from the simulated free tier, down: no listener and no state are left."""
    told: list[str] = []
    with staged(dict(os.environ) | {"OPENROUTER_API_KEY": ""}, told.append, has_local=False) as gateway:
        client = Client(gateway.base_url, gateway.key)
        reply = client.ask(jobs_for(lead)[0], quiet)
        client.close()
        wrong = Client(gateway.base_url, "sk-wrong")
        with pytest.raises(Exception, match=r"(?i)key"):
            wrong.ask(jobs_for(lead)[0], quiet)
        wrong.close()
        assert "simulated" in reply.headers["x-turnout-provider"]
        assert is_open(gateway.base_url)
    assert not is_open(gateway.base_url)
    assert ["starting the simulated free tier", "starting the gateway"] == told


def test_an_exception_inside_ends_the_gateway_too() -> None:
    """Every way out is the same."""
    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt), staged({}, quiet, has_local=False) as gateway:
        seen.append(gateway.base_url)
        raise KeyboardInterrupt
    assert not is_open(seen[0])


def test_when_the_desk_is_killed_its_gateway_ends() -> None:
    """`kill -9` on the parent: the pipe to the children closes, and they stop by themselves."""
    script = (
        "import json, sys, time\n"
        f"sys.path.insert(0, {str(Path(stage.__file__).parent.parent)!r})\n"
        "from lead_desk.stage import staged\n"
        "with staged({}, lambda _: None, has_local=False) as gateway:\n"
        "    print(json.dumps(gateway.base_url), flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    base_url = json.loads(parent.stdout.readline())
    assert is_open(base_url)
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    parent.stdout.close()
    for _ in range(200):
        if not is_open(base_url):
            break
        with contextlib.suppress(TimeoutError), socket.socket() as pause:
            pause.settimeout(0.05)
            pause.bind(("127.0.0.1", 0))
            pause.listen()
            pause.accept()
    assert not is_open(base_url)


def test_a_gateway_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    """Its own words are in the error."""
    with contextlib.ExitStack() as stack, pytest.raises(StageError, match="nonsense"):
        stage._gateway(stack, tmp_path, {"TURNOUT_HOME": str(tmp_path)}, "nonsense: true\n")


def test_a_line_that_is_not_whole_is_waited_for() -> None:
    """Output is read while it is written."""
    assert ["", "", "", "http://x"] == [
        stage._told_url(said) for said in ("", '{"base_url": "http://x"', "noise\n", '{"base_url": "http://x"}\n')
    ]


def test_the_local_model_is_looked_for_without_importing_it() -> None:
    """True only if both packages are there."""
    assert has_local_model() in {True, False}
    assert "xllamacpp" not in sys.modules


@pytest.mark.local_model
def test_the_last_resort_is_the_real_model(lead: Lead, tmp_path: Path) -> None:
    """With a free tier that refuses everything, the words are the local model's."""
    with contextlib.ExitStack() as stack:
        environment = {
            "TURNOUT_HOME": str(tmp_path / "state"),
            "TURNOUT_MASTER_KEY": "sk-" + "turnout-test-4f9d2c81b7e6a05d",
        }
        config = config_text(SIMULATED.replace("9100", "1"), has_local=True)
        base_url = stage._gateway(stack, tmp_path, environment, config)
        client = Client(base_url, environment["TURNOUT_MASTER_KEY"])
        reply = client.ask(jobs_for(lead)[1]._replace(max_tokens=8), quiet)
        client.close()
    assert ("smollm2-135m", "local", "3") == tuple(
        reply.headers[f"x-turnout-{name}"] for name in ("model", "provider", "attempts")
    )
    assert reply.text


def test_with_a_key_the_free_models_are_the_real_ones() -> None:
    """Nothing is simulated, and the gateway gets the key; no request is made here."""
    told: list[str] = []
    with staged({"OPENROUTER_API_KEY": "sk-or-v1-0000"}, told.append, has_local=False) as gateway:
        assert gateway.notes[0].startswith("Free models: REAL")
    assert ["starting the gateway"] == told

"""`python -m lead_desk`: a client of a gateway that runs already."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.lead_desk.__main__ import main
from tests.examples.stub_gateway import Gateway


def test_it_works_with_a_gateway_that_runs(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key comes from the environment."""
    arguments = ["--base-url", gateway.base_url, "--out", str(tmp_path), "--limit", "1", "--json"]
    code = main(arguments, {"TURNOUT_MASTER_KEY": "sk-mine"})
    assert (0, 2) == (code, json.loads(capsys.readouterr().out)["total"]["answers"])
    assert gateway.asked[0].headers["authorization"] == "Bearer sk-mine"


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ([], {}, "set TURNOUT_MASTER_KEY"),
        (["--base-url", "nowhere"], {"TURNOUT_MASTER_KEY": "k"}, "is not the address of a gateway"),
    ],
)
def test_what_is_missing_is_said(
    arguments: list[str], environment: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, before anything is read or asked."""
    with pytest.raises(SystemExit) as caught:
        main(arguments, environment)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err

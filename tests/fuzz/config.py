"""config/: any bytes are a configuration, or a list of problems, a line each, that repeat no secret."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from turnout.config.build import build
from turnout.config.describe import effective, lines
from turnout.config.draft import Draft, Layer
from turnout.config.environment import Environment
from turnout.config.load import _layer, shipped
from turnout.config.yaml_source import parse
from turnout.errors import ConfigError
from turnout.providers import vendors

SECRET = "sk-fuzz-Zq7Lm2Xv9Tb4Rk8Wc1Yp6Nd3"


@functools.cache
def beneath() -> tuple[Layer, Environment, Path]:
    """What is the same every time: the shipped names, an environment with one key, an empty folder."""
    folder = Path(tempfile.gettempdir()) / "turnout-fuzz-nothing-is-here"
    return _layer(shipped()), Environment({"KEY": SECRET, "TURNOUT_HOME": str(folder)}), folder


def check(data: bytes) -> None:
    """The text of turnout.yaml."""
    document = parse(data, "turnout.yaml")
    below, environment, folder = beneath()
    if not document.is_whole:
        assert document.problems
        return
    try:
        snapshot = build(Draft(_layer(document), below, environment, folder, vendors()))
    except ConfigError as error:
        refused(error.problems)
    else:
        shown = json.dumps(effective(snapshot)) + "".join(map(str, lines(snapshot)))
        assert SECRET not in f"{shown} {snapshot!r}"


def refused(problems: Sequence[str]) -> None:
    """At least one, each a line without a secret."""
    assert problems
    for problem in problems:
        assert problem.isprintable(), ascii(problem)
        assert SECRET not in problem

"""Resolves the requirement files anew: requirements/{core,build,dev,prove,local}.txt, every distribution with its hashes.

They name no index: whoever installs uses their own. `dev` is held to the versions of `core`, `prove` to those of both. `local` is not resolved
further than its two lines, because the model's package declares a compiler build that must not run (see pyproject).
Run: `make lock` keeps every pin that still fits; `.venv/bin/python scripts/lock.py --upgrade` moves them. Read the
difference: a release younger than seven days waits, unless it mends a hole.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
OPTIONS: Final = (
    *("--quiet", "--universal", "--python-version=3.11"),
    *("--generate-hashes", "--no-header", "--no-emit-index-url", "--no-emit-find-links"),
)
FILES: Final = (
    ("core", ("pyproject.toml",)),
    ("build", ("--group", "build")),
    ("dev", ("--group", "dev", "--constraint", "requirements/core.txt")),
    ("prove", ("--group", "prove", "--constraint", "requirements/core.txt", "--constraint", "requirements/dev.txt")),
    ("local", ("--no-deps", "-")),
)
"""name → what is resolved. `-` reads lines: here those of the extra `local`."""


def main() -> int:
    """Write the files, in the order in which they depend on each other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = "\n".join(project["optional-dependencies"]["local"])
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "compile", *OPTIONS, *sys.argv[1:]]
    for name, what in FILES:
        target = f"requirements/{name}.txt"
        given = lines if "-" in what else None
        done = subprocess.run(
            [*uv, *what, "--output-file", target],
            cwd=ROOT,
            input=given,
            text=True,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            print(f"lock: {target} could not be resolved; it stands as it was")
            return 1
        pins = sum("==" in line for line in (ROOT / target).read_text(encoding="utf-8").splitlines())
        print(f"lock: {target}: {pins} distributions")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Installs what the benchmark compares with, each peer in an environment of its own under `.venv-peers/`.

The LiteLLM proxy wants older versions of packages that the tests use, so the peers never share an environment. A stamp
with the digest of the requirement file makes a second run take no time.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALL_LIMIT_S = 1200


def requirements_of(name: str) -> Path:
    """The hashed requirement file of the peer `name`."""
    return ROOT / "requirements" / {"ferrogw": "peers.txt", "litellm": "peers-litellm.txt"}[name]


def pinned_version(name: str) -> str:
    """The version of `name` that its requirement file pins."""
    for line in requirements_of(name).read_text().splitlines():
        package, sign, rest = line.partition("==")
        if sign and package.partition("[")[0] == name:
            return rest.split()[0]
    return "unknown"


def installed(name: str) -> Path:
    """The `bin` folder of the environment of `name`, made and filled if needed. Minutes at the first time.

    Raises subprocess.SubprocessError if pip fails.
    """
    requirements = requirements_of(name)
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    folder = ROOT / ".venv-peers" / name
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != digest:
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parent / ".gitignore").write_text("*\n")
        run([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(requirements)])
        stamp.write_text(digest)
    return folder / "bin"


def run(command: list[str]) -> None:
    """Run one step of an installation; what it prints goes to stderr."""
    subprocess.run(command, check=True, stdout=sys.stderr, timeout=INSTALL_LIMIT_S)


def size_bytes(folder: Path) -> int:
    """What the files under `folder` take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def core_install_bytes(scratch: Path) -> int:
    """Install the core requirements and Turnout itself into `scratch`; return what they take on disk."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    run([*pip, "--target", str(scratch), "--require-hashes", "-r", str(ROOT / "requirements/core.txt")])
    run([*pip, "--target", str(scratch), "--no-deps", "--no-build-isolation", str(ROOT)])
    return size_bytes(scratch)

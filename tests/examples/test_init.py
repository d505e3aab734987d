"""What the package as a whole promises: it sends nothing, and reaches nothing but the gateway."""

from __future__ import annotations

import ast
from pathlib import Path

from examples.lead_desk import desk

PACKAGE = Path(desk.__file__).parent
STANDARD = frozenset(
    [
        "__future__",
        "argparse",
        "collections",
        "contextlib",
        "dataclasses",
        "datetime",
        "email",
        "hashlib",
        "html",
        "http",
        "importlib",
        "json",
        "math",
        "os",
        "pathlib",
        "queue",
        "re",
        "secrets",
        "signal",
        "socket",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "types",
        "typing",
        "unicodedata",
        "urllib",
    ]
)
HTTP_MODULES = frozenset({"client.py", "stage.py"})
SUBPROCESS_MODULES = frozenset({"stage.py"})


def imports() -> list[tuple[str, str]]:
    """Every (file, module) that the package imports, wherever in the file."""
    found = []
    for path in sorted(PACKAGE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found += [(path.name, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found += [(path.name, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def test_it_imports_nothing_that_sends() -> None:
    """No smtplib, imaplib, ftplib, no HTTP library: only a known part of the standard library, rich, and the command."""
    tops = {(file, module.split(".")[0]) for file, module in imports()}
    strangers = {(file, top) for file, top in tops if top not in STANDARD | {"rich"}}
    assert {("tied.py", "turnout")} == strangers


def test_only_two_modules_speak_http_and_one_starts_processes() -> None:
    """Whoever reviews what leaves this machine reads these, and no others."""
    assert {file for file, module in imports() if module.split(".")[0] in {"http", "socket"}} == HTTP_MODULES
    assert {file for file, module in imports() if module.split(".")[0] == "subprocess"} == SUBPROCESS_MODULES


def test_of_email_only_the_reading_half_is_used() -> None:
    """The parser and the address reader; `email.mime` and `email.generator` make mails, and are not here."""
    used = {module for _, module in imports() if module.split(".")[0] == "email"}
    assert used == {"email", "email.policy", "email.message.EmailMessage", "email.utils.parseaddr"}


def test_no_address_stands_in_the_code_but_loopback() -> None:
    """The client connects to the base URL that it is given; nothing else is named."""
    hosts = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "://" in node.value:
                hosts |= {part.split("/")[0].split(":")[0] for part in node.value.split("://")[1:]}
    assert {host for host in hosts if host.strip("(")} <= {"127.0.0.1", "HOST", "\\S+)"}


def test_no_code_is_made_at_run_time() -> None:
    """No eval, exec or __import__ that could bring what the other tests rule out."""
    for path in PACKAGE.glob("*.py"):
        names = {
            node.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)
        }
        assert set() == names & {"eval", "exec", "compile", "__import__"}

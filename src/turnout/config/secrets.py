"""Resolves what a key or an address may refer to: `${NAME}` in the environment, `file:PATH` on disk.

Rules: `${NAME}` may be the whole value or a part of it, `$${` is a `${` meant as written; a file is the whole value, its
last line break does not count, and a relative path begins at the config file's folder. What cannot be resolved is an
error that names the variable or the file and never holds any part of a value.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from turnout.config.environment import Environment
from turnout.config.files import read_small
from turnout.config.problems import shown
from turnout.core.secret import Secret

_MAX_BYTES = 65_536
_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


class Resolved(msgspec.Struct, frozen=True):
    """The value, and where it came from ("" when it stands in the config file itself). file: to be watched."""

    secret: Secret
    origin: str = ""
    file: Path | None = None


def resolve(reference: Secret, environment: Environment, folder: Path) -> Resolved:
    """Follow a reference. folder: where relative paths begin. Raises ValueError: what is wrong, what was meant."""
    text = reference.reveal()
    if text.startswith("file:"):
        return _from_file(folder / text.removeprefix("file:"))
    names: list[str] = []

    def value(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if match[1] is None:
            raise ValueError("after `${` a variable's name and `}` must follow, write $${ for the two characters")
        if not environment.get(match[1]):
            raise ValueError(f"the environment variable {match[1]} is not set")
        names.append(match[1])
        return environment.get(match[1])

    found = _REFERENCE.sub(value, text)
    if not found.strip():
        raise ValueError("is empty, write a value or leave the key out")
    return Resolved(Secret(found), ", ".join(names))


def _from_file(path: Path) -> Resolved:
    name = shown(str(path), 400)
    try:
        data = read_small(path, _MAX_BYTES)
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"the file {name} is no text") from None
    except ValueError as error:
        raise ValueError(f"the file {name} {error}") from None
    if len(data) > _MAX_BYTES or not text.strip():
        raise ValueError(f"the file {name} is {'empty' if not text.strip() else 'larger than 64 KiB'}")
    return Resolved(Secret(text), f"file:{path}", path)


def is_sendable(secret: Secret) -> bool:
    """Whether a key can stand in a header: visible ASCII, no spaces."""
    return re.fullmatch(r"[!-~]+", secret.reveal()) is not None

"""Names what is wrong in a configuration, where, and what was meant; collects all of it before anything is refused.

A problem prints as `file:line:column key: what is wrong, what was meant` (lines and columns count from 1), and as
`name: …` when it is not in a file (an environment variable, a file that cannot be read). Nothing here repeats a value
unless its caller passes it: `shown` cuts and redacts what may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from turnout.core.names import nearest
from turnout.core.redact import printable, redact
from turnout.errors import ConfigError

Path = tuple[str | int, ...]
"""Keys and list positions from the top of the file to a value."""


class Mark(NamedTuple):
    """A place in a file, both from 1."""

    line: int
    column: int


class Problem(NamedTuple):
    """One thing that is wrong. mark: None when it is not in the text of a file. key: dotted, "" for the file itself."""

    file: str
    mark: Mark | None
    key: str
    message: str

    def __str__(self) -> str:
        """The one line that a person reads, and an editor can jump to."""
        place = f"{self.file}:{self.mark.line}:{self.mark.column}" if self.mark else self.file
        return printable(f"{place} {self.key}".strip() + f": {self.message}")


def dotted(path: Path) -> str:
    """`("tasks", "chat", "models", 1)` → `tasks.chat.models[1]`. A key that looks like a secret is hidden."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return redact(text if text.isprintable() else ascii(text)[1:-1])


def shown(text: str, longest: int = 40) -> str:
    """A value as a message may repeat it: one line, in quotes, cut to `longest` characters; not what looks like a secret,
    which may stand in the wrong place.
    """
    line = redact(text if text.isprintable() else ascii(text)[1:-1])
    return f"'{line[:longest]}…'" if len(line) > longest else f"'{line}'"


def suggestion(name: str, known: Iterable[str], what: str) -> str:
    """What was probably meant: the nearest known names, or all of them when they are few. what: "known tasks"."""
    names = sorted(known)
    near = nearest(name, names)
    if near:
        return "did you mean " + " or ".join(f"'{one}'" for one in near) + "?"
    if not names:
        return f"there are no {what}"
    listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"{what}: {listed}"


def refuse(problems: Sequence[Problem]) -> None:
    """Raise ConfigError with every problem once, by file and place; return if there is none."""
    if problems:
        ordered = sorted(set(problems), key=lambda one: (one.file, one.mark or (0, 0), one.key, one.message))
        raise ConfigError(tuple(str(one) for one in ordered))

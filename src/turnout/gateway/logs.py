"""Writes the log to stderr: a record is one line, a JSON object or a line of text, whatever a client, a model or a bug says.

Rules: every field is redacted (core/redact.py), cut to a length, and free of control characters; JSON is ASCII, text is
what can be printed. What Python itself would write (warnings, exceptions that nobody caught, in threads and destructors
too) goes the same way. A record that cannot be written never stops what was being done.
Only what a start tells a person (`say`) is not redacted: it shows a new master key, once.
Times are the records' own. Sources: RFC 8259 (JSON), RFC 3339 (times); RELIABILITY R13, T84, T85.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Literal, TextIO

from turnout.core.redact import Secrets, impersonal, printable

Form = Literal["text", "json"]

LONGEST: Final[Mapping[str, int]] = {"message": 4_000, "exception": 16_000}
"""Characters. A message is a sentence; a traceback of 40 calls has about 4,000, and a chain of them has several."""

LONGEST_NAME: Final = 200
"""Of a logger and of a request id."""

UNWRITABLE: Final = "a log record could not be written: its arguments do not fit its message"

_log = logging.getLogger("turnout.process")


class LineFormatter(logging.Formatter):
    """Makes one line of a record. form: of the lines. secrets: what must not be in them. `extra={"request_id": …}` on a record becomes a field."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self._form = form
        self.secrets = Secrets()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its line break. O(length of what is logged)."""
        fields = {"logger": record.name, "message": record.getMessage()}
        if request_id := getattr(record, "request_id", ""):
            fields["request_id"] = str(request_id)
        raised = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        if record.stack_info:
            raised += record.stack_info
        if raised:
            fields["exception"] = raised
        safe = {
            name: shorten(impersonal(self.secrets.redact(text)), LONGEST.get(name, LONGEST_NAME))
            for name, text in fields.items()
        }
        return self._line(record.created, record.levelname.lower(), safe)

    def plain(self, text: str) -> str:
        """Return what a start tells a person, ready to be written: as it is, or as one JSON object. Not redacted."""
        if self._form == "text":
            return text
        now = logging.makeLogRecord({}).created
        return self._line(now, "info", {"logger": "turnout.serve", "message": text.strip()})

    def _line(self, at: float, level: str, fields: Mapping[str, str]) -> str:
        time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._form == "json":
            told = {"time": time, "level": level, **{name: _whole(text) for name, text in fields.items()}}
            return json.dumps(told)
        shown = [time, level.upper(), fields["logger"], fields.get("request_id", ""), fields["message"]]
        if "exception" in fields:
            shown.append(f"| {fields['exception']}")
        return printable(" ".join(filter(None, shown)))


def shorten(text: str, longest: int) -> str:
    """Return `text`, or its two ends and how much is left out between them. The end of a traceback says what happened."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} […{len(text) - 2 * half} characters left out…] {text[-half:]}"


def _whole(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can write and many readers of JSON refuse."""
    return text.encode("utf-8", "backslashreplace").decode()


class Stderr(logging.StreamHandler[TextIO]):
    """Writes lines to what stderr is at the time."""

    def __init__(self, formatter: LineFormatter) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.stream = sys.stderr
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 logging's name
        """Say that a record could not be written, instead of raising or printing what was in it."""
        lost = logging.makeLogRecord({"name": record.name, "levelname": record.levelname, "msg": UNWRITABLE})
        try:
            self.stream.write(f"{self.format(lost)}\n")
            self.flush()
        except (OSError, ValueError):
            pass  # stderr is gone: there is nobody to tell


@contextmanager
def log_to_stderr(form: Form, level: str) -> Iterator[LineFormatter]:
    """Log everything from `level` (a name of logging's) on to stderr, until the end of the block.

    Loggers of other packages, warnings and uncaught exceptions included.
    """
    formatter = LineFormatter(form)
    stderr = Stderr(formatter)
    root = logging.getLogger()
    before = (root.level, threading.excepthook, sys.unraisablehook)
    root.addHandler(stderr)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    threading.excepthook = _on_thread
    sys.unraisablehook = _on_unraisable
    sys.excepthook = _last_words(stderr)  # stays: it speaks only when the process ends
    try:
        yield formatter
    finally:
        root.removeHandler(stderr)
        level_before, threading.excepthook, sys.unraisablehook = before
        root.setLevel(level_before)
        logging.captureWarnings(capture=False)


def _on_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None and told.exc_type is not SystemExit:
        name = told.thread.name if told.thread else "unknown"
        raised = (told.exc_type, told.exc_value, told.exc_traceback)
        _log.error("thread %s ended by an exception", name, exc_info=raised)


def _on_unraisable(told: sys.UnraisableHookArgs) -> None:
    error = told.exc_value
    raised = None if error is None else (type(error), error, told.exc_traceback)
    _log.error("%s", told.err_msg or "an exception that cannot be raised", exc_info=raised)


def _last_words(stderr: Stderr) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    def speak(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        told = {"name": _log.name, "levelname": "CRITICAL", "levelno": logging.CRITICAL}
        stderr.handle(logging.makeLogRecord({**told, "msg": "ended by an exception", "exc_info": (kind, error, trace)}))

    return speak

"""core/redact.py and gateway/logs.py: no known secret is left, a line is a line, and what was done stays done."""

from __future__ import annotations

import json
import logging

from turnout.core.redact import Secrets, printable, redact
from turnout.gateway.logs import LineFormatter

SECRET = "k9!fuzz-Zq7Lm2Xv"


def check(data: bytes) -> None:
    """Text with halves of surrogate pairs where the bytes are no UTF-8; `$S` stands for a known secret."""
    text = data.decode("utf-8", "surrogateescape").replace("$S", SECRET)
    once = redact(text, [SECRET])
    assert SECRET not in once
    assert redact(once, [SECRET]) == once
    assert printable(text).isprintable()
    record = logging.LogRecord(text[:99], logging.ERROR, "", 0, text, None, None)
    record.request_id = text
    for form in ("json", "text"):
        formatter = LineFormatter(form)  # type: ignore[arg-type]
        formatter.secrets = Secrets(SECRET)
        line = formatter.format(record)
        assert line.isprintable()
        assert SECRET not in line
        if form == "json":
            assert line.isascii()
            assert isinstance(json.loads(line), dict)

"""gateway/logs.py: a record is one line, whatever is in it, and holds no secret."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import logging
import sys
import threading
import warnings
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.gateway.logs import LONGEST, UNWRITABLE, LineFormatter, Stderr, log_to_stderr, shorten

TEXT = st.text(st.characters(exclude_categories=()), max_size=40)


def record(message="hello", *args, **fields):
    """A record as logging makes it, at a known time."""
    made = logging.LogRecord("turnout.test", logging.ERROR, "file.py", 7, message, args, None)
    made.__dict__.update({"created": 1_795_254_000.5, **fields})
    return made


def raised(error):
    """What `exc_info` holds while `error` is handled."""
    try:
        raise error
    except type(error):
        return sys.exc_info()


def json_of(line):
    """The line as a strict reader of JSON has it."""
    assert line.isascii()
    assert line.isprintable()
    return json.loads(line)


def test_a_record_is_one_json_object_with_a_time_of_rfc_3339():
    """Five names at most, in one order; what is not known is not there."""
    assert {
        "time": "2026-11-21T09:40:00.500Z",
        "level": "error",
        "logger": "turnout.test",
        "message": "hello 3",
    } == json_of(LineFormatter("json").format(record("hello %d", 3)))
    assert datetime.fromisoformat("2026-11-21T09:40:00.500Z").tzinfo is not None


def test_the_request_and_the_exception_are_fields():
    """A traceback is one escaped text; a stack that was asked for is with it."""
    told = json_of(
        LineFormatter("json").format(
            record(request_id="req_1", exc_info=raised(ValueError("one\ntwo")), stack_info="Stack:\n  here")
        )
    )
    assert ["time", "level", "logger", "message", "request_id", "exception"] == list(told)
    assert told["request_id"] == "req_1"
    assert told["exception"].startswith("Traceback (most recent call last):\n")
    assert told["exception"].endswith("ValueError: one\ntwoStack:\n  here")


def test_text_is_one_line_too():
    """For a person: the same, with what is not printable escaped."""
    line = LineFormatter("text").format(record("grød\nikke", request_id="req_1", exc_info=raised(ValueError("x\x1by"))))
    assert line.startswith("2026-11-21T09:40:00.500Z ERROR turnout.test req_1 grød\\nikke | Traceback ")
    assert line.endswith("ValueError: x\\x1by")
    assert line.isprintable()


@given(TEXT, TEXT, TEXT, TEXT)
def test_whatever_is_said_a_line_is_one_line(message, argument, name, request_id):
    """In every field, in both forms; in JSON nothing is lost but halves of surrogate pairs."""
    odd = record("%s|%s", message, argument, name=name, request_id=request_id, exc_info=raised(KeyError(argument)))
    told = json_of(LineFormatter("json").format(odd))
    assert LineFormatter("text").format(odd).isprintable()
    told["message"].encode()
    if not any("\ud800" <= sign <= "\udfff" for sign in message + argument) and "***" not in told["message"]:
        assert f"{message}|{argument}" == told["message"]


def test_secrets_are_taken_out_of_every_field():
    """Those that are known, and what looks like one; in the exception too."""
    formatter = LineFormatter("json")
    formatter.secrets.learn(["known-secret-1"])
    error = ValueError("GET https://host/v1?key=not-known-1 as known-secret-1")
    line = formatter.format(
        record("known-secret-1 %s", "sk-not-known-2", request_id="known-secret-1", exc_info=raised(error))
    )
    told = json_of(line)
    assert (told["message"], told["request_id"]) == ("*** sk-***", "***")
    assert told["exception"].endswith("GET https://host/v1?key=*** as ***")
    assert "known" not in line.replace("known-secret-1 as", "")


def test_what_is_personal_is_taken_out_of_every_field():
    """An exception quotes what it failed on."""
    line = LineFormatter("json").format(
        record("cannot serve %s", "ola@x.dk", exc_info=raised(ValueError("no such number: 010190-1234")))
    )
    told = json_of(line)
    assert "cannot serve <email>" == told["message"]
    assert told["exception"].endswith("no such number: <cpr>")


def test_a_secret_that_would_be_cut_in_two_is_taken_out_first():
    """Half a key is a key for whoever can guess the rest."""
    formatter = LineFormatter("json")
    formatter.secrets.learn(["known-secret-1"])
    half = LONGEST["message"] // 2
    told = json_of(formatter.format(record("x" * (half - 7) + "known-secret-1" + "y" * half)))
    assert "known" not in told["message"]


@pytest.mark.parametrize("size", [0, 9, 10])
def test_what_fits_is_whole(size):
    """Up to the length itself."""
    assert "x" * size == shorten("x" * size, 10)


def test_what_is_too_long_keeps_its_two_ends():
    """And says how much is missing; a megabyte makes a line of a few kilobytes, however much is escaped."""
    assert "abcde […2 characters left out…] hijkl" == shorten("abcdefghijkl", 10)
    line = LineFormatter("json").format(record("\x1b" * 1_000_000, exc_info=raised(ValueError("\x1b" * 1_000_000))))
    assert len(line) < 6 * (sum(LONGEST.values()) + 200)


@contextlib.contextmanager
def written():
    """Collects what the process writes to stderr meanwhile."""
    with contextlib.redirect_stderr(io.StringIO()) as stream:
        yield stream


def said(stream):
    """The lines of the log."""
    return [json_of(line) for line in stream.getvalue().splitlines()]


def test_other_loggers_and_warnings_go_the_same_way():
    """From the level on; at the end of the block everything is as it was."""
    before = (logging.getLogger().level, threading.excepthook, sys.unraisablehook, warnings.showwarning)
    with written() as stderr, log_to_stderr("json", "info"):
        logging.getLogger("uvicorn.error").info("uv\n%s", "icorn")
        logging.getLogger("asyncio").debug("not this")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old\nthing", stacklevel=1)
        before_the_end = stderr.getvalue()
    with written() as stderr:
        logging.getLogger("turnout.test").error("after the end")
    assert "" == stderr.getvalue()
    stderr = io.StringIO(before_the_end)
    first, second = said(stderr)
    assert (first["logger"], first["level"], first["message"]) == ("uvicorn.error", "info", "uv\nicorn")
    assert (second["logger"], second["level"]) == ("py.warnings", "warning")
    assert "UserWarning: old\nthing" in second["message"]
    assert before == (logging.getLogger().level, threading.excepthook, sys.unraisablehook, warnings.showwarning)


class Breaking:
    """Fails where nobody can catch it."""

    def __del__(self):
        raise ValueError("in a destructor")


def test_exceptions_that_nobody_caught_go_the_same_way():
    """In a thread, in a destructor, and the one that ends the process; a thread that exits is no failure."""

    def fail():
        raise ValueError("in a thread")

    with written() as stderr, log_to_stderr("json", "warning"):
        for work in (fail, sys.exit):
            thread = threading.Thread(target=work, name="worker")
            thread.start()
            thread.join()
        broken = Breaking()
        del broken
        gc.collect()
        sys.unraisablehook(_unraisable(None))
        hook = sys.excepthook
    sys.excepthook = sys.__excepthook__
    with written() as last:
        hook(*raised(ValueError("at the end")))
    lines = [*said(stderr), *said(last)]
    assert [line["message"] for line in lines] == [
        "thread worker ended by an exception",
        "an exception that cannot be raised",
        "something",
        "ended by an exception",
    ]
    assert ["in a thread", "in a destructor"] == [line["exception"].split(": ")[-1] for line in lines[:2]]
    assert "exception" not in lines[2]
    assert lines[3]["exception"].endswith("ValueError: at the end")


def _unraisable(error):
    class Told:
        exc_value, exc_traceback, err_msg, object = error, None, "something", None

    return Told


def test_a_record_that_cannot_be_written_is_said_and_nothing_of_it():
    """Arguments that do not fit are a bug of the caller's, and no reason to stop; neither is a stderr that is gone."""
    with written() as stderr, log_to_stderr("json", "warning"):
        (ours,) = [one for one in logging.getLogger().handlers if isinstance(one, Stderr)]
        ours.handle(record("%d of a canary", "not a number"))
        stderr_lines = said(stderr)
        stderr.close()
        ours.handle(record("nobody hears this"))
    assert [(line["logger"], line["level"], line["message"]) for line in stderr_lines] == [
        ("turnout.test", "error", UNWRITABLE)
    ]


def test_what_a_start_says_is_not_redacted():
    """A new master key is shown once; in JSON that is a line like any other."""
    assert "\n   sk-turnout-0123456789\n" == LineFormatter("text").plain("\n   sk-turnout-0123456789\n")
    told = json_of(LineFormatter("json").plain("\n   sk-turnout-0123456789\n"))
    assert (told["level"], told["logger"], told["message"]) == ("info", "turnout.serve", "sk-turnout-0123456789")

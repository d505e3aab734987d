"""Tells what was used and what it cost, by day, key, user, task, model and so on, from the hourly sums of the ledger.

One statement serves every choice of names: what is not asked for is blank in it. A day is that of a time zone, and is
made of the hours that begin in it. Corrections count in the hour in which they were made. Sessions are in no sums: where they
are asked for, the entries themselves are read (core/books/sessions.py).
Cost: O(sums of the time asked for), about 1.5 µs each where names are told apart and 0.5 µs where days alone are: a month of
a hundred sorts of traffic, 72,000 sums, takes a tenth of a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final, cast

import msgspec

from turnout.core import vendor_day
from turnout.core.books import sessions
from turnout.core.books.statements import Sql, Steps
from turnout.core.names import nearest
from turnout.core.pricing import format_usd

NAMES: Final = ("key", "user", "workspace", "team", "task", "model", "provider", "vendor_model", "arm")
"""What sums are kept by, in the order of the statements below."""

ALL_NAMES: Final = (*NAMES, "session")
"""And what the entries can be told apart by besides."""

BY: Final = ("day", *ALL_NAMES)

USUAL_DAYS: Final = 30

MOST_DAYS: Final = 3_700

MOST_LINES: Final = 10_000
"""More than anyone reads; the totals count all of them in any case."""

GROUPED: Final = """
SELECT
    CASE WHEN ? = 1 THEN key_id ELSE '' END,
    CASE WHEN ? = 1 THEN user_id ELSE '' END,
    CASE WHEN ? = 1 THEN workspace ELSE '' END,
    CASE WHEN ? = 1 THEN team ELSE '' END,
    CASE WHEN ? = 1 THEN task ELSE '' END,
    CASE WHEN ? = 1 THEN model ELSE '' END,
    CASE WHEN ? = 1 THEN provider ELSE '' END,
    CASE WHEN ? = 1 THEN vendor_model ELSE '' END,
    CASE WHEN ? = 1 THEN arm ELSE '' END,
    CAST(SUM(attempts) AS BIGINT), CAST(SUM(failed) AS BIGINT), CAST(SUM(inexact) AS BIGINT),
    CAST(SUM(unpriced) AS BIGINT), CAST(SUM(input_tokens) AS BIGINT), CAST(SUM(output_tokens) AS BIGINT),
    CAST(SUM(cache_read_input_tokens) AS BIGINT), CAST(SUM(cache_write_input_tokens) AS BIGINT),
    CAST(SUM(reasoning_output_tokens) AS BIGINT), CAST(SUM(cost_nano_usd) AS BIGINT),
    CAST(SUM(inexact_nano_usd) AS BIGINT)
FROM rollup
WHERE hour_s >= ? AND hour_s < ?
    AND (? = '' OR key_id = ?) AND (? = '' OR user_id = ?) AND (? = '' OR workspace = ?) AND (? = '' OR team = ?)
    AND (? = '' OR task = ?) AND (? = '' OR model = ?) AND (? = '' OR provider = ?) AND (? = '' OR vendor_model = ?)
    AND (? = '' OR arm = ?)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
ORDER BY 19 DESC, 10 DESC, 1, 2, 3, 4, 5, 6, 7, 8, 9
LIMIT ?
"""

TOTAL: Final = """
SELECT CAST(COALESCE(SUM(attempts), 0) AS BIGINT), CAST(COALESCE(SUM(failed), 0) AS BIGINT),
    CAST(COALESCE(SUM(inexact), 0) AS BIGINT), CAST(COALESCE(SUM(unpriced), 0) AS BIGINT),
    CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT), CAST(COALESCE(SUM(output_tokens), 0) AS BIGINT),
    CAST(COALESCE(SUM(cache_read_input_tokens), 0) AS BIGINT),
    CAST(COALESCE(SUM(cache_write_input_tokens), 0) AS BIGINT),
    CAST(COALESCE(SUM(reasoning_output_tokens), 0) AS BIGINT),
    CAST(COALESCE(SUM(cost_nano_usd), 0) AS BIGINT), CAST(COALESCE(SUM(inexact_nano_usd), 0) AS BIGINT)
FROM rollup
WHERE hour_s >= ? AND hour_s < ?
    AND (? = '' OR key_id = ?) AND (? = '' OR user_id = ?) AND (? = '' OR workspace = ?) AND (? = '' OR team = ?)
    AND (? = '' OR task = ?) AND (? = '' OR model = ?) AND (? = '' OR provider = ?) AND (? = '' OR vendor_model = ?)
    AND (? = '' OR arm = ?)
"""


class Span(msgspec.Struct, frozen=True):
    """A stretch of time, half open, in Unix seconds. day: its name, "" if it is none."""

    day: str
    start_s: int
    end_s: int


class Wanted(msgspec.Struct, frozen=True):
    """What to tell. by: of BY. first, last: days, both included, of `zone`. only: name → the one value that counts."""

    by: tuple[str, ...]
    first: date
    last: date
    zone: str = "UTC"
    only: Mapping[str, str] = {}

    @property
    def is_of_sessions(self) -> bool:
        """Whether sessions are told apart, or one alone counts: then the entries are read."""
        return "session" in self.by or bool(self.only.get("session"))


class Sums(msgspec.Struct, frozen=True):
    """attempts: calls of a vendor, those that failed included. inexact: whose tokens are not the vendor's own count.

    inexact_nano_usd: how much of the cost is theirs. unpriced: whose cost is not known, so that it is in no sum.
    """

    attempts: int = 0
    failed: int = 0
    inexact: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    reasoning_output_tokens: int = 0
    cost_nano_usd: int = 0
    inexact_nano_usd: int = 0


class Line(msgspec.Struct, frozen=True):
    """names: what was asked for → its value."""

    names: Mapping[str, str]
    sums: Sums


class Report(msgspec.Struct, frozen=True):
    """lines: by day, then the dearest first. total: of everything that is wanted, also where `is_cut`: there were more lines.

    archived_until_s: where entries were read, Unix seconds up to which they may be in the archive and not counted; else 0.
    key_names: where keys are told apart, what they are called: by id, those that have a name.
    """

    lines: tuple[Line, ...]
    total: Sums
    is_cut: bool = False
    archived_until_s: int = 0
    key_names: Mapping[str, str] = {}


def asked(by: str, since: str, until: str, zone: str, only: Mapping[str, str], wall: float) -> Wanted:
    """Read what a person asks for. Raises ValueError: what is wrong, what was meant.

    by: names with commas, "" for the day. since, until: days such as 2026-11-01, since also 7d (the last seven); "" for
    the last 30 days and today. only: what is "" counts as not said. wall: Unix seconds.
    """
    names = tuple(dict.fromkeys(name.strip().replace("-", "_") for name in by.split(",") if name.strip())) or ("day",)
    for name in names:
        if name not in BY:
            near = nearest(name, BY, 1)
            meant = f"did you mean {near[0]}?" if near else f"expected some of {', '.join(BY)}"
            raise ValueError(f"by: {name!r} is not known here, {meant}")
    try:
        where = vendor_day.zone(zone or "UTC")
    except (ValueError, OSError, KeyError):
        raise ValueError(f"zone: {zone!r} is no time zone known here, write one such as Europe/Copenhagen") from None
    today = datetime.fromtimestamp(wall, where).date()
    last = _day("to", until) if until else today
    if ago := re.fullmatch(r"([0-9]{1,4})d", since):
        first = last - timedelta(days=max(int(ago[1]), 1) - 1)
    else:
        first = _day("from", since) if since else last - timedelta(days=USUAL_DAYS - 1)
    if first > last:
        raise ValueError(f"from: {first} is after {last}, where it ends")
    if (last - first).days >= MOST_DAYS:
        raise ValueError(f"from: {first} to {last} is longer than {MOST_DAYS:,} days")
    wanted = Wanted(names, first, last, zone or "UTC", {name: value for name, value in only.items() if value})
    if wanted.is_of_sessions and (last - first).days >= sessions.MOST_DAYS:
        most = f"longer than {sessions.MOST_DAYS} days, and sessions are told from single entries"
        raise ValueError(f"from: {first} to {last} is {most}: ask for less at a time")
    return wanted


def spans(wanted: Wanted) -> list[Span]:
    """Return the days asked for, one by one where days are told apart, else in one. O(days)."""
    if "day" not in wanted.by:
        return [Span("", _midnight(wanted.first, wanted.zone), _midnight(wanted.last + timedelta(days=1), wanted.zone))]
    return list(_days(wanted))


def usage(wanted: Wanted, count: int = MOST_LINES) -> Steps[Report]:
    """Return what was used. count: lines at most."""
    report = yield from (_of_sessions(wanted, count) if wanted.is_of_sessions else _of_hours(wanted, count))
    if "key" not in wanted.by:
        return report
    return msgspec.structs.replace(report, key_names=(yield from key_names()))


def key_names() -> Steps[dict[str, str]]:
    """Return what virtual keys are called, by id; those that were revoked too. O(keys)."""
    return {str(id_): str(name) for id_, name in (yield Sql("SELECT id, name FROM virtual_key WHERE name <> ''"))}


def _of_hours(wanted: Wanted, count: int) -> Steps[Report]:
    """From the sums by hour."""
    lines: list[Line] = []
    flags = tuple(int(name in wanted.by) for name in NAMES)
    filters = tuple(wanted.only.get(name, "") for name in NAMES for _ in range(2))
    days = spans(wanted)
    for span in days:
        if len(lines) > count:
            break
        if any(flags):
            rows = yield Sql(GROUPED, (*flags, span.start_s, span.end_s, *filters, count + 1 - len(lines)))
            lines += [_line(wanted, span, cast("Sequence[str | int]", row)) for row in rows]
        else:  # the day alone: without groups nothing has to be sorted
            (row,) = yield Sql(TOTAL, (span.start_s, span.end_s, *filters))
            if any(row):
                lines.append(Line({"day": span.day}, Sums(*cast("Sequence[int]", row))))
    if len(lines) <= count:
        return Report(tuple(lines), _total(lines))
    (row,) = yield Sql(TOTAL, (days[0].start_s, days[-1].end_s, *filters))
    return Report(tuple(lines[:count]), Sums(*cast("Sequence[int]", row)), is_cut=True)


def _of_sessions(wanted: Wanted, count: int) -> Steps[Report]:
    """The same from the entries."""
    lines: list[Line] = []
    flags = tuple(int(name in wanted.by) for name in ALL_NAMES)
    filters = tuple(wanted.only.get(name, "") for name in ALL_NAMES for _ in range(2))
    days = spans(wanted)
    for span in days:
        limit = count + 1 - len(lines)
        rows = yield sessions.grouped((*flags, *sessions.hours_ms(span.start_s, span.end_s), *filters, limit))
        lines += [_line(wanted, span, cast("Sequence[str | int]", row), ALL_NAMES) for row in rows]
        if len(lines) > count:
            break
    total, is_cut = _total(lines), len(lines) > count
    if is_cut:
        all_ms = sessions.hours_ms(days[0].start_s, days[-1].end_s)
        (row,) = yield sessions.grouped((*(0 for _ in ALL_NAMES), *all_ms, *filters, 1))
        total = Sums(*cast("Sequence[int]", row[len(ALL_NAMES) :]))
    until_s = yield from sessions.archived_until()
    archived_until_s = until_s if until_s > days[0].start_s else 0
    return Report(tuple(lines[:count]), total, is_cut, archived_until_s)


def _total(lines: Sequence[Line]) -> Sums:
    return Sums(*(sum(amounts) for amounts in zip(*(msgspec.structs.astuple(one.sums) for one in lines), strict=True)))


def report_told(wanted: Wanted, report: Report) -> dict[str, object]:
    """Return a report ready for JSON: each line's names and amounts side by side, money as nano-dollars and as dollars."""
    told: dict[str, object] = {
        "from": wanted.first.isoformat(),
        "to": wanted.last.isoformat(),
        "zone": wanted.zone,
        "by": list(wanted.by),
        "lines": [{**line.names, **_name_told(line, report), **_sums_told(line.sums)} for line in report.lines],
        "total": _sums_told(report.total),
        "cut": report.is_cut,
    }
    if report.archived_until_s:
        told["archived_until_s"] = report.archived_until_s
    return told


def _name_told(line: Line, report: Report) -> dict[str, str]:
    return {"key_name": report.key_names.get(line.names["key"], "")} if "key" in line.names else {}


def _sums_told(sums: Sums) -> dict[str, object]:
    return {**msgspec.structs.asdict(sums), "cost_usd": format_usd(sums.cost_nano_usd).replace("$", "")}


def between(start_s: int, end_s: int, provider: str) -> Steps[dict[str, Sums]]:
    """Return what was used of each of a provider's models, by the name that the vendor has for it. Half open, Unix seconds."""
    flags = tuple(int(name == "vendor_model") for name in NAMES)
    filters = tuple(provider if name == "provider" else "" for name in NAMES for _ in range(2))
    rows = yield Sql(GROUPED, (*flags, start_s, end_s, *filters, MOST_LINES))
    at = NAMES.index("vendor_model")
    return {str(row[at]): Sums(*cast("Sequence[int]", row[len(NAMES) :])) for row in rows}


def _line(wanted: Wanted, span: Span, row: Sequence[str | int], names: Sequence[str] = NAMES) -> Line:
    values = {"day": span.day, **{name: str(value) for name, value in zip(names, row, strict=False)}}
    return Line({name: values[name] for name in wanted.by}, Sums(*cast("Sequence[int]", row[len(names) :])))


def _days(wanted: Wanted) -> Iterator[Span]:
    day, start_s = wanted.first, _midnight(wanted.first, wanted.zone)
    while day <= wanted.last:
        following = day + timedelta(days=1)
        end_s = _midnight(following, wanted.zone)
        yield Span(day.isoformat(), start_s, end_s)
        day, start_s = following, end_s


def _midnight(day: date, zone: str) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=vendor_day.zone(zone)).timestamp())


def _day(name: str, written: str) -> date:
    try:
        found = date.fromisoformat(written)
    except ValueError:
        raise ValueError(f"{name}: {written!r} is no day, write such as 2026-11-01") from None
    if not 1970 < found.year < 2200:
        raise ValueError(f"{name}: {written!r} is out of range, expected a day of 1971 to 2199")
    return found

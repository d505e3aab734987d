"""Says, as statements, which gateways share the books, and how much of each limit one of them may use on its own.

One gateway alone uses limits as they are and writes nothing. From the moment that a second one is there, each holds a part of
every limit that it meets (core/leasing.py decides how much), in rows that it alone writes: all of them together never hold
more than the limit. Rules.
- A gateway beats: it moves its number in table `writer`. Whoever sees a number stand still knows it without comparing
  clocks. `is_alone` is a claim to everything, which the newcomer respects until its owner gives it up or is gone.
- Who is gone (it said so, or was silent for too long) is inherited from: what it may have used within the last minute counts
  as the heir's, used just now. Its places at once are free at once.
- Who was killed while it was alone left no rows. Then the ledger says what reached a vendor within the last minute.
- A gateway that was taken for gone and is not finds no row of its own, and begins again with what it used.
Times are Unix seconds, and only tell what is too old to matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from turnout.core.books.statements import Load, Row, Sql, Steps
from turnout.core.leasing import Held, Need, take
from turnout.core.rules import Rates

GONE: Final = -1
"""The number of a writer that is gone."""

FORGET_S: Final = 600
"""What somebody used who was seen last so long ago has left every window, however far clocks are apart."""

_BEAT: Final = "UPDATE writer SET beat = beat + 1, seen_at = ? WHERE name = ? AND beat >= 0 RETURNING is_alone"

_ENTER: Final = """
INSERT INTO writer (name, beat, is_alone, seen_at) VALUES (?, ?, 0, ?)
ON CONFLICT (name) DO UPDATE SET beat = excluded.beat, is_alone = 0, seen_at = excluded.seen_at
"""
"""It begins at another number each time, so that nobody takes it for one that stood still."""

_LEAVE: Final = """
INSERT INTO writer (name, beat, is_alone, seen_at) VALUES (?, -1, 0, ?)
ON CONFLICT (name) DO UPDATE SET beat = -1, is_alone = 0, seen_at = excluded.seen_at
"""

_OTHERS: Final = "SELECT name, beat, is_alone, seen_at FROM writer WHERE name <> ? ORDER BY name"

_INHERIT: Final = "DELETE FROM limit_grant WHERE writer = ? RETURNING name, requests, tokens"

_OF_OTHERS: Final = """
SELECT CAST(COALESCE(SUM(requests), 0) AS BIGINT), CAST(COALESCE(SUM(tokens), 0) AS BIGINT),
    CAST(COALESCE(SUM(at_once), 0) AS BIGINT), CAST(COALESCE(SUM(wants), 0) AS BIGINT)
FROM limit_grant WHERE name = ? AND writer <> ?
"""

_WANTED: Final = """
SELECT name, CAST(SUM(wants) AS BIGINT) FROM limit_grant WHERE wants = 1 AND writer <> ? GROUP BY name
"""

_WRITE: Final = """
INSERT INTO limit_grant (id, name, writer, requests, tokens, at_once, wants) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    requests = excluded.requests, tokens = excluded.tokens, at_once = excluded.at_once, wants = excluded.wants
"""

RECENT_S: Final = 62
"""A window, and how far two clocks of one machine may be apart."""

_RECENT: Final = """
SELECT team, workspace, user_id, key_id, task, model, COUNT(DISTINCT request_id),
    CAST(SUM(input_tokens + output_tokens) AS BIGINT)
FROM entry WHERE at_ms >= ? AND corrects = '' GROUP BY team, workspace, user_id, key_id, task, model
"""

_SCOPES: Final = ("team", "workspace", "user", "key", "task", "model")

_COLUMNS: Final = ("id", "name", "writer", "requests", "tokens", "at_once", "wants")


class Other(msgspec.Struct, frozen=True):
    """Another gateway, as it says of itself. beat: GONE if it has left. is_alone: it claims everything still."""

    name: str
    beat: int
    is_alone: bool


class Heard(msgspec.Struct, frozen=True):
    """Who is there. is_known: we are; else what we held is gone. is_alone: we claim everything.

    rivals: by name, how many others want more than they got.
    """

    is_known: bool
    is_alone: bool
    others: tuple[Other, ...]
    rivals: Mapping[str, int]


class Beaten(msgspec.Struct, frozen=True):
    """What a beat changed. was_known, was_alone: as in Heard, before it. is_alone: nobody else is there: all is ours now.

    others: who is left. inherited: what those who are gone may have used, by name.
    """

    was_known: bool
    was_alone: bool
    is_alone: bool
    others: tuple[Other, ...]
    inherited: Mapping[str, Rates]


class Wish(msgspec.Struct, frozen=True):
    """What a writer uses and holds of one limit, and needs more. name: as core/limit_names.py makes it."""

    name: str
    limit: Rates
    used: Rates
    held: Rates
    need: Need


def hear(writer: str) -> Steps[Heard]:
    """Look who is there, and what they want. Changes nothing; one statement for who is alone."""
    rows = yield Sql("SELECT name, beat, is_alone FROM writer ORDER BY name")
    there = [Other(str(name), int(str(number)), bool(alone)) for name, number, alone in rows]
    mine = [one for one in there if one.name == writer and one.beat != GONE]
    others = tuple(one for one in there if one.name != writer)
    wanted = (yield Sql(_WANTED, (writer,))) if others else ()
    rivals = {str(name): int(str(count)) for name, count in wanted}
    return Heard(bool(mine), bool(mine and mine[0].is_alone), others, rivals)


def beat(writer: str, silent: Mapping[str, int], wall: int) -> Steps[Beaten]:
    """Say that `writer` is there, and inherit from who is gone; claim everything where nobody else is left.

    silent: writers taken for gone, with the number at which they stood still: one that has moved on since is not gone.
    wall: Unix seconds. Three statements, and two and one a name for each who is gone.
    """
    mine = yield Sql(_BEAT, (wall, writer))
    if not mine:
        yield Sql(_ENTER, (writer, wall, wall))
    others = []
    inherited: dict[str, Rates] = {}
    for name, number, alone, seen_at in (yield Sql(_OTHERS, (writer,))):
        assert isinstance(name, str)
        assert isinstance(number, int)
        assert isinstance(seen_at, int)
        if number != GONE and silent.get(name) != number:
            others.append(Other(name, number, bool(alone)))
            continue
        rows = yield Sql(_INHERIT, (name,))
        if alone:
            _read_ledger(inherited, (yield Sql(_RECENT, ((wall - RECENT_S) * 1000,))))
        elif wall < seen_at + FORGET_S:
            _inherit(inherited, rows)
        yield Sql("DELETE FROM writer WHERE name = ?", (name,))
    was_alone = bool(mine and mine[0][0])
    if others:
        for name, rates in sorted(inherited.items()):
            yield from _add(writer, name, rates)
    elif not was_alone:
        yield Sql("UPDATE writer SET is_alone = 1 WHERE name = ?", (writer,))
        yield Sql("DELETE FROM limit_grant WHERE writer = ?", (writer,))
    return Beaten(bool(mine), was_alone, not others, tuple(others), inherited)


def publish(writer: str, held: Mapping[str, Rates]) -> Steps[bool]:
    """Give up the claim to everything, and hold just this from now on. False if the books do not know `writer`: then nothing
    is written.
    """
    if not (
        yield Sql(
            "UPDATE writer SET is_alone = 0, beat = beat + 1 WHERE name = ? AND beat >= 0 RETURNING name", (writer,)
        )
    ):
        return False
    yield from _replace(writer, held)
    return True


def turn(writer: str, rows: Iterable[tuple[str, Rates, bool]], wishes: Sequence[Wish]) -> Steps[dict[str, Held] | None]:
    """Write what `writer` holds and whether it wants more, then take what is wished for. Return what it holds of that, by
    name; None if it may not take anything now: somebody claims everything, or the books do not know it. Then nothing is
    written.

    Three statements, one a row, two a wish.
    """
    entitled = yield Sql("SELECT name FROM writer WHERE beat >= 0 AND (is_alone = 1 OR name = ?)", (writer,))
    if list(entitled) != [(writer,)]:
        return None
    for name, rates, wants in sorted(rows, key=lambda row: row[0]):
        yield _write(writer, name, rates, wants=wants)
    yield Sql("DELETE FROM limit_grant WHERE writer = ? AND requests + tokens + at_once + wants = 0", (writer,))
    got = {}
    for wish in sorted(wishes, key=lambda wish: wish.name):
        ((requests, tokens, at_once, rivals),) = yield Sql(_OF_OTHERS, (wish.name, writer))
        others = msgspec.convert((requests, tokens, at_once), tuple[int, int, int])
        assert isinstance(rivals, int)
        held = take(wish.limit, wish.used, wish.held, wish.need, Rates(*others), rivals)
        yield _write(writer, wish.name, held.rates, wants=held.wants)
        got[wish.name] = held
    return got


def leave(writer: str, used: Mapping[str, Rates], wall: int) -> Steps[None]:
    """Say good-bye: what was used within the last minute is left to whoever comes. wall: Unix seconds."""
    yield Sql(_LEAVE, (writer, wall))
    yield from _replace(writer, used)


def gone(writer: str) -> Steps[None]:
    """`writer` is known to be dead, and all it did is in the ledger: what it held is for whoever beats next."""
    yield Sql("UPDATE writer SET beat = -1 WHERE name = ?", (writer,))


def _replace(writer: str, held: Mapping[str, Rates]) -> Steps[None]:
    yield Sql("DELETE FROM limit_grant WHERE writer = ?", (writer,))
    rows = [_row(writer, name, rates, wants=False) for name, rates in held.items() if rates != Rates()]
    if rows:
        yield Load("limit_grant", _COLUMNS, rows, "id")


def _add(writer: str, name: str, more: Rates) -> Steps[None]:
    rows = yield Sql(
        "SELECT requests, tokens, at_once, wants FROM limit_grant WHERE name = ? AND writer = ?", (name, writer)
    )
    requests, tokens, at_once, wants = msgspec.convert(rows[0] if rows else (0, 0, 0, 0), tuple[int, int, int, int])
    rates = Rates(requests + more.requests_minute, tokens + more.tokens_minute, at_once)
    yield _write(writer, name, rates, wants=bool(wants))


def _write(writer: str, name: str, rates: Rates, *, wants: bool) -> Sql:
    return Sql(_WRITE, _row(writer, name, rates, wants=wants))


def _row(writer: str, name: str, rates: Rates, *, wants: bool) -> Row:
    amounts = (rates.requests_minute, rates.tokens_minute, rates.at_once)
    return (f"{writer}/{name}", name, writer, *amounts, int(wants))


def _inherit(inherited: dict[str, Rates], rows: Iterable[Row]) -> None:
    for row in rows:
        name, requests, tokens = msgspec.convert(row, tuple[str, int, int])
        known = inherited.get(name, Rates())
        inherited[name] = Rates(known.requests_minute + requests, known.tokens_minute + tokens)


def _read_ledger(inherited: dict[str, Rates], rows: Iterable[Row]) -> None:
    for *values, requests, tokens in rows:
        named = [f"{scope}:{value!s}" for scope, value in zip(_SCOPES, values, strict=True) if value]
        _inherit(inherited, [(name, requests, tokens) for name in ("all", *named)])

"""Fills the books in a SQLite file with any number of entries, quickly: what they add up to is right, their chains are not."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from turnout.stores.sqlite_books import SqliteBooks

ENTRIES = """
WITH RECURSIVE
    counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?1)
INSERT INTO entry (
    attempt_id, writer, number, chain, request_id, at_ms, key_id, user_id, workspace, team, session, task, model, provider,
    vendor_model, arm, outcome, basis, input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens,
    reasoning_output_tokens, cost_nano_usd, charges, corrects
)
SELECT
    printf('req_%012x%08x-1', ?2 + n * ?3 / ?1, n), 'past', n, zeroblob(32), printf('req_%012x%08x', ?2 + n * ?3 / ?1, n),
    ?2 + n * ?3 / ?1, 'k_' || (n % 100), 'user' || (n % 100), 'ws' || (n % 10), 'team' || (n % 3), '', 'task' || (n % 5),
    'model' || (n % 100 % 7), 'stub', 'vendor/model' || (n % 100 % 7), '', 'ok', 'exact', 100 + n % 50, 20 + n % 30, 0, 0, 0,
    1000 * (n % 997), '[]', ''
FROM counted
"""

ROLLUP = """
INSERT INTO rollup
SELECT at_ms / 3600000 * 3600, CAST(key_id || '/' || task || '/' || model AS BLOB), key_id, user_id, workspace, team, task,
    model, provider, vendor_model, arm, count(*), 0, 0, 0, sum(input_tokens), sum(output_tokens), 0, 0, 0, sum(cost_nano_usd), 0
FROM entry GROUP BY 1, 2
"""

DAYS = 90


async def fill(path: Path, count: int, until_ms: int) -> None:
    """Make the books at `path`, with `count` entries of the DAYS before `until_ms`, and their sums. 8 s a million."""
    books = SqliteBooks(path)
    await books.open()
    await books.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = OFF")
        file.execute("PRAGMA synchronous = OFF")
        file.execute("PRAGMA cache_size = -200000")
        span_ms = DAYS * 86_400_000
        file.execute("BEGIN")
        file.execute(ENTRIES, (count, until_ms - span_ms, span_ms))
        file.execute(ROLLUP)
        file.execute("INSERT INTO entry_head VALUES ('past', ?, zeroblob(32))", (count,))
        file.execute("COMMIT")
        file.execute("PRAGMA journal_mode = WAL")

"""Tells what was used by session, from the entries of the ledger: the hourly sums know no sessions.

A client names as many sessions as it likes, so sums by session would be nearly as many as the entries. A report that asks for
them reads the entries themselves: it costs more, is bounded in days (MOST_DAYS), and knows nothing of what is archived.
Cost: O(entries of the time asked for), about 2 µs each: a million take two seconds.
"""

from __future__ import annotations

from typing import Final, cast

from turnout.core.books.archive import YOUNGEST
from turnout.core.books.ledger import HOUR_S
from turnout.core.books.statements import Row, Sql, Steps

MOST_DAYS: Final = 31

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
    CASE WHEN ? = 1 THEN session ELSE '' END,
    CAST(SUM(CASE WHEN corrects = '' THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN corrects = '' AND outcome <> 'ok' THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN corrects = '' AND basis <> 'exact' THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN corrects = '' AND cost_nano_usd IS NULL THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(input_tokens) AS BIGINT), CAST(SUM(output_tokens) AS BIGINT),
    CAST(SUM(cache_read_input_tokens) AS BIGINT), CAST(SUM(cache_write_input_tokens) AS BIGINT),
    CAST(SUM(reasoning_output_tokens) AS BIGINT), CAST(SUM(COALESCE(cost_nano_usd, 0)) AS BIGINT),
    CAST(SUM(CASE WHEN basis <> 'exact' THEN COALESCE(cost_nano_usd, 0) ELSE 0 END) AS BIGINT)
FROM entry
WHERE at_ms >= ? AND at_ms < ?
    AND (? = '' OR key_id = ?) AND (? = '' OR user_id = ?) AND (? = '' OR workspace = ?) AND (? = '' OR team = ?)
    AND (? = '' OR task = ?) AND (? = '' OR model = ?) AND (? = '' OR provider = ?) AND (? = '' OR vendor_model = ?)
    AND (? = '' OR arm = ?) AND (? = '' OR session = ?)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
ORDER BY 20 DESC, 11 DESC, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
LIMIT ?
"""
"""As core/books/usage.py has it over the sums, with the session as the last of the names."""


def grouped(values: Row) -> Sql:
    """Return the statement that adds up entries by name. values: of GROUPED, in its order."""
    return Sql(GROUPED, values)


def hours_ms(start_s: int, end_s: int) -> tuple[int, int]:
    """Return the hours that begin in a stretch of Unix seconds, as Unix milliseconds: what the hourly sums would count. O(1)."""
    return -(-start_s // HOUR_S) * HOUR_S * 1000, -(-end_s // HOUR_S) * HOUR_S * 1000


def archived_until() -> Steps[int]:
    """Return the Unix seconds up to which entries may be gone into the archive, 0 for none."""
    ((last_at_ms,),) = yield Sql(YOUNGEST)
    return -(-cast("int", last_at_ms) // 1000)

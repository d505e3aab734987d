-- The ledger: one row for each attempt at a vendor, and one for each correction; what is derived from it; its chain.
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    attempt_id TEXT NOT NULL UNIQUE,
    writer TEXT NOT NULL,
    number INTEGER NOT NULL,        -- its place in its writer's chain, from 1
    chain BLOB NOT NULL,            -- SHA-256 over the one before, the place and the row (core/books/ledger.py)
    request_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    team TEXT NOT NULL,
    session TEXT NOT NULL,
    task TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    vendor_model TEXT NOT NULL,
    arm TEXT NOT NULL,
    outcome TEXT NOT NULL,
    basis TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_input_tokens INTEGER NOT NULL,
    cache_write_input_tokens INTEGER NOT NULL,
    reasoning_output_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER,          -- NULL: unpriced
    charges TEXT NOT NULL,          -- JSON: [[budget, starts_at], ...]
    corrects TEXT NOT NULL          -- the attempt_id that this row corrects, '' for an attempt's own
) STRICT;
CREATE INDEX entry_at ON entry (at_ms);

-- Sums of the ledger by hour, for reports: each entry is in one row of it, made in the entry's own transaction.
CREATE TABLE rollup (
    hour_s INTEGER NOT NULL,        -- Unix seconds of the hour's beginning
    id BLOB NOT NULL,               -- a digest of the names below, which together may be too long for an index
    key_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    team TEXT NOT NULL,
    task TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    vendor_model TEXT NOT NULL,
    arm TEXT NOT NULL,
    attempts INTEGER NOT NULL,      -- without corrections
    failed INTEGER NOT NULL,        -- those whose outcome is not "ok"
    inexact INTEGER NOT NULL,       -- those whose basis is not "exact"
    unpriced INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_input_tokens INTEGER NOT NULL,
    cache_write_input_tokens INTEGER NOT NULL,
    reasoning_output_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    inexact_nano_usd INTEGER NOT NULL,  -- how much of the cost is not exact
    PRIMARY KEY (hour_s, id)
) STRICT, WITHOUT ROWID;

-- Where each writer's chain ends: an entry that was cut off the end is missed.
CREATE TABLE entry_head (
    writer TEXT PRIMARY KEY,
    entries INTEGER NOT NULL,
    chain BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The archive mark: how far each writer's entries have been archived, so that they may be deleted. last_at_ms: of the
-- youngest archived entry of any writer so far; sums of time before it cannot be made from the entries any more.
CREATE TABLE entry_archived (
    writer TEXT PRIMARY KEY,
    entries INTEGER NOT NULL,
    chain BLOB NOT NULL,
    last_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER entry_is_never_changed BEFORE UPDATE ON entry
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: a correction is an entry of its own (turnout ledger correct)');
END;

CREATE TRIGGER entry_is_kept BEFORE DELETE ON entry
WHEN OLD.number > coalesce((SELECT entries FROM entry_archived WHERE writer = OLD.writer), 0)
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: only what is archived may be deleted');
END;

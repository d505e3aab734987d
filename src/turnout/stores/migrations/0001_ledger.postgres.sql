-- The ledger: one row for each attempt at a vendor, and one for each correction; what is derived from it; its chain.
CREATE TABLE entry (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    attempt_id TEXT NOT NULL UNIQUE,
    writer TEXT NOT NULL,
    number BIGINT NOT NULL,         -- its place in its writer's chain, from 1
    chain BYTEA NOT NULL,           -- SHA-256 over the one before, the place and the row (core/books/ledger.py)
    request_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
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
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cache_read_input_tokens BIGINT NOT NULL,
    cache_write_input_tokens BIGINT NOT NULL,
    reasoning_output_tokens BIGINT NOT NULL,
    cost_nano_usd BIGINT,           -- NULL: unpriced
    charges TEXT NOT NULL,          -- JSON: [[budget, starts_at], ...]
    corrects TEXT NOT NULL          -- the attempt_id that this row corrects, '' for an attempt's own
);
CREATE INDEX entry_at ON entry (at_ms);

-- Sums of the ledger by hour, for reports: each entry is in one row of it, made in the entry's own transaction.
CREATE TABLE rollup (
    hour_s BIGINT NOT NULL,         -- Unix seconds of the hour's beginning
    id BYTEA NOT NULL,              -- a digest of the names below, which together may be too long for an index
    key_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    team TEXT NOT NULL,
    task TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    vendor_model TEXT NOT NULL,
    arm TEXT NOT NULL,
    attempts BIGINT NOT NULL,       -- without corrections
    failed BIGINT NOT NULL,         -- those whose outcome is not "ok"
    inexact BIGINT NOT NULL,        -- those whose basis is not "exact"
    unpriced BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cache_read_input_tokens BIGINT NOT NULL,
    cache_write_input_tokens BIGINT NOT NULL,
    reasoning_output_tokens BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    inexact_nano_usd BIGINT NOT NULL,   -- how much of the cost is not exact
    PRIMARY KEY (hour_s, id)
);

-- Where each writer's chain ends: an entry that was cut off the end is missed.
CREATE TABLE entry_head (
    writer TEXT PRIMARY KEY,
    entries BIGINT NOT NULL,
    chain BYTEA NOT NULL
);

-- The archive mark: how far each writer's entries have been archived, so that they may be deleted. last_at_ms: of the
-- youngest archived entry of any writer so far; sums of time before it cannot be made from the entries any more.
CREATE TABLE entry_archived (
    writer TEXT PRIMARY KEY,
    entries BIGINT NOT NULL,
    chain BYTEA NOT NULL,
    last_at_ms BIGINT NOT NULL
);

CREATE FUNCTION entry_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE'
        AND OLD.number <= coalesce((SELECT entries FROM entry_archived WHERE writer = OLD.writer), 0) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the ledger is append-only: a correction is an entry of its own, and only what is archived may be deleted';
END;
$$;

CREATE TRIGGER entry_is_never_changed BEFORE UPDATE OR DELETE ON entry
    FOR EACH ROW EXECUTE FUNCTION entry_is_kept();
CREATE TRIGGER entry_is_never_emptied BEFORE TRUNCATE ON entry
    FOR EACH STATEMENT EXECUTE FUNCTION entry_is_kept();

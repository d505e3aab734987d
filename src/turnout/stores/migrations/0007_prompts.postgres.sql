-- Prompts that are kept for a time, if the configuration says so: each sealed under its request's id.
CREATE TABLE prompt (
    request_id TEXT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    sealed BYTEA NOT NULL
);
CREATE INDEX prompt_at ON prompt (at_ms);

-- Providers' keys, sealed (core/sealing.py). origin: the only scheme, host and port that the key may be sent to.
CREATE TABLE provider_secret (
    provider TEXT PRIMARY KEY,
    origin TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    set_at_ms BIGINT NOT NULL,
    set_by TEXT NOT NULL
);

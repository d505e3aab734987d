-- Limits: the gateways that share these books, and the part of each limit that one of them may use on its own.
CREATE TABLE writer (
    name TEXT NOT NULL PRIMARY KEY,
    beat BIGINT NOT NULL,
    is_alone BIGINT NOT NULL CHECK (is_alone IN (0, 1)),
    seen_at BIGINT NOT NULL
);

CREATE TABLE limit_grant (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    writer TEXT NOT NULL,
    requests BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    at_once BIGINT NOT NULL,
    wants BIGINT NOT NULL CHECK (wants IN (0, 1))
);

CREATE INDEX limit_grant_of_name ON limit_grant (name);

CREATE INDEX limit_grant_of_writer ON limit_grant (writer);

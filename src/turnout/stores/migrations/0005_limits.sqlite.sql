-- Limits: the gateways that share these books, and the part of each limit that one of them may use on its own.
CREATE TABLE writer (
    name TEXT NOT NULL PRIMARY KEY,
    beat INTEGER NOT NULL,
    is_alone INTEGER NOT NULL CHECK (is_alone IN (0, 1)),
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE limit_grant (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    writer TEXT NOT NULL,
    requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    at_once INTEGER NOT NULL,
    wants INTEGER NOT NULL CHECK (wants IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX limit_grant_of_name ON limit_grant (name);

CREATE INDEX limit_grant_of_writer ON limit_grant (writer);

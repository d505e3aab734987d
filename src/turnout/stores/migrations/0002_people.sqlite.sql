-- Who may ask: teams, workspaces, users, their keys, who may change the gateway, and what each is allowed.

-- One row: a number that moves with every change to who may ask. Whoever changes anything moves it first, which also
-- puts such changes one after another.
CREATE TABLE change (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
) STRICT;
INSERT INTO change (id, number) VALUES (1, 0);

CREATE TABLE team (
    name TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;

CREATE TABLE workspace (
    name TEXT PRIMARY KEY,
    team TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;

CREATE TABLE person (
    name TEXT PRIMARY KEY,
    tier TEXT NOT NULL,
    is_blocked INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;

CREATE TABLE virtual_key (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    person TEXT NOT NULL,
    workspace TEXT NOT NULL,
    tier TEXT NOT NULL,
    narrowed TEXT NOT NULL,
    last4 TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    old_hash BLOB,
    old_until REAL NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    revoked_at INTEGER,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX virtual_key_revision ON virtual_key (revision);
CREATE INDEX virtual_key_person ON virtual_key (person);
CREATE INDEX virtual_key_workspace ON virtual_key (workspace);

CREATE TABLE admin (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'viewer')),
    narrowed TEXT NOT NULL,
    last4 TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    old_hash BLOB,
    old_until REAL NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    revoked_at INTEGER,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX admin_revision ON admin (revision);

-- kind: "limit", or "budget/" and its period. body: core/rules.py's Limit or Budget, as JSON.
CREATE TABLE rule (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (scope, name, kind)
) STRICT;

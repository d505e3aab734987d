-- Budgets: what each has spent in a period, and the parts of what is left that writers hold.
CREATE TABLE budget_period (
    budget TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER,
    rule TEXT NOT NULL,
    scope TEXT NOT NULL,
    who TEXT NOT NULL,
    limit_nano_usd INTEGER NOT NULL,
    spent_nano_usd INTEGER NOT NULL,
    seeded_nano_usd INTEGER NOT NULL,
    recalls INTEGER NOT NULL,
    is_open INTEGER NOT NULL CHECK (is_open IN (0, 1)),
    PRIMARY KEY (budget, starts_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE lease (
    writer TEXT NOT NULL,
    budget TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    amount_nano_usd INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (budget, starts_at, writer)
) STRICT, WITHOUT ROWID;

CREATE INDEX lease_of_writer ON lease (writer);

CREATE INDEX budget_period_ends ON budget_period (ends_at);

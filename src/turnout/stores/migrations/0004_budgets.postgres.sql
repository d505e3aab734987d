-- Budgets: what each has spent in a period, and the parts of what is left that writers hold.
CREATE TABLE budget_period (
    budget TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT,
    rule TEXT NOT NULL,
    scope TEXT NOT NULL,
    who TEXT NOT NULL,
    limit_nano_usd BIGINT NOT NULL,
    spent_nano_usd BIGINT NOT NULL,
    seeded_nano_usd BIGINT NOT NULL,
    recalls BIGINT NOT NULL,
    is_open BIGINT NOT NULL CHECK (is_open IN (0, 1)),
    PRIMARY KEY (budget, starts_at)
);

CREATE TABLE lease (
    writer TEXT NOT NULL,
    budget TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    amount_nano_usd BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (budget, starts_at, writer)
);

CREATE INDEX lease_of_writer ON lease (writer);

CREATE INDEX budget_period_ends ON budget_period (ends_at);

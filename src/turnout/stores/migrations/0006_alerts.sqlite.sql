-- Alerts of budgets: a row is the decision that one is sent, once for a period and a mark; and how sending goes.
CREATE TABLE alert (
    budget TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    mark TEXT NOT NULL,
    ends_at INTEGER,
    scope TEXT NOT NULL,
    who TEXT NOT NULL,
    limit_nano_usd INTEGER NOT NULL,
    mark_nano_usd INTEGER NOT NULL,
    spent_nano_usd INTEGER NOT NULL,
    raised_at INTEGER NOT NULL,
    PRIMARY KEY (budget, starts_at, mark)
) STRICT, WITHOUT ROWID;

CREATE INDEX alert_raised ON alert (raised_at);

CREATE TABLE alert_delivery (
    budget TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    mark TEXT NOT NULL,
    channel TEXT NOT NULL,
    tries INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    taken_at INTEGER,
    problem TEXT NOT NULL,
    PRIMARY KEY (budget, starts_at, mark, channel)
) STRICT, WITHOUT ROWID;

CREATE INDEX alert_delivery_open ON alert_delivery (channel, next_at) WHERE taken_at IS NULL;

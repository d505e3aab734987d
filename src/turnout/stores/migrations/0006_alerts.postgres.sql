-- Alerts of budgets: a row is the decision that one is sent, once for a period and a mark; and how sending goes.
CREATE TABLE alert (
    budget TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    mark TEXT NOT NULL,
    ends_at BIGINT,
    scope TEXT NOT NULL,
    who TEXT NOT NULL,
    limit_nano_usd BIGINT NOT NULL,
    mark_nano_usd BIGINT NOT NULL,
    spent_nano_usd BIGINT NOT NULL,
    raised_at BIGINT NOT NULL,
    PRIMARY KEY (budget, starts_at, mark)
);

CREATE INDEX alert_raised ON alert (raised_at);

CREATE TABLE alert_delivery (
    budget TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    mark TEXT NOT NULL,
    channel TEXT NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    taken_at BIGINT,
    problem TEXT NOT NULL,
    PRIMARY KEY (budget, starts_at, mark, channel)
);

CREATE INDEX alert_delivery_open ON alert_delivery (channel, next_at) WHERE taken_at IS NULL;

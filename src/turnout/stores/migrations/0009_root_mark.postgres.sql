-- One row: which root key the hashes and the sealed values of these books were made with. mark: sixteen bytes that are made
-- of it and tell nothing of it (core/books/root.py).
CREATE TABLE root_mark (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    mark BYTEA NOT NULL
);

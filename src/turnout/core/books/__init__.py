"""The books: what is written into the database of money, people and decisions, as pure statements.

Each module says, for one group of tables, which statements do a thing, as a generator of them; `stores` has the databases
that run such a generator in one transaction (SQLite, PostgreSQL). So both have one meaning, and it is tested once.
"""

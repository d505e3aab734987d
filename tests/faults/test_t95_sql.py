"""T95: text that means something to SQL means nothing here: in no key, name, label or filter, and no statement is built from any.

Dynamic: metacharacters in everything that a client or an admin may write, then the database is as it was, and nothing but the
named row was found. Static: every statement in the source is a literal.
"""

import ast
import asyncio
import itertools
import re
from pathlib import Path
from urllib.parse import quote

import pytest

import turnout
from tests.faults.edge import statuses, tell
from tests.rig import CONFIG, KEY, Rig
from turnout.core.books.audit import Record, Wanted, append_all, latest
from turnout.core.books.statements import Sql

SOURCE = Path(turnout.__file__).parent
TEXTS = (
    "' OR '1'='1",
    "'; DROP TABLE entry; --",
    '" OR ""="',
    "1; UPDATE change SET number = 99999",
    "x' UNION SELECT hash, hash, hash FROM virtual_key --",
    "\\'; DELETE FROM audit; --",
    "%",
    "_",
    "%' --",
    "a%00b",
    "$1",
    "?",
    "?1",
    ":name",
    "@name",
    "NULL",
    "(SELECT 1)",
    "/* */",
    "--",
    "0x27",
    "\u02bc OR 1=1",
    "\uff07 OR 1=1",
    "'||(SELECT text FROM secret)||'",
    "E'\\x27'",
    "$$; DROP TABLE person; $$",
    "pg_sleep(9)",
    "'||pg_sleep(9)||'",
    "randomblob(1000000000)",
)


def tables():
    """What is in the database: how many rows each table has, by name; the audit trail grows with every refusal."""
    names = yield Sql("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name")
    counts = {}
    for (name,) in names:
        if name not in {"audit", "audit_head"}:
            ((counts[name],),) = yield Sql(f'SELECT count(*) FROM "{name}"')  # noqa: S608 - a table of ours
    return counts


def raw(line, *headers):
    """A request that no client library would send."""
    head = "".join(f"{one}\r\n" for one in headers)
    return f"{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n{head}\r\n".encode()


async def ask_everywhere(rig, text):
    """Put the text wherever something is written; return each answer's status and body."""
    header, path, master = text.encode().decode("latin-1"), quote(text, safe=""), f"authorization: Bearer {KEY}"
    port = int(rig.url.rpartition(":")[2])
    lines = [
        raw("GET /v1/models", f"authorization: Bearer {header}"),
        raw("GET /v1/models", f"x-api-key: {header}"),
        raw("GET /admin/keys", f"authorization: Bearer {header}"),
        raw("GET /admin/keys", f"authorization: {header}"),
        *(
            raw(f"{method} {route}", master)
            for method, route in itertools.chain(
                itertools.product(
                    ("GET", "DELETE"), (f"/admin/keys/{path}", f"/admin/users/{path}", f"/admin/admins/{path}")
                ),
                (
                    ("GET", f"/admin/traces/{path}"),
                    ("GET", f"/admin/keys?user={path}"),
                    ("GET", f"/admin/keys?workspace={path}"),
                    ("DELETE", f"/admin/cache?workspace={path}"),
                    ("GET", f"/admin/usage?by={path}"),
                    ("GET", f"/admin/audit?who={path}"),
                ),
            )
        ),
    ]
    answers = [(await tell(port, line))[0] for line in lines]
    async with rig.http() as client:
        body = {
            "model": "first",
            "messages": [{"role": "user", "content": text}],
            "user": text,
            "metadata": {"task": text},
        }
        labels = {
            "x-turnout-user": path,
            "x-turnout-session": path,
            "x-turnout-workspace": path,
            "idempotency-key": path,
        }
        for asked in (
            client.post("/v1/chat/completions", json=body, headers=labels),
            client.post("/v1/chat/completions", json=body | {"model": text}),
            client.put(f"/admin/rollouts/{path}", json={"percent": 1}),
            client.post("/admin/explain", json={"model": text, "task": text, "user": text, "session": text}),
            client.post("/admin/keys", json={"name": text, "user": f"nobody {text}", "workspace": text, "tier": text}),
        ):
            answer = await asked
            answers.append(f"HTTP/1.1 {answer.status_code} x\r\n\r\n{answer.text}".encode())
    return answers


async def test_t95_metacharacters_are_text(tmp_path, size, proof):
    """In keys, paths, queries, labels and bodies, on error paths too: no 5xx, no SQL error, no row more or less."""
    texts = size(TEXTS[::4], TEXTS)
    async with Rig(tmp_path, config=CONFIG) as rig:
        await ask_everywhere(rig, "a plain text")
        before = await rig.service.database.read(tables)
        answers = {text: await ask_everywhere(rig, text) for text in texts}
        await rig.service.trail.flush()
        after = await rig.service.database.read(tables)
        trail = await rig.service.database.read(lambda: latest(Wanted(), 10_000))
    flat = [(text, answer) for text, some in answers.items() for answer in some]
    assert [] == [
        (text, answer[:300])
        for text, answer in flat
        if not set(statuses(answer)) <= {200, 201, 400, 401, 404, 405, 422}
    ]
    words = re.compile(rb"sqlite|syntax error|asyncpg|unrecognized token|no such table|near \"", re.IGNORECASE)
    assert [] == [(text, answer[:300]) for text, answer in flat if words.search(answer)]
    grew = {name: (count, after[name]) for name, count in before.items() if after[name] != count}
    assert set(grew) <= {"entry", "entry_head", "rollup", "writer"}, grew
    assert trail
    proof(
        f"{len(flat)} requests with {len(texts)} texts in every field: 0 SQL errors, 0 rows more or less in {len(before)} tables"
    )


async def test_t95_a_filter_finds_the_row_of_that_name_alone(database):
    """On SQLite and PostgreSQL: `%` and `_` are letters like others."""
    plain = [Record(1, "anna", "owner", "", "key.create", f"k_{at}") for at in range(5)]
    named = {text: Record(2, text, "admin", "", "key.create", text) for text in TEXTS}
    await database.write(lambda: append_all([*plain, *named.values()]))
    for text, row in named.items():
        for wanted in (Wanted(actor=text), Wanted(target=text)):
            assert [row] == [one for _, one in await database.read(lambda wanted=wanted: latest(wanted, 10))]
        assert [] == await database.read(lambda text=text: latest(Wanted(action=text), 10))


# ── the source ──

KEYWORDS = re.compile(
    r"\b(SELECT\b.*\bFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|DROP\s+TABLE|CREATE\s+TABLE)\b",
    re.DOTALL,
)
BUILDER = "core/books/loading.py"
"""The one place where a statement is built, of names that are compared with `[a-z][a-z0-9_]*`; its own tests are about that."""


def parts(node):
    """Yield every text that is put together rather than written: f-strings, +, %, format, join."""
    for one in ast.walk(node):
        if isinstance(one, ast.JoinedStr):
            yield one, "".join(str(value.value) for value in one.values if isinstance(value, ast.Constant))
        elif (isinstance(one, ast.BinOp) and isinstance(one.op, ast.Add | ast.Mod)) or (
            isinstance(one, ast.Call)
            and isinstance(one.func, ast.Attribute)
            and one.func.attr in {"format", "join", "replace"}
        ):
            yield one, " ".join(str(sub.value) for sub in ast.walk(one) if isinstance(sub, ast.Constant))


def name_of(call):
    """What is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def constants(tree):
    """Names of the module that are bound once, to a literal text."""
    bound = {}
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name):
                bound[target.id] = isinstance(node.value, ast.Constant)
    return {name for name, is_text in bound.items() if is_text}


def findings(path, text):
    """Return what is wrong in one file, as lines."""
    tree = ast.parse(text)
    known = constants(tree)
    for node, told in parts(tree):
        if KEYWORDS.search(told):
            yield f"{path}:{node.lineno}: a statement is put together"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node) == "Sql" and node.args:
            first = node.args[0]
            is_literal = isinstance(first, ast.Constant) or (
                isinstance(first, ast.Name) and (first.id in known or first.id.isupper())
            )
            if not is_literal:
                yield f"{path}:{node.lineno}: Sql() takes what is no literal: {ast.unparse(first)[:60]}"


def test_t95_no_statement_is_built(proof):
    """Over the whole source: every Sql() takes a literal or a constant, and no text with SQL in it is put together."""
    files = sorted(SOURCE.rglob("*.py"))
    wrong = [
        line
        for path in files
        if (name := path.relative_to(SOURCE).as_posix()) != BUILDER
        for line in findings(name, path.read_text(encoding="utf-8"))
    ]
    assert [] == wrong
    count = sum(path.read_text(encoding="utf-8").count("Sql(") for path in files)
    assert count > 50
    proof(f"{count} statements in {len(files)} files: all literals")


@pytest.mark.parametrize(
    "text",
    [
        'def f(n): yield Sql(f"SELECT a FROM {n}")',
        'def f(n): yield Sql("SELECT a FROM " + n)',
        'def f(n): yield Sql("SELECT a FROM %s" % n)',
        'def f(n): yield Sql("SELECT a FROM {}".format(n))',
        'def f(n): yield Sql(" ".join(["DELETE FROM t", n]))',
        'def f(n):\n    text = f"DELETE FROM t WHERE {n}"\n    db.execute(text)',
        "def f(n): yield Sql(n)",
        "def f(n): yield Sql(n.text)",
    ],
)  # fmt: skip
def test_t95_the_check_would_find_one(text):
    """The control."""
    assert list(findings("x.py", text))


def test_t95_the_check_lets_literals_pass():
    """Several lines, constants of the module, and prose with such words in it."""
    text = 'A = "SELECT a FROM b"\ndef f(n):\n    """Select a from b."""\n    yield Sql(A)\n    yield Sql("SELECT a"\n " FROM b WHERE c = ?", (n,))'
    assert [] == list(findings("x.py", text))


def test_t95_a_search_is_quick_however_it_is_asked():
    """No LIKE without an escape, in any statement of ours: a `%` from outside is never a pattern."""
    likes = [
        path.name
        for path in SOURCE.rglob("*.py")
        if re.search(r"\b(LIKE|ILIKE|SIMILAR TO|GLOB|REGEXP|~\*?)\s+\?", path.read_text(encoding="utf-8"))
    ]
    assert [] == likes


async def test_t95_a_server_side_sleep_never_runs(database):
    """Text that would stop the database for nine seconds comes back as itself at once."""
    text = "'||pg_sleep(9)||'"

    def echo():
        return (yield Sql("SELECT CAST(? AS TEXT)", (text,)))

    async with asyncio.timeout(5):
        assert [(text,)] == [tuple(row) for row in await database.read(echo)]

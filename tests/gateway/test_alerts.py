"""gateway/alerts.py: a budget's mark is told by signed webhook and by e-mail, once, until it is taken."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import sqlite3
import ssl
from contextlib import asynccontextmanager, closing

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from tests.gateway.lab import StillClock
from turnout.core.books.entry import Charge
from turnout.core.budgeting import Account
from turnout.core.rules import AlertRule, Budget
from turnout.core.secret import Secret
from turnout.gateway.alerts import Alerts
from turnout.gateway.transport import HttpTransport
from turnout.stores.sqlite_books import SqliteBooks

BUDGET = Budget("user:*", "user", "*", 1000, alerts=(0.5, 0.8))
ANNA = Account(Charge("user:*/anna", 100), 900, "user:*", "user", "anna", 1000, is_hard=True)
SECRET = "a long and random secret of a webhook"


class Webhook:
    """A server of the test's own: answers with the statuses it is told, the last one for good, and keeps what it was sent."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()
        self.url = ""

    async def serve(self, reader, writer) -> None:
        """One request, one answer."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        writer.write(b"HTTP/1.1 %d X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n" % status)
        await writer.drain()
        writer.close()
        self.got.put_nowait((headers, body))

    async def next(self) -> tuple[dict[str, str], bytes]:
        """What it was sent next."""
        return await asyncio.wait_for(self.got.get(), 5)


@asynccontextmanager
async def webhook(*statuses: int):
    """A Webhook that listens."""
    one = Webhook(*statuses)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?key=1"
    try:
        yield one
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def alerts(database, clock, rule: AlertRule):
    """Alerts of one writer that send."""
    transport = HttpTransport()
    one = Alerts(database, clock, transport)
    one.install(rule)
    one.start()
    try:
        yield one
    finally:
        await one.stop()
        await one.stop()
        await transport.close()


async def until(check):
    """Wait until it is so."""
    async with asyncio.timeout(8):
        while not await check():
            await asyncio.sleep(0.01)


async def test_a_mark_is_told_once_and_signed(database):
    """However often it is seen; who gets it can tell that it is ours and not an old one."""
    clock = StillClock()
    async with webhook(204) as hook, alerts(database, clock, AlertRule(hook.url, Secret(SECRET))) as one:
        for spent in (499, 500, 501, 799):
            one.on_spent(BUDGET, ANNA, spent)
        headers, body = await hook.next()
        told = json.loads(body)
        assert ("user:*/anna", "50%", "0.0000005") == (told["budget"], told["mark"], told["spent_usd"])
        timestamp, _, given = headers["x-turnout-signature"].removeprefix("t=").partition(",v1=")
        assert int(clock.wall()) == int(timestamp)
        expected = hmac.new(SECRET.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(expected, given)
        assert told["id"] == headers["x-turnout-alert"]
        one.on_spent(BUDGET, ANNA, 800)
        assert "80%" == json.loads((await hook.next())[1])["mark"]
        assert hook.got.empty()
        assert {("webhook", "taken"): 2} == one.sent


async def test_another_writer_and_a_restart_tell_nothing_again(databases):
    """A row decides."""
    clock = StillClock()
    async with webhook(200) as hook:
        rule = AlertRule(hook.url, Secret(SECRET))
        for _ in range(2):
            database = await databases()
            async with alerts(database, clock, rule) as one:
                one.on_spent(BUDGET, ANNA, 600)

                async def is_taken(one=one):
                    return [True] == [sent.taken_at is not None for sent in await one.latest(9)]

                await until(is_taken)
        await hook.next()
        assert hook.got.empty()


@pytest.mark.parametrize("first", [500, 302, 404])
async def test_what_is_not_taken_is_tried_again_by_who_comes_next(databases, first):
    """After its pause, over a restart; a redirect is no yes, and is not followed."""
    clock = StillClock()
    async with webhook(first, 200) as hook:
        rule = AlertRule(hook.url, Secret(SECRET))
        async with alerts(await databases(), clock, rule) as one:
            one.on_spent(BUDGET, ANNA, 600)
            before = await hook.next()

            async def has_failed():
                return [f"the webhook answered {first}"] == [sent.problem for sent in await one.latest(9)]

            await until(has_failed)
        clock.at += 3
        async with alerts(await databases(), clock, rule) as other:
            after = await hook.next()

            async def is_taken():
                return [2] == [sent.tries for sent in await other.latest(9) if sent.taken_at]

            await until(is_taken)
        assert before[1] == after[1]


async def test_a_webhook_that_is_not_there_is_a_problem_that_is_told(database):
    """Its address is not: it may hold a key."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with alerts(database, StillClock(), AlertRule(f"http://127.0.0.1:{port}/key", Secret(SECRET))) as one:
        one.on_spent(BUDGET, ANNA, 600)

        async def has_failed():
            return any(sent.problem for sent in await one.latest(9))

        await until(has_failed)
        (sent,) = await one.latest(9)
        assert "key" not in sent.problem
        assert {("webhook", "failed"): 1} == one.sent


async def test_what_is_reached_is_kept_where_nobody_is_told(database):
    """And a secret that is missing sends nothing unsigned."""
    for rule in (AlertRule(), AlertRule("http://127.0.0.1:1/", Secret(""))):
        async with alerts(database, StillClock(), rule) as one:
            one.on_spent(BUDGET, ANNA, 600)

            async def is_kept(one=one):
                return [""] == [sent.channel for sent in await one.latest(9)]

            await until(is_kept)


async def test_what_was_reached_just_before_a_stop_is_sent_after_it(databases):
    """Stopping writes it down."""
    clock = StillClock()
    async with webhook(200) as hook:
        rule, transport = AlertRule(hook.url, Secret(SECRET)), HttpTransport()
        one = Alerts(await databases(), clock, transport)
        one.install(rule)
        one.on_spent(BUDGET, ANNA, 600)
        await one.stop()
        async with alerts(await databases(), clock, rule):
            await hook.next()
        await transport.close()


async def test_books_that_are_locked_are_tried_again(tmp_path, caplog):
    """Nothing is lost by it, and nobody waits."""
    path, clock = tmp_path / "books.sqlite3", StillClock()
    database = SqliteBooks(path, locked_s=0.01)
    await database.open()
    async with webhook(200) as hook:
        rule = AlertRule(hook.url, Secret(SECRET))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with alerts(database, clock, rule) as one:
                one.on_spent(BUDGET, ANNA, 600)

                async def is_told():
                    return {"cannot be written", "cannot be sent"} <= {
                        words for words in ("cannot be written", "cannot be sent") if words in caplog.text
                    }

                await until(is_told)
            other.execute("ROLLBACK")
        await one.stop()
        async with alerts(database, clock, rule):
            await hook.next()
    await database.close()


async def test_a_transport_that_is_closed_is_a_problem_like_others(database):
    """As when the gateway ends: the next one sends it."""
    transport = HttpTransport()
    await transport.close()
    one = Alerts(database, StillClock(), transport)
    one.install(AlertRule("http://127.0.0.1:1/", Secret(SECRET)))
    one.on_spent(BUDGET, ANNA, 600)
    one.start()

    async def has_failed():
        return any(sent.problem for sent in await one.latest(9))

    await until(has_failed)
    await one.stop()


# ── e-mail ──


class Mailbox:
    """Keeps letters; refuses some people."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.letters: list[tuple[list[str], bytes]] = []

    async def handle_RCPT(self, _server, _session, envelope, address, _options) -> str:
        if address in self.refused:
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope) -> str:
        self.letters.append((envelope.rcpt_tos, envelope.content))
        return "250 taken"


@asynccontextmanager
async def mailed(database, mailbox: Mailbox, **more):
    """Alerts that go to a mail server of the test's own, and that server's authenticator."""

    class Server(Controller):
        def factory(self):
            return SMTP(
                self.handler,
                authenticator=lambda *_given: AuthResult(success=_given[-1].password == b"pass word", handled=False),
                auth_require_tls=False,
            )

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server(mailbox, "127.0.0.1", port)
    server.start()
    rule = AlertRule(
        **{
            "mail_to": ("a@example.com", "b@example.com"),
            "mail_from": "turnout@example.com",
            "smtp_host": "127.0.0.1",
            "smtp_port": port,
            "smtp_tls": "none",
            **more,
        }
    )
    try:
        async with alerts(database, StillClock(), rule) as one:
            one.on_spent(BUDGET, ANNA, 600)

            async def is_over():
                return any(sent.taken_at or sent.problem for sent in await one.latest(9))

            await until(is_over)
            yield (await one.latest(9))[0]
    finally:
        server.stop()


async def test_a_letter_is_sent_to_all(database):
    """In the name of who is configured, with the password that is."""
    mailbox = Mailbox()
    async with mailed(database, mailbox, smtp_user="turnout", smtp_password=Secret("pass word")) as sent:
        assert sent.taken_at
    ((recipients, content),) = mailbox.letters
    assert ["a@example.com", "b@example.com"] == recipients
    assert b"Subject: Turnout: budget user:*/anna: 50% spent" in content


async def test_a_letter_that_some_get_was_taken(database, caplog):
    """Sending it again would send it twice to the others; who did not get it is logged."""
    mailbox = Mailbox("b@example.com")
    async with mailed(database, mailbox) as sent:
        assert sent.taken_at
    assert ["a@example.com"] == mailbox.letters[0][0]
    assert "b@example.com" in caplog.text


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"smtp_user": "turnout", "smtp_password": Secret("pass 4711")}, "SMTPAuthenticationError 535"),
        ({"smtp_user": "turnout"}, "SMTPAuthenticationError 535"),
        ({"smtp_tls": "starttls"}, "SMTPNotSupportedError"),
        ({"smtp_tls": "tls"}, "SSLError"),
        ({"mail_from": "a@b.c\nBcc: eve@example.com"}, "ValueError"),
    ],
)
async def test_a_mail_server_that_does_not_take_it_is_a_problem_that_is_told(database, more, problem):
    """And tried again later; without the password, whatever the server says."""
    mailbox = Mailbox()
    async with mailed(database, mailbox, **more) as sent:
        assert problem in sent.problem
        assert "4711" not in sent.problem
    assert [] == mailbox.letters


def test_a_mail_servers_certificate_is_checked():
    """The context that both ways of TLS use."""
    context = ssl.create_default_context()
    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)

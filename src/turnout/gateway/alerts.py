"""Tells people when a budget reaches a mark: by signed webhook and by e-mail, each once a period, until it is taken.

Nothing here is waited for by a request. A mark that was reached is written into the books first (core/books/alerts.py); what is
written is sent, and tried again after a pause that grows, by whichever writer comes first, over restarts. Taken is a 2xx
answer, or a mail server's yes; what follows a redirect is not asked.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from collections.abc import Sequence

from turnout.core.alerting import alert_id, letter, pause_s, signature, webhook_body
from turnout.core.books.alerts import Alert, Channel, Delivery, Sent, claim, failed, latest, raise_alert, taken
from turnout.core.books.entry import Charge
from turnout.core.budgeting import Account, reached
from turnout.core.catalog import Timeouts
from turnout.core.contracts import Outgoing
from turnout.core.redact import printable
from turnout.core.rules import NO_ALERTS, AlertRule, Budget
from turnout.errors import GatewayError, StoreError, UpstreamError
from turnout.gateway.clock import Clock
from turnout.gateway.tasks import Tasks
from turnout.gateway.transport import Transport
from turnout.stores import Database

POLL_S = 5.0
"""Between two looks at what is to be sent again. A new alert is sent at once."""

CLAIM_S = 60
"""How long a delivery may take; then another writer tries it."""

SEND_S = 10.0
"""How long a webhook or a mail server is waited for at each step."""

TOGETHER = 20
"""Deliveries that are claimed at once."""

KNOWN = 10_000
"""So many alerts are known to have been raised; one more, and the books are asked again."""

_TIMEOUTS = Timeouts(connect_s=SEND_S, first_chunk_s=SEND_S, idle_s=SEND_S, total_s=2 * SEND_S)

_log = logging.getLogger("turnout.alerts")


class Alerts:
    """The alerts of one writer. transport: what webhooks go through; it stays its owner's."""

    def __init__(self, database: Database, clock: Clock, transport: Transport) -> None:
        self._database = database
        self._clock = clock
        self._transport = transport
        self._rule = NO_ALERTS
        self._raised: set[tuple[Charge, str]] = set()
        self._new: list[Alert] = []
        self._news = asyncio.Event()
        self._tasks = Tasks()
        self.sent: dict[tuple[str, str], int] = {}

    def install(self, rule: AlertRule) -> None:
        """Tell these from now on."""
        self._rule = rule

    def start(self) -> None:
        """Begin to send."""
        self._tasks.start(self._run(), "send alerts of budgets")

    async def stop(self) -> None:
        """Write down what was reached, and send no more: the rest is sent by who comes next. Safe to call twice."""
        await self._tasks.stop()
        await self._write()

    def on_spent(self, budget: Budget, account: Account, spent_nano_usd: int) -> None:
        """Take what was spent of a budget; a mark that it has reached is told. Never waits. 2 µs."""
        for mark, mark_nano_usd in reached(budget, spent_nano_usd):
            known = (account.charge, mark)
            if known in self._raised:
                continue
            if len(self._raised) >= KNOWN:
                self._raised.clear()
            self._raised.add(known)
            charge = account.charge
            self._new.append(
                Alert(
                    *(charge.budget, charge.starts_at, mark, account.ends_at, account.scope, account.who),
                    *(budget.limit_nano_usd, mark_nano_usd, spent_nano_usd, int(self._clock.wall())),
                )
            )
            self._news.set()

    async def latest(self, most: int) -> list[Sent]:
        """Return the youngest alerts, and how sending them went. Raises StoreError."""
        return await self._database.read(lambda: latest(most))

    # ── the sender ──

    def _channels(self) -> Sequence[Channel]:
        channels: list[Channel] = []
        if self._rule.webhook_url and self._rule.webhook_secret:
            channels.append("webhook")
        if self._rule.mail_to and self._rule.smtp_host:
            channels.append("mail")
        return channels

    async def _run(self) -> None:
        while True:
            is_written = await self._write()
            for channel in self._channels():
                await self._send_due(channel)
            if is_written:
                self._news.clear()
                if self._new:
                    continue
            try:
                async with asyncio.timeout(POLL_S):
                    await (self._news.wait() if is_written else asyncio.sleep(POLL_S))
            except TimeoutError:
                continue

    async def _write(self) -> bool:
        """Write what was reached into the books; keep what cannot be written. Return whether nothing is left."""
        while self._new:
            alert = self._new[0]
            try:
                is_new = await self._raise(alert)
            except StoreError as error:
                _log.warning("an alert cannot be written down now: %s", error.message)
                return False
            del self._new[0]
            if is_new:
                _log.warning("budget %s has reached %s", printable(alert.budget), alert.mark)
        return True

    async def _raise(self, alert: Alert) -> bool:
        channels = self._channels()
        return await self._database.write(lambda: raise_alert(alert, channels))

    async def _send_due(self, channel: Channel) -> None:
        now = int(self._clock.wall())
        try:
            deliveries = await self._database.write(lambda: claim(channel, now, now + CLAIM_S, TOGETHER))
        except StoreError as error:
            _log.warning("alerts cannot be sent now: %s", error.message)
            return
        for delivery in deliveries:
            problem = await (self._post(delivery.alert) if channel == "webhook" else self._mail(delivery.alert))
            await self._note(delivery, problem)

    async def _note(self, delivery: Delivery, problem: str) -> None:
        now = self._clock.wall()
        outcome = (delivery.channel, "failed" if problem else "taken")
        self.sent[outcome] = self.sent.get(outcome, 0) + 1
        try:
            if problem:
                _log.warning("an alert was not taken by %s, try %d: %s", delivery.channel, delivery.tries, problem)
                next_at = int(now + pause_s(delivery.tries, self._clock.draw()) + 1)
                await self._database.write(lambda: failed(delivery, next_at, problem))
            else:
                await self._database.write(lambda: taken(delivery, int(now)))
        except StoreError as error:
            _log.warning("that an alert was sent cannot be written down, it may come twice: %s", error.message)

    async def _post(self, alert: Alert) -> str:
        """Post an alert; return what is wrong, "" if it was taken."""
        rule, body, now = self._rule, webhook_body(alert), int(self._clock.wall())
        assert rule.webhook_secret is not None
        headers = (
            ("content-type", "application/json"),
            ("user-agent", "turnout"),
            ("x-turnout-alert", alert_id(alert)),
            ("x-turnout-signature", signature(rule.webhook_secret.reveal(), now, body)),
        )
        try:
            incoming = await self._transport.send(Outgoing(rule.webhook_url, headers, body, _TIMEOUTS))
        except UpstreamError as error:
            return printable(error.plain)
        except GatewayError as error:
            return printable(error.message)
        status = incoming.status
        incoming.close()
        return "" if 200 <= status < 300 else f"the webhook answered {status}"

    async def _mail(self, alert: Alert) -> str:
        """Mail an alert; return what is wrong, "" if it was taken."""
        return await asyncio.to_thread(mail, self._rule, alert, self._clock.wall())


def mail(rule: AlertRule, alert: Alert, now: float) -> str:
    """Hand a letter to the mail server; return what is wrong, "" if it was taken. Blocks its thread, SEND_S a step at most."""
    try:
        message = letter(alert, rule.mail_from, rule.mail_to, now)
        with _server(rule) as server:
            if rule.smtp_user:
                server.login(rule.smtp_user, rule.smtp_password.reveal() if rule.smtp_password else "")
            refused = server.send_message(message)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return printable(
            f"the mail server {rule.smtp_host} did not take it: {type(error).__name__} {_told(error)}".strip()
        )
    if refused:
        _log.warning("the mail server took an alert, but not for all: %s", printable(", ".join(sorted(refused))))
    return ""


def _server(rule: AlertRule) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if rule.smtp_tls == "tls":
        return smtplib.SMTP_SSL(rule.smtp_host, rule.smtp_port, timeout=SEND_S, context=context)
    server = smtplib.SMTP(rule.smtp_host, rule.smtp_port, timeout=SEND_S)
    try:
        if rule.smtp_tls == "starttls":
            server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


def _told(error: Exception) -> str:
    """What a server said, without the credentials that it may repeat."""
    if isinstance(error, smtplib.SMTPResponseException):
        return str(error.smtp_code)
    return "" if isinstance(error, smtplib.SMTPException) else str(error)

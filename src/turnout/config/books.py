"""Builds what is about the books and what they tell: the ledger, alerts, privacy.

Addresses and secrets may come from the environment or from files, as keys do. A webhook is signed, so it must have a
secret that is worth one.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from turnout.config import amounts, schema
from turnout.config.draft import Draft
from turnout.config.problems import Path
from turnout.config.secrets import resolve
from turnout.config.settings import laid_over
from turnout.core.rules import AlertRule, LedgerRule, PrivacyRule
from turnout.core.secret import Secret
from turnout.core.secret_strength import weakness


def ledger(draft: Draft) -> LedgerRule:
    """Where the books are, and how much they survive."""
    table = draft.user.table.ledger
    built = laid_over(
        LedgerRule(), table, durability="durability", when_full="when_full", keep_days="keep", archive="archive"
    )
    if table is None or table.url is None:
        return built
    return msgspec.structs.replace(built, url=_resolved(draft, ("ledger", "url"), table.url, amounts.postgres_address))


def alerts(draft: Draft) -> AlertRule:
    """Who is told of budgets."""
    table = draft.user.table.alerts
    if table is None:
        return AlertRule()
    return _mail(draft, table.mail, _webhook(draft, table.webhook, AlertRule()))


def privacy(draft: Draft) -> PrivacyRule:
    """What is kept of prompts, and what is taken out of them."""
    table = draft.user.table.privacy
    built = laid_over(PrivacyRule(), table, prompts="prompts", keep_s="keep")
    if table is None or table.kinds is None or isinstance(table.kinds, str):
        return built
    if not table.kinds and not draft.has_problem(("privacy", "kinds")):
        draft.wrong(("privacy", "kinds"), "is empty, name kinds or leave it out: then all are taken out")
    return msgspec.structs.replace(built, kinds=tuple(one for one in table.kinds if one))


def _webhook(draft: Draft, table: schema.WebhookTable | None, rule: AlertRule) -> AlertRule:
    if table is None or table.url is None or table.secret is None:
        return rule
    path: Path = ("alerts", "webhook")
    url = _resolved(draft, (*path, "url"), table.url, amounts.webhook_address)
    secret = _resolved(draft, (*path, "secret"), table.secret, _strong)
    return msgspec.structs.replace(rule, webhook_url=url.reveal() if url else "", webhook_secret=secret)


def _mail(draft: Draft, table: schema.MailTable | None, rule: AlertRule) -> AlertRule:
    if table is None:
        return rule
    path: Path = ("alerts", "mail")
    if (table.user is None) != (table.password is None) and not draft.has_problem(path):
        draft.wrong(path, "names a user or a password alone, say both or neither", of_key=True)
    if table.to is not None and not table.to:
        draft.wrong((*path, "to"), "is empty, name at least one address")
    if table.password is not None and table.tls == "none":
        draft.wrong((*path, "tls"), "would send the password in the clear, say starttls or tls")
    built = laid_over(
        rule, table, mail_from="sender", smtp_host="host", smtp_port="port", smtp_user="user", smtp_tls="tls"
    )
    if table.tls == "tls" and table.port is None:
        built = msgspec.structs.replace(built, smtp_port=465)
    password = None
    if table.password is not None:
        password = _resolved(draft, (*path, "password"), table.password, str)
    mail_to = tuple(dict.fromkeys(one for one in table.to or () if one))
    return msgspec.structs.replace(built, mail_to=mail_to, smtp_password=password)


def _resolved(draft: Draft, path: Path, reference: Secret, read: Callable[[str], str]) -> Secret | None:
    """What a reference leads to, if `read` takes it; None after a problem."""
    try:
        found = resolve(reference, draft.environment, draft.folder)
        read(found.secret.reveal())
    except ValueError as error:
        draft.wrong(path, str(error))
        return None
    draft.note(path, found)
    return found.secret


def _strong(text: str) -> str:
    why = weakness(text)
    if why:
        raise ValueError(f"the secret {why}, use 32 random bytes: openssl rand -hex 32")
    return text

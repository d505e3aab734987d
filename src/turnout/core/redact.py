"""Makes a text fit to be written down: without the secrets that are known, what looks like one, what is personal, and control
characters.

For what we write ourselves (logs, what is shown of the configuration), never for what passes between client and vendor.
What looks like a secret: a key with a vendor's prefix, a JSON web token, the credential of `Authorization`, a key in a
header or a URL's query, a user and password in a URL. Better one word too many than one key.
Rules: linear in the text (every pattern begins at a fixed word and is possessive, so nothing is looked at twice); the
names beside a secret stay, so that a person still sees which one it was.
Sources: RELIABILITY R13; the key formats of OpenAI, Anthropic, OpenRouter, Groq, Google, xAI, Hugging Face, GitHub and AWS.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

from turnout.core.catalog import Snapshot
from turnout.core.privacy.credentials import KEY_PREFIXES
from turnout.core.privacy.detectors import find

HIDDEN: Final = "***"

SECRET_CHARS: Final = 8
"""A known secret at least this long is taken out; a shorter one ("any", "none") is a word, no secret."""

REMEMBERED: Final = 1_000
"""Known secrets of one process: more than any configuration has accounts, less than a log line could feel."""

_LOOKS: Final = (
    # Bearer and Basic before the names of headers, which would take the scheme for the credential.
    (re.compile(r"\b(bearer|basic)(\s++)[\w~+/=.:-]{8,}+", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    (re.compile(rf"(?<![A-Za-z0-9])({KEY_PREFIXES})[\w-]{{8,}}+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]{8,}+(?:\.[\w-]*+)?"), HIDDEN),
    (
        re.compile(
            r"([?&;](?:x-)?(?:api[-_]?)?(?:key|token|secret|password|passwd|sig|signature|code"
            r"|access_token|client_secret|x-amz-signature)=)[^\s&;#\"'<>]++",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(
            r"\b((?:x-api-key|x-goog-api-key|api[-_]key|proxy-authorization|authorization|set-cookie|cookie)[\"']?+"
            r"(?:\s*+=\s*+|:\s*+(?=[\"']|\S{16})))([\"']?+)(?!bearer|basic)[^\s\"',;&#]++",
            re.IGNORECASE,
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"(://)[^\s/?#@\"'<>]++@"), rf"\1{HIDDEN}@"),
)


def redact(text: str, secrets: Collection[str] = ()) -> str:
    """Return `text` with every one of `secrets`, and everything that looks like a secret, replaced by `***`.

    secrets: as they are written; those shorter than SECRET_CHARS are ignored. O(len(text) x secrets), never raises.
    """
    for secret in sorted(secrets, key=len, reverse=True):  # the longest first: one may begin with another
        if len(secret) >= SECRET_CHARS:
            text = text.replace(secret, HIDDEN)
    for pattern, replacement in _LOOKS:
        text = pattern.sub(replacement, text)
    return text


def impersonal(text: str) -> str:
    """Return `text` with `<email>`, `<phone>` … for what is personal (core/privacy): for what others read than who said it.

    O(len(text)), 2 µs for a line that holds nothing; never raises. Not for what is shown of the configuration.
    """
    out: list[str] = []
    at = 0
    for one in find(text):
        out += (text[at : one.start], f"<{one.kind}>")
        at = one.end
    return "".join([*out, text[at:]]) if out else text


def printable(text: str) -> str:
    """Return `text` as one line that a terminal only shows: what cannot be seen is escaped (control characters, line
    separators, marks that turn the direction of writing, halves of surrogate pairs). O(len(text)), never raises.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def secrets_of(snapshot: Snapshot) -> frozenset[str]:
    """Return the secrets that a configuration holds: the master key, the accounts' keys, the passwords of Valkey, PostgreSQL
    and the mail server, what alerts are signed with. O(accounts).

    It holds no others: credentials in vendors' addresses and in extra headers are refused when it is read.
    """
    alerts = snapshot.alerts
    keys = [snapshot.server.master_key, alerts.webhook_secret, alerts.smtp_password]
    keys += [account.api_key for account in snapshot.accounts.values()]
    passwords = [
        (urlsplit(url.reveal()).password or "") for url in (snapshot.server.valkey_url, snapshot.ledger.url) if url
    ]
    return frozenset(
        [key.reveal() for key in keys if key] + [text for one in passwords for text in (one, unquote(one)) if text]
    )


class Secrets:
    """The secrets that a process has come to know. A key that was replaced stays one: it may be in use elsewhere."""

    __slots__ = ("_known",)

    def __init__(self, *known: str) -> None:
        self._known = dict.fromkeys(known)

    def learn(self, values: Iterable[str]) -> None:
        """Take these out from now on; of more than REMEMBERED the oldest go. O(values)."""
        for value in values:
            self._known.pop(value, None)  # what is still in force becomes the newest again
            self._known[value] = None
        for value in tuple(self._known)[:-REMEMBERED]:
            del self._known[value]

    def redact(self, text: str) -> str:
        """Return `text` without them, and without what looks like a secret."""
        return redact(text, self._known)

    def __repr__(self) -> str:
        return f"Secrets({len(self._known)})"

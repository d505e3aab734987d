"""Reads raw e-mails (`.eml`): who asks, for what, and from which source by `sources.detect`.

An e-mail belongs to the lead with its customer's address; one that belongs to nobody becomes a lead of its own.
Only text is looked at: no attachment is opened, no link followed.
"""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterable
from email.message import EmailMessage
from email.utils import parseaddr
from html import unescape
from pathlib import Path
from typing import Final, NamedTuple

from .leads import FIELD_CHARACTERS, Lead, LeadError
from .sources import Detection, detect

_FIELDS: Final = {
    "name": ("navn", "kunde", "name", "namn"),
    "email": ("e-mail", "email", "mail"),
    "phone": ("telefon", "tlf", "mobil", "phone"),
    "service": ("opgave", "ydelse", "service"),
}
_LINE = re.compile(r"^[ \t]*([A-Za-z][A-Za-z-]{2,12})[ \t]*:[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_TAG = re.compile(r"<(?:style|script)\b.*?</(?:style|script)>|<[^>]*>", re.DOTALL | re.IGNORECASE)


class Mail(NamedTuple):
    """One raw e-mail, read. lead: what it says, as a new lead. file: its name."""

    file: str
    sender: str
    subject: str
    lead: Lead
    detection: Detection


def mail_of(raw: bytes, file: str) -> Mail:
    """Read one e-mail. Never raises: what cannot be read is missing."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    shown, sender = parseaddr(_header(message, "from"))
    subject, body = _header(message, "subject"), _body(message)
    told = {match[1].lower(): match[2] for match in reversed(list(_LINE.finditer(body)))}
    said = {field: next((told[word] for word in words if word in told), "") for field, words in _FIELDS.items()}
    found = detect(sender, subject, body)
    lead = Lead(
        id=f"mail-{Path(file).stem}",
        name=said["name"] or shown or "Ukendt",
        email=said["email"] or sender,
        phone=said["phone"],
        source=found.source.name if found.source else "",
        service=said["service"],
        status="new",
        notes=" ".join(body.split())[:FIELD_CHARACTERS],
        created=_header(message, "date"),
    )
    return Mail(file, sender, subject, lead, found)


def read_mails(paths: Iterable[Path]) -> list[Mail]:
    """Read the files, in order of their names. Raises LeadError if one cannot be opened."""
    mails = []
    for path in sorted(paths):
        try:
            mails.append(mail_of(path.read_bytes(), path.name))
        except OSError as error:
            raise LeadError(f"{path}: {error.strerror}") from error
    return mails


def match(mails: Iterable[Mail], leads: Iterable[Lead]) -> tuple[list[Lead], dict[str, Mail]]:
    """Return all leads, new ones last, and the e-mail of each lead that has one, by the lead's id."""
    everyone = list(leads)
    of_address = {lead.email.casefold(): lead for lead in everyone if lead.email}
    found: dict[str, Mail] = {}
    for mail in mails:
        lead = of_address.get(mail.lead.email.casefold())
        if lead is None:
            lead = of_address[mail.lead.email.casefold()] = mail.lead
            everyone.append(lead)
        found.setdefault(lead.id, mail)
    return everyone, found


def _header(message: EmailMessage, name: str) -> str:
    try:
        return str(message.get(name, ""))
    except (ValueError, IndexError, AttributeError):  # what email's parser does with a few malformed headers
        return ""


def _body(message: EmailMessage) -> str:
    """The text that a person would read; of an HTML mail, its words."""
    try:
        part = message.get_body(("plain", "html"))
        text = str(part.get_content()) if part is not None else ""
    except (LookupError, ValueError, AttributeError):  # an unknown charset, or no body where one was announced
        return ""
    if part is not None and part.get_content_subtype() == "html":
        text = unescape(_TAG.sub(" ", text.replace("<br", "\n<br").replace("</p", "\n</p")))
    return text

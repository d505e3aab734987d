"""Takes out of a vendor's error what is for nobody outside: our key at the vendor, and for a virtual key where the vendor is.

Some vendors repeat the key in their refusals. What our sockets say begins with the vendor's address, which whoever runs the
gateway wants to see, and which may be of an internal machine; traces keep it (UpstreamError.plain), so `turnout explain`
shows it.
"""

from __future__ import annotations

import re
from typing import Final

from turnout.core.catalog import Account
from turnout.core.principal import is_virtual
from turnout.core.vendor_errors import hide
from turnout.errors import UpstreamError, UpstreamUnreachable

UNREACHABLE: Final = "cannot be reached now"

_ADDRESS: Final = re.compile(r"\S+:[0-9]{1,5}: ")
"""Origin.label (gateway/http1.py), as every message of a connection begins."""


def make_outward(error: UpstreamError, account: Account, key_id: str) -> None:
    """Make the error of an attempt fit to be told, in place. key_id: whose request it was, as in Principal. O(message)."""
    if account.api_key is not None:
        hide(error, account.api_key.reveal())
    if is_virtual(key_id):
        if isinstance(error, UpstreamUnreachable):  # all of it is about names, addresses, proxies and files
            error.message = UNREACHABLE
        elif address := _ADDRESS.match(error.message):
            error.message = error.message[address.end() :]
        error.args = (error.message,)

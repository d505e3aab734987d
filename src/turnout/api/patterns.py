"""Says to tools, as regular expressions, what texts must be like that other files check: sums, names, addresses, zones, days.

They are for the description of the HTTP interface alone: a refusal in words comes from who reads the text. The tests of this
file compare the two. What no expression can say (which day is past, which zone there is) is not in them.
Source: the dialect that JSON Schema asks for, ECMA-262; only what Python reads in the same way is used.
"""

from __future__ import annotations

from typing import Final

NAME: Final = r"^(?!\*$)[^\u0000-\u0020/\u007f-\u00a0]([^\u0000-\u001f/\u007f-\u00a0]*[^\u0000-\u0020/\u007f-\u00a0])?$"
"""As core/books/people.py reads names, except that it refuses what is not printable in all of Unicode."""

NAME_OR_NONE: Final = f"^$|{NAME}"

SUM: Final = r"^(?!0*(\.0*)?$)0*([0-9]{1,9}(\.[0-9]{1,9}0*)?|10{9}(\.0+)?)$"
"""Dollars: more than nothing, whole nano-dollars, a billion at most."""

PRICE: Final = r"^0*([0-9]{1,9}(\.[0-9]{1,3}0*)?|10{9}(\.0+)?)$"
"""Dollars per million tokens: whole nano-dollars per token."""

_BYTE: Final = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_GROUP: Final = "[0-9A-Fa-f]{1,4}"
_SHORTENED: Final = "|".join(f"({_GROUP}:){{1,{7 - after}}}(:{_GROUP}){{1,{after}}}" for after in range(1, 7))
ADDRESS: Final = (
    rf"^(({_BYTE}\.){{3}}{_BYTE}(/(3[0-2]|[12]?[0-9]))?"
    f"|(({_GROUP}:){{7}}{_GROUP}|({_GROUP}:){{1,7}}:|:(:{_GROUP}){{1,7}}|::|{_SHORTENED})"
    r"(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$"
)
"""An IPv4 or IPv6 address, or a network of them. RFC 4291 §2.2, without its third form."""

VISIBLE: Final = "^[!-~]+$"

DAY: Final = "^(197[1-9]|19[89][0-9]|20[0-9]{2}|21[0-9]{2})-[01][0-9]-[0-3][0-9]$"
"""Besides its format: the years that are read."""

DAYS_AGO: Final = "^(0?[0-9]{1,3}|[12][0-9]{3}|3[0-6][0-9]{2}|3700)d$"

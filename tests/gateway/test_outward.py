"""gateway/outward.py: what of a vendor's error is for nobody outside."""

from __future__ import annotations

import pytest

from turnout.core.catalog import Account
from turnout.core.secret import Secret
from turnout.errors import UpstreamError, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from turnout.gateway.outward import UNREACHABLE, make_outward

KEY = "sk-canary-0123456789"
ACCOUNT = Account("stub", "compatible", base_url="https://10.1.2.3:8443/v1", api_key=Secret(KEY))


def outward(error: UpstreamError, key_id: str, account: Account = ACCOUNT) -> tuple[str, str]:
    """What is told, and what is kept."""
    make_outward(error, account, key_id)
    assert error.args == (error.message,)
    return error.message, error.plain


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UpstreamUnreachable("10.1.2.3:8443: the proxy 10.9.9.9:3128 refuses"), UNREACHABLE),
        (UpstreamUnreachable("ca_file /etc/corp.pem cannot be read: none"), UNREACHABLE),
        (UpstreamTimeout("10.1.2.3:8443: no byte within 3 s", phase="idle", is_ambiguous=True), "no byte within 3 s"),
        (UpstreamFault("[::1]:8443: the response cannot be read"), "the response cannot be read"),
        (UpstreamFault("broke (500)", words="at 8:15: sorry"), "broke (500): at 8:15: sorry"),
    ],
)
def test_where_a_vendor_is_is_told_to_no_virtual_key(error, told):
    """The trace keeps it; what the vendor itself says of the time is no address."""
    kept = error.plain
    assert (told, kept) == outward(error, "k_4f2a")


@pytest.mark.parametrize("key_id", ["", "admin:anna"])
def test_whoever_runs_the_gateway_is_told(key_id):
    """The master key and admins: it is the first thing to look at."""
    text = "10.1.2.3:8443: no connection: refused"
    assert (text, text) == outward(UpstreamUnreachable(text), key_id)


@pytest.mark.parametrize("key_id", ["", "k_4f2a"])
def test_our_key_is_told_to_nobody(key_id):
    """Where a vendor repeats it; an account without one has none to repeat."""
    told, _ = outward(UpstreamFault("broke (500)", words=f"bad key {KEY}"), key_id)
    assert KEY not in told
    assert "bad key" in told
    assert ("broke (500)", "broke (500)") == outward(
        UpstreamFault("broke (500)"), key_id, Account("stub", "compatible")
    )

"""The known vendors, and what an account at one of them needs."""

import msgspec
import pytest

from turnout.core.catalog import Account, Candidate, Model, Quota
from turnout.core.contracts import Call
from turnout.core.openai_fields import split
from turnout.core.openai_wire import QUIRKS
from turnout.core.secret import Secret
from turnout.providers import PROVIDERS
from turnout.providers.compatible import PROVIDER, Vendor, vendors

PROMISED = {
    "openrouter", "openai", "gemini", "ollama", "groq", "mistral", "deepseek", "together", "fireworks", "cerebras", "xai", "vllm",
    "lmstudio", "azure", "litellm", "anthropic",
}  # fmt: skip


def test_every_promised_vendor_has_a_row():
    """One row each, and the issue's list is in it."""
    assert PROMISED <= set(vendors())


@pytest.mark.parametrize("vendor", vendors().values(), ids=lambda vendor: vendor.name)
def test_a_row_is_whole(vendor):
    """A known kind, known quirks, an address without a trailing slash, a key name, a source with its date."""
    assert vendor.kind in PROVIDERS
    assert set(vendor.quirks) <= QUIRKS
    assert set(vendor.quota) <= set(Quota.__struct_fields__) - {"name", "account"}
    assert vendor.base_url == vendor.base_url.rstrip("/")
    assert vendor.base_url.startswith(("https://", "http://127.0.0.1:")) or vendor.name == "azure"
    assert vendor.docs.startswith("https://")
    assert vendor.key_env.isupper() or not vendor.requires_key
    assert vendor.checked.year >= 2026


def test_a_row_with_an_unknown_field_is_an_error():
    """A typing mistake in the file does not pass."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(
            {"name": "a", "base_url": "", "key_env": "", "docs": "", "checked": "2026-11-21", "quirk": {}}, Vendor
        )


def account(vendor: str = "", base_url: str = "", key: str = "") -> Account:
    return Account("acme", "compatible", vendor=vendor, base_url=base_url, api_key=Secret(key) if key else None)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (account(), "provider acme needs a base_url"),
        (account("azure"), "provider acme needs a base_url"),
        (account(base_url="http://127.0.0.1:9100/v1"), ""),
        (account("openrouter", "https://openrouter.ai/api/v1"), "provider acme needs a key: set OPENROUTER_API_KEY"),
        (account("openrouter", "https://openrouter.ai/api/v1", "sk"), ""),
        (account("openrouter", "http://127.0.0.1:9100/v1"), ""),
        (account("ollama", "http://127.0.0.1:11434/v1"), ""),
        (account("unknown", "https://example.com/v1"), ""),
    ],
)
def test_what_is_missing(given, wanted):
    """An address; a key where the vendor's own address requires one. A server of one's own needs none."""
    assert wanted == PROVIDER.check(given)


def test_a_row_reaches_the_wire():
    """Mistral's quirks: no stream_options, no user, its own name for the bound."""
    row = vendors()["mistral"]
    one = Account("m", "compatible", base_url=row.base_url, quirks=row.quirks)
    body = b'{"model":"x","max_completion_tokens":7,"user":"u","stream":true}'
    call = Call("chat", "openai_chat", split(body), "x", stream=True)
    going = PROVIDER.encode(call, None, Candidate("x@m", Model("x", "m", "mistral-small"), one, "mistral-small", None))
    assert going.body == b'{"model":"mistral-small","max_tokens":7,"stream":true}'
    assert going.url == "https://api.mistral.ai/v1/chat/completions"

"""What a vendor's refusal is called: the fault matrix (RELIABILITY §4.3), cell by cell, and nothing leaks."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.vendor_errors import (
    QUOTE_CHARS,
    REJECTION_BYTES,
    TRACE_BYTES,
    Told,
    classify,
    hide,
    quote,
    read_error,
)
from turnout.errors import UpstreamFault, UpstreamRejected, UpstreamThrottled

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOW = 1763700000.0

REJECTED, THROTTLED, FAULT = UpstreamRejected, UpstreamThrottled, UpstreamFault
WANTED = {
    "compatible/400_invalid.json": (REJECTED, "must be at most 2"),
    "compatible/400_context_openai.json": (REJECTED, "maximum context length"),
    "compatible/400_context_llamacpp.json": (REJECTED, "available context size"),
    "compatible/400_context_openrouter.json": (REJECTED, "Provider returned error"),
    "compatible/400_vllm.json": (REJECTED, "max_tokens must be"),
    "compatible/401_openai.json": (FAULT, "check its key"),
    "compatible/402_openrouter.json": (FAULT, "out of credit"),
    "compatible/403_openrouter_moderation.json": (REJECTED, "flagged by moderation"),
    "compatible/403_openai.json": (FAULT, "check its key"),
    "compatible/404_openai.json": (FAULT, "gpt-9"),
    "compatible/404_ollama.json": (FAULT, "llama9"),
    "compatible/408_openrouter.json": (FAULT, "gave up waiting"),
    "compatible/422_mistral.json": (REJECTED, "(422)"),
    "compatible/429_openai.json": (THROTTLED, "Rate limit reached"),
    "compatible/429_openai_quota.json": (THROTTLED, "out of quota"),
    "compatible/429_openrouter.json": (THROTTLED, "free-models-per-min"),
    "compatible/429_gemini.json": (THROTTLED, "exhausted"),
    "compatible/500_openai.json": (FAULT, "(500)"),
    "compatible/500_ollama.json": (FAULT, "terminated"),
    "compatible/502_cloudflare.html": (FAULT, "(502)"),
    "compatible/502_openrouter.json": (FAULT, "(502)"),
    "compatible/503_openai.json": (FAULT, "overloaded"),
    "anthropic/400_invalid.json": (REJECTED, "roles must alternate"),
    "anthropic/400_context.json": (REJECTED, "prompt is too long"),
    "anthropic/400_credit.json": (FAULT, "out of credit"),
    "anthropic/401.json": (FAULT, "check its key"),
    "anthropic/402.json": (FAULT, "out of credit"),
    "anthropic/403.json": (FAULT, "check its key"),
    "anthropic/404.json": (FAULT, "claude-9"),
    "anthropic/413.json": (REJECTED, "maximum size"),
    "anthropic/429.json": (THROTTLED, "rate limit"),
    "anthropic/429_spend.json": (THROTTLED, "out of quota"),
    "anthropic/500.json": (FAULT, "(500)"),
    "anthropic/529.json": (FAULT, "(529)"),
}
OVERFLOWS = {name for name in WANTED if "_context" in name}
AMBIGUOUS = {"408", "500", "502", "504"}


def fixtures() -> list[str]:
    return sorted(f"{path.parts[-3]}/{path.name}" for path in FIXTURES.glob("*/errors/*"))


def answered(name: str):
    folder, file = name.split("/")
    body = (FIXTURES / folder / "errors" / file).read_bytes()
    return classify(int(file[:3]), {"retry-after": "7"}, body, NOW), body


def test_every_fixture_is_expected():
    """A new recorded error without its expectation fails here."""
    assert sorted(WANTED) == fixtures()


@pytest.mark.parametrize("name", sorted(WANTED))
def test_recorded_errors(name):
    """The class, the words of the message, the status, ambiguity, the context overflow."""
    error, body = answered(name)
    kind, words = WANTED[name]
    status = name.split("/")[1][:3]
    assert kind is type(error)
    assert words in error.message
    told = read_error(body).message
    assert error.message in {error.plain, f"{error.plain}: {told}"}
    assert not told or told not in error.plain
    assert int(status) == error.vendor_status
    assert (status in AMBIGUOUS) == error.is_ambiguous
    assert (name in OVERFLOWS) == getattr(error, "is_context_overflow", False)
    if kind is REJECTED:
        assert (int(status), body) == (error.status, error.body)
    else:
        assert error.status in {429, 502}


@pytest.mark.parametrize(
    ("name", "wait"),
    [("anthropic/429", 7.0), ("anthropic/529", 7.0), ("anthropic/429_spend", 300.0), ("anthropic/500", None)],
)
def test_hints_are_kept_where_they_mean_something(name, wait):
    """T11: a 429's, a 503's and a 529's; an account without quota is not asked again soon."""
    assert wait == answered(f"{name}.json")[0].retry_after_s


def test_a_refused_credential_is_never_shown():
    """Some vendors echo a part of the key: it is neither in the message nor kept for the trace."""
    error, _ = answered("compatible/401_openai.json")
    assert "canary" not in error.message
    assert error.body == b""


@pytest.mark.parametrize(
    ("status", "is_ambiguous"),
    [
        (100, True),
        (103, True),
        (204, True),
        (301, False),
        (304, False),
        (504, True),
        (520, True),
        (524, True),
        (503, False),
    ],
)
def test_odd_statuses(status, is_ambiguous):
    """T19: redirects are not followed, an empty success is no answer, 5xx of any number is a fault."""
    error = classify(status, {}, b"", NOW)
    assert isinstance(error, UpstreamFault)
    assert is_ambiguous == error.is_ambiguous
    assert str(status) in error.message


def test_a_teapot_is_a_rejection():
    """418: the vendor's 4xx goes back to the client."""
    assert classify(418, {}, b'"no"', NOW).status == 418


def test_bodies_are_bounded():
    """64 KiB of a rejection for the client, 2 KiB of anything else for the trace, 300 characters in a message."""
    huge = b'{"error":{"message":"' + b"x" * 200_000 + b'"}}'
    assert REJECTION_BYTES == len(classify(400, {}, huge, NOW).body)
    assert TRACE_BYTES == len(classify(500, {}, huge, NOW).body)
    assert len(classify(500, {}, huge, NOW).message) < QUOTE_CHARS + 50


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"error":{"message":"m","type":"t","code":7}}', Told("m", "t", "7", "m t 7")),
        (b'{"error":"text"}', Told("text", words="text")),
        (b'{"message":"m","type":"t"}', Told("m", "t", "", "m t")),
        (b'{"detail":"d"}', Told("d", "", "", "d")),
        (b'{"error":{"message":"m","metadata":7,"details":7}}', Told("m", "", "", "m")),
        (b'[{"error":{"message":"m"}}]', Told("m", "", "", "m")),
        (b'{"error":{"message":["no","text"]}}', Told()),
        (b'{"error":' + b"9" * 60 + b"}", Told()),
        (b'{"error":[1]}', Told()),
        (b"[]", Told()),
        (b"7", Told()),
        (b"<h1>Bad Gateway</h1>", Told(words="<h1>Bad Gateway</h1>")),
        (b"[" * 100_000, Told(words="[" * TRACE_BYTES)),
    ],
)
def test_every_shape_of_error_body(body, wanted):
    """OpenAI's and most others', Ollama's, vLLM's, FastAPI's, Gemini's array, HTML, and abuse."""
    assert wanted == read_error(body)


def test_quotes_are_one_line_and_bounded():
    """T85: control characters, escapes and line separators of a vendor's text cannot forge a log line."""
    assert quote("a\r\nb\x1b[31m\u2028c") == "a b [31m c"
    assert len(quote("x" * 1000)) == QUOTE_CHARS
    assert quote(None) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("error", "message", "type", "code", "metadata", "raw", "details", "detail")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.integers(100, 599), JSON)
def test_never_raises(status, value):
    """Any status with any JSON is named."""
    error = classify(status, {}, json.dumps(value).encode(), NOW)
    assert error.vendor_status == status
    assert "\n" not in error.message


@pytest.mark.parametrize(
    "body",
    [
        b'[{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}]',
        b'{"code": "Client specified an invalid argument", "error": "Incorrect API key provided: ab***yz."}',
        b'{"error": {"message": "no", "code": "invalid_api_key"}}',
    ],
)
def test_a_400_about_our_key_is_our_fault_and_not_the_clients(body):
    """Gemini and xAI send no 401; the client's request is in order, and the next candidate may take it."""
    error = classify(400, {}, body, NOW)
    assert isinstance(error, UpstreamFault)
    assert error.message == "the provider refused our credential (400): check its key"
    assert error.body == b""


def test_our_key_is_taken_out_of_what_a_vendor_repeats():
    """From all that is shown or kept; a key that is only a word stays, or half the message would go."""
    error = classify(500, {}, b'{"error": {"message": "failed for sk-secret-1 and sk-secret-1"}}', NOW)
    hide(error, "failed")
    assert error.message == "the provider failed (500): failed for sk-secret-1 and sk-secret-1"
    hide(error, "sk-secret-1")
    assert str(error) == error.message == "the provider failed (500): failed for *** and ***"
    assert error.body == b'{"error": {"message": "failed for *** and ***"}}'

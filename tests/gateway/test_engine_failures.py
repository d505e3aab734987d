"""What the engine does when a candidate fails: the next one, the same again, or an error that says what to do."""

import asyncio

import pytest

from tests.gateway.lab import CONFIG, OK, Client, Lab, chunk, outcomes, refusal
from turnout.errors import (
    InvalidRequest,
    ModelNotFound,
    NoCandidate,
    StreamInterrupted,
    UpstreamFault,
    UpstreamRejected,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from turnout.gateway.memory_transport import Scripted

DONE = b"data: [DONE]\n\n"


async def test_failures_before_content_go_to_the_next_candidate_unseen(tmp_path):
    """The first byte rule; each failure is told to its candidate's health."""
    lab = Lab(tmp_path, {"stub": [refusal(503)], "backup": [OK]})
    client = await lab.ask("task:work")
    assert client.status == 200
    assert client.headers["x-turnout-tried"] == "first@stub, second@backup"
    assert lab.asked == ["stub", "backup"]
    assert lab.health.is_failing("first@stub")
    assert not lab.health.is_failing("second@backup")
    assert outcomes(lab) == (None, [("first@stub", "upstream_fault"), ("second@backup", None)])


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ((), "upstream_fault"),
        ((b": ping\n\n",), "upstream_fault"),
        ((b'data: {"error": {"message": "no"}}\n\n',), "upstream_fault"),
        ((b'data: {"error": {"message": "slow down", "code": 429}}\n\n',), "upstream_throttled"),
        ((b": ping\n\n", UpstreamTimeout("nothing", phase="idle", is_ambiguous=True)), "upstream_timeout"),
    ],
)
async def test_a_stream_that_shows_no_content_is_not_begun(tmp_path, body, kind):
    """Nothing reached the client, so the next candidate answers it whole."""
    lab = Lab(tmp_path, {"stub": [Scripted(body=body)], "backup": [Scripted(body=(chunk("Hej"), DONE))]})
    client = await lab.ask("task:work", stream=True)
    assert client.body == chunk("Hej") + DONE
    assert outcomes(lab) == (None, [("first@stub", kind), ("second@backup", None)])


async def test_a_whole_answer_that_cannot_be_read_is_not_forwarded(tmp_path):
    """A web page with status 200 is a failure of the vendor's, in its own format as in another."""
    page = Scripted(body=(b"<html>Please log in</html>",))
    lab = Lab(tmp_path, {"stub": [page], "claude": [page], "backup": [OK]})
    client = await lab.ask("task:work")
    assert client.headers["x-turnout-model"] == "second"
    assert outcomes(lab)[1][0] == ("first@stub", "upstream_fault")
    with pytest.raises(UpstreamFault):
        await lab.ask("third", max_tokens=5)


async def test_comments_keep_a_connection_alive_but_not_a_clients_patience(tmp_path):
    """The first-chunk time counts from the attempt's start to real content."""
    gates = [asyncio.Event() for _ in range(3)]
    steps = [step for gate in gates for step in (b": ping\n\n", gate)]
    lab = Lab(tmp_path, {"stub": [Scripted(body=tuple(steps))], "backup": [Scripted(body=(chunk("Hej"), DONE))]})
    client = Client()
    task = asyncio.ensure_future(lab.ask("task:work", client, stream=True))
    for gate in gates:
        await asyncio.sleep(0)
        lab.clock.at += 0.6
        gate.set()
    await task
    assert client.body == chunk("Hej") + DONE
    assert outcomes(lab)[1][0] == ("first@stub", "upstream_timeout")


@pytest.mark.parametrize(
    "end",
    [
        (),
        (UpstreamFault("reset", is_ambiguous=True),),
        (b'data: {"error": {"message": "broke"}}\n\n',),
        (b"data: {not json\n\n",),
    ],
    ids=["no end marker", "reset", "error event", "malformed"],
)
async def test_a_stream_that_breaks_after_content_is_an_error_on_the_wire_and_nothing_is_sent_again(tmp_path, end):
    """An error event, no last chunk, no invented finish reason; what was said is on the bill."""
    gate = asyncio.Event()
    lab = Lab(tmp_path, {"stub": [Scripted(body=(chunk("Hej"), gate, *end))], "backup": [OK]})
    client = Client()
    asyncio.get_running_loop().call_soon(gate.set)
    with pytest.raises(StreamInterrupted):
        await lab.ask("task:work", client, stream=True)
    assert client.ended == "cut"
    assert client.body.startswith(chunk("Hej") + b'data: {"error":')
    assert b"stream_interrupted" in client.body
    assert b"[DONE]" not in client.body
    assert lab.asked == ["stub"]
    assert outcomes(lab) == ("stream_interrupted", [("first@stub", "stream_interrupted")])
    assert lab.ended[0].attempts[0].usage.output_tokens > 0
    assert lab.health.is_failing("first@stub")


async def test_alone_a_candidate_is_tried_again_with_backoff_at_most_max_retries_times(tmp_path):
    """Full jitter, and a draw of 0 waits 0; the budget's floor of three allows it."""
    lab = Lab(tmp_path, {"backup": [refusal(500), refusal(500), OK]})
    client = await lab.ask("task:alone")
    assert client.headers["x-turnout-attempts"] == "3"
    assert outcomes(lab)[1] == [("second@backup", "upstream_fault")] * 2 + [("second@backup", None)]
    spent = Lab(tmp_path, {"backup": [refusal(500)]})
    with pytest.raises(UpstreamFault) as caught:
        await spent.ask("task:alone")
    assert caught.value.message == "second at backup: the provider failed (500): no"
    assert len(spent.asked) == 3
    assert spent.ended[0].gave_up == "3 attempts were made"


async def test_without_retries_one_failure_is_the_answer(tmp_path):
    """`max_retries: 0`."""
    lab = Lab(tmp_path, {"stub": [refusal(429, retry_after="7")]})
    with pytest.raises(UpstreamThrottled) as caught:
        await lab.ask("task:paid")
    assert caught.value.retry_after_s == 7
    assert lab.asked == ["stub"]
    assert lab.health.is_throttled("first@stub")
    assert not lab.health.is_failing("first@stub")


async def test_a_rejection_is_final_and_says_nothing_about_health(tmp_path):
    """The request itself is bad: nobody else is asked."""
    lab = Lab(tmp_path, {"stub": [refusal(400, "`temperature` is too high")], "backup": [OK]})
    with pytest.raises(UpstreamRejected, match="temperature"):
        await lab.ask("task:work")
    assert lab.asked == ["stub"]
    assert not lab.health.is_failing("first@stub")
    assert lab.ended[0].attempts[0].usage is None


async def test_a_prompt_that_does_not_fit_goes_to_a_larger_window(tmp_path):
    """The model's context_fallbacks come first, then whoever holds more; without one the vendor's words are the answer."""
    overflow = refusal(400, "This model's maximum context length is 1000 tokens")
    lab = Lab(tmp_path, {"stub": [overflow], "backup": [OK]})
    client = await lab.ask("task:work")
    assert client.headers["x-turnout-model"] == "large"
    assert outcomes(lab) == (None, [("first@stub", "upstream_rejected"), ("large@backup", None)])
    alone = Lab(tmp_path, {"backup": [overflow]})
    with pytest.raises(UpstreamRejected):
        await alone.ask("task:alone")


async def test_a_refusal_whose_body_breaks_off_is_named_by_its_status(tmp_path):
    """What the vendor says of it helps, but does not matter."""
    broken = Scripted(503, {}, (b'{"error"', UpstreamFault("reset", is_ambiguous=True)))
    lab = Lab(tmp_path, {"stub": [broken], "backup": [OK]})
    client = await lab.ask("task:work")
    assert client.status == 200
    assert lab.ended[0].attempts[0].error.vendor_status == 503


async def test_what_cannot_be_translated_is_the_clients_error_and_costs_nothing(tmp_path):
    """It never came to the vendor, so nothing is owed."""
    lab = Lab(tmp_path, {"claude": [OK]})
    with pytest.raises(InvalidRequest):
        await lab.ask("third", n=2)
    assert lab.transport.sent == []
    assert lab.ended[0].attempts == []
    last = lab.ended[0].decided.filtered[-1]
    assert (last.model, last.code) == ("third", "format")
    assert not lab.health.is_failing("third@claude")


async def test_an_address_that_no_transport_speaks_is_unreachable(tmp_path):
    """A local model that was not started."""
    config = CONFIG.replace('base_url: "http://stub.invalid/v1"', 'base_url: "https://stub.invalid/v1"')
    lab = Lab(tmp_path, {"backup": [OK]}, config=config)
    with pytest.raises(UpstreamUnreachable, match="https:"):
        await lab.ask("task:paid")


async def test_a_request_that_cannot_be_planned_is_in_the_books_too(tmp_path):
    """With no attempt, and never a dispatch."""
    lab = Lab(tmp_path, {})
    with pytest.raises(ModelNotFound):
        await lab.ask("nope")
    assert outcomes(lab) == ("model_not_found", [])
    unable = CONFIG.replace("context: 100000}", "context: 100000, can: []}").replace("[second]", "[large]")
    with pytest.raises(NoCandidate, match="cannot do json"):
        await Lab(tmp_path, {}, config=unable).ask("task:alone", response_format={"type": "json_object"})


async def test_when_everybody_fails_each_is_named(tmp_path):
    """With why, and when to come back."""
    lab = Lab(tmp_path, {"stub": [refusal(503)], "backup": [refusal(429)], "claude": [UpstreamUnreachable("refused")]})
    with pytest.raises(NoCandidate) as caught:
        await lab.ask("task:work")
    for who in ("first at stub", "second at backup", "third at claude"):
        assert who in caught.value.message
    assert "canary" not in caught.value.message


async def test_an_attempt_gets_no_more_time_than_its_request_has_left(tmp_path):
    """The second attempt's total is what the first has left of it."""

    def slowly(outgoing):
        lab.clock.at += 12
        return refusal(503) if "stub" in outgoing.url else OK

    lab = Lab(tmp_path, slowly)
    await lab.ask("task:work")
    assert [one.timeouts.total_s for one in lab.transport.sent] == [30, 18]


async def test_when_the_time_is_over_nobody_else_is_asked(tmp_path):
    """A deadline is for the whole request."""

    def slowly(_):
        lab.clock.at += 31
        return refusal(503)

    lab = Lab(tmp_path, slowly)
    with pytest.raises(UpstreamFault):
        await lab.ask("task:work")
    assert lab.ended[0].gave_up == "the time for this request is over"

"""What the engine does when a candidate fails: the next one, the same again, or an error that says what to do."""

import asyncio

import pytest

from tests.gateway.lab import CONFIG, OK, Client, Lab, chunk, outcomes, refusal
from turnout.errors import (
    ModelNotFound,
    NoCandidate,
    StreamInterrupted,
    UpstreamFault,
    UpstreamRejected,
    UpstreamThrottled,
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


async def test_when_the_time_is_over_nobody_else_is_asked(tmp_path):
    """A deadline is for the whole request."""

    def slowly(_):
        lab.clock.at += 31
        return refusal(503)

    lab = Lab(tmp_path, slowly)
    with pytest.raises(UpstreamFault):
        await lab.ask("task:work")
    assert lab.ended[0].gave_up == "the time for this request is over"

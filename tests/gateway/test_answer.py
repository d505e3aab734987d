"""Opening an attempt: what counts as a begun answer, and what is only a failure that nobody has seen."""

import asyncio

import pytest

from tests.gateway.lab import CONFIG, OK, Client, Lab, chunk, outcomes, refusal
from turnout.errors import InvalidRequest, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from turnout.gateway.memory_transport import Scripted

DONE = b"data: [DONE]\n\n"


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


async def test_an_attempt_gets_no_more_time_than_its_request_has_left(tmp_path):
    """The second attempt's total is what the first has left of it."""

    def slowly(outgoing):
        lab.clock.at += 12
        return refusal(503) if "stub" in outgoing.url else OK

    lab = Lab(tmp_path, slowly)
    await lab.ask("task:work")
    assert [one.timeouts.total_s for one in lab.transport.sent] == [30, 18]

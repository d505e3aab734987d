"""One client request from its plan to its end: what is counted, what its answer's head says, what is told when nobody could."""

import asyncio

import pytest

from tests.gateway.lab import CONFIG, OK, Client, Lab, refusal
from turnout.errors import NoCandidate, UpstreamFault, UpstreamRejected, UpstreamThrottled, UpstreamUnreachable
from turnout.gateway.exchange import KNOWN_LABELS, AnswerHeads, Attempt, final_error
from turnout.gateway.memory_transport import Scripted


async def ended(lab, *arguments, **more):
    """The exchange of one request that nobody could answer."""
    with pytest.raises(Exception):  # noqa: B017  whichever it is, the exchange has it
        await lab.ask(*arguments, **more)
    return lab.ended[-1]


async def test_tries_are_counted_by_arm_and_in_a_row(tmp_path):
    """Retries of one candidate and those of an arm are different numbers."""
    lab = Lab(tmp_path, {"stub": [refusal(503)], "backup": [refusal(503)], "claude": [refusal(503)]})
    exchange = await ended(lab, "task:work", user="boss")
    arms = [attempt.choice.arm for attempt in exchange.attempts]
    assert arms[0] == "candidate"
    assert (exchange.tries_of("candidate"), exchange.tries_of("control")) == (1, len(arms) - 1)
    last, first = exchange.attempts[-1].choice, exchange.attempts[0].choice
    assert exchange.tries_in_a_row(last) == 1
    assert exchange.tries_in_a_row(first) == 0
    assert [attempt.number for attempt in exchange.attempts] == list(range(1, len(arms) + 1))
    assert exchange.snapshot is lab.engine.index.snapshot


async def test_a_request_is_translated_once_for_all_that_need_it(tmp_path):
    """However many candidates speak another format."""
    config = CONFIG.replace("models: [second]", "models: [third]")
    lab = Lab(tmp_path, {"claude": [refusal(503), refusal(503), Scripted(200, {}, (b"{}",))]}, config=config)
    exchange = await ended(lab, "task:alone")
    assert len(exchange.attempts) == 3
    assert exchange.messages(lab.engine._dialects["openai_chat"], exchange.call) is exchange.request


async def test_the_head_says_who_answered_on_which_arm_and_at_what_cost(tmp_path):
    """Nothing used costs nothing, what has no price has no cost, free is 0 even before it is known how much."""
    lab = Lab(tmp_path, {"stub": [OK], "backup": [OK]})
    told = [(await lab.ask(name, user="boss")).headers for name in ("task:work", "first", "unpriced", "second")]
    names = ("x-turnout-model", "x-turnout-provider", "x-turnout-arm", "x-turnout-task", "x-turnout-cost")
    assert [tuple(one.get(name) for name in names) for one in told] == [
        ("large", "backup", "candidate", "work", "0.000000"),
        ("first", "stub", "control", None, "0.000020"),
        ("unpriced", "stub", "control", None, None),
        ("second", "backup", "control", None, "0.000000"),
    ]
    (used, *_) = lab.ended[0].attempts
    assert Attempt(used.choice, 1, 0.0).cost_nano_usd == 0


async def test_a_changed_price_is_told_although_the_candidates_key_is_the_same(tmp_path):
    """What was rendered under one configuration does not outlive it."""
    lab = Lab(tmp_path, {"backup": [OK]})
    before = await lab.ask("second")
    lab.engine.install(
        lab.index(CONFIG.replace("vendor/second, price: free", "vendor/second, price: {input: 9, output: 9}"))
    )
    after = await lab.ask("second")
    assert before.headers["x-turnout-cost"] == "0.000000"
    assert after.headers["x-turnout-cost"] == "0.000135"


async def test_the_head_of_a_repeated_answer_tells_of_the_answer_and_of_this_request(tmp_path):
    """What told of the request that it was made for is left out, whatever it is."""
    lab = Lab(tmp_path, {"stub": [OK]})
    await lab.ask("task:work")
    (exchange,) = lab.ended
    choice, cost = exchange.answer
    assert (choice.candidate.key, cost) == ("first@stub", 20_000)
    exchange.cache = "coalesced"
    told = [
        (b"content-type", b"x"),
        (b"x-request-id", b"another"),
        (b"x-turnout-cost", b"5"),
        (b"x-turnout-queue-ms", b"7"),
        (b"x-turnout-model", b"first"),
        (b"x-turnout-cache", b"miss"),
    ]
    assert dict(AnswerHeads().shared(exchange, told)) == {
        b"content-type": b"x",
        b"x-turnout-model": b"first",
        b"x-request-id": b"req_1",
        b"x-turnout-attempts": b"0",
        b"x-turnout-cost": b"0.000000",
        b"x-turnout-cache": b"coalesced",
    }
    exchange.answered, exchange.saved_nano_usd = choice, 7
    assert exchange.answer == (choice, 7)
    assert dict(AnswerHeads().again(exchange, choice, [(b"content-type", b"y")], 9))[b"age"] == b"9"


async def test_an_exchange_that_nobody_answered_has_no_answer(tmp_path):
    """Neither who nor what it cost."""
    lab = Lab(tmp_path, {"stub": [refusal(401)]})
    assert (await ended(lab, "task:paid")).answer == (None, 0)


async def test_a_name_that_a_request_made_up_cannot_break_out_of_its_header(tmp_path):
    """ACCOUNT/ID may hold any character; ordinary ones stay readable, and there is no end of them that would be kept."""
    lab = Lab(tmp_path, {"stub": [refusal(503), OK], "backup": [OK]})
    client = await lab.ask("stub/x\r\nset-cookie: a=b")
    assert "\n" not in "".join(client.headers.values())
    assert "set-cookie" not in client.headers
    assert (await lab.ask("stub/rengøring")).headers["x-turnout-model"] == "stub/rengøring"
    for number in range(KNOWN_LABELS + 1):
        await lab.ask(f"stub/{number}")
    assert len(lab.engine._heads._labels) <= KNOWN_LABELS


@pytest.mark.parametrize(
    ("answers", "kind", "words"),
    [
        (
            [refusal(401)] * 2,
            UpstreamFault,
            "second at backup: the provider refused our credential (401): check its key",
        ),
        ([UpstreamUnreachable("no route") for _ in range(3)], UpstreamUnreachable, "second at backup: no route"),
        ([refusal(503), refusal(422, "odd")], UpstreamRejected, "second at backup: the provider rejected"),
        (
            [refusal(503), refusal(429), refusal(429)],
            NoCandidate,
            "Every candidate failed (3 tries): second at backup: ",
        ),
    ],
    ids=["one", "one kind", "a rejection last", "several kinds"],
)
async def test_what_is_told_is_the_error_itself_if_there_is_one_kind_of_it_else_all(tmp_path, answers, kind, words):
    """Each names its candidate."""
    exchange = await ended(Lab(tmp_path, {"backup": answers}), "task:alone")
    assert type(exchange.outcome) is kind
    assert exchange.outcome.message.startswith(words)


async def test_of_several_waits_the_shortest_is_told(tmp_path):
    """A 429 from everybody: come back when the first is ready."""
    lab = Lab(
        tmp_path,
        {
            "stub": [refusal(429, retry_after="9")],
            "backup": [refusal(429, retry_after="7")],
            "claude": [refusal(429, retry_after="8")],
        },
    )
    exchange = await ended(lab, "task:work")
    assert isinstance(exchange.outcome, UpstreamThrottled)
    assert exchange.outcome.retry_after_s == 7
    assert exchange.outcome.message.startswith("second at backup")


async def test_no_candidate_says_when_to_come_back_if_the_last_decision_knew(tmp_path):
    """Else it is left open."""
    lab = Lab(tmp_path, {"stub": [refusal(503)], "backup": [refusal(500)], "claude": [refusal(503)]})
    exchange = await ended(lab, "task:work")
    for error in exchange.attempts:
        error.error.message = "x"
    assert final_error(exchange, 12.0).retry_after_s == 12.0
    assert final_error(exchange, None).retry_after_s is None


@pytest.mark.parametrize(("first", "is_ambiguous"), [(refusal(500), True), (refusal(503), False)])
async def test_what_is_told_says_whether_any_vendor_may_have_worked(tmp_path, first, is_ambiguous):
    """Not only the last one: it decides whether a repeat with the same Idempotency-Key may ask again."""
    lab = Lab(tmp_path, {"stub": [refusal(429)], "backup": [first], "claude": [refusal(503)]})
    exchange = await ended(lab, "task:work")
    assert isinstance(exchange.outcome, NoCandidate)
    assert exchange.outcome.is_ambiguous is is_ambiguous


def test_a_client_double_is_a_downstream():
    """The lab's client keeps the protocol that the engine is written against."""
    from turnout.gateway.downstream import Downstream

    down: Downstream = Client()
    assert not down.is_started
    assert asyncio.run(down.drain()) is None

"""The desk's client against a real HTTP server: what it asks, what it reads, how it fails, how it is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from examples.lead_desk.client import AskError, Client, Stopped, body_of, refusal
from examples.lead_desk.jobs import Job, jobs_for
from examples.lead_desk.leads import Lead
from tests.examples.stub_gateway import OURS, Asked, Gateway, Told, completion, refused, stream


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    """A client of the stub."""
    made = Client(gateway.base_url, "sk-key", timeout_s=20)
    yield made
    made.close()


@pytest.fixture
def analysis(lead: Lead) -> Job:
    """A job with a whole answer."""
    return jobs_for(lead)[0]


@pytest.fixture
def draft(lead: Lead) -> Job:
    """A job with a streamed answer."""
    return jobs_for(lead)[1]


def silent(_text: str) -> None:
    """Nobody listens."""


def test_it_asks_as_any_openai_client_does(gateway: Gateway, client: Client, analysis: Job) -> None:
    """Path, bearer, task and user headers, and a body without anything of ours but the model's name."""
    client.ask(analysis, silent)
    (asked,) = gateway.asked
    assert asked.path == "/v1/chat/completions"
    wanted = {"authorization": "Bearer sk-key", "x-turnout-task": "lead-analysis", "x-turnout-user": "lead-7"}
    assert wanted == {name: asked.headers[name] for name in wanted}
    assert ("task:lead-analysis", 250, ["system", "user"]) == (
        asked.body["model"],
        asked.body["max_tokens"],
        [message["role"] for message in asked.body["messages"]],
    )
    assert body_of(analysis) == asked.body


def test_a_whole_answer_is_read_with_its_usage_and_headers(client: Client, analysis: Job) -> None:
    """Words, tokens, and what the gateway says of itself."""
    reply = client.ask(analysis, silent)
    assert ("Prioritet: høj", "stop", 40, 7) == (
        reply.text,
        reply.finish_reason,
        reply.input_tokens,
        reply.output_tokens,
    )
    assert dict(OURS).items() <= reply.headers.items()
    assert 0 < reply.first_s <= reply.total_s


def test_a_stream_is_heard_piece_by_piece(client: Client, draft: Job) -> None:
    """Each piece as it comes, the sum at the end, usage from the chunk before the end marker."""
    heard: list[str] = []
    reply = client.ask(draft, heard.append)
    assert (["Kære ", "kunde"], "Kære kunde", "stop", 40, 2) == (
        heard,
        reply.text,
        reply.finish_reason,
        reply.input_tokens,
        reply.output_tokens,
    )


def test_the_connection_is_kept_and_a_closed_one_is_opened_again(
    gateway: Gateway, client: Client, analysis: Job
) -> None:
    """A gateway may close an idle connection at any time: that is no failure."""
    gateway.play = lambda _: completion("en")._replace(closes=True)
    texts = [client.ask(analysis, silent).text for _ in range(3)]
    assert (["en", "en", "en"], 3) == (texts, len(gateway.asked))


def test_a_refusal_tells_what_the_gateway_said(gateway: Gateway, client: Client, analysis: Job) -> None:
    """Message and code of the error; nothing is asked twice."""
    gateway.play = lambda _: refused(403, "not for you", code="permission_denied")
    with pytest.raises(AskError) as caught:
        client.ask(analysis, silent)
    assert ("not for you", 403, "permission_denied", 1) == (
        caught.value.message,
        caught.value.status,
        caught.value.code,
        len(gateway.asked),
    )


def test_a_refusal_that_will_pass_is_followed_once(gateway: Gateway, client: Client, analysis: Job) -> None:
    """`Retry-After` is believed if it is short."""
    answers = iter([refused(503, "wait", retry_after="0.01"), completion("nu")])
    gateway.play = lambda _: next(answers)
    assert client.ask(analysis, silent).text == "nu"


@pytest.mark.parametrize(("status", "retry_after"), [(503, ""), (429, "3600"), (429, "soon"), (500, "0.01")])
def test_other_refusals_are_final(
    gateway: Gateway, client: Client, analysis: Job, status: int, retry_after: str
) -> None:
    """No hint, one too long, one that cannot be read, or a status that will not pass."""
    gateway.play = lambda _: refused(status, "no", retry_after=retry_after)
    with pytest.raises(AskError):
        client.ask(analysis, silent)
    assert len(gateway.asked) == 1


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (stream("Kære", ends=False), "broke off"),
        (Told(200, b'data: {"error": {"message": "interrupted", "code": "stream_interrupted"}}\n\n'), "interrupted"),
        (Told(200, b"data: {broken\n\n"), "did not answer properly"),
        (stream("Kære", ends=False)._replace(cut=True), "broke off|did not answer properly"),
        (Told(502, b"<html>"), "HTTP 502"),
    ],
)
def test_a_stream_without_a_proper_end_is_no_answer(
    gateway: Gateway, client: Client, draft: Job, told: Told, said: str
) -> None:
    """Half a draft is not filed as a draft."""
    gateway.play = lambda _: told
    with pytest.raises(AskError, match=said):
        client.ask(draft, silent)


@pytest.mark.parametrize("told", [Told(200, b"nonsense"), completion("x")._replace(cut=True), Told(200, b"[]")])
def test_a_whole_answer_that_cannot_be_read_is_no_answer(
    gateway: Gateway, client: Client, analysis: Job, told: Told
) -> None:
    """Not JSON, cut, or of another shape."""
    gateway.play = lambda _: told
    with pytest.raises(AskError, match="did not answer properly"):
        client.ask(analysis, silent)


def test_nobody_there_is_an_error_with_its_reason(analysis: Job, gateway: Gateway) -> None:
    """A port on which nothing listens."""
    with pytest.raises(AskError, match="did not answer properly: ConnectionRefusedError"):
        Client("http://127.0.0.1:1/v1", "k").ask(analysis, silent)


def test_stop_ends_a_question_under_way(gateway: Gateway, client: Client, analysis: Job) -> None:
    """From another thread, at once, although the gateway says nothing."""
    came, go = threading.Event(), threading.Event()

    def stall(_: Asked) -> Told:
        came.set()
        go.wait(20)
        return completion("late")

    gateway.play = stall
    threading.Thread(target=lambda: (came.wait(20), client.stop())).start()
    began = time.perf_counter()
    with pytest.raises(Stopped):
        client.ask(analysis, silent)
    go.set()
    assert time.perf_counter() - began < 10


def test_stop_ends_the_wait_before_a_second_try(gateway: Gateway, client: Client, analysis: Job) -> None:
    """And every later question."""

    def play(_: Asked) -> Told:
        threading.Timer(0.05, client.stop).start()
        return refused(503, "wait", retry_after="5")

    gateway.play = play
    for _ in range(2):
        with pytest.raises(Stopped):
            client.ask(analysis, silent)
    assert len(gateway.asked) == 1


def test_a_strange_id_of_a_lead_makes_no_strange_header(gateway: Gateway, client: Client, lead: Lead) -> None:
    """What comes from a file cannot add a header."""
    client.ask(jobs_for(lead._replace(id="a\r\nx-evil: ø1"))[0], silent)
    assert gateway.asked[0].headers["x-turnout-user"] == "lead-ax-evil1"


@pytest.mark.parametrize("address", ["", "127.0.0.1:4000", "ftp://host/v1", "http://"])
def test_only_an_http_address_is_a_gateway(address: str) -> None:
    """Said before anything is asked."""
    with pytest.raises(ValueError, match="is not the address of a gateway"):
        Client(address, "k")


def test_an_error_of_another_shape_still_says_its_status() -> None:
    """A proxy between us and the gateway may answer with a page."""
    for body in (b"", b"<html>", b"[]", b'{"error": null}', b'{"error": {}}'):
        assert refusal(502, {}, body).message == "HTTP 502"

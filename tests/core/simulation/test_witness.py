"""The second book: what came, what left, how it ended."""

import msgspec

from turnout.core.simulation.witness import Dispatch, Witness


def dispatch(number: int = 1, body: bytes = b"{}", **more: object) -> Dispatch:
    """Return a dispatch as a world would make it."""
    known: dict[str, object] = {
        "received_at": 5.0,
        "received_wall": 1e9,
        "connection": 3,
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": (("authorization", "Bearer sk-canary"), ("x-request-id", "req_1"), ("x-request-id", "second")),
        "body_bytes": len(body),
        "body_sha256": "00",
        "request_id": "req_1",
    }
    return Dispatch(number=number, body=body, **{**known, **more})  # type: ignore[arg-type]


def test_a_dispatch_is_followed_from_arrival_to_end() -> None:
    """Bytes, tokens, usage and times are added up; it is open until it ends."""
    witness = Witness()
    one = dispatch()
    witness.received(one)
    assert (1, 1, "") == (witness.count, witness.open, one.outcome)
    witness.sent(one, 100, 6.0, tokens=3)
    witness.sent(one, 50, 7.0, tokens=1, is_usage=True)
    assert witness.ended(one, "complete", 8.0)
    assert (150, 4, True) == (one.sent_bytes, one.sent_tokens, one.is_usage_sent)
    assert (6.0, 8.0, "complete") == (one.first_sent_at, one.ended_at, one.outcome)
    assert (0, 1) == (witness.open, witness.most_open)


def test_the_first_end_counts() -> None:
    """A connection that is lost after a whole answer does not undo it."""
    witness = Witness()
    one = dispatch()
    witness.received(one)
    witness.ended(one, "reset", 1.0)
    assert not witness.ended(one, "client-closed", 2.0)
    assert ("reset", 1.0, 0) == (one.outcome, one.ended_at, witness.open)


def test_records_never_hold_header_values_or_bodies() -> None:
    """A log on disk knows names and digests only."""
    records: list[dict[str, object]] = []
    witness = Witness(records.append)
    one = dispatch(body=b'{"prompt": "canary"}')
    witness.received(one)
    witness.ended(one, "complete", 6.0)
    assert ["received", "ended"] == [record["event"] for record in records]
    assert b"canary" not in msgspec.json.encode(records)
    assert ["authorization", "x-request-id", "x-request-id"] == records[0]["header_names"]
    assert b"canary" not in msgspec.json.encode(witness.summary())


def test_a_canary_is_found_wherever_it_came_in() -> None:
    """Path, header names, header values, body."""
    witness = Witness()
    witness.received(dispatch(1))
    witness.received(dispatch(2, body=b"... c\xc3\xa6nary ..."))
    witness.received(dispatch(3, path="/v1/chat/completions?key=sk-2"))
    witness.received(dispatch(4, headers=(("x-secret-name", ""),)))
    assert [1, 2, 3] == witness.find(b"sk-canary")[:1] + witness.find("cænary".encode()) + witness.find(b"key=sk-2")
    assert [4] == witness.find(b"secret-name")
    assert witness.find(b"nowhere") == []


def test_memory_is_bounded_while_counts_go_on() -> None:
    """Only the newest dispatches are kept, and bodies only as far as there is room."""
    witness = Witness(keep=2, keep_body_bytes=5)
    for number, body in ((1, b"abc"), (2, b"de"), (3, b"f")):
        witness.received(dispatch(number, body))
    assert [2, 3] == [one.number for one in witness.dispatches]
    assert [b"de", b""] == [one.body for one in witness.dispatches]
    assert 1 == witness.dispatches[1].body_bytes
    assert 3 == witness.count


def test_a_header_is_its_first_value() -> None:
    """A name that did not come is empty."""
    assert "req_1" == dispatch().header("x-request-id")
    assert dispatch().header("cookie") == ""


def test_the_summary_tells_what_is_open() -> None:
    """Its records say whether a dispatch is under way."""
    witness = Witness()
    first = dispatch(1)
    witness.received(first)
    witness.received(dispatch(2))
    witness.ended(first, "cut", 9.0)
    summary = witness.summary()
    assert (2, 1) == (summary["count"], summary["open"])
    assert isinstance(summary["dispatches"], list)
    assert [("ended", "cut"), ("received", "")] == [(one["event"], one["outcome"]) for one in summary["dispatches"]]

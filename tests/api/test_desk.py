"""What every admin handler begins and ends with."""

from __future__ import annotations

import json

import msgspec
import pytest
from starlette.requests import Request

from turnout.api.desk import BODY_BYTES, LARGEST, admit, changing, name_of, number_of, query_of, read_body, told
from turnout.core.books.audit import Wanted, latest
from turnout.core.principal import MASTER, Grant, Principal
from turnout.errors import InvalidRequest, PermissionDenied, RequestTooLarge, StoreError, Unauthenticated


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What a route takes."""

    number: int = 1


DECODER = msgspec.json.Decoder(Body)


def request(body=b"", key="", query=b"", client=("127.0.0.1", 5)):
    """A request as Starlette has it."""
    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/admin/x",
        "query_string": query,
        "headers": [(b"authorization", f"Bearer {key}".encode())],
        "client": client,
    }
    pieces = [body[at : at + 30_000] for at in range(0, len(body), 30_000)] or [b""]

    async def receive():
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    return Request(scope, receive)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"\xff", 400), (b'{"number": "x"}', 422), (b'{"other": 1}', 422), (b"[]", 422)],
)
async def test_a_body_that_is_no_json_is_another_thing_than_one_that_does_not_fit(body, status):
    """400, and 422."""
    with pytest.raises(InvalidRequest) as caught:
        await read_body(request(body), DECODER)
    assert status == caught.value.status


async def test_a_body_is_read_up_to_its_bound_and_may_be_empty_where_that_means_something():
    """In as many pieces as it comes in."""
    assert Body(7) == await read_body(request(b'{"number": 7' + b" " * 40_000 + b"}"), DECODER)
    assert Body() == await read_body(request(b""), DECODER, b"{}")
    with pytest.raises(RequestTooLarge):
        await read_body(request(b" " * (BODY_BYTES + 1)), DECODER)


def test_a_parameter_that_is_not_known_is_told():
    """With those that are."""
    assert {"a": "1"} == query_of(request(query=b"a=1"), "a", "b")
    with pytest.raises(InvalidRequest, match="'c' here, only `a` and `b`") as caught:
        query_of(request(query=b"a=1&c=2"), "a", "b")
    assert "c" == caught.value.param
    with pytest.raises(InvalidRequest, match="only none"):
        query_of(request(query=b"c=2"))


def test_an_empty_value_counts_as_not_said_unless_it_is_a_value_like_others():
    """An empty field of a form, an empty variable in a script; a parameter that is not known stays one."""
    assert {"b": "0"} == query_of(request(query=b"a=&b=0"), "a", "b")
    assert {} == query_of(request(query=b"a"), "a")
    assert {"a": ""} == query_of(request(query=b"a="), "a", may_be_empty=True)
    with pytest.raises(InvalidRequest, match="'c'"):
        query_of(request(query=b"c="), "a")


def test_a_number_is_read_within_its_bounds():
    """Those of its meaning; else whatever a millisecond may be."""
    assert (5, 7, LARGEST) == (
        number_of({}, "a", 5),
        number_of({"a": "007"}, "a", 5, least=7, most=7),
        number_of({"a": str(LARGEST)}, "a", 5),
    )
    for said in ("0", "8", "-1", "+1", "1.0", "x", "²", str(LARGEST + 1)):
        with pytest.raises(InvalidRequest, match="`a` is a whole number from 1 to 7") as caught:
            number_of({"a": said}, "a", 5, least=1, most=7)
        assert "a" == caught.value.param


def test_an_answer_is_json():
    """With its status."""
    answer = told({"a": 1}, 201)
    assert (201, "application/json", {"a": 1}) == (answer.status_code, answer.media_type, json.loads(answer.body))


async def test_who_is_let_in_is_named_and_who_is_not_is_in_the_trail(rig):
    """With the address; and what they wanted."""
    by = admit(rig.service, request(key=rig.key), "owner")
    assert (MASTER, "master", "owner", "127.0.0.1") == (
        by.principal,
        by.actor.name,
        by.actor.role,
        by.actor.address,
    )
    with pytest.raises(Unauthenticated):
        admit(rig.service, request(key="nobody"), "viewer")
    viewer = await rig.service.people.create_admin(by, "vi", "viewer", Grant())
    with pytest.raises(PermissionDenied):
        admit(rig.service, request(key=viewer.text), "admin")
    away = await rig.service.people.create_admin(by, "away", "admin", Grant(addresses=("192.0.2.1",)))
    with pytest.raises(PermissionDenied):
        admit(rig.service, request(key=away.text), "viewer")
    await rig.service.trail.flush()
    rows = await rig.service.database.read(lambda: latest(Wanted(outcome="refused"), 10))
    assert {("", "unauthenticated"), *((f"admin:{one}", "permission_denied") for one in ("vi", "away"))} == {
        (row.actor, row.reason) for _, row in rows
    }
    assert {"PUT /admin/x"} == {row.action for _, row in rows}


def test_the_master_key_and_others_have_names():
    """As the audit trail says them."""
    assert ("master", "admin:bo") == (name_of(MASTER), name_of(Principal("admin:bo", "admin")))


async def test_a_change_outside_the_books_is_written_down_before_it_is_made(rig):
    """And that it failed, if it did."""
    by = admit(rig.service, request(key=rig.key), "owner")
    async with changing(rig.service, by, "thing.set", "x", before=1, after=2):
        (row,) = await rig.service.database.read(lambda: latest(Wanted(action="thing"), 10))
        assert ("thing.set", "x", "1", "2") == (row[1].action, row[1].target, row[1].before, row[1].after)
    with pytest.raises(StoreError):
        async with changing(rig.service, by, "thing.set", "y"):
            raise StoreError("full")
    await rig.service.trail.flush()
    rows = await rig.service.database.read(lambda: latest(Wanted(action="thing"), 10))
    assert ("failed", "store_unavailable", "y") == (rows[0][1].outcome, rows[0][1].reason, rows[0][1].target)

"""Passing a listening socket on: both ends of the talk, and what breaks it off."""

import asyncio
import os
import socket

import pytest

from turnout.api.hand_over import (
    Door,
    Succession,
    door_of,
    give,
    knock,
    receive,
    tell_ready,
    until_gone,
    until_ready,
)
from turnout.api.serving import listen
from turnout.errors import StoreError


@pytest.fixture
def listener():
    with listen("127.0.0.1", 0) as one:
        yield one


@pytest.fixture
def ends():
    """The two ends of a talk, as between a supervisor and a worker."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def is_open(port):
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except ConnectionRefusedError:
        return False
    return True


async def taken(door):
    """Knock, receive and get ready, as `turnout serve --take-over` does; return the listener."""
    holder = await asyncio.to_thread(knock, door)
    with holder:
        listener = await asyncio.to_thread(receive, holder)
        tell_ready(holder)
    return listener


def test_the_socket_itself_goes_over_and_outlives_its_giver(listener, ends):
    """The queue of connections is the same one; it does not block, and no child of ours inherits it."""
    ours, theirs = ends
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        give(ours, listener)
        listener.close()
        with receive(theirs) as got:
            assert got.getsockname() == ("127.0.0.1", port)
            assert not got.getblocking()
            assert not os.get_inheritable(got.fileno())
            accepted, _ = got.accept()  # it came before the socket changed hands
            accepted.close()
            assert is_open(port)
    assert not is_open(port)


def test_a_holder_that_closes_has_nothing_to_give_and_one_that_breaks_is_an_error(ends):
    """None: open a socket of your own. StoreError: something is wrong."""
    ours, theirs = ends
    ours.close()
    assert receive(theirs) is None
    with socket.socket(socket.AF_UNIX) as unconnected, pytest.raises(StoreError, match="did not hand over"):
        receive(unconnected)


async def test_ready_is_heard_even_in_pieces_and_an_end_before_it_is_none(ends):
    """A byte stream knows no messages."""
    ours, theirs = ends
    waiting = asyncio.ensure_future(until_ready(ours))
    for byte in b"ready\n":
        theirs.send(bytes([byte]))
        await asyncio.sleep(0)
    assert await waiting is True
    theirs.send(b"rea")
    theirs.close()
    assert await until_ready(ours) is False
    await until_gone(ours)
    tell_ready(theirs)  # a holder that is gone needs no telling


async def test_who_knocks_gets_the_socket_and_says_when_the_other_may_go(tmp_path, listener):
    """One hand-over, from both sides; the door is the owner's alone, and its file goes with it."""
    path = door_of(tmp_path, 4000)
    before = os.umask(0)
    try:
        door = Door(path, listener)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    went = []
    serving = asyncio.ensure_future(door.serve(lambda: went.append(True)))
    with await taken(path) as got:
        await serving
        assert got.getsockname() == listener.getsockname()
    assert went == [True]
    door.close()
    assert not path.exists()
    assert [] == list(tmp_path.iterdir())


async def test_one_that_does_not_get_ready_changes_nothing(tmp_path, listener, caplog):
    """It ends with the socket in its hands, or says something else: the next one is served."""
    door = Door(door_of(tmp_path, 1), listener)
    went = []
    serving = asyncio.ensure_future(door.serve(lambda: went.append(True)))
    holder = await asyncio.to_thread(knock, door_of(tmp_path, 1))
    (await asyncio.to_thread(receive, holder)).close()
    holder.close()
    (await taken(door_of(tmp_path, 1))).close()
    await serving
    assert went == [True]
    assert "before it was ready" in caplog.text
    door.close()


async def test_a_holder_whose_socket_is_closed_gives_nothing(tmp_path, listener, caplog):
    """It is on its way out: who knocks opens a socket of its own."""
    door = Door(door_of(tmp_path, 1), listener)
    serving = asyncio.ensure_future(door.serve(lambda: None))
    listener.close()
    with await asyncio.to_thread(knock, door_of(tmp_path, 1)) as holder:
        assert await asyncio.to_thread(receive, holder) is None
    assert "serves on" in caplog.text
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    door.close()


def test_nobody_behind_the_door(tmp_path):
    """No file, or the file of one that was killed."""
    path = door_of(tmp_path, 1)
    assert knock(path) is None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert knock(path) is None


def test_a_door_stands_where_a_dead_one_stood_and_is_not_closed_for_its_successor(tmp_path, listener):
    """The newest is who is met; the older one's end does not take the newer one's door away."""
    path = door_of(tmp_path, 1)
    path.write_text("left behind")
    old = Door(path, listener)
    new = Door(path, listener)
    old.close()
    assert path.exists()
    holder = knock(path)
    assert holder is not None
    holder.close()
    new.close()
    assert not path.exists()


def test_a_long_home_has_a_door_too(tmp_path, listener):
    """The name of a Unix socket has 107 bytes; a folder may have many more."""
    home = tmp_path / ("a" * 120) / ("b" * 120)
    home.mkdir(parents=True)
    door = Door(door_of(home, 4000), listener)
    holder = knock(door_of(home, 4000))
    assert holder is not None
    holder.close()
    door.close()


def test_a_door_that_cannot_be_made_is_an_error(tmp_path, listener):
    """Without a socket left open, which would be a warning here."""
    with pytest.raises(FileNotFoundError):
        Door(tmp_path / "nowhere" / "door.sock", listener)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        knock(tmp_path / "file" / "door.sock")


async def test_a_succession_tells_its_holder_and_opens_a_door_for_the_next(tmp_path, listener, ends):
    """What `--take-over` is on both sides."""
    ours, theirs = ends
    ended = asyncio.Event()
    succession = Succession(listener, holder=theirs, door=door_of(tmp_path, 1))
    succession.begin(ended.set)
    assert await until_ready(ours) is True
    (await taken(door_of(tmp_path, 1))).close()
    await asyncio.wait_for(ended.wait(), 5)
    await succession.close()
    assert [] == list(tmp_path.iterdir())


async def test_a_worker_ends_when_its_supervisor_is_gone(listener, ends, caplog):
    """Its stdin is the life line."""
    ours, theirs = ends
    ended = asyncio.Event()
    theirs.setblocking(False)
    succession = Succession(listener, holder=theirs)
    succession.begin(ended.set)
    assert await until_ready(ours) is True
    assert not ended.is_set()
    ours.close()
    await asyncio.wait_for(ended.wait(), 5)
    assert "the supervisor is gone" in caplog.text
    await succession.close()


async def test_without_a_place_for_a_door_it_serves_all_the_same(tmp_path, listener, caplog):
    """It is said, since the next upgrade needs it. What never began can be closed; and nobody needs have been told."""
    succession = Succession(listener, door=door_of(tmp_path / "nowhere", 1))
    succession.begin(lambda: None)
    assert "nobody can take over" in caplog.text
    await succession.close()
    await Succession(listener).close()
    alone = Succession(listener)
    alone.begin(lambda: None)
    await alone.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else for a moment")
def test_another_user_is_refused(tmp_path, listener):
    """The kernel says who is at the other end, whatever the folder's modes."""
    tmp_path.chmod(0o777)
    path = door_of(tmp_path, 1)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        os.seteuid(65534)
        try:
            other.listen(1)
        finally:
            os.seteuid(0)
        with pytest.raises(StoreError, match="belongs to user 65534"):
            knock(path)

"""core/follow_ups.py: room for the calls that a conversation with tools will still make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.follow_ups import KEPT_S, FollowUps, calls_to_follow, goes_on

OURS = ("openrouter",)
ME = ("key", "me")
YOU = ("key", "you")


@pytest.mark.parametrize(("tools", "calls"), [(0, 0), (1, 2), (5, 2), (6, 3), (10, 3), (11, 4)])
def test_the_estimate_is_a_first_call_one_for_every_five_tools_and_one_more(tools, calls):
    """FACTS §3: 1 + ceil(tools / 5) + 1 in all; without tools the first is the only one."""
    assert calls == calls_to_follow(tools)


def test_room_is_kept_until_it_is_used():
    """Each call that goes on takes one; when all are used, nothing is kept."""
    kept = FollowUps()
    kept.keep(ME, OURS, 2, now=0.0)
    assert kept.room(OURS, 1.0) == 2
    assert kept.use(ME, 1.0) is not None
    assert kept.room(OURS, 1.0) == 1
    assert kept.use(ME, 2.0) is not None
    assert kept.room(OURS, 2.0) == 0
    assert kept.use(ME, 3.0) is None


def test_nobody_uses_what_is_kept_for_another():
    """It belongs to the caller whose conversation it is."""
    kept = FollowUps()
    kept.keep(ME, OURS, 1, now=0.0)
    assert kept.use(YOU, 1.0) is None
    assert kept.room(OURS, 1.0) == 1


def test_an_end_gives_the_rest_back_once():
    """Twice is once."""
    kept = FollowUps()
    first = kept.keep(ME, OURS, 2, now=0.0)
    kept.keep(ME, OURS, 3, now=0.0)
    kept.give_back(first)
    kept.give_back(first)
    assert kept.room(OURS, 1.0) == 3


def test_room_lapses_a_minute_after_the_latest_sign():
    """A use and an answer that calls tools are signs."""
    kept = FollowUps()
    mine = kept.keep(ME, OURS, 3, now=0.0)
    assert kept.lapses_at() == KEPT_S
    kept.use(ME, 10.0)
    assert kept.room(OURS, KEPT_S + 1) == 2
    kept.renew(mine, 50.0)
    assert kept.room(OURS, 50.0 + KEPT_S - 1) == 2
    assert kept.room(OURS, 50.0 + KEPT_S) == 0
    assert kept.lapses_at() is None


def test_what_was_used_up_is_no_longer_waited_for():
    """Its entry goes as soon as it is looked at."""
    kept = FollowUps()
    kept.keep(ME, OURS, 1, now=0.0)
    kept.use(ME, 1.0)
    kept.lapse(1.0)
    assert kept.lapses_at() is None


def test_two_conversations_of_one_caller_are_used_in_turn():
    """Neither can use up what is kept for both."""
    kept = FollowUps()
    first, second = kept.keep(ME, OURS, 2, now=0.0), kept.keep(ME, OURS, 2, now=0.0)
    assert [first, second, first, second] == [kept.use(ME, 1.0) for _ in range(4)]


def test_the_scarcest_of_several_quotas_counts():
    """A model's own quota and its account's are both kept; a lane sees the larger of them."""
    kept = FollowUps()
    kept.keep(ME, ("account", "account/model"), 2, now=0.0)
    kept.keep(ME, ("account",), 1, now=0.0)
    assert [3, 3, 2, 0] == [
        kept.room(lane, 1.0) for lane in (("account",), ("account", "account/model"), ("account/model",), ())
    ]


@given(st.lists(st.tuples(st.sampled_from("kugr"), st.sampled_from("ab"), st.floats(0, 40))))
def test_room_is_what_conversations_have_left(steps):
    """Whatever happens in whatever order: the sum by quota is the sum of what is kept, and lapsed ones keep nothing."""
    follow_ups = FollowUps()
    every = []
    now = 0.0
    for what, caller, passed in steps:
        now += passed
        if what == "k":
            every.append(follow_ups.keep(caller, OURS, 2, now))
        elif what == "u":
            follow_ups.use(caller, now)
        elif every and what == "g":
            follow_ups.give_back(every[-1])
        elif every:
            follow_ups.renew(every[-1], now)
        alive = [one for one in every if one.calls]
        assert sum(one.calls for one in alive if one.until > now) == follow_ups.room(OURS, now)
    assert follow_ups.room(OURS, now + KEPT_S) == 0


@pytest.mark.parametrize(
    ("messages", "goes"),
    [
        (None, False),
        (b"[]", False),
        (b"nonsense", False),
        (b'[{"role": "user", "content": "Hej"}]', False),
        (b'[{"role": "tool", "content": "ok"}, {"role": "user", "content": "Tak"}]', False),
        (b'[{"role": "user"}, {"role": "tool", "tool_call_id": "c", "content": "ok"}]', True),
        (b'[{"role": "tool", "content": [{"type": "text", "text": "ok"}]}]', True),
        (b'[{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]', True),
        (b'[{"role": "user", "content": [{"type": "text", "text": "tool_result"}, "tool_result"]}]', False),
        (b'[{"role": 7}]', False),
    ],
)
def test_a_conversation_goes_on_when_a_tool_spoke_last(messages, goes):
    """In OpenAI's form and in Anthropic's; what cannot be read begins."""
    assert goes == goes_on(messages)


def test_what_was_used_up_lapses_no_more():
    """Only the room that is kept yet has a moment at which it may lapse; without any, there is nothing to look at."""
    kept = FollowUps()
    assert not kept
    kept.keep(ME, OURS, 1, now=0.0)
    kept.keep(YOU, OURS, 1, now=1.0)
    assert kept
    assert kept.use(ME, 2.0) is not None
    assert 1.0 + KEPT_S == kept.lapses_at()
    assert kept.use(YOU, 3.0) is not None
    assert kept.lapses_at() is None
    assert not kept

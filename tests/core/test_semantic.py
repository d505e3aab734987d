"""What of a request is compared, when two questions are taken for the same, and what the record of that allows."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.catalog import SemanticRule
from turnout.core.semantic import CHECKED, FEWEST, KEPT, LONGEST_BYTES, Record, cosine, question_of
from turnout.dialects import DIALECTS

SYSTEM = {"role": "system", "content": "Be short."}


def chat(*messages, **fields):
    """A chat request."""
    return DIALECTS["openai_chat"].decode(
        json.dumps({"model": "m", "messages": [SYSTEM, *messages], **fields}).encode()
    )


def user(content):
    """What a user says."""
    return {"role": "user", "content": content}


def messages_of(call):
    """What is left of a request."""
    return json.loads(bytes(call.fields["messages"]))


def test_the_last_thing_a_user_said_is_taken_out():
    """Everything else stays, what was said before too."""
    text, rest = question_of(chat(user("Hej"), {"role": "assistant", "content": "Hej!"}, user("Hvad koster det?")))
    assert text == "Hvad koster det?"
    assert messages_of(rest)[:3] == [SYSTEM, user("Hej"), {"role": "assistant", "content": "Hej!"}]
    assert messages_of(rest)[3] == {"role": "user", "content": None}
    assert rest.fields.keys() == {"model", "messages"}


def test_a_part_of_text_keeps_what_else_it_says():
    """Its other members are compared exactly; of several parts all but one are likely material."""
    part = {"type": "text", "text": " Hvad nu?\n", "cache_control": {"type": "ephemeral"}}
    text, rest = question_of(chat(user([part])))
    assert text == "Hvad nu?"
    assert messages_of(rest)[1]["content"] == [{**part, "text": None}]
    assert question_of(chat(user([part, part]))) is None


def test_requests_that_differ_elsewhere_leave_different_rests():
    """In the system prompt, in a name, in the form of the content, in any member."""
    rests = [
        question_of(one)[1].fields
        for one in (
            chat(user("a")),
            chat(user([{"type": "text", "text": "a"}])),
            chat({**user("a"), "name": "x"}),
            chat(user("a"), temperature=0),
            chat(user("b"), user("a")),
        )
    ]
    told = [msgspec.json.encode(rest) for rest in rests]
    assert len(set(told)) == len(told)
    assert msgspec.json.encode(question_of(chat(user("other")))[1].fields) == told[0]


@pytest.mark.parametrize(
    "call",
    [
        chat(user("a"), n=2),
        chat({"role": "assistant", "content": "a"}),
        chat(user("a"), {"role": "tool", "tool_call_id": "x", "content": "a"}),
        chat(user("  ")),
        chat(user("a\0b")),
        chat(user("x" * (LONGEST_BYTES + 1))),
        chat(user("æ" * (LONGEST_BYTES // 2 + 1))),
        chat(user([{"type": "image_url", "image_url": {"url": "https://x"}}, {"type": "text", "text": "a"}])),
        chat(user([{"type": "text"}])),
        chat(user([])),
        chat(user("Translate: I was there")),
        chat(user('What does "open" mean?')),
        chat(user("Hvad betyder „åben“?")),
        chat(user("Fix this\nprint(1)")),
        chat(user("What does `ls` do?")),
        chat(user(None)),
        DIALECTS["openai_embeddings"].decode(b'{"model": "m", "input": "a"}'),
    ],
)
def test_what_is_no_short_plain_text_is_no_question(call):
    """Several answers wanted, a tool's result, a picture, nothing said, too much said, something to work on."""
    assert question_of(call) is None


def test_one_answer_may_be_asked_for_by_number():
    """`n: 1` is what it is without."""
    assert question_of(chat(user("a"), n=1)) is not None


def test_messages_that_are_none_are_no_question():
    """Neither an empty list nor something else."""
    call = chat(user("a"))
    for broken in (b"[]", b"{}", b"[1]", b'[{"role": "user"}]', b'[{"role": 1, "content": "a"}]'):
        assert question_of(msgspec.structs.replace(call, fields={"messages": msgspec.Raw(broken)})) is None
    assert question_of(msgspec.structs.replace(call, fields={})) is None


@given(st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=8))
def test_a_vector_lies_at_itself_and_opposite_to_its_contrary(vector):
    """One without direction lies nowhere."""
    expected = 1.0 if sum(value * value for value in vector) > 0 else 0.0
    assert cosine(vector, vector) == pytest.approx(expected)
    assert cosine(vector, [-3 * value for value in vector]) == pytest.approx(-expected)
    assert cosine(vector, [*vector, 1.0]) == 0.0


def test_shadow_never_serves():
    """However right it was."""
    record = Record(SemanticRule())
    for _ in range(2 * KEPT):
        record.compare(is_same=True)
    assert (record.state, record.may_serve(0.99)) == ("shadow", False)
    assert record.false_hit_rate == 0.0


def test_on_serves_once_enough_was_compared_and_checks_a_share():
    """As many as it takes to see the allowed rate at all."""
    record = Record(SemanticRule(mode="on", max_false_hits=0.02))
    assert record.false_hit_rate is None
    assert record.fewest == 50
    for _ in range(49):
        record.compare(is_same=True)
    assert (record.state, record.may_serve(0.99)) == ("trial", False)
    record.compare(is_same=True)
    assert record.state == "on"
    assert [record.may_serve(draw) for draw in (0.0, CHECKED - 0.001, CHECKED, 0.99)] == [False, False, True, True]


@pytest.mark.parametrize(("allowed", "fewest"), [(1.0, FEWEST), (0.05, 20), (0.01, 100), (0.001, KEPT)])
def test_a_lower_rate_takes_longer_to_know(allowed, fewest):
    """Never fewer than FEWEST, never more than are kept."""
    assert Record(SemanticRule(max_false_hits=allowed)).fewest == fewest


@given(st.lists(st.booleans(), max_size=200), st.sampled_from([0.01, 0.05, 0.2, 1.0]))
def test_more_false_hits_than_allowed_turn_it_off_for_good(verdicts, allowed):
    """As soon as they cannot be within the rate any more; nothing turns it on again."""
    record = Record(SemanticRule(mode="on", max_false_hits=allowed))
    is_off = False
    for number, is_same in enumerate(verdicts, 1):
        record.compare(is_same=is_same)
        false = verdicts[:number].count(False)
        is_off = is_off or false > allowed * max(number, record.fewest)
        assert (record.compared, record.false, record.is_off) == (number, false, is_off)
        assert record.false_hit_rate == pytest.approx(false / number)
        assert record.state == ("off" if is_off else "on" if number >= record.fewest else "trial")
        assert not (is_off and record.may_serve(0.99))


def test_old_comparisons_are_forgotten():
    """A thousand good ones, and the bad ones of long ago count no more."""
    record = Record(SemanticRule(mode="on", max_false_hits=0.5))
    for is_same in (False,) * 10 + (True,) * KEPT:
        record.compare(is_same=is_same)
    assert (record.false_hit_rate, record.false, record.compared) == (0.0, 10, KEPT + 10)


def test_what_the_words_said_is_counted_by_what_it_was():
    """Would-be hits apart from those that were guarded against."""
    record = Record(SemanticRule())
    for told in ("same", "negation", "names", "negation"):
        record.note(told)
    assert (record.near, record.would_be, record.guarded) == (4, 1, {"negation": 2, "names": 1})

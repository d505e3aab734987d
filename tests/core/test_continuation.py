"""Continuing a broken text answer: no word twice, no word lost, whatever the second model makes of its start."""

import json
import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turnout.core.continuation import HELD_CHARACTERS, SHOWN_CHARACTERS, Parts, Splice, continued, refusal
from turnout.core.messages import Ended, Event, Finished, Started, TextAdded, UsageSeen
from turnout.core.openai_replies import ChunkEncoder
from turnout.core.usage import Usage
from turnout.dialects.openai_chat import DIALECT

WORDS = st.lists(
    st.sampled_from(["Hej", "Anna,", "tak", "for", "din", "henvendelse.", "Vi", "kan", "komme", "på", "3,14", "kr.!"]),
    min_size=3,
    max_size=40,
)
SPACES = st.sampled_from([" ", " ", " ", "\n", "\n\n", "  "])
PIECES = st.lists(st.integers(1, 9), min_size=1, max_size=30)


@st.composite
def texts(draw):
    """Words with white space between them; numbered, since a text that repeats itself cannot be told from a run-up."""
    words = [f"{number}{word}" for number, word in enumerate(draw(WORDS))]
    return words[0] + "".join(draw(SPACES) + word for word in words[1:])


def pieces(text, sizes):
    """Cut a text as a model's tokens would be."""
    out, at, turn = [], 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        out.append(text[at : at + size])
        at, turn = at + size, turn + 1
    return out


def fed(splice, text, sizes):
    return "".join(splice.add(piece) for piece in pieces(text, sizes))


def broken_at(text, sizes, end):
    """A Splice that broke off after `end` characters, and what was shown by then."""
    splice = Splice()
    shown = fed(splice, text[:end], sizes)
    assert splice.break_off() == shown
    return splice, shown


@given(texts(), PIECES)
def test_a_whole_answer_is_shown_as_it_is(text, sizes):
    """Holding back the last word loses nothing."""
    splice = Splice()
    assert text == fed(splice, text, sizes) + splice.finish() == splice.shown


@given(texts(), PIECES)
def test_only_whole_words_are_shown(text, sizes):
    """What is shown at any time ends where white space follows in the text."""
    splice = Splice()
    shown = ""
    for piece in pieces(text, sizes):
        shown += splice.add(piece)
        assert text.startswith(shown)
        assert shown == "" or text[len(shown) :][:1].strip() == ""


@given(texts(), PIECES, PIECES, st.integers(0, 400), st.booleans())
@example("Hej Anna, tak", [4], [3], 7, False)
def test_a_model_that_goes_on_loses_and_doubles_nothing(text, sizes, more_sizes, end, is_stripped):
    """Broken at any place, between any tokens; the next one writes the rest, with its white space or without."""
    splice, shown = broken_at(text, sizes, end % len(text))
    rest = text[len(shown) :]
    rest = rest.lstrip() if is_stripped and shown else rest
    whole = shown + fed(splice, rest, more_sizes) + splice.finish()
    assert text.split() == whole.split()
    if not is_stripped:
        assert re.sub(r"\s+", " ", text) == re.sub(r"\s+", " ", whole)


DISTINCT = " ".join(f"ord{number}" for number in range(60))


@given(PIECES, PIECES, st.integers(20, len(DISTINCT) - 1))
def test_a_model_that_begins_anew_doubles_nothing(sizes, more_sizes, end):
    """It restates the whole answer from the start."""
    splice, shown = broken_at(DISTINCT, sizes, end)
    assert DISTINCT.split() == (shown + fed(splice, DISTINCT, more_sizes) + splice.finish()).split()


@given(PIECES, PIECES, st.integers(120, len(DISTINCT) - 1), st.integers(7, 12))
def test_a_model_that_repeats_the_last_words_doubles_nothing(sizes, more_sizes, end, repeated):
    """It takes a run-up over the last sentence."""
    splice, shown = broken_at(DISTINCT, sizes, end)
    words = shown.split()
    again = " ".join([*words[-repeated:], *DISTINCT.split()[len(words) :]])
    assert DISTINCT.split() == (shown + fed(splice, again, more_sizes) + splice.finish()).split()


def test_a_restatement_far_back_is_recognised():
    """An answer longer than what is compared word by word."""
    text = " ".join(f"ord{number}" for number in range(1500))
    splice, shown = broken_at(text, [7], 9000)
    assert text == shown + fed(splice, text, [11]) + splice.finish()


def test_a_model_that_begins_anew_and_says_less_adds_nothing():
    """Its shorter version is no continuation."""
    splice, shown = broken_at("Hej Anna, tak for din henvendelse i dag", [5], 34)
    assert "" == splice.add("Hej Anna, tak") + splice.finish()
    assert "Hej Anna, tak for din henvendelse" == shown


def test_a_first_word_again_is_said_again():
    """One word that the answer also began with is no restatement."""
    splice, shown = broken_at("Hej Anna, tak for alt, hej", [1], 25)
    assert "Hej Anna, tak for alt, Hej" == shown + splice.add("Hej") + splice.finish()


def test_a_short_repetition_is_the_authors_wish():
    """`very` again is no run-up."""
    splice, shown = broken_at("It is very very good", [1], 11)
    assert "It is very very good" == shown + splice.add(" very good") + splice.finish()


def test_a_paragraph_break_that_had_only_begun_is_the_next_models_to_finish():
    """One line end had come, the next candidate writes two."""
    splice, shown = broken_at("One.\nTwo", [1], 5)
    assert ("One.", "One.\n\nTwo") == (shown, shown + splice.add("\n\nTwo") + splice.finish())


def test_languages_without_spaces_are_shown_by_the_character():
    """Nothing is held, and nothing is put between."""
    splice, shown = broken_at("今日はとても良い天気です。", [2], 8)
    assert ("今日はとても良い", "天気です。") == (shown, splice.add("天気です。") + splice.finish())
    splice, shown = broken_at("今日はとても良い天気ですから散歩に行きます。", [1], 16)
    assert "に行きます。" == splice.add(shown + "に行きます。") + splice.finish()


def test_a_very_long_word_is_shown_as_it_comes():
    """A URL or base64 does not stop the stream; a break in it is joined without white space."""
    word = "".join(f"x{number}" for number in range(HELD_CHARACTERS))
    splice, shown = broken_at(word, [10], 150)
    assert len(shown) > HELD_CHARACTERS
    assert word == shown + splice.add(word[len(shown) :]) + splice.finish()


def test_a_second_break_goes_on_from_the_same_place():
    """Also when nothing of the second candidate was shown."""
    splice, shown = broken_at("Hej Anna, tak for din", [3], 12)
    assert "" == splice.add("  ")
    assert shown == splice.break_off()
    assert "Hej Anna, tak for din" == shown + splice.add("tak for din") + splice.finish()


def test_nothing_after_nothing():
    """The next candidate had no more to say; or nothing had been shown at all."""
    splice, _ = broken_at("Hej Anna, tak", [3], 12)
    assert "" == splice.finish()
    splice, shown = broken_at("Hej", [3], 3)
    assert ("", "Goddag") == (shown, splice.add("Goddag") + splice.finish())


# ── the request ──


def call(**members):
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hej"}], **members}
    return DIALECT.decode(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({}, ""),
        ({"tools": [], "n": 1, "response_format": {"type": "text"}, "modalities": ["text"], "logprobs": False}, ""),
        ({"stream": False}, "only streams of text are"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "it asks for `tools`"),
        ({"functions": [{"name": "f"}]}, "it asks for `functions`"),
        ({"logprobs": True}, "it asks for `logprobs`"),
        ({"n": 2}, "it asks for several answers"),
        ({"modalities": ["text", "audio"]}, "it asks for sound"),
        ({"response_format": {"type": "json_object"}}, "it asks for JSON"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "it asks for JSON"),
    ],
)
def test_only_plain_text_is_continued(members, why):
    """Halves of anything else do not fit together."""
    assert why == refusal(call(**members))


def test_embeddings_are_not_continued():
    """They are no text."""
    assert refusal(msgspec.structs.replace(call(), kind="embedding"))


def test_the_next_candidate_is_asked_with_what_was_shown():
    """An assistant turn at the end, and a limit less what was said."""
    asked = continued(call(max_tokens=100), 'Hej "Anna" på')
    messages = json.loads(bytes(asked.fields["messages"]))
    assert [{"role": "user", "content": "hej"}, {"role": "assistant", "content": 'Hej "Anna" på'}] == messages
    assert (97, b"97") == (asked.max_output_tokens, bytes(asked.fields["max_tokens"]))
    assert 1 == continued(call(max_completion_tokens=2), "Hej med dig igen").max_output_tokens
    assert continued(call(), "Hej").max_output_tokens is None
    assert DIALECT.to_messages(asked).messages[-1].role == "assistant"


def test_the_request_stays_as_it_is_while_nothing_was_shown():
    """Then it is simply asked again."""
    asked = call()
    assert continued(asked, "") is asked


# ── the relay ──


class Scripted:
    """A decoder that gives the events of its script, one list a feed."""

    def __init__(self, *script: list[Event]) -> None:
        self.script = list(script)

    def feed(self, _data: bytes) -> list[Event]:
        return self.script.pop(0)


def chunks(data):
    return [json.loads(line[6:]) for line in data.decode().split("\n\n") if line and not line.endswith("[DONE]")]


def test_two_parts_make_one_stream():
    """One id, one role, a seam, one end, all words, and the sum of what was used."""
    parts = Parts(ChunkEncoder(wants_usage=True, request_id="r", created=1))
    out = parts.next(Scripted([Started("a", "one"), TextAdded("Hej An"), TextAdded("na, ta")])).feed(b".")
    parts.break_off(Usage(10, 2, basis="estimated"))
    out += parts.seam("two")
    script = [
        Started("b", "two"),
        TextAdded(" tak"),
        TextAdded(" for alt"),
        Finished("stop"),
        UsageSeen(Usage(20, 4)),
        Ended(),
    ]
    second = parts.next(Scripted(script))
    assert parts.can_go_on
    out += second.feed(b".")
    told = chunks(out)
    deltas = [chunk["choices"][0]["delta"] for chunk in told if chunk["choices"]]
    assert "Hej Anna, tak for alt" == "".join(delta.get("content", "") for delta in deltas)
    assert ["assistant"] == [delta["role"] for delta in deltas if "role" in delta]
    assert [{"continued_by": "two", "after_characters": 9}] == [one["turnout"] for one in told if "turnout" in one]
    assert {"a"} == {chunk["id"] for chunk in told}
    assert (30, 6) == (told[-1]["usage"]["prompt_tokens"], told[-1]["usage"]["completion_tokens"])
    assert out.endswith(b"[DONE]\n\n")
    assert Usage(20, 4) == second.usage
    assert not parts.can_go_on


def test_what_all_parts_have_used_is_one_sum():
    """Two that broke off, and the third is told both."""
    parts = Parts(ChunkEncoder(wants_usage=True, request_id="r", created=1))
    parts.break_off(Usage(10, 2))
    parts.break_off(Usage(5, 1, 4, 3, 1, basis="estimated"))
    assert Usage(15, 3, 4, 3, 1, basis="estimated") == parts.earlier


def test_a_very_long_answer_is_not_continued():
    """It would have to be sent along as a prompt."""
    parts = Parts(ChunkEncoder(wants_usage=False, request_id="r", created=1))
    assert parts.can_go_on
    parts.splice.add("ord " * (SHOWN_CHARACTERS // 4 + 2))
    assert not parts.can_go_on


def test_a_long_run_without_an_end_costs_no_more_than_its_length():
    """A vendor's event of a megabyte does not stop the loop: a search for its last word from the left took hours."""
    for text in ("a" * 1_000_000 + " b c", " " * 1_000_000 + "b c"):
        splice = Splice()
        assert splice.add(text) == text[:-2]


def test_white_space_at_the_end_of_what_was_shown_is_not_sent_and_not_doubled():
    """A long run of it is shown; Anthropic refuses a turn that ends with it."""
    splice = Splice()
    shown = splice.add("Hej" + " " * 100)
    assert shown == "Hej" + " " * 100
    splice.break_off()
    asked = DIALECT.decode(b'{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}')
    turn = json.loads(bytes(continued(asked, shown).fields["messages"]))[-1]
    assert turn == {"role": "assistant", "content": "Hej"}
    assert splice.add("  Anna, hvor") + splice.finish() == "Anna, hvor"


def test_a_limit_that_is_null_stays_so():
    """Some vendors refuse both names of the limit."""
    body = b'{"model":"m","max_tokens":null,"max_completion_tokens":100,"messages":[{"role":"user","content":"x"}]}'
    fields = continued(DIALECT.decode(body), "x" * 40).fields
    assert (bytes(fields["max_tokens"]), bytes(fields["max_completion_tokens"])) == (b"null", b"90")


@pytest.mark.parametrize("name", ["output_config", "output_format"])
def test_json_by_anthropics_names_is_not_continued(name):
    """Two halves of JSON are none."""
    form = {"type": "json_schema", "schema": {}}
    asked = {"output_config": {"format": form}, "output_format": form}[name]
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}], name: asked}
    assert refusal(DIALECT.decode(json.dumps(body).encode())) == "it asks for JSON"

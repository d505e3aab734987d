"""Plans of faults on a connection: how they are read, and which bytes pass."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.core.simulation.wire_faults import KINDS, LARGEST_PIECE_BYTES, Plan, Way, passing, pieces, read

DOCS = Path(__file__).parents[3] / "docs" / "simulated-provider.md"
ENDS = ["reset", "half-close", "truncate", "black-hole"]


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("", Plan()),
        (" ; ;", Plan()),
        ("delay=50ms", Plan(Way(delay_s=0.05), Way(delay_s=0.05))),
        ("delay", Plan(Way(delay_s=0.1), Way(delay_s=0.1))),
        ("up:jitter=1.5s", Plan(Way(jitter_s=1.5), Way())),
        ("jitter=2", Plan(Way(jitter_s=2), Way(jitter_s=2))),
        ("bandwidth=800", Plan(down=Way(bytes_per_s=800))),
        ("up:bandwidth=64k", Plan(Way(bytes_per_s=65536))),
        ("both:bandwidth=2m", Plan(Way(bytes_per_s=2 * 1024 * 1024), Way(bytes_per_s=2 * 1024 * 1024))),
        ("slice", Plan(down=Way(slice_bytes=1))),
        ("down:slice=7", Plan(down=Way(slice_bytes=7))),
        ("corrupt=9", Plan(down=Way(corrupt_at=9))),
        ("reset=120", Plan(down=Way(end="reset", end_at=120))),
        (" UP : Reset = 3 ", Plan(Way(end="reset", end_at=3))),
        ("half-close", Plan(down=Way(end="half-close"))),
        ("truncate=5", Plan(down=Way(end="truncate", end_at=5))),
        ("black-hole", Plan(Way(end="black-hole"), Way(end="black-hole"))),
        ("down:black-hole=8", Plan(down=Way(end="black-hole", end_at=8))),
        ("never-read", Plan(Way(end="never-read"))),
        (
            "up:bandwidth=1k;slice=2;delay=10ms;reset=4;down:delay=20ms",
            Plan(Way(delay_s=0.01, bytes_per_s=1024), Way(delay_s=0.02, slice_bytes=2, end="reset", end_at=4)),
        ),
        ("up:half-close=1;down:truncate=2", Plan(Way(end="half-close", end_at=1), Way(end="truncate", end_at=2))),
    ],
)
def test_a_plan_is_read(text: str, plan: Plan) -> None:
    """Ways, arguments, defaults, spaces, capitals, empty parts; the last of a name counts."""
    assert plan == read(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense", "unknown fault 'nonsense'; known: delay, jitter,"),
        ("down:", "unknown fault ''"),
        ("left:reset", "fault 'reset' has the way 'left'; known: up, down, both"),
        (":reset", "fault 'reset' has the way ''; known: up, down, both"),
        ("delay=soon", "fault 'delay' takes a time such as 50ms or 1.5s, not 'soon'"),
        ("delay=-1", "takes a time"),
        ("delay=", "takes a time"),
        ("jitter=1e9", "takes a time"),
        ("bandwidth=0", "takes bytes a second such as 800, 64k or 2m, not '0'"),
        ("bandwidth=fast", "takes bytes a second"),
        ("reset=-1", "takes a whole number of bytes"),
        ("reset=²", "takes a whole number of bytes"),
        ("slice=9999999999999", "takes a whole number of bytes"),
        ("slice=0", "slices are of at least one byte"),
        ("never-read=1", "fault 'never-read' takes no argument, not '1'"),
        ("reset;truncate", "the way down can end once: 'reset' or 'truncate', not both"),
        ("black-hole;up:never-read", "the way up can end once: 'black-hole' or 'never-read', not both"),
    ],
)
def test_what_is_wrong_is_said(text: str, problem: str) -> None:
    """In words for a person, with what is known."""
    with pytest.raises(ValueError, match=re.escape(problem)):
        read(text)


@given(st.text(max_size=40) | st.from_regex(r"(up|down|both)?:?[a-z-]{4,10}(=[0-9.]{1,4}(ms|s|k|m)?)?", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else is raised than ValueError."""
    try:
        plan = read(text)
    except ValueError:
        return
    assert all(way.bytes_per_s >= 0 and way.slice_bytes >= 0 for way in (plan.up, plan.down))


@pytest.mark.parametrize("name", KINDS)
def test_every_fault_has_a_default(name: str) -> None:
    """A name alone says something, on the ways that the table names."""
    plan, way = read(name), KINDS[name].way
    assert [way in {"up", "both"}, way in {"down", "both"}] == [plan.up != Way(), plan.down != Way()]


@given(
    data=st.binary(min_size=1, max_size=60),
    cuts=st.lists(st.integers(1, 20), max_size=8),
    end=st.sampled_from(["", *ENDS]),
    end_at=st.integers(0, 70),
    corrupt_at=st.integers(-1, 70),
)
def test_what_passes_does_not_depend_on_how_it_was_read(
    data: bytes, cuts: list[int], end: str, end_at: int, corrupt_at: int
) -> None:
    """In any pieces: the bytes up to the end, one of them inverted, and the end exactly when it is due."""
    way = Way(end=end, end_at=end_at, corrupt_at=corrupt_at)
    passed, offset, is_over, rest = b"", 0, False, data
    for size in [*cuts, len(data)]:
        if rest and not is_over:
            piece, rest = rest[:size], rest[size:]
            some, is_over = passing(way, offset, piece)
            passed += some
            offset += len(piece)
    expected = bytearray(data)
    if 0 <= corrupt_at < len(data):
        expected[corrupt_at] ^= 0xFF
    assert bytes(expected[:end_at] if end else expected) == passed
    assert (bool(end) and len(data) >= end_at) == is_over


@given(data=st.binary(max_size=70_000), slice_bytes=st.integers(0, 9000), bytes_per_s=st.integers(0, 400_000))
def test_pieces_are_the_whole_in_the_sizes_asked_for(data: bytes, slice_bytes: int, bytes_per_s: int) -> None:
    """None is empty, none too large for the slice, for a twentieth of a second, or to be held."""
    way = Way(slice_bytes=slice_bytes or 0, bytes_per_s=bytes_per_s and bytes_per_s + 1000)
    made = pieces(way, data)
    most = min(slice_bytes or LARGEST_PIECE_BYTES, way.bytes_per_s // 20 or LARGEST_PIECE_BYTES, LARGEST_PIECE_BYTES)
    assert b"".join(made) == data
    assert all(0 < len(piece) <= most for piece in made)


def test_the_slowest_way_still_passes_single_bytes() -> None:
    """Under twenty bytes a second a piece is one byte."""
    assert pieces(Way(bytes_per_s=3), b"abc") == [b"a", b"b", b"c"]


def test_the_docs_list_the_same_faults_in_the_same_words() -> None:
    """One row per fault: its name with its argument, the way, and what it does."""
    section = DOCS.read_text(encoding="utf-8").split("\n## Wire faults")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \| (.+) \|$", section, re.MULTILINE)
    told = [(f"{name}={kind.arg}" if kind.arg else name, kind.way, kind.what) for name, kind in KINDS.items()]
    assert told == rows

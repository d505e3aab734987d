"""The nearest vectors of one partition, and none of another; each as long as what it stands for lives."""

import math
import random

import pytest

from turnout.gateway import vectors
from turnout.gateway.vectors import MOST_NUMBERS, Vectors

pytest.importorskip("numpy", reason="needs numpy: pip install 'turnout[semantic]'")


class Keeper:
    """Something that lives and dies."""


def test_the_nearest_are_those_that_a_plain_look_at_all_finds():
    """With many added and removed in between: the same as computing every cosine."""
    draw = random.Random(3)
    held = Vectors()
    alive = {}
    for number in range(400):
        vector = [draw.gauss(0, 1) for _ in range(12)]
        keeper = Keeper()
        held.add(b"p", vector, number, keeper)
        alive[number] = (vector, keeper)
        if draw.random() < 0.4:
            del alive[draw.choice(list(alive))], vector, keeper
    keeper = None
    asked = [draw.gauss(0, 1) for _ in range(12)]
    scores = {
        number: sum(a * b for a, b in zip(asked, vector, strict=True)) / (math.hypot(*asked) * math.hypot(*vector))
        for number, (vector, _) in alive.items()
    }
    expected = sorted((score, number) for number, score in scores.items() if score >= 0.2)[::-1][:5]
    found = held.nearest(b"p", asked, 0.2, 5)
    assert [number for _, number in expected] == [number for _, number in found]
    assert [score for score, _ in found] == pytest.approx([score for score, _ in expected], abs=1e-5)
    assert len(held) == len(alive)


def test_partitions_do_not_know_each_other():
    """The same vector, in another one."""
    held, keeper = Vectors(), Keeper()
    held.add(b"one", [1.0, 0.0], "a", keeper)
    assert held.nearest(b"two", [1.0, 0.0], 0.0, 9) == []
    assert held.nearest(b"one", [2.0, 0.0], 0.9, 9) == [(1.0, "a")]


@pytest.mark.parametrize(
    "vector", [[0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0], [1.0, 0.0, 0.0], [[1.0, 0.0]], []]
)
def test_a_vector_without_direction_or_of_another_length_is_neither_held_nor_found(vector):
    """A model that answers nonsense, or was exchanged for another."""
    held, keeper = Vectors(), Keeper()
    held.add(b"p", [1.0, 0.0], "a", keeper)
    held.add(b"p", vector, "b", keeper)
    assert len(held) == 1
    assert held.nearest(b"p", vector, -1.0, 9) == []


def test_a_vector_leaves_with_its_keeper_and_an_empty_partition_with_its_last():
    """Nothing is left behind."""
    held = Vectors()
    first, second = Keeper(), Keeper()
    for number in range(20):
        held.add(b"p", [1.0, float(number)], number, first if number % 2 else second)
    del first
    assert {number for _, number in held.nearest(b"p", [1.0, 1.0], -1.0, 99)} == set(range(0, 20, 2))
    del second
    assert len(held) == 0
    assert held._partitions == {}
    assert held._numbers == 0


def test_the_oldest_make_room():
    """Never more numbers than are allowed."""
    held, keeper = Vectors(), Keeper()
    long = [1.0] * (MOST_NUMBERS // 4)
    for number in range(6):
        held.add(b"p%d" % (number % 2), long, number, keeper)
    assert held._numbers <= vectors.MOST_NUMBERS
    assert len(held) == 4
    assert {value for part in (b"p0", b"p1") for _, value in held.nearest(part, long, 0.0, 9)} == {2, 3, 4, 5}

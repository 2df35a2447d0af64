"""Times of annotators stand on one scale, whatever they are."""

from __future__ import annotations

import pytest

from annotation.quality import Times
from frontend.time_scale import in_words, time_scale


def test_equal_steps_multiply_and_the_ends_are_the_fastest_and_slowest_tenth() -> None:
    scale = time_scale([Times(1, 2, 3, 4, 10), None, Times(5, 6, 7, 8, 100)])
    assert [scale.at(seconds) for seconds in (1, 10, 100)] == [0, pytest.approx(0.5), 1]
    assert (scale.at(0), scale.at(1000)) == (0, 1), "nothing leaves the picture"


@pytest.mark.parametrize("times", [[], [None], [Times(0, 0, 0, 0, 0)], [Times(7, 7, 7, 7, 7)]])
def test_there_is_a_scale_where_there_is_nothing_to_compare(times: list[Times | None]) -> None:
    scale = time_scale(times)
    assert 0 <= scale.at(7) <= 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (45.4, "45 s"),
        (89, "89 s"),
        (89.7, "1:30 min"),
        (125, "2:05 min"),
        (599.6, "10 min"),
        (3000, "50 min"),
        (7200, "2 h"),
    ],
)
def test_times_are_told_as_people_say_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words

"""Rendered texts are kept, and never taken for one another."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.utils.safestring import SafeString

from frontend import rendering
from frontend.keeping import Kept, kept
from frontend.templatetags.markdown import citing, markdown

TEXTS = [
    "One [1].",
    "One [2].",
    "One  [1].",
    "one [1].",
    "One [1]",
    "*One* [1].",
    "<b>One</b> [1].",
    "",
    "\ud800 [1]",
]
PASSAGES: list[list[str]] = [[], ["1"], ["2"], ["1", "2"], ["2", "1"], ["1, 2"], ["'1', '2'"], ["1'"]]


@pytest.mark.parametrize("_", range(2))
def test_what_is_kept_is_what_would_be_rendered(_: int) -> None:
    for text in TEXTS[:-1]:
        for passages in PASSAGES:
            anew = rendering.render.__wrapped__(text, passages=passages)
            assert rendering.render(text, passages=passages) == anew


def test_the_same_text_beside_other_passages_cites_those() -> None:
    text = "It boils at 100 °C [b]."
    assert citing(text, [{"id": "a"}, {"id": "b"}]) != citing(text, [{"id": "b"}, {"id": "a"}])
    assert 'href="#passage-2"' in citing(text, [{"id": "a"}, {"id": "b"}])
    assert 'href="#passage-1"' in citing(text, [{"id": "b"}, {"id": "a"}])
    assert "href" not in citing(text, [{"id": "c"}])
    assert "href" not in markdown(text)


def test_no_two_texts_or_arguments_share_what_was_made() -> None:
    told = kept(lambda text, **how: f"{text!r} {how}")
    for _ in range(2):
        for text in TEXTS:
            for passages in PASSAGES:
                assert told(text, passages=passages) == f"{text!r} {{'passages': {passages!r}}}"


def test_a_text_is_made_once_and_stays_safe_html() -> None:
    made: list[str] = []

    @kept
    def render(text: str) -> SafeString:
        made.append(text)
        return SafeString(f"<p>{text}</p>")

    assert [render("a"), render("b"), render("a")] == ["<p>a</p>", "<p>b</p>", "<p>a</p>"]
    assert made == ["a", "b"]
    assert isinstance(render("a"), SafeString)


def test_no_more_is_kept_than_there_is_room_for_and_the_least_lately_used_leave() -> None:
    made: list[str] = []

    def double(text: str) -> str:
        made.append(text)
        return text * 2

    remembering = kept(double, most=9)
    for text in ("aa", "bb", "aa", "cc", "aa", "bb"):
        assert remembering(text) == text * 2
    assert made == ["aa", "bb", "cc", "bb"]
    assert remembering("longer than all of it") == "longer than all of it" * 2


def test_threads_at_once_get_what_is_theirs_and_the_room_stays_counted() -> None:
    room = Kept(2_000)

    def use(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(2_000):
            number = dice.randrange(200)
            key = (b"%d" % number, "")
            found = room.find(key)
            assert found in (None, str(number) * 10)
            room.keep(key, str(number) * 10)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    assert room.characters == sum(len(made) for made in room.values()) <= 2_000

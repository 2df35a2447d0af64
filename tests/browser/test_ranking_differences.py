"""Differences between responses: right, readable, quick, and gone without a trace."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from annotation.models import Project
from tests.browser.ranking import Picture, Rank, submitted
from tests.frontend import content
from tests.frontend.content import fill

pytestmark = pytest.mark.browser
TEXTS = [
    "Rinse the **white rice** until the water runs clear, then boil it for 12 minutes with the lid on.",
    "Rinse the **brown rice** until the water runs clear, then boil it for 35 minutes with the lid on.",
    "Rinse the <img src=x onerror=alert(1)> until the water runs clear, then boil it for 12 minutes with `the` lid on.",
    "Ask somebody who cooks.",
]


@pytest.fixture
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "PROMPTS", content.PROMPTS[:1])
    monkeypatch.setattr(content, "RESPONSES", {"rice": TEXTS})


def letter_of(page: Page, words: str) -> str:
    return page.locator("[data-response]", has_text=words).get_attribute("data-letter")


def differing(page: Page, letter: str) -> list[str]:
    return page.locator(f"[data-letter={letter}] .response__text .differs").all_inner_texts()


@pytest.mark.usefixtures("alike")
def test_what_differs_from_the_current_response_is_marked_word_by_word(rank: Rank, picture: Picture) -> None:
    page = rank()
    white, brown, hostile, other = (
        letter_of(page, words) for words in ("white rice", "brown rice", "onerror", "Ask somebody")
    )
    untouched = page.evaluate(
        "[...document.querySelectorAll('.response__text')].map((text) => text.innerHTML).join()"
    )

    page.keyboard.press(f"Shift+{white}")
    page.keyboard.press("d")

    assert differing(page, white) == []
    assert differing(page, brown) == ["brown", "35"]
    assert differing(page, hostile) == ["<img src=x onerror=alert(1)>"]
    assert differing(page, other) == ["Ask somebody who cooks"], "a full stop in common is not worth telling"
    expect(page.locator(f"[data-letter={brown}] [data-difference]")).to_have_text(
        f"2 of 19 words differ from {white}"
    )
    expect(page.locator("[data-announcer]")).to_contain_text(f"{brown}: 2 of 19 words differ from {white}.")
    expect(page.get_by_role("button", name="Differences")).to_have_attribute("aria-pressed", "true")
    picture(page, "rank-differences")

    page.keyboard.press(f"Shift+{brown}")
    assert differing(page, white) == ["white", "12"]
    page.keyboard.press("d")
    assert page.locator(".differs, [data-differing]").count() == 0
    assert untouched == page.evaluate(
        "[...document.querySelectorAll('.response__text')].map((text) => text.innerHTML).join()"
    )


@pytest.mark.usefixtures("alike")
def test_differences_stay_while_responses_are_ranked_and_end_with_the_task(
    rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        content, "PROMPTS", [{"key": "rice", "prompt": "How?"}, {"key": "tides", "prompt": "And how long?"}]
    )
    monkeypatch.setattr(content, "RESPONSES", {"rice": TEXTS, "tides": [f"{text} So." for text in TEXTS]})
    page = rank()
    page.get_by_role("button", name="In tiers").click()
    page.get_by_role("button", name="Differences").click()
    assert page.locator("[data-letter=B] .differs").count() > 0

    page.keyboard.press("Shift+A")
    page.keyboard.press("4")
    expect(page.locator("[data-letter=B]")).to_be_focused()
    assert page.locator("[data-letter=B] .differs").count() == 0
    assert page.locator("[data-letter=A] .differs").count() > 0
    for tier in "123":
        page.keyboard.press(tier)
    submitted(page)
    assert page.locator(".differs, [data-differing]").count() == 0


def test_long_texts_open_for_differences_and_close_again(rank: Rank, monkeypatch: pytest.MonkeyPatch) -> None:
    long = [
        f"{text}\n\n" + "\n\n".join(["The same story. " * 20] * 20) + f" {at}"
        for at, text in enumerate(TEXTS)
    ]
    monkeypatch.setattr(content, "RESPONSES", dict.fromkeys(content.RESPONSES, long))
    page = rank()
    page.get_by_role("button", name="Stacked").click()
    text = page.locator("[data-letter=B] .response__text")
    assert text.bounding_box()["height"] < 400

    page.keyboard.press("d")
    assert text.bounding_box()["height"] > 800
    page.keyboard.press("d")
    assert text.bounding_box()["height"] < 400


def test_nine_responses_of_two_thousand_words_are_compared_at_once(
    rank: Rank, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"word{number}" for number in range(400)]
    texts = [
        " ".join(words[(place * (7 + at % 3) + at * (place % 11)) % 400] for place in range(2_000)) + "."
        for at in range(9)
    ]
    monkeypatch.setattr(content, "PROMPTS", content.PROMPTS[:1])
    monkeypatch.setattr(content, "RESPONSES", {"rice": texts})
    fill(project, responses_per_task=9)
    page = rank()

    took = page.evaluate(
        """() => {
            const start = performance.now();
            document.querySelector("[data-differences]").click();
            document.body.getBoundingClientRect();
            return performance.now() - start;
        }"""
    )
    expect(page.locator("[data-letter=I] [data-difference]")).to_contain_text("of 2000 words differ from A")
    assert took < 1_000, f"{took:.0f} ms"


def test_the_shared_words_are_a_longest_common_subsequence(rank: Rank) -> None:
    page = rank()
    wrong = page.evaluate(
        """async () => {
            const { matched, shared } = await import("/static/frontend/js/ranking/diff.js");
            let seed = 7;
            const random = (below) => ((seed = (seed * 1103515245 + 12345) % 2147483648) >> 8) % below;
            const length = (a, b) => {
                let row = new Array(b.length + 1).fill(0);
                for (const x of a) {
                    const next = [0];
                    b.forEach((y, j) => next.push(x === y ? row[j] + 1 : Math.max(row[j + 1], next[j])));
                    row = next;
                }
                return row.at(-1);
            };
            const wrong = [];
            for (let round = 0; round < 400; round += 1) {
                const [n, m, kinds] = [random(90), random(90), 1 + random(round % 2 ? 4 : 60)];
                const a = Array.from({ length: n }, () => `w${random(kinds)}`);
                const b = Array.from({ length: m }, () => `w${random(kinds)}`);
                const pairs = matched(a, b);
                const rising = pairs.every(([i, j], at) => !at || (i > pairs[at - 1][0] && j > pairs[at - 1][1]));
                const alike = pairs.every(([i, j]) => a[i] === b[j]);
                if (pairs.length !== length(a, b) || !rising || !alike) wrong.push([a, b, pairs]);
            }
            // Far too long for words: by sentences, whose order is kept.
            const story = Array.from({ length: 20_000 }, (_, at) => (at % 10 === 9 ? "." : `w${at}`));
            const other = [...story.slice(0, 15_000), "new", "words", ".", ...story.slice(15_000), "end"];
            other[5] = "changed";
            const flags = shared(["begin", ...story], other);
            const differing = other.filter((_, at) => !flags[at]);
            const told = ["new", "changed", "end"].every((word) => differing.includes(word));
            if (differing.length > 20 || !told) wrong.push(differing);
            return wrong.slice(0, 1);
        }"""
    )
    assert wrong == []


def test_words_are_found_in_every_script(rank: Rank) -> None:
    page = rank()
    found = page.evaluate(
        """async () => {
            const { wordsOf } = await import("/static/frontend/js/ranking/words.js");
            const text = document.createElement("div");
            text.innerHTML = "It's caf\\u00e9 na\\u00efve, 3 × <b>2</b> 漢字と<i>かな</i> снег";
            text.insertAdjacentHTML("beforeend", "<span class='visually-hidden'>unseen</span>");
            return wordsOf(text).map(({ text }) => text).join("|");
        }"""
    )
    assert found == "It's|café|naïve|,|3|×|2|漢|字|と|か|な|снег"

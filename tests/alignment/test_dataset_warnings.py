"""What a card's figures say, and what is warned of before training."""

from __future__ import annotations

from typing import Any

import pytest

from alignment.card_figures import histograms, told_by_length, told_by_source, without_consensus
from alignment.dataset_warnings import FEWEST, ceiling_of, warnings_of
from alignment.datasets import build_dataset, dataset_folder
from annotation.models import Batch, Project
from tests.alignment.test_datasets import Answer, answer, batch  # noqa: F401 (fixtures)
from training.engine.records import Ranking

LEANING = {"win_rate": 0.5, "win_rate_low": 0.45, "win_rate_high": 0.55, "pairs": 900}
SHARE = {"value": 0.5, "low": 0.45, "high": 0.55, "of": 900}


def card(**differing: Any) -> dict[str, Any]:
    """One that nothing speaks against."""
    split = {"tasks": 500, "pairs": 3000}
    sources = [{"name": name, "responses": 1000, "first_share": 0.5} for name in ("a", "b")]
    return {
        "tasks": 1000,
        "splits": {"train": split, "held_out": split},
        "agreement": {"agreement": 0.7},
        "sources": sources,
        "leanings": {"first_shown": LEANING, "longer": LEANING, "formatted": LEANING},
        "told_by_length": SHARE,
        "told_by_source": SHARE,
        "duplicates": {"across_splits": 0},
        "no_consensus": {"tasks": 10},
        "personal_data": {},
        "estimator": {"converged": True, "trouble": ""},
    } | differing


def codes(card: dict[str, Any], recipe: str = "dpo") -> list[str]:
    return [one.code for one in warnings_of(card, recipe)]


def test_nothing_is_warned_of_where_nothing_is_wrong() -> None:
    assert [codes(card(), recipe) for recipe in FEWEST] == [[], [], []]


@pytest.mark.parametrize(
    ("differing", "code"),
    [
        ({"splits": {"train": {"tasks": 50, "pairs": 90}, "held_out": {"tasks": 9}}}, "too_few"),
        ({"splits": {"train": {"tasks": 500, "pairs": 3000}, "held_out": {"tasks": 0}}}, "nothing_held_out"),
        ({"agreement": {"agreement": 0.52}}, "low_agreement"),
        ({"leanings": {"first_shown": LEANING | {"win_rate": 0.7, "win_rate_low": 0.66}}}, "told_by_order"),
        ({"told_by_length": SHARE | {"value": 0.8, "low": 0.75}}, "told_by_length"),
        ({"told_by_source": SHARE | {"value": 0.9, "low": 0.85}}, "told_by_source"),
        (
            {
                "sources": [
                    {"name": "a", "responses": 100, "first_share": 0.9},
                    {"name": "b", "responses": 100, "first_share": 0.1},
                ]
            },
            "one_source",
        ),
        ({"duplicates": {"across_splits": 2}}, "near_held_out"),
        ({"no_consensus": {"tasks": 400}}, "no_consensus"),
        ({"personal_data": {"IBAN": {"found": 2, "texts": 1, "places": []}}}, "personal_data"),
        ({"estimator": {"converged": False, "trouble": "No end."}}, "not_converged"),
    ],
)
def test_what_is_wrong_is_warned_of_in_a_sentence(differing: dict[str, Any], code: str) -> None:
    (found,) = warnings_of(card(**differing))
    assert found.code == code and found.sentence.endswith(".")


def test_how_many_are_too_few_depends_on_the_aim() -> None:
    some = card(splits={"train": {"tasks": 150, "pairs": 800}, "held_out": {"tasks": 9}})
    assert [codes(some, recipe) for recipe in ("dpo", "ppo", "sft")] == [[], ["too_few"], []]


def test_a_leaning_without_an_interval_warns_of_nothing() -> None:
    wide = {"win_rate": 1.0, "win_rate_low": None, "win_rate_high": None, "pairs": 3}
    assert codes(card(leanings={"first_shown": wide})) == []


def test_a_card_from_before_there_were_such_figures_is_read() -> None:
    new = ("leanings", "told_by_length", "told_by_source", "duplicates", "no_consensus", "personal_data")
    assert codes({name: value for name, value in card().items() if name not in new}) == []


def test_the_ceiling_of_agreement() -> None:
    assert ceiling_of(1.0) == 1.0 and ceiling_of(0.5) == 0.5 and ceiling_of(0.3) == 0.5
    assert ceiling_of(0.82) == pytest.approx(0.9)  # 0.9² + 0.1²


def record(lengths: list[int], sources: list[str], tiers: list[list[int]], task: int = 1) -> Ranking:
    scores = {number: -float(place) for place, tier in enumerate(tiers) for number in tier}
    return Ranking(
        prompt=[{"role": "user", "content": "Why?"}],
        responses=[f"{n}" + "x" * length for n, length in enumerate(lengths)],
        tiers=tiers,
        scores=[scores[n] for n in range(len(lengths))],
        meta={"task": str(task), "sources": sources},
    )


def test_shares_that_length_and_source_tell_count_pairs() -> None:
    records = [
        record([9, 5, 5], ["a", "b", "b"], [[0], [1], [2]]),
        record([1, 5, 5], ["a", "b", "b"], [[0, 1], [2]]),
    ]
    by_length, by_source = told_by_length(records), told_by_source(records)
    assert (by_length["value"], by_length["of"]) == (pytest.approx(2 / 3), 3)
    assert (by_source["value"], by_source["of"]) == (1.0, 3)
    assert without_consensus([record([1, 2], ["a", "a"], [[0, 1]], task=7)]) == {
        "tasks": 1,
        "examples": ["7"],
    }
    drawn = histograms(records, [1.0, 0.5])
    assert sum(drawn["response_words"]["counts"]) == 6
    assert sum(drawn["probability"]["counts"]) == 5 and sum(drawn["reliability"]["counts"]) == 2


@pytest.mark.django_db
def test_the_card_of_a_dataset_has_the_figures_and_its_readme_too(
    project: Project,
    batch: Batch,  # noqa: F811
    answer: Answer,  # noqa: F811
) -> None:
    answer("ann-secret", [[2], [0], [1]])
    answer("bob-secret", [[0, 1, 2]])
    project.prompts.update(language="en")
    dataset = build_dataset(project=project, batches=[batch], filters={"min_margin": 0.001})
    found = dataset.card
    assert found["languages"] == {"en": 8}
    assert found["leanings"]["first_shown"]["pairs"] == 24
    assert found["duplicates"] == {
        "near_prompts": 0,
        "across_splits": 0,
        "tasks_of_one_prompt": 0,
        "responses_of_several_prompts": 4,
    }
    assert found["left_out"][0]["filter"] == "min_margin"
    readme = (dataset_folder(dataset) / "README.md").read_text()
    for title in ("Before training", "Left out", "Languages", "Leanings", "Duplicates"):
        assert f"## {title}\n" in readme
    assert "secret" not in readme and "secret" not in str(found)

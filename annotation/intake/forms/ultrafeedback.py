"""UltraFeedback: up to four completions of an instruction, each rated by GPT-4 on four aspects.

https://github.com/OpenBMB/UltraFeedback, and "UltraFeedback: Boosting Language Models with Scaled AI Feedback" (Cui et
al. 2023). The overall score of some completions was wrong at first, so the mean of the four ratings
goes before it, as ``fine-grained_score`` does in the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as ReadOnly
from typing import Any

from annotation.intake.forms.form import Form, Mapping, Sample
from annotation.intake.items import Candidate, Item, Row, name_of, number_of, said_by_user, tiers_by
from annotation.rows import BadField, is_list

JUDGE = "GPT-4"
NOT_RATED = ("N/A", "", None)


def _matches(sample: Sample) -> bool:
    return sample.has("instruction", "completions") and all(
        is_list(row["completions"]) and all(isinstance(each, ReadOnly) for each in row["completions"])
        for row in sample.rows
    )


def _read(row: Row, mapping: Mapping) -> Iterator[Item]:
    given = row.get("completions")
    if not is_list(given) or not all(isinstance(each, ReadOnly) for each in given):
        raise BadField("completions", "must be a list of objects with model, response and annotations")
    candidates, ratings = [], []
    for number, completion in enumerate(given):
        field = f"completions[{number}]"
        candidates.append(
            Candidate(completion.get("response"), name_of(completion.get("model"), f"{field}.model"))
        )
        ratings.append(_ratings(completion.get("annotations"), f"{field}.annotations"))
    scores = [
        _score(completion, rated, f"completions[{number}]")
        for number, (completion, rated) in enumerate(zip(given, ratings, strict=True))
    ]
    aspects = dict.fromkeys(aspect for rated in ratings for aspect in rated)
    yield Item(
        messages=said_by_user(row.get("instruction"), "instruction"),
        candidates=candidates,
        tiers=tiers_by(scores),
        annotator=JUDGE,
        ratings={aspect: [rated.get(aspect) for rated in ratings] for aspect in aspects},
        tags=[name_of(row["source"], "source")] if row.get("source") else [],
    )


def _ratings(annotations: Any, field: str) -> dict[str, float]:
    if not isinstance(annotations, ReadOnly):
        return {}
    rated = {}
    for aspect, said in annotations.items():
        # Some aspects were annotated twice and are lists; their first has the rating.
        said = said[0] if is_list(said) and said else said
        rating = said.get("Rating") if isinstance(said, ReadOnly) else None
        if rating not in NOT_RATED:
            number = number_of(rating, f"{field}.{aspect}.Rating")
            if number is not None:
                rated[name_of(aspect, field)] = number
    return rated


def _score(completion: ReadOnly[str, Any], rated: ReadOnly[str, float], field: str) -> float | None:
    fine = number_of(completion.get("fine-grained_score"), f"{field}.fine-grained_score")
    if fine is not None:
        return fine
    if rated:
        return sum(rated.values()) / len(rated)
    return number_of(completion.get("overall_score"), f"{field}.overall_score")


FORM = Form(
    name="ultrafeedback",
    title="UltraFeedback",
    about="https://github.com/OpenBMB/UltraFeedback",
    becomes=(
        ("instruction", "the prompt"),
        ("completions[].response, .model", "responses, each from a source of the model's name"),
        ("completions[].fine-grained_score", "the ranking, by the annotator GPT-4; equal scores are tied"),
        ("completions[].annotations.….Rating", "ratings of the aspects that the project has by these names"),
        ("source", "a tag of the prompt"),
        ("rationales, critiques, system prompts", "left out"),
    ),
    matches=_matches,
    read=_read,
)

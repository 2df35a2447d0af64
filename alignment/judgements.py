"""What people's rankings of an evaluation say of the models whose responses they ranked, blind."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from annotation.models import Batch, TaskResponse
from annotation.submitting import current_rankings
from training.engine.intervals import win_rate_interval

Texts = Mapping[int, Mapping[str, str]]
"""What each model said to each prompt."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A win rate with its 95 % interval; None where nobody judged."""

    win_rate: float | None
    win_rate_low: float | None
    win_rate_high: float | None

    @classmethod
    def of(cls, by_prompt: Iterable[float]) -> Rate:
        """Return the rate over prompts, from the rate of each."""
        rates = list(by_prompt)
        if not rates:
            return cls(None, None, None)
        low, high = win_rate_interval(rates)
        return cls(math.fsum(rates) / len(rates), low, high)


@dataclass(frozen=True, slots=True)
class Judged:
    """How often people preferred one model to another, prompt by prompt."""

    by_prompt: Mapping[int, float]
    """Of each prompt that was ranked, by its primary key, the mean over its rankings of 1 (preferred), ½ (tied), 0."""
    comparisons: int
    """Each ranking counted apart."""


def texts_of(draws: Iterable[Mapping[str, Any]]) -> Texts:
    """Return what an evaluation's models said, one response of each a prompt, without the space around it: texts that
    are alike but for that are one response to people (`annotation.batching.compose_batch`)."""
    texts: dict[int, dict[str, str]] = defaultdict(dict)
    for draw in draws:
        texts[draw["id"]][draw["model"]] = draw["text"].strip()
    return texts


def judge(batch: Batch, texts: Texts, one: str, other: str) -> Judged:
    """Return how often people preferred what ``one`` said to what ``other`` said, in the prompts that they ranked.

    Where both said the same, it is a tie. A response that was left unranked is compared with nothing.
    """
    said: dict[int, dict[int, str]] = defaultdict(dict)
    for task, position, text in TaskResponse.objects.filter(task__batch=batch).values_list(
        "task_id", "position", "response__text"
    ):
        said[task][position] = text.strip()
    outcomes: dict[int, list[float]] = defaultdict(list)
    rankings = current_rankings(batch).order_by("pk").values_list("task_id", "task__prompt_id", "tiers")
    for task, prompt, tiers in rankings:
        mine, its = texts[prompt][one], texts[prompt][other]
        # Of one text there is one response, so where both said the same, it ties with itself.
        place = {said[task][position]: rank for rank, tier in enumerate(tiers) for position in tier}
        if mine in place and its in place:
            tied, better = place[mine] == place[its], place[mine] < place[its]
            outcomes[prompt].append(0.5 if tied else float(better))
    return Judged(
        by_prompt={prompt: fmean(each) for prompt, each in outcomes.items()},
        comparisons=sum(map(len, outcomes.values())),
    )

"""Figures of a dataset's card beyond its counts: what leans, repeats, or tells too much."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from alignment.consensus_records import RankedTask
from alignment.narrowing import LABELS, LeftOut
from annotation.answer_columns import columns_of
from annotation.habits import BatchHabits
from annotation.models import Batch, Prompt
from annotation.models import Ranking as Answer
from annotation.near_duplicates import near_pairs
from annotation.ratios import Ratio, ratio
from training.engine.records import Ranking, sigmoid

BINS = 20
MOST_EXAMPLES = 20
Figures = dict[str, Any]


def leanings(tasks: Sequence[RankedTask]) -> Figures:
    """How often the response that was shown first, was longer, or had lists, tables or bold words was put above, by the
    annotators' rankings, ties left out."""
    pks = [vote.answer.pk for one in tasks for vote in one.votes]
    batches = Batch.objects.filter(pk__in={one.task.batch_id for one in tasks})
    everybody = BatchHabits(columns_of(Answer.objects.filter(pk__in=pks), batches)).everybody()
    return {
        name: dataclasses.asdict(getattr(everybody, name)) for name in ("first_shown", "longer", "formatted")
    }


def told_by_length(records: Sequence[Ranking]) -> Figures:
    """The share of the consensus's preferences in which the longer response is preferred."""
    return _share_of(
        records,
        lambda record, better, worse: len(record.responses[better]) - len(record.responses[worse]),
    )


def told_by_source(records: Sequence[Ranking]) -> Figures:
    """The share of preferences between two sources that are told right by which source is better on the whole."""
    scores: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for tier in record.tiers:
            for number in tier:
                scores[record.meta["sources"][number]].append(record.scores[number])
    mean = {name: sum(of_source) / len(of_source) for name, of_source in scores.items()}

    def lead(record: Ranking, better: int, worse: int) -> float:
        sources = record.meta["sources"]
        return mean[sources[better]] - mean[sources[worse]]

    return _share_of(records, lead)


def _share_of(records: Sequence[Ranking], lead: Callable[[Ranking, int, int], float]) -> Figures:
    """The share of preferences with a lead above 0 among those whose lead is not 0."""
    right, told = np.zeros(len(records)), np.zeros(len(records))
    for n, record in enumerate(records):
        for better, worse in combinations(record.tiers, 2):
            leads = [lead(record, one, other) for one in better for other in worse]
            right[n] += sum(each > 0 for each in leads)
            told[n] += sum(each != 0 for each in leads)
    found: Ratio = ratio(right, told)
    return dataclasses.asdict(found)


def languages(tasks: Sequence[RankedTask]) -> dict[str, int]:
    """How many prompts are in each language that their importers gave, the commonest first; "" where none was given."""
    each = {one.task.prompt_id: one.task.prompt.language for one in tasks}
    return dict(sorted(Counter(each.values()).items(), key=lambda item: (-item[1], item[0])))


def duplicates(tasks: Sequence[RankedTask], records: Sequence[Ranking]) -> Figures:
    """Prompts that nearly repeat an earlier one, with those of them whose earlier one is in the other split; tasks of a
    prompt that another task has too; and responses whose very text is another prompt's too."""
    by_pk = {one.task.prompt_id: one.task.prompt for one in tasks}
    prompts: list[Prompt] = list(by_pk.values())
    near = list(near_pairs(prompts))
    across = {a for a, b in near if prompts[a].split != prompts[b].split}
    prompts_of: dict[str, set[int]] = defaultdict(set)
    for one, record in zip(tasks, records, strict=True):
        for text in record.responses:
            prompts_of[text].add(one.task.prompt_id)
    return {
        "near_prompts": len({a for a, _ in near}),
        "across_splits": len(across),
        "tasks_of_one_prompt": len(tasks) - len(prompts),
        "responses_of_several_prompts": sum(len(of_text) > 1 for of_text in prompts_of.values()),
    }


def without_consensus(records: Sequence[Ranking]) -> Figures:
    """The tasks of which all ranked responses are tied, by number, and the first of them."""
    tied = [record.meta["task"] for record in records if len(record.tiers) == 1 and len(record.tiers[0]) > 1]
    return {"tasks": len(tied), "examples": tied[:MOST_EXAMPLES]}


def histograms(records: Sequence[Ranking], reliability: Sequence[float]) -> Figures:
    """How long responses are, how sure preferences are, and how far annotators follow the consensus: each as
    ``edges`` and ``counts``. The last bin of lengths holds the longest hundredth, too."""
    words = [len(text.split()) for record in records for text in record.responses]
    sure = [
        sigmoid(record.scores[one] - record.scores[other])
        for record in records
        for better, worse in combinations(record.tiers, 2)
        for one in better
        for other in worse
    ]
    longest = float(np.quantile(words, 0.99)) if words else 1.0
    return {
        "response_words": _histogram(np.minimum(words, longest), (0, max(longest, 1.0))),
        "probability": _histogram(sure, (0.5, 1.0)),
        "reliability": _histogram(reliability, (0, max([2.0, *reliability]))),
    }


def left_out_of(steps: Sequence[LeftOut]) -> list[Figures]:
    """What each filter left out, as JSON has it."""
    return [
        {
            "filter": step.name,
            "label": LABELS[step.name],
            "splits": {split: dataclasses.asdict(amount) for split, amount in step.by_split.items()},
        }
        for step in steps
    ]


def _histogram(values: Any, ends: tuple[float, float]) -> Mapping[str, list[float]]:
    counts, edges = np.histogram(np.asarray(values, np.float64), bins=BINS, range=ends)
    return {"edges": [round(float(edge), 4) for edge in edges], "counts": counts.tolist()}

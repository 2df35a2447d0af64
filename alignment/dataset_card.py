"""A dataset's card: what the data say of themselves, as figures and as a page that ``datasets`` and people read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from alignment import card_figures
from alignment.adjudicating import ADJUDICATED_LEAD
from alignment.card_markdown import findings, plain, table_rows
from alignment.narrowing import Narrowed
from alignment.personal_data import personal_data
from annotation.agreement import measure_agreement
from annotation.models import Batch, Flag, Project
from annotation.models import Ranking as Answer
from annotation.remarks import flag_name
from training.engine.records import Ranking

README = """\
---
pretty_name: {project}, dataset
task_categories:
- text-generation
tags:
- preference
- rlhf
configs:
- config_name: default
  data_files:
  - split: train
    path: train.parquet
  - split: held_out
    path: held_out.parquet
---
# {project}

{rankings} rankings of {tasks} tasks by {annotators}, from {batches}.

Each row is one task: a prompt, its responses, and the consensus of all its rankings as tiers and scores.
`tiers` index into `responses`, best first; responses in one tier are tied, those in none are unranked.
`scores` are log-worths: the probability that the next annotator, if they do not tie them, prefers response i to j is
1 / (1 + exp(scores[j] − scores[i])). The less the rankings tell of a task, the closer its scores are to 0.
{adjudicated}A prompt's split follows from a hash of it, or of the prompt that it nearly repeats, and is the same in
every version of this dataset.
{demonstrations}
| split | tasks | prompts | responses | preferences | demonstrations |
| --- | --- | --- | --- | --- | --- |
{splits}
{flags}
## Agreement
{agreement}

## Sources
| source | responses | mean score | in the first tier |
| --- | --- | --- | --- |
{sources}

## Lengths (words)
| | median | 90 % below | longest |
| --- | --- | --- | --- |
{lengths}

{findings}
## Consensus
{estimator}
"""


DEMONSTRATIONS = """\
`demonstrations` are better replies that annotators wrote, by editing a response or anew; `sft` imitates them in place
of the best response of their task.
"""
FLAGS = """
## Flags
Responses that annotators flagged, once for each annotator who did, when this version was made.

| flag | responses |
| --- | --- |
{rows}
"""


def describe(
    *,
    project: Project,
    batches: Sequence[Batch],
    narrowed: Narrowed,
    by_split: Mapping[str, Sequence[Ranking]],
) -> dict[str, Any]:
    """Return the card's figures: counts, flags, agreement, annotators (never by name), sources, lengths, leanings,
    duplicates, personal data by its form, and how the fit went."""
    tasks, records, consensus = narrowed.tasks, narrowed.records, narrowed.consensus
    answers = [vote.answer for one in tasks for vote in one.votes]
    each = Counter(answer.annotator_id for answer in answers)
    agreement = measure_agreement([[vote.tiers for vote in one.votes] for one in tasks])
    reliability = sorted(
        (round(adherence, 4) for who, adherence in consensus.reliability.items() if who in each), reverse=True
    )
    return {
        "project": project.name,
        "batches": [batch.name for batch in batches],
        "tasks": len(tasks),
        "rankings": len(answers),
        "adjudicated": sum("adjudicated" in record.meta for record in records),
        "splits": {split: _counts(of_split) for split, of_split in by_split.items()},
        "tied_share": _tied_share(records),
        "flags": _flags(answers),
        "agreement": {
            "agreement": agreement.agreement,
            "low": agreement.low,
            "high": agreement.high,
            "pairs": agreement.pairs,
        },
        "annotators": {
            "count": len(each),
            "rankings": _spread(list(each.values())),
            "reliability": reliability,
        },
        "sources": _sources(records),
        "lengths": {
            "prompt": _spread([len(m["content"].split()) for r in records for m in r.prompt[-1:]]),
            "response": _spread([len(text.split()) for r in records for text in r.responses]),
        },
        "left_out": card_figures.left_out_of(narrowed.left_out),
        "languages": card_figures.languages(tasks),
        "leanings": card_figures.leanings(tasks),
        "told_by_length": card_figures.told_by_length(records),
        "told_by_source": card_figures.told_by_source(records),
        "duplicates": card_figures.duplicates(tasks, records),
        "no_consensus": card_figures.without_consensus(records),
        "personal_data": personal_data(records),
        "histograms": card_figures.histograms(records, reliability),
        "estimator": {
            "log_likelihood": round(consensus.log_likelihood, 3),
            "converged": consensus.converged,
            "spread": round(consensus.spread.value, 4) if consensus.spread else None,
            "trouble": consensus.trouble,
            "ties": {str(order): round(tie.value, 4) for order, tie in consensus.ties.items()},
        },
    }


def as_markdown(card: Mapping[str, Any]) -> str:
    """Return the card as the dataset's README.md; its front matter lets ``datasets.load_dataset`` take the folder."""
    estimator = card["estimator"]
    annotators = card["annotators"]["count"]
    return README.format(
        project=plain(card["project"]),
        rankings=card["rankings"],
        tasks=card["tasks"],
        annotators=f"{annotators} annotator{'s' if annotators != 1 else ''}",
        adjudicated=_adjudicated(card["adjudicated"]),
        batches=", ".join(plain(name) for name in card["batches"]),
        demonstrations=DEMONSTRATIONS if any(c["demonstrations"] for c in card["splits"].values()) else "",
        splits=table_rows(
            (split, c["tasks"], c["prompts"], c["responses"], c["pairs"], c["demonstrations"])
            for split, c in card["splits"].items()
        ),
        flags=_flag_table(card["flags"]),
        agreement=_agreement(card["agreement"]),
        sources=table_rows(
            (plain(s["name"]), s["responses"], f"{s['mean_score']:+.2f}", f"{s['first_share']:.1%}")
            for s in card["sources"]
        ),
        lengths=table_rows(
            (what, s["median"], s["most_below"], s["most"]) for what, s in card["lengths"].items()
        ),
        findings=findings(card),
        estimator=(
            f"Estimator {estimator['name']} (Plackett–Luce with ties; annotators weigh by their adherence): a normal "
            f"prior of standard deviation {estimator['spread']:g} on each score, {estimator['prior']:g} before it was "
            f"learned; scores closer than "
            f"{estimator['tie_margin']:g} are tied. Log-likelihood {estimator['log_likelihood']:g}, "
            f"{'converged' if estimator['converged'] else 'NOT converged: ' + estimator['trouble']}."
        ),
    )


def _adjudicated(tasks: int) -> str:
    if not tasks:
        return ""
    return (
        f"Of {tasks} task{'s' if tasks != 1 else ''}, marked `adjudicated` in `meta`, the tiers are those that a "
        f"reviewer decided on, and each tier's scores are at least {ADJUDICATED_LEAD:g} above the next one's.\n"
    )


def _agreement(measured: Mapping[str, Any]) -> str:
    if not measured["pairs"]:
        return "No task was ranked by two annotators."
    interval = (
        "no interval: the tasks are too few or too alike"
        if measured["low"] is None
        else f"95 % interval {measured['low']:.1%} to {measured['high']:.1%}"
    )
    return (
        f"Two annotators of the same task agree on {measured['agreement']:.1%} of {measured['pairs']} pairs of "
        f"responses ({interval}), a tie being an answer of its own."
    )


def _flags(answers: Sequence[Answer]) -> dict[str, int]:
    found = Counter(flag.kind for answer in answers for flag in answer.flags.all())
    return {kind: found[kind] for kind in Flag.Kind.values if found[kind]}


def _flag_table(flags: Mapping[str, int]) -> str:
    if not flags:
        return ""
    return FLAGS.format(rows=table_rows((flag_name(kind), count) for kind, count in flags.items()))


def _counts(records: Sequence[Ranking]) -> dict[str, int]:
    return {
        "tasks": len(records),
        "prompts": len({tuple((m["role"], m["content"]) for m in record.prompt) for record in records}),
        "responses": sum(len(record.responses) for record in records),
        # Counted, not made: that texts differ holds within a task.
        "pairs": sum(len(one) * len(other) for r in records for one, other in combinations(r.tiers, 2)),
        "demonstrations": sum(len(record.demonstrations) for record in records),
    }


def _tied_share(records: Sequence[Ranking]) -> float | None:
    """The share of a task's pairs of ranked responses that the consensus ties; None without a pair."""
    pairs = tied = 0
    for record in records:
        ranked = sum(map(len, record.tiers))
        pairs += ranked * (ranked - 1) // 2
        tied += sum(len(tier) * (len(tier) - 1) // 2 for tier in record.tiers)
    return round(tied / pairs, 4) if pairs else None


def _sources(records: Sequence[Ranking]) -> list[dict[str, Any]]:
    scores: dict[str, list[float]] = defaultdict(list)
    first: Counter[str] = Counter()
    for record in records:
        for rank, tier in enumerate(record.tiers):
            for number in tier:
                name = record.meta["sources"][number]
                scores[name].append(record.scores[number])
                first[name] += rank == 0
    return [
        {
            "name": name,
            "responses": len(of_source),
            "mean_score": round(sum(of_source) / len(of_source), 4),
            "first_share": round(first[name] / len(of_source), 4),
        }
        for name, of_source in sorted(scores.items())
    ]


def _spread(numbers: Sequence[int]) -> dict[str, float]:
    values = np.asarray(numbers or [0])
    return {
        "least": int(values.min()),
        "median": float(np.median(values)),
        "most_below": float(np.quantile(values, 0.9)),
        "most": int(values.max()),
    }

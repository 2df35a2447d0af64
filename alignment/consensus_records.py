"""What people said of tasks, and the one ranking record that it makes of each."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alignment.adjudicating import put_in_order
from alignment.consensus import PRIOR, Consensus, Spread
from alignment.judges.hearing import SHARE, fit_with_judges
from alignment.judges.models import Judge
from annotation.models import Batch, Task
from annotation.models import Ranking as Answer
from annotation.opinions import Tiers
from annotation.reviewing import Adjudication
from annotation.submitting import current_rankings
from training.engine.records import Ranking
from training.engine.settings import setting

ESTIMATOR = "davidson-luce"
# Beyond what the estimator converges to on any machine, digits would only break the equality of hashes.
DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusSettings:
    """How the rankings of a task become one."""

    prior: float = setting(PRIOR, above=0, at_most=100)
    """What the spread of responses' scores within a task, a standard deviation in log-worth, is taken to be before
    rankings of the same task by several people tell; see `alignment.consensus`."""
    tie_margin: float = setting(0.1, at_least=0, at_most=10)
    """A response whose score is less than this below its tier's best is tied with it. 0.1: the better one
    would be preferred with a probability below 52.5 %, which says nothing worth learning."""
    judges: tuple[int, ...] = setting(())
    """AI judges, by primary key, that are heard on the tasks that people ranked."""
    judge_share: float = setting(SHARE, above=0, at_most=1)
    """Of a pair's weight, what all judges together have at most; of rankings of more responses less, so that they turn
    no two people who agree. 1 does not hold them back."""

    def frozen(self) -> dict[str, Any]:
        """The settings as a dataset keeps them: those of judges only where some are heard, so that what was built
        before there were any keeps its hash."""
        kept = dataclasses.asdict(self)
        if not self.judges:
            del kept["judges"], kept["judge_share"]
        return kept | ({"judges": sorted(set(self.judges))} if self.judges else {})


@dataclass(frozen=True, slots=True)
class Vote:
    """What one annotator said of a task: the tiers of their ranking, or those that their ratings on an aspect make."""

    answer: Answer
    tiers: Tiers


@dataclass(frozen=True, slots=True)
class RankedTask:
    """A task with the votes on it that count."""

    task: Task
    votes: Sequence[Vote]


def ranked_tasks(batches: Sequence[Batch], *, ratings: bool = False) -> list[RankedTask]:
    """Return the tasks that somebody ranked, with their current answers: an order that the content alone decides.

    Args:
        ratings: whether ratings of aspects are read as well.
    """
    votes: dict[int, list[Vote]] = defaultdict(list)
    current = current_rankings(Batch.objects.filter(pk__in=[b.pk for b in batches]))
    besides = ("demonstrations", "flags", *(("aspect_ratings",) if ratings else ()))
    for answer in current.prefetch_related(*besides).order_by("pk"):
        votes[answer.task_id].append(Vote(answer, answer.tiers))
    tasks = (
        Task.objects.filter(pk__in=votes)
        .select_related("prompt")
        .prefetch_related("task_responses__response__source")
    )
    in_order = sorted(tasks, key=lambda task: (task.prompt.digest, task.pk))
    return [RankedTask(task, votes[task.pk]) for task in in_order]


def agree_on(
    tasks: Sequence[RankedTask],
    decided: Mapping[int, Adjudication],
    settings: ConsensusSettings,
    judges: Sequence[Judge],
) -> Consensus:
    """Fit the consensus of all votes, and of what judges said of the same tasks; an adjudication is one more
    person's."""
    said = [(one.task.pk, vote.answer.annotator_id, vote.tiers) for one in tasks for vote in one.votes]
    said += [
        (one.task.pk, decided[one.task.pk].reviewer, decided[one.task.pk].tiers)
        for one in tasks
        if one.task.pk in decided
    ]
    return fit_with_judges(
        said,
        judges,
        batches=list({one.task.batch_id for one in tasks}),
        prior=Spread(settings.prior),
        share=settings.judge_share,
    )


def record_of(
    one: RankedTask,
    decided: Adjudication | None,
    consensus: Consensus,
    settings: ConsensusSettings,
    *,
    aspect: str = "",
) -> Ranking:
    """Return the task's record, of weight 1.

    Args:
        decided: a reviewer's order of the task, which is the record's then.
        aspect: which the votes are on; a better response that an annotator wrote is none by one aspect alone, so such
            a record has no demonstrations.
    """
    task = one.task
    responses = [each.response for each in task.task_responses.all()]
    orders = [vote.tiers for vote in one.votes] if decided is None else [decided.tiers]
    ranked = sorted({number for tiers in orders for tier in tiers for number in tier})
    # Models learn the probabilities, so those have to hold for rankings yet to come.
    foretold = {number: consensus.predictive_scores[task.pk, number] for number in ranked}
    if decided is not None:
        foretold = put_in_order(foretold, decided.tiers)
    scores = {number: round(score, DECIMALS) + 0.0 for number, score in foretold.items()}  # no negative zero
    written = {each.text for vote in one.votes for each in vote.answer.demonstrations.all()}
    return Ranking(
        prompt=[{"role": m["role"], "content": m["content"]} for m in task.prompt.messages],
        context=[
            {name: passage.get(name) or "" for name in ("id", "title", "text", "url")}
            for passage in task.prompt.context
        ],
        responses=[response.text for response in responses],
        tiers=tiers_of(scores, settings.tie_margin)
        if decided is None
        else [sorted(tier) for tier in decided.tiers],
        scores=[scores.get(number, 0.0) for number in range(len(responses))],
        weight=1.0,
        meta={
            "task": str(task.pk),
            "rankings": len(one.votes),
            "sources": [response.source.name for response in responses],
            **({"adjudicated": True} if decided is not None else {}),
            **({"aspect": aspect} if aspect else {}),
        },
        # Sorted: what was written decides the order, not who wrote first.
        demonstrations=[] if aspect else sorted(written),
    )


def without_responses(record: Ranking, dropped: set[int]) -> Ranking:
    """Return the record without some of its responses; what it says of the others stays."""
    kept = [number for number in range(len(record.responses)) if number not in dropped]
    place = {number: n for n, number in enumerate(kept)}
    tiers = [[place[number] for number in tier if number in place] for tier in record.tiers]
    return replace(
        record,
        responses=[record.responses[number] for number in kept],
        tiers=[tier for tier in tiers if tier],
        scores=[record.scores[number] for number in kept],
        meta=record.meta | {"sources": [record.meta["sources"][number] for number in kept]},
    )


def tiers_of(scores: dict[int, float], tie_margin: float) -> list[list[int]]:
    """Return the tiers that scores make, best first, each one's numbers in order.

    A response joins a tier while it is less than ``tie_margin`` below the tier's best; equal scores are always tied.
    """
    tiers: list[list[int]] = []
    best = 0.0
    for number in sorted(scores, key=lambda number: (-scores[number], number)):
        if tiers and (best - scores[number] < tie_margin or best == scores[number]):
            tiers[-1].append(number)
        else:
            tiers.append([number])
            best = scores[number]
    return [sorted(tier) for tier in tiers]

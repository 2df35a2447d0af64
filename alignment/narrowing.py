"""Applying a dataset's filters, one after the other, and counting what each leaves out."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from itertools import combinations
from statistics import fmean

from alignment.consensus import Consensus
from alignment.consensus_records import (
    ConsensusSettings,
    RankedTask,
    Vote,
    agree_on,
    record_of,
    without_responses,
)
from alignment.dataset_filters import Filters
from alignment.judges.models import Judge
from annotation.agreement import tallies_of
from annotation.models import Project, Prompt, Review
from annotation.near_duplicates import nearest
from annotation.opinions import Opinions, Tiers
from annotation.reviewing import Adjudication
from training.engine.records import Ranking

SPLITS = (Prompt.Split.TRAIN, Prompt.Split.HELD_OUT)
# What each filter is called where it is counted, in the order in which they are applied.
LABELS = {
    "withdrawn": "Withdrawn",
    "aspect": "Not rated on the aspect",
    "dates": "Outside the dates",
    "min_reliability": "By annotators of low reliability",
    "sources": "Of other sources",
    "flags": "Flagged",
    "min_rating": "Rated low",
    "apart_from_held_out": "Near a held-out prompt",
    "reviewed_only": "Not accepted by a review",
    "min_agreement": "Low agreement",
    "min_margin": "Small margin",
}


@dataclass(frozen=True, slots=True)
class Amount:
    """So much of one split. ``pairs`` are preferences of the consensus."""

    tasks: int = 0
    rankings: int = 0
    responses: int = 0
    pairs: int = 0

    def __sub__(self, other: Amount) -> Amount:
        return Amount(
            *(a - b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True))
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What one filter left out of what those before it had left, by split. An amount may be below 0: without some
    rankings, others may prefer where together they tied."""

    name: str
    by_split: Mapping[str, Amount]


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What is left, record by record, and how it came to be so little."""

    tasks: list[RankedTask]
    records: list[Ranking]
    consensus: Consensus
    before: Mapping[str, Amount]
    left_out: list[LeftOut]
    after: Mapping[str, Amount]


def narrow(
    project: Project,
    tasks: list[RankedTask],
    decided: Mapping[int, Adjudication],
    settings: ConsensusSettings,
    judges: Sequence[Judge],
    filters: Filters,
    withdrawn: Callable[[RankedTask], RankedTask],
) -> Narrowed:
    """Apply the filters in the order of `LABELS`, and count what each leaves out.

    Args:
        tasks: at least one, with every vote, in the dataset's order.
        judges: that are heard, but for where ratings of an aspect are learned: judges said nothing of those.
        withdrawn: takes the votes from a task that are withdrawn, all of them where its prompt is.
    """
    aspects = dict(project.aspects.values_list("name", "pk"))
    run = _Run(tasks, decided, settings, judges)
    run.keep_votes("withdrawn", withdrawn)
    if filters.aspect:
        run.learn_aspect(filters.aspect, aspects[filters.aspect])
    if filters.ranked_from or filters.ranked_until:
        run.keep_votes("dates", lambda one: _voted(one, lambda vote: _is_within(vote, filters)))
    if filters.min_reliability is not None:
        least, reliability = filters.min_reliability, run.consensus.reliability
        run.keep_votes(
            "min_reliability",
            lambda one: _voted(
                one, lambda vote: reliability.get(vote.answer.annotator_id, math.inf) >= least
            ),
        )
    for name, drops in _responses_to_drop(filters, aspects):
        run.drop_responses(name, drops)
    for name, keeps in _tasks_to_keep(project, filters, run):
        run.keep_tasks(name, keeps)
    return Narrowed(run.tasks, run.records, run.consensus, run.before, run.left_out, run.amounts())


class _Run:
    """One pass of the filters. The consensus is fitted anew where votes went."""

    def __init__(
        self,
        tasks: list[RankedTask],
        decided: Mapping[int, Adjudication],
        settings: ConsensusSettings,
        judges: Sequence[Judge],
    ) -> None:
        self.tasks, self.decided, self.settings, self.judges, self.aspect = (
            tasks,
            decided,
            settings,
            judges,
            "",
        )
        self.left_out: list[LeftOut] = []
        self.dropped: dict[int, set[int]] = defaultdict(set)
        self._fit()
        self.before = self.amounts()

    def learn_aspect(self, name: str, pk: int) -> None:
        self.aspect, self.decided, self.judges = name, {}, ()
        self.keep_votes("aspect", lambda one: _by_aspect(one, pk), anew=True)

    def keep_votes(
        self, name: str, change: Callable[[RankedTask], RankedTask], *, anew: bool = False
    ) -> None:
        before, changed = self.amounts(), [change(one) for one in self.tasks]
        if anew or changed != self.tasks:
            self.tasks = [one for one in changed if one.votes]
            self._fit()
        self._count(name, before)

    def drop_responses(self, name: str, drops: Callable[[RankedTask], set[int]]) -> None:
        before, left = self.amounts(), []
        for one, record in zip(self.tasks, self.records, strict=True):
            dropped = self.dropped[one.task.pk] | drops(one)
            if dropped == self.dropped[one.task.pk]:
                left.append((one, record))
                continue
            self.dropped[one.task.pk] = dropped
            narrower = without_responses(self._whole[one.task.pk], dropped)
            if sum(map(len, narrower.tiers)) > 1:
                left.append((one, narrower))
        self._set(left)
        self._count(name, before)

    def keep_tasks(self, name: str, keeps: Callable[[RankedTask, Ranking], bool]) -> None:
        before = self.amounts()
        self._set(
            [
                (one, record)
                for one, record in zip(self.tasks, self.records, strict=True)
                if keeps(one, record)
            ]
        )
        self._count(name, before)

    def amounts(self) -> dict[str, Amount]:
        found = {str(split): Amount() for split in SPLITS}
        for one, record in zip(self.tasks, self.records, strict=True):
            so_far = found[one.task.prompt.split]
            found[one.task.prompt.split] = Amount(
                so_far.tasks + 1,
                so_far.rankings + len(one.votes),
                so_far.responses + len(record.responses),
                so_far.pairs + sum(len(a) * len(b) for a, b in combinations(record.tiers, 2)),
            )
        return found

    def _fit(self) -> None:
        self.records: list[Ranking] = []
        if self.tasks:
            self.consensus = agree_on(self.tasks, self.decided, self.settings, self.judges)
            self.records = [
                record_of(
                    one, self.decided.get(one.task.pk), self.consensus, self.settings, aspect=self.aspect
                )
                for one in self.tasks
            ]
        self._whole = {one.task.pk: record for one, record in zip(self.tasks, self.records, strict=True)}

    def _set(self, left: Sequence[tuple[RankedTask, Ranking]]) -> None:
        self.tasks, self.records = [one for one, _ in left], [record for _, record in left]

    def _count(self, name: str, before: Mapping[str, Amount]) -> None:
        after = self.amounts()
        amounts = {split: before[split] - after[split] for split in before}
        # Nothing withdrawn is nothing to tell; a filter that was asked for and leaves out nothing is.
        if name != "withdrawn" or any(amount != Amount() for amount in amounts.values()):
            self.left_out.append(LeftOut(name, amounts))


def _voted(one: RankedTask, counts: Callable[[Vote], bool]) -> RankedTask:
    return RankedTask(one.task, [vote for vote in one.votes if counts(vote)])


def _by_aspect(one: RankedTask, aspect: int) -> RankedTask:
    """The task with its annotators' ratings of the aspect for votes; who rated fewer than two responses has none."""
    votes = []
    for vote in one.votes:
        tiers: dict[int, list[int]] = defaultdict(list)
        for rating in vote.answer.aspect_ratings.all():
            if rating.aspect_id == aspect:
                tiers[rating.rating].append(rating.position)
        if sum(map(len, tiers.values())) > 1:
            votes.append(Vote(vote.answer, [sorted(tiers[step]) for step in sorted(tiers, reverse=True)]))
    return RankedTask(one.task, votes)


def _is_within(vote: Vote, filters: Filters) -> bool:
    day = vote.answer.submitted_at.astimezone(UTC).date().isoformat()
    return (not filters.ranked_from or day >= filters.ranked_from) and (
        not filters.ranked_until or day <= filters.ranked_until
    )


def _responses_to_drop(
    filters: Filters, aspects: Mapping[str, int]
) -> Iterator[tuple[str, Callable[[RankedTask], set[int]]]]:
    if filters.sources:
        yield (
            "sources",
            lambda one: {
                each.position
                for each in one.task.task_responses.all()
                if each.response.source_id not in filters.sources
            },
        )
    if filters.flags:
        yield (
            "flags",
            lambda one: {
                flag.position
                for vote in one.votes
                for flag in vote.answer.flags.all()
                if flag.kind in filters.flags
            },
        )
    if filters.min_rating is not None:
        least, aspect = filters.min_rating, aspects[filters.min_rating_of]
        yield "min_rating", lambda one: _rated_low(one, aspect, least)


def _rated_low(one: RankedTask, aspect: int, least: float) -> set[int]:
    ratings: dict[int, list[int]] = defaultdict(list)
    for vote in one.votes:
        for rating in vote.answer.aspect_ratings.all():
            if rating.aspect_id == aspect:
                ratings[rating.position].append(rating.rating)
    return {number for number, given in ratings.items() if fmean(given) < least}


Keeps = Callable[[RankedTask, Ranking], bool]


def _tasks_to_keep(project: Project, filters: Filters, run: _Run) -> Iterator[tuple[str, Keeps]]:
    if filters.apart_from_held_out:
        near = nearest(
            {
                one.task.prompt_id: one.task.prompt
                for one in run.tasks
                if one.task.prompt.split == Prompt.Split.TRAIN
            }.values(),
            project.prompts.filter(split=Prompt.Split.HELD_OUT),
        )
        yield "apart_from_held_out", lambda one, record: one.task.prompt_id not in near
    if filters.reviewed_only:
        good = (Review.Verdict.ACCEPTED, Review.Verdict.ADJUDICATED)
        reviews = Review.objects.filter(task__in=[one.task for one in run.tasks]).order_by("pk")
        latest = dict(reviews.values_list("task_id", "verdict"))
        yield "reviewed_only", lambda one, record: latest.get(one.task.pk) in good
    if filters.min_agreement is not None:
        agreed, least = _agreements(run), filters.min_agreement
        yield "min_agreement", lambda one, record: agreed.get(one.task.pk, -1.0) >= least
    if filters.min_margin is not None:
        smallest = filters.min_margin
        yield "min_margin", lambda one, record: _margin(record) >= smallest


def _agreements(run: _Run) -> dict[int, float]:
    """How often two annotators of a task ordered its responses alike, where that can be told; 1 of what a reviewer
    decided."""
    if not run.tasks:
        return {}
    tallies = tallies_of(
        Opinions.of(
            [[_left(vote.tiers, run.dropped[one.task.pk]) for vote in one.votes] for one in run.tasks]
        ).counts
    )
    found = {
        one.task.pk: float(alike / couples)
        for one, (alike, couples, *_) in zip(run.tasks, tallies.tolist(), strict=True)
        if couples
    }
    return found | {one.task.pk: 1.0 for one in run.tasks if one.task.pk in run.decided}


def _left(tiers: Tiers, dropped: set[int]) -> Tiers:
    return [[number for number in tier if number not in dropped] for tier in tiers]


def _margin(record: Ranking) -> float:
    scores = [record.scores[number] for tier in record.tiers for number in tier]
    return max(scores) - min(scores) if scores else 0.0

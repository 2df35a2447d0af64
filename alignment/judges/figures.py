"""What a judge's answers are worth: how far it agrees with people, and what besides worth sways it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.db.models.functions import Length

from alignment.consensus import Rankings, fit
from alignment.judges.hearing import SHARE, judged_rankings, machine_name
from alignment.judges.models import Judge, Judgement
from alignment.reliability import FEWEST_RANKINGS, MOST_RANKINGS, Z_95, Reliability
from alignment.withdrawn import withdrawn_of
from annotation.models import Batch, TaskResponse
from annotation.opinions import Opinions, Tiers, tier_table
from annotation.ratios import Ratio, ratio
from annotation.remembering import Remembered, remembered
from annotation.submitting import current_rankings


@dataclass(frozen=True, slots=True)
class Work:
    """What a judge was asked, and what it took. ``tokens`` are None where no answer says."""

    tasks: int
    answers: int
    faults: int
    prompt_tokens: int | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class JudgeFigures:
    """Shares of pairs of responses, with intervals over tasks.

    Attributes:
        agreement: with people who ranked the same task, on pairs that both ordered or tied.
        among_people: of two people, on the tasks that the judge ranked.
        consistency: of two of its own orders of a task.
        first_shown: how often the response that was shown further up won, ties left out; ½ is no leaning.
        longer: how often the longer one won.
        peoples_longer: the same of people's rankings of these tasks.
        reliability: how far it follows what people together say, 1 being the average person.
        compared: how many tasks people ranked too.
    """

    agreement: Ratio
    among_people: Ratio
    consistency: Ratio
    first_shown: Ratio
    longer: Ratio
    peoples_longer: Ratio
    reliability: Reliability | None
    compared: int


def work_of(judgements: QuerySet[Judgement]) -> Work:
    """How much was asked and answered, and the tokens that it took."""
    found = judgements.order_by().aggregate(
        tasks=Count("task", distinct=True),
        answers=Count("pk"),
        faults=Count("pk", filter=Q(tiers__isnull=True)),
        prompt_tokens=Sum("prompt_tokens"),
        tokens=Sum("tokens"),
    )
    return Work(**found)


def judge_figures(judge: Judge) -> Remembered[JudgeFigures]:
    """The judge's figures on all batches that it worked on, fresh or remembered."""
    stamp = judge.judgements.order_by().aggregate(answers=Count("pk"), last=Max("pk"))
    withheld = judge.project.withdrawals.order_by().aggregate(all=Count("pk"), ended=Count("ended_at"))
    name = "judge:" + ":".join(map(str, (judge.pk, *stamp.values(), *withheld.values())))
    batches = Batch.objects.filter(pk__in=judge.judgings.values("batch"))
    return remembered(name, batches, lambda of: figures_of(judge, of))


def figures_of(judge: Judge, batches: QuerySet[Batch], *, seed: int = 0) -> JudgeFigures:
    """Return the figures of a judge on the batches that it worked on, by what is not withdrawn. Of very many tasks,
    some drawn at random stand for all (`MOST_RANKINGS` of people's rankings)."""
    withdrawn = withdrawn_of(judge.project)
    rows = list(
        Judgement.objects.filter(judge=judge, task__batch__in=batches, tiers__isnull=False)
        .exclude(task__prompt__in=withdrawn.prompts)
        .order_by("task_id", "order")
        .values_list("task_id", "tiers", "shown_order")
    )
    tasks = sorted({task for task, _, _ in rows})
    peoples: dict[int, list[tuple[int, Tiers]]] = defaultdict(list)
    ranked = current_rankings(batches).filter(task_id__in=tasks).order_by("task_id", "pk")
    ranked = ranked.exclude(annotator__in=withdrawn.annotators)
    for task, person, tiers in ranked.values_list("task_id", "annotator_id", "tiers"):
        peoples[task].append((person, tiers))
    tasks = _some(tasks, peoples, seed)
    number_of = {task: number for number, task in enumerate(tasks)}
    rows = [row for row in rows if row[0] in number_of]
    width = max((len(shown) for _, _, shown in rows), default=2)
    own = _opinions(
        [(number_of[task], tiers) for task, tiers, _ in rows if tiers is not None], len(tasks), width
    )
    theirs = _opinions(
        [(number_of[task], tiers) for task in tasks for _, tiers in peoples[task]], len(tasks), width
    )
    length = _lengths(tasks, number_of, width)
    place = tier_table([[[number] for number in shown] for _, _, shown in rows], width)
    return JudgeFigures(
        agreement=_between(own, theirs),
        among_people=_within(theirs),
        consistency=_within(own),
        first_shown=_won(own, -_order(place, own.pairs)),
        longer=_won(own, _order(length, own.pairs)[own.task]),
        peoples_longer=_won(theirs, _order(length, theirs.pairs)[theirs.task]),
        reliability=_reliability(judge, batches, set(tasks), peoples),
        compared=sum(bool(peoples[task]) for task in tasks),
    )


def _some(tasks: Sequence[int], peoples: dict[int, list[tuple[int, Tiers]]], seed: int) -> list[int]:
    order = np.random.default_rng(seed).permutation(np.array(tasks, np.int64))
    sizes = np.cumsum([max(1, len(peoples[task])) for task in order.tolist()])
    return sorted(order[: int(np.searchsorted(sizes, MOST_RANKINGS, side="right"))].tolist())


def _opinions(rows: Sequence[tuple[int, Tiers]], tasks: int, width: int) -> Opinions:
    of = np.array([task for task, _ in rows], np.int64)
    return Opinions(of, tier_table([tiers for _, tiers in rows], width), tasks=tasks)


def _lengths(tasks: Sequence[int], number_of: dict[int, int], width: int) -> np.ndarray:
    """Characters of each response; 0 for numbers that a task has not. Shape: ``(tasks, responses)``."""
    found = np.zeros((len(tasks), width), np.int64)
    told = TaskResponse.objects.filter(task_id__in=tasks, position__lt=width).annotate(
        length=Length("response__text")
    )
    for task, position, length in told.values_list("task_id", "position", "length"):
        found[number_of[task], position] = length
    return found


def _order(values: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """−1 where the first of a pair has more, 1 where the second has. Shape: ``(rows, pairs)``."""
    first, second = pairs
    return np.sign(values[:, second].astype(np.int64) - values[:, first])


def _between(own: Opinions, others: Opinions) -> Ratio:
    """Of every judgement and every person's ranking of a task, the share of pairs of which both say the same."""
    mine, theirs = own.counts.astype(np.float64), others.counts.astype(np.float64)
    alike = (mine * theirs).sum(axis=(1, 2))
    couples = (mine.sum(axis=2) * theirs.sum(axis=2)).sum(axis=1)
    answers = np.maximum(own.sizes, 1)
    return ratio(alike / answers, couples / answers)


def _within(opinions: Opinions) -> Ratio:
    """Of every two rankings of a task, the share of pairs of which both say the same."""
    counts = opinions.counts.astype(np.float64)
    number = counts.sum(axis=2)
    return ratio((counts * (counts - 1)).sum(axis=(1, 2)) / 2, (number * (number - 1)).sum(axis=1) / 2)


def _won(opinions: Opinions, favoured: np.ndarray) -> Ratio:
    """How often the favoured response of a pair was put above the other one, ties left out."""
    told = (opinions.opinion != 0) & (favoured != 0)
    won = told & (opinions.opinion == favoured)
    return ratio(
        opinions.by_task(won.sum(axis=1).astype(np.float64)),
        opinions.by_task(told.sum(axis=1).astype(np.float64)),
    )


def _reliability(
    judge: Judge, batches: QuerySet[Batch], tasks: set[int], peoples: dict[int, list[tuple[int, Tiers]]]
) -> Reliability | None:
    """By the consensus of people's rankings, which the judge does not move: see `alignment.consensus.machines`."""
    judged = [each for each in judged_rankings(batches, [judge]) if each.task in tasks and peoples[each.task]]
    said = [(task, person, tiers) for task in sorted(tasks) for person, tiers in peoples[task]]
    if len({each.task for each in judged}) < FEWEST_RANKINGS or len({person for _, person, _ in said}) < 2:
        return None
    given: list[tuple[int, Hashable, Tiers, float]] = [
        (each.task, each.machine, each.tiers, each.weight) for each in judged
    ]
    given += [(task, person, tiers, 1.0) for task, person, tiers in said]
    consensus = fit(
        Rankings.of(
            [[[(task, number) for number in tier] for tier in tiers] for task, _, tiers, _ in given],
            annotators=[who for _, who, _, _ in given],
            weights=[weight for *_, weight in given],
        ),
        machines=[machine_name(judge.pk)],
        machine_share=SHARE,
    )
    name = machine_name(judge.pk)
    value, error = consensus.reliability.get(name), consensus.reliability_errors.get(name, math.inf)
    if value is None or not math.isfinite(error):
        return None
    return Reliability(value, value * math.exp(-Z_95 * error), value * math.exp(Z_95 * error))

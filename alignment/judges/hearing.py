"""Judges' rankings as the consensus takes them: a machine annotator's, as many a task as it was shown orders, which
together weigh one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from alignment.consensus import Consensus, Prior, fit
from alignment.consensus.machines import held_share
from alignment.judges.models import Judge, Judgement
from annotation.models import Batch, Project
from annotation.opinions import Tiers
from annotation.refusals import Refusal

SHARE = 0.4
"""Of the weight of a pair of responses that all judges together have at most, unless more is asked for; of rankings of
more responses less (`alignment.consensus.machines.held_share`). So judges that are sure of the contrary do not turn two
people who agree."""


@dataclass(frozen=True, slots=True)
class JudgedRanking:
    """One judgement. ``weight`` is one over the number of the judge's rankings of the task: so one that says the
    contrary whenever the order is reversed says nothing."""

    task: int
    machine: str
    tiers: Tiers
    weight: float


def machine_name(judge: int) -> str:
    """The annotator that a judge is to the consensus; people go by other names there."""
    return f"judge {judge}"


def judged_rankings(batches: QuerySet[Batch] | Sequence[int], judges: Iterable[Judge]) -> list[JudgedRanking]:
    """Return what the judges said of the batches' tasks, in an order that the content alone decides. Answers that are
    no rankings are left out."""
    rows = list(
        Judgement.objects.filter(judge__in=list(judges), task__batch__in=batches, tiers__isnull=False)
        .order_by("task_id", "judge_id", "order")
        .values_list("task_id", "judge_id", "tiers")
    )
    orders = Counter((task, judge) for task, judge, _ in rows)
    return [
        JudgedRanking(task, machine_name(judge), tiers, 1 / orders[task, judge])
        for task, judge, tiers in rows
        if tiers is not None
    ]


def fit_with_judges(
    said: Sequence[tuple[int, int, Tiers]],
    judges: Sequence[Judge],
    *,
    batches: Sequence[int],
    prior: Prior,
    share: float,
) -> Consensus:
    """Fit people's rankings together with those of judges on the same tasks; items are ``(task, number)``.

    Args:
        said: task, person, tiers of response numbers.
        batches: the tasks', by primary key.
        share: as `SHARE`; 1 does not hold judges back.
    """
    tasks = {task for task, _, _ in said}
    heard = [each for each in judged_rankings(batches, judges) if each.task in tasks] if judges else []
    rankings: list[tuple[int, Hashable, Tiers]] = [
        *said,
        *((each.task, each.machine, each.tiers) for each in heard),
    ]
    most = max((sum(map(len, tiers)) for _, _, tiers in rankings), default=2)
    return fit(
        [[[(task, number) for number in tier] for tier in tiers] for task, _, tiers in rankings],
        annotators=[who for _, who, _ in rankings],
        weights=[*([1.0] * len(said)), *(each.weight for each in heard)] if heard else None,
        prior=prior,
        machines={each.machine for each in heard},
        machine_share=held_share(share, max(most, 2)),
    )


def judges_in_use(project: Project) -> QuerySet[Judge]:
    """The project's judges but for archived ones."""
    return Judge.objects.filter(project=project, archived_at__isnull=True)


def judges_named(project: Project, keys: Iterable[int], *, field: str = "judges") -> list[Judge]:
    """Return the project's judges with these primary keys, archived ones too.

    Raises:
        Refusal: the project has no such judge.
    """
    wanted = sorted(set(keys))
    found = {judge.pk: judge for judge in project.judges.filter(pk__in=wanted)}
    for key in wanted:
        if key not in found:
            raise Refusal("invalid", f"The project has no judge {key}.", field=field)
    return [found[key] for key in wanted]

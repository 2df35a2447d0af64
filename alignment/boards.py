"""A project's leaderboard: which rankings it rests on, and what they say of the project's sources."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, cast

from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet

from alignment.answers import JUDGED
from alignment.consensus import Adherence, Rankings
from alignment.consensus.fitting import MOST_ANNOTATORS
from alignment.consensus.machines import held_share
from alignment.judges.hearing import SHARE, judged_rankings, judges_in_use, machine_name
from alignment.leaderboard import Leaderboard, leaderboard
from alignment.models import Judgement, Round
from alignment.source_columns import Spoken, comparisons_of, linked_sets, only, source_columns
from alignment.styles import unmeasured
from alignment.withdrawn import Withdrawn, withdrawn_of
from alignment.within_tasks import within_task_correlation
from annotation.models import Assignment, Batch, Project, Ranking, Source, Task, TaskResponse
from annotation.opinions import Tiers
from annotation.refusals import Refusal
from annotation.remembering import Remembered, at_hand, remembered
from annotation.reviewing import adjudications
from annotation.submitting import current_rankings

LEVEL = 0.95
TEACHING = (Batch.Kind.ANNOTATION, Batch.Kind.IMPORTED)
MOST_UNMEASURED = 2_000
"""Responses whose style is counted while somebody waits."""


@dataclass(frozen=True, slots=True)
class BoardChoice:
    """Which rankings count. Dates are of submission, in UTC, both ends included."""

    batches: tuple[int, ...] = ()
    """Primary keys; none: all that may be shown."""
    since: date | None = None
    until: date | None = None
    language: str = ""
    tag: str = ""
    style: bool = False
    """Whether what length and formatting do is taken out of the scores."""
    judges: bool = False
    """Whether AI judges count beside people, held back as in datasets: `alignment.judges.hearing.SHARE` at most."""


@dataclass(frozen=True, slots=True)
class BoardRow:
    """A source's place; numbers as of `alignment.leaderboard.Standing`."""

    source: int
    name: str
    kind: str
    score: float
    standard_error: float
    quasi_standard_error: float
    low: float
    high: float
    best_rank: int
    worst_rank: int
    comparisons: int
    """With responses of other sources, one for each ranking, judges' too where they count."""


@dataclass(frozen=True, slots=True)
class StyleEffect:
    """What a standard deviation of a feature adds to a response's score, with its 95 % interval."""

    feature: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BoardGroup:
    """Sources that rankings link to one another; scores and ranks of different groups mean nothing to each other."""

    rows: tuple[BoardRow, ...]
    effects: tuple[StyleEffect, ...]
    trouble: str
    """Why the fit has not converged; empty if it has."""


@dataclass(frozen=True, slots=True)
class Board:
    groups: tuple[BoardGroup, ...]
    """The largest first."""
    rankings: int
    """By people, adjudications among them."""
    judgements: int
    tasks: int
    alone: tuple[str, ...]
    """Sources of these tasks that nothing was compared with."""
    correlation: float
    """Of two people's opinions on the same pair of responses, beyond what their sources explain."""


def board_of(project: Project, choice: BoardChoice) -> Remembered[Board]:
    """Return the leaderboard by the rankings of the choice, fresh or remembered.

    Only tasks that nobody is asked to rank any more count, and of a round's evaluation only once it is judged, so that
    nobody who still compares responses learns how their sources stand.

    Raises:
        Refusal: the project has no such batch, or the dates are the wrong way round.
    """
    batches = board_batches(project, choice)
    return remembered(_name(project, choice, batches), batches, lambda of: read_board(project, choice, of))


def board_at_hand(project: Project, choice: BoardChoice) -> bool:
    """Whether `board_of` answers at once."""
    batches = board_batches(project, choice)
    if not at_hand(_name(project, choice, batches), batches):
        return False
    return not choice.style or unmeasured(batches).count() <= MOST_UNMEASURED


def board_batches(project: Project, choice: BoardChoice) -> QuerySet[Batch]:
    """The batches whose rankings may count: those that teach, and evaluations that are over.

    Raises:
        Refusal: the dates are the wrong way round, or a batch is another project's, or measures annotators.
    """
    if choice.since and choice.until and choice.since > choice.until:
        raise Refusal(
            "invalid",
            f"{choice.since} is after {choice.until}: the dates are the wrong way round.",
            field="since",
        )
    nobodys = Q(evaluated_round__isnull=True) | Q(evaluated_round__state=Round.State.CANCELLED)
    over = Q(kind=Batch.Kind.EVALUATION) & (
        Q(evaluated_round__state__in=JUDGED) | (nobodys & Q(state=Batch.State.CLOSED))
    )
    shown = project.batches.filter(Q(kind__in=TEACHING) | over)
    if not choice.batches:
        return shown
    there = dict(project.batches.filter(pk__in=choice.batches).values_list("pk", "kind"))
    for key in choice.batches:
        if key not in there:
            raise Refusal("invalid", f"The project has no batch {key}.", field="batch")
        if there[key] not in (*TEACHING, Batch.Kind.EVALUATION):
            raise Refusal(
                "invalid",
                f"The answers of the {there[key]} batch {key} are known, so it tells nothing of its sources.",
                field="batch",
            )
    return shown.filter(pk__in=choice.batches)


def tasks_over(batches: QuerySet[Batch]) -> QuerySet[Task]:
    """The tasks that nobody is asked to rank any more: of closed batches all, of others those without an open place."""
    waiting = Assignment.objects.filter(
        task=OuterRef("pk"), state__in=(Assignment.State.OPEN, Assignment.State.LEASED)
    )
    return Task.objects.filter(Q(batch__state=Batch.State.CLOSED) | ~Exists(waiting), batch__in=batches)


def read_board(project: Project, choice: BoardChoice, batches: QuerySet[Batch]) -> Board:
    """Return the leaderboard by rankings as they are now, but for withdrawn ones; see `board_of`."""
    withdrawn = withdrawn_of(project)
    tasks = tasks_over(batches).exclude(prompt__in=withdrawn.prompts)
    if choice.language:
        tasks = tasks.filter(prompt__language=choice.language)
    if choice.tag:
        tasks = tasks.filter(prompt__tags__contains=[choice.tag])
    said = _said(tasks, choice, withdrawn)
    ranked = {task for task, _, _ in said}
    heard = []
    if choice.judges:
        heard = [each for each in judged_rankings(batches, judges_in_use(project)) if each.task in ranked]
    responses: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
    rows = TaskResponse.objects.filter(task__in=tasks).values_list(
        "task_id", "position", "response__source_id", "response_id"
    )
    for task, position, source, response in rows:
        if task in ranked:
            responses[task][position] = source, response
    spoken: list[Spoken] = [(task, who, tiers, 1.0) for task, who, tiers in said]
    spoken += [(each.task, each.machine, each.tiers, each.weight) for each in heard]
    correlation = within_task_correlation(
        [(task, tiers) for task, _, tiers in said], {task: _sources(of) for task, of in responses.items()}
    )
    columns = source_columns(spoken, responses, correlation, style=choice.style)
    groups, alone = linked_sets(columns)
    sources = Source.objects.in_bulk([cast(int, pk) for pk in columns.items])
    machines = [machine_name(judge.pk) for judge in judges_in_use(project)] if choice.judges else []
    found = [_group(columns, members, machines, sources) for members in groups]
    return Board(
        groups=tuple(sorted(found, key=lambda group: -len(group.rows))),
        rankings=len(said),
        judgements=len(heard),
        tasks=len(ranked),
        alone=tuple(sorted(sources[source].name for source in alone)),
        correlation=correlation,
    )


def _said(tasks: QuerySet[Task], choice: BoardChoice, withdrawn: Withdrawn) -> list[tuple[int, int, Tiers]]:
    """People's rankings: task, who, tiers. An adjudicated task counts by its right order alone."""
    in_time: dict[str, Any] = {}
    if choice.since:
        in_time["submitted_at__gte"] = datetime.combine(choice.since, time.min, UTC)
    if choice.until:
        in_time["submitted_at__lte"] = datetime.combine(choice.until, time.max, UTC)
    decided = adjudications(tasks)
    current = current_rankings(Ranking.objects.filter(task__in=tasks)).filter(**in_time)
    current = current.exclude(annotator__in=withdrawn.annotators)
    found: list[tuple[int, int, Tiers]] = []
    for task, who, tiers in current.order_by("task_id", "pk").values_list("task_id", "annotator_id", "tiers"):
        if task not in decided:
            found.append((task, who, tiers))
        elif not found or found[-1][0] != task:
            found.append((task, decided[task].reviewer, decided[task].tiers))
    return found


def _sources(of: dict[int, tuple[int, int]]) -> dict[int, int]:
    return {number: source for number, (source, _) in of.items()}


def _group(
    columns: Rankings, members: list[int], machines: list[str], sources: dict[int, Source]
) -> BoardGroup:
    own = only(columns, members)
    adherence = Adherence() if len(own.annotators) <= MOST_ANNOTATORS else None
    machines = [name for name in machines if name in set(own.annotators)]
    share = held_share(SHARE, max(int(own.sizes.max()), 2))
    found = leaderboard(own, adherence=adherence, machines=machines, machine_share=share, level=LEVEL)
    comparisons = comparisons_of(own)
    rows = []
    for each in found.standings:
        source = sources[cast(int, each.source)]
        rows.append(
            BoardRow(
                source=source.pk,
                name=source.name,
                kind=source.kind,
                score=each.score,
                standard_error=each.standard_error,
                quasi_standard_error=each.quasi_standard_error,
                low=each.low,
                high=each.high,
                best_rank=each.best_rank,
                worst_rank=each.worst_rank,
                comparisons=comparisons[source.pk],
            )
        )
    return BoardGroup(tuple(rows), _effects(found), found.consensus.trouble)


def _effects(found: Leaderboard) -> tuple[StyleEffect, ...]:
    return tuple(
        StyleEffect(
            name, each.value, each.value - 1.96 * each.standard_error, each.value + 1.96 * each.standard_error
        )
        for name, each in found.effects.items()
    )


def _name(project: Project, choice: BoardChoice, batches: QuerySet[Batch]) -> str:
    """What the figures are remembered by: all that they follow from but for people's rankings."""
    over = batches.filter(state=Batch.State.CLOSED).order_by("pk").values_list("pk", flat=True)
    skipped = Assignment.objects.filter(batch__in=batches, state=Assignment.State.SKIPPED).count()
    withdrawn = withdrawn_of(project)
    stamp: list[Any] = [list(over), skipped, sorted(withdrawn.annotators), sorted(withdrawn.prompts)]
    if choice.judges:
        of = Judgement.objects.filter(judge__in=judges_in_use(project)).order_by()
        stamp += of.aggregate(n=Count("pk"), last=Max("pk"), judge=Max("judge")).values()
    text = repr((project.pk, choice, stamp))
    return f"leaderboard:{hashlib.sha256(text.encode()).hexdigest()[:32]}"

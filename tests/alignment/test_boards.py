"""The leaderboard of a project: of what is over, by what was asked for, with intervals that hold."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from alignment.boards import Board, BoardChoice, board_at_hand, board_of
from alignment.judges.judging import start_judging
from alignment.judges.models import Judge
from alignment.leaderboard import leaderboard
from alignment.models import ResponseStyle, Round
from alignment.rounds import start_round
from alignment.source_columns import source_columns
from alignment.withdrawing import end_withdrawal, withdraw
from alignment.within_tasks import within_task_correlation
from annotation.batching import close_batch, compose_batch
from annotation.importing import import_prompts
from annotation.intake.bringing import bring_in
from annotation.intake.forms import FORMS
from annotation.models import Batch, Project, Prompt, Response, Source, User
from annotation.refusals import Refusal
from annotation.reviewing import review_task
from annotation.showing_reviews import version_of
from tests.alignment.conftest import advanced, bring_to, rank_all
from tests.alignment.judges.answering import answer, by_quality, honest, person, rank

Compose = Callable[..., Batch]
pytestmark = pytest.mark.django_db


def board(project: Project, **choice: Any) -> Board:
    return board_of(project, BoardChoice(**choice)).figures


def names(found: Board) -> list[str]:
    (group,) = found.groups
    return [row.name for row in group.rows]


def test_sources_stand_by_what_people_preferred(project: Project, compose: Compose) -> None:
    batch = compose(30, overlap=2)
    for name in ("ada", "bob"):
        rank(batch, person(name))
    found = board(project)
    assert names(found) == ["zebrafinch-new", "zebrafinch-old"]
    best, other = found.groups[0].rows
    assert (found.rankings, found.tasks, found.judgements) == (60, 30, 0)
    assert best.comparisons == other.comparisons == 240
    assert best.score == -other.score > 0 and best.low < best.score < best.high
    assert (best.best_rank, best.worst_rank, other.best_rank) == (1, 1, 2)


def test_a_task_counts_once_nobody_is_asked_to_rank_it(project: Project, compose: Compose) -> None:
    batch = compose(4, overlap=2)
    rank(batch, person("ada"))
    assert board(project).rankings == 0
    rank(batch, person("bob"))
    assert board(project).rankings == 8
    half = compose(4, overlap=2)
    rank(half, person("cleo"))
    assert board(project).rankings == 8
    close_batch(half)
    assert board(project).rankings == 12


def test_withdrawn_work_does_not_count_until_its_withdrawal_ends(project: Project, compose: Compose) -> None:
    batch = compose(4, overlap=2)
    for name in ("ada", "bob"):
        rank(batch, person(name))
    assert (board(project).rankings, board(project).tasks) == (8, 4)
    annotator = withdraw(project=project, annotator=User.objects.get(username="ada")).withdrawal
    assert (board(project).rankings, board(project).tasks) == (4, 4)
    prompt = withdraw(project=project, prompt=batch.tasks.earliest("pk").prompt).withdrawal
    assert (board(project).rankings, board(project).tasks) == (3, 3)
    for withdrawal in (annotator, prompt):
        end_withdrawal(withdrawal)
    assert (board(project).rankings, board(project).tasks) == (8, 4)


def test_an_evaluation_counts_once_it_is_judged(project: Project, source: Source, manager: User) -> None:
    round = start_round(project=project, sources=[source], created_by=manager, tasks=20)
    bring_to(round, Round.State.JUDGING)
    compared = round.evaluation_batch
    assert compared is not None
    chosen = BoardChoice(batches=(compared.pk,))
    rank_all(compared)
    assert board_of(project, chosen).figures.rankings == 0
    assert advanced(round).state == Round.State.DECIDING
    assert board_of(project, chosen).figures.rankings > 0


def test_gold_and_qualification_batches_never_count(project: Project, compose: Compose) -> None:
    batch = compose(3)
    rank(batch, person("ada"))
    Batch.objects.filter(pk=batch.pk).update(kind=Batch.Kind.GOLD)
    assert board(project).rankings == 0
    with pytest.raises(Refusal, match=f"answers of the gold batch {batch.pk} are known"):
        board(project, batches=(batch.pk,))


def test_imported_votes_order_the_models_that_they_are_about(project: Project) -> None:
    votes = [
        {
            "question": f"What is {n}?",
            "left": f"a {n}",
            "right": f"b {n}",
            "one": "old",
            "other": "new",
            "best": best,
        }
        for n, best in enumerate(["right"] * 9 + ["left"] * 3)
    ]
    brought = bring_in(
        project=project,
        name="Arena",
        rows=enumerate(votes, start=1),
        form=FORMS["columns"],
        mapping={
            "prompt": "question",
            "responses": ["left", "right"],
            "sources": ["one", "other"],
            "winner": "best",
        },
        drawn_by=uuid.uuid4(),
    )
    assert brought.batch is not None

    for choice in ({}, {"batches": (brought.batch.pk,)}):
        found = board(project, **choice)
        assert names(found) == ["new", "old"] and found.rankings == 12


def test_an_adjudicated_task_counts_by_its_right_order(
    project: Project,
    manager: User,
    compose: Compose,
) -> None:
    batch = compose(6, overlap=2)
    for name in ("ada", "bob"):
        rank(batch, person(name), best_first=False)
    assert names(board(project))[0] == "zebrafinch-old"
    for task in batch.tasks.all():
        review_task(
            reviewer=manager,
            task_id=task.pk,
            version=version_of(task),
            verdict="adjudicated",
            tiers=by_quality(task.replies),
        )
    found = board(project)
    assert names(found)[0] == "zebrafinch-new" and found.rankings == 6


def test_filters_choose_batches_days_languages_and_tags(project: Project, compose: Compose) -> None:
    one, other = compose(2), compose(3)
    for batch in (one, other):
        rank(batch, person(f"of-{batch.pk}"))
    Prompt.objects.filter(tasks__batch=one).update(language="de", tags=["eggs", "short"])
    today = timezone.now().date()
    week = timedelta(days=7)
    for choice, rankings in (
        ({}, 5),
        ({"batches": (other.pk,)}, 3),
        ({"language": "de"}, 2),
        ({"language": "fr"}, 0),
        ({"tag": "eggs"}, 2),
        ({"tag": "egg"}, 0),
        ({"since": today - week, "until": today + week}, 5),
        ({"since": today + week}, 0),
        ({"until": today - week}, 0),
    ):
        assert board(project, **choice).rankings == rankings, choice


def test_what_cannot_be_chosen_is_refused(project: Project) -> None:
    with pytest.raises(Refusal, match="has no batch 999"):
        board(project, batches=(999,))
    with pytest.raises(Refusal, match="the wrong way round"):
        board(project, since=date(2026, 2, 1), until=date(2026, 1, 1))


def test_sources_that_nothing_links_stand_apart(project: Project) -> None:
    for pair in (("a", "b"), ("c", "d")):
        rank(batch_of(project, pair), person(f"of-{pair[0]}"))
    found = board(project)
    assert sorted(sorted(row.name for row in group.rows) for group in found.groups) == [
        ["a", "b"],
        ["c", "d"],
    ]
    assert all(abs(sum(row.score for row in group.rows)) < 1e-9 for group in found.groups)


def batch_of(project: Project, names: Sequence[str], tasks: int = 3, overlap: int = 1) -> Batch:
    """Tasks with a response of each source, the last of which is the best."""
    sources = [Source.objects.create(project=project, name=name, kind=Source.Kind.IMPORT) for name in names]
    name = uuid.uuid4().hex[:8]
    rows = [{"prompt": f"{n} of {name}?", "key": name} for n in range(tasks)]
    import_prompts(project=project, rows=enumerate(rows, start=1))
    prompts = project.prompts.filter(key=name)
    Response.objects.bulk_create(
        Response(prompt=p, source=s, drawn_by=uuid.uuid4(), text=f"Of quality {n}")
        for p in prompts
        for n, s in enumerate(sources)
    )
    return compose_batch(
        project=project,
        name=name,
        prompts=prompts,
        sources=sources,
        responses_per_task=len(names),
        overlap=overlap,
    ).batch


def test_judges_count_only_where_they_are_asked_for_and_less_than_people(
    project: Project,
    judge: Judge,
    compose: Compose,
) -> None:
    batch = compose(20, overlap=2)
    for name in ("ada", "bob"):
        rank(batch, person(name))
    answer(start_judging(judge=judge, batch=batch), lambda text: honest(text, best_first=False))
    alone, heard = board(project), board(project, judges=True)
    assert (alone.judgements, heard.judgements) == (0, 40)
    assert names(alone) == names(heard) == ["zebrafinch-new", "zebrafinch-old"]
    assert heard.groups[0].rows[0].score < alone.groups[0].rows[0].score
    # On tasks that nobody ranked, a judge is not heard.
    second = compose(5)
    answer(start_judging(judge=judge, batch=second))
    assert board(project, judges=True).judgements == 40


def test_judges_do_not_turn_people_who_agree_however_many_sources_a_task_has(
    project: Project, judge: Judge
) -> None:
    def best_last(question: str) -> str:
        said, order = honest(question).split("RANKING: ")
        best, *others = order.split(" > ")
        return f"{said}RANKING: {' > '.join([*others, best])}"

    batch = batch_of(project, "dcba", tasks=1, overlap=2)
    for name in ("ada", "bob"):
        rank(batch, person(name))
    answer(start_judging(judge=judge, batch=batch), best_last)
    heard = board(project, judges=True)
    assert heard.judgements > 0 and names(heard) == ["a", "b", "c", "d"]


def test_style_is_counted_once_and_taken_out(project: Project, compose: Compose) -> None:
    batch = compose(20)
    rank(batch, person("ada"))
    assert board(project).groups[0].effects == () and not ResponseStyle.objects.exists()
    found = board(project, style=True)
    assert found.groups[0].effects == ()  # all have as many words
    assert ResponseStyle.objects.count() == 80
    assert set(ResponseStyle.objects.values_list("words", flat=True)) == {4}


def test_the_board_is_remembered_until_something_is_ranked(
    project: Project,
    compose: Compose,
    django_assert_max_num_queries: Any,
) -> None:
    batch = compose(3)
    rank(batch, person("ada"))
    choice = BoardChoice()
    first = board_of(project, choice)
    assert board_at_hand(project, choice)
    with django_assert_max_num_queries(8):
        assert board_of(project, choice).as_of == first.as_of
    rank(compose(2), person("bob"))
    assert board_of(project, choice).figures.rankings == 5


def test_intervals_hold_where_rankings_of_a_task_hang_together() -> None:
    """Each response is better or worse than its source, for everybody who ranks it: taken for different tasks',
    three rankings of each would make intervals too narrow."""
    dice = np.random.default_rng(3)
    worth = np.array([0.0, 0.3, 0.6, 0.9])
    inside = {True: [], False: []}
    for _ in range(60):
        spoken, responses = [], {}
        for task in range(150):
            chosen = dice.choice(4, 2, replace=False)
            responses[task] = {n: (int(source), 0) for n, source in enumerate(chosen)}
            utility = worth[chosen] + dice.normal(0, 1.2, 2)
            for who in dice.choice(10, 3, replace=False):
                first = dice.random() < 1 / (1 + np.exp(utility[1] - utility[0]))
                spoken.append((task, int(who), [[0], [1]] if first else [[1], [0]], 1.0))
        rho = within_task_correlation(
            [(task, tiers) for task, _, tiers, _ in spoken],
            {task: {n: source for n, (source, _) in of.items()} for task, of in responses.items()},
        )
        for weighed in (True, False):
            found = leaderboard(
                source_columns(spoken, responses, rho if weighed else 0.0, style=False), adherence=None
            )
            # What responses add makes preferences of sources less sharp, by a factor that all share.
            scale = expected_scale(worth)
            for one, other in combinations(range(4), 2):
                gap = found.consensus.difference(one, other)
                inside[weighed].append(gap.low < scale * (worth[one] - worth[other]) < gap.high)
    assert 0.92 <= np.mean(inside[True]) <= 0.98
    assert np.mean(inside[False]) < 0.9


def expected_scale(worth: np.ndarray) -> float:
    """By how much a logit shrinks when normal noise with variance 2 · 1.2² is added to it, by quadrature; averaged over
    the differences that occur, of which it depends little."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    ratios = []
    for one, other in combinations(worth, 2):
        gap = other - one
        chance = weights @ (1 / (1 + np.exp(-(gap + 1.2 * np.sqrt(2) * nodes)))) / weights.sum()
        ratios.append(np.log(chance / (1 - chance)) / gap)
    return float(np.mean(ratios))

"""Judges beside people: in datasets only where they are named, and never louder than people unless told to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alignment.datasets import build_dataset, preview
from alignment.judges.figures import figures_of, judge_figures
from alignment.judges.hearing import judged_rankings
from alignment.judges.judging import start_judging
from alignment.judges.models import Judge
from alignment.withdrawing import end_withdrawal, withdraw
from annotation.batching import close_batch
from annotation.models import Batch, Project
from annotation.refusals import Refusal
from tests.alignment.judges.answering import answer, honest, person, quality, rank

pytestmark = pytest.mark.django_db
Compose = Callable[..., Batch]


def wrong(message: str) -> str:
    return honest(message, best_first=False)


def first_shown(message: str) -> str:
    return "RANKING: A > B > C > D"


def test_a_dataset_hears_no_judge_unless_it_is_named(
    project: Project, judge: Judge, compose: Compose
) -> None:
    batch = compose(12)
    rank(batch, person("ada"))
    close_batch(batch)
    before = build_dataset(project=project, batches=[batch])
    answer(start_judging(judge=judge, batch=batch), wrong)
    assert build_dataset(project=project, batches=[batch]) == before
    assert "judges" not in before.settings and "judge_share" not in before.settings
    heard = build_dataset(project=project, batches=[batch], settings={"judges": [judge.pk]})
    assert heard.sha256 != before.sha256 and heard.settings["judges"] == [judge.pk]
    with pytest.raises(Refusal, match="has no judge 999"):
        build_dataset(project=project, batches=[batch], settings={"judges": [999]})


def test_a_judge_that_is_sure_of_the_contrary_does_not_overturn_two_people_who_agree(
    project: Project, judge: Judge, compose: Compose
) -> None:
    batch = compose(12, overlap=2)
    for name in ("ada", "bob"):
        rank(batch, person(name))
    close_batch(batch)
    answer(start_judging(judge=judge, batch=batch), wrong)
    dataset = build_dataset(project=project, batches=[batch], settings={"judges": [judge.pk]})
    records = [*preview(dataset, split="train"), *preview(dataset, split="held_out")]
    assert len(records) == 12
    for record in records:
        by_worth = sorted(range(4), key=lambda number: -record.scores[number])
        assert [quality(record.responses[number]) for number in by_worth] == [3, 2, 1, 0]


def test_a_judge_that_goes_by_the_place_says_nothing(
    project: Project, judge: Judge, compose: Compose
) -> None:
    batch = compose(15, overlap=2)
    for name in ("ada", "bob"):
        rank(batch, person(name))
    answer(start_judging(judge=judge, batch=batch), first_shown)
    figures = figures_of(judge, Batch.objects.filter(pk=batch.pk))
    assert figures.first_shown.value == 1 and figures.consistency.value == 0
    assert figures.agreement.value == pytest.approx(0.5)
    assert figures.reliability is not None and figures.reliability.high < 1
    heard = judged_rankings(Batch.objects.filter(pk=batch.pk), [judge])
    assert len(heard) == 30 and {each.weight for each in heard} == {0.5}


def test_a_judge_that_ranks_as_people_do_is_told_from_one_that_does_not(
    judge: Judge, compose: Compose
) -> None:
    batch = compose(15, overlap=2)
    for name in ("ada", "bob"):
        rank(batch, person(name))
    answer(start_judging(judge=judge, batch=batch))
    figures = judge_figures(judge).figures
    assert figures.agreement.value == figures.among_people.value == figures.consistency.value == 1
    assert figures.first_shown.value == pytest.approx(0.5) and figures.longer.value == 1
    assert figures.peoples_longer.value == 1 and figures.compared == 15
    assert figures.reliability is not None and figures.reliability.value > 0.5


def test_what_is_withdrawn_does_not_count_for_a_judges_figures(
    project: Project, judge: Judge, compose: Compose
) -> None:
    batch = compose(15, overlap=2)
    ada, bob = person("ada"), person("bob")
    rank(batch, ada)
    rank(batch, bob, best_first=False)
    answer(start_judging(judge=judge, batch=batch))
    assert judge_figures(judge).figures.agreement.value == pytest.approx(0.5)

    withdrawal = withdraw(project=project, annotator=bob).withdrawal
    withdraw(project=project, prompt=batch.tasks.all()[0].prompt)

    figures = judge_figures(judge).figures
    assert figures.agreement.value == 1 and figures.among_people.value is None
    assert figures.compared == 14
    end_withdrawal(withdrawal)
    assert judge_figures(judge).figures.agreement.value == pytest.approx(0.5)


def test_figures_of_a_judge_without_answers_or_people_are_empty(judge: Judge, compose: Compose) -> None:
    assert judge_figures(judge).figures.agreement.value is None
    answer(start_judging(judge=judge, batch=compose(1)))
    figures = judge_figures(judge).figures
    assert figures.agreement.value is None and figures.compared == 0 and figures.reliability is None
    assert figures.longer.value == 1

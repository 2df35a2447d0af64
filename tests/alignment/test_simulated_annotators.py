"""Simulated annotators differ as people do, repeat themselves by their seed, and work as people must."""

from __future__ import annotations

import random
from itertools import combinations
from statistics import fmean
from typing import Any

import pytest

from alignment.models import Round
from alignment.rounds import start_round
from alignment.simulated_annotators import Habits, SimulatedAnnotator, hire, work_off
from annotation.agreement import measure_agreement
from annotation.models import Project, Ranking, Source, User
from annotation.projects import create_user
from tests.alignment.conftest import bring_to, length
from training.engine.refusal import Refused


def team(size: int, seed: int = 1) -> list[SimulatedAnnotator]:
    return [SimulatedAnnotator(User(username=str(n)), f"{seed}/{n}") for n in range(size)]


def tasks(number: int) -> list[list[float]]:
    dice = random.Random(2)
    return [[dice.gauss(0, 1) for _ in range(4)] for _ in range(number)]


def test_everybody_has_habits_of_their_own_and_a_seed_repeats_them() -> None:
    assert len({annotator.habits for annotator in team(5)}) == 5
    again = [[one.rank(scores, 1.0) for scores in tasks(20)] for one in team(5)]
    assert [[one.rank(scores, 1.0) for scores in tasks(20)] for one in team(5)] == again
    assert [[one.rank(scores, 1.0) for scores in tasks(20)] for one in team(5, seed=2)] != again


def test_two_of_them_agree_about_as_often_as_people_do() -> None:
    people = team(6)
    rankings = [[one.rank(scores, 1.0) for one in people] for scores in tasks(300)]
    agreement = measure_agreement(rankings).agreement
    assert agreement is not None and 0.6 < agreement < 0.78


def test_what_stands_first_is_liked_and_what_is_close_is_tied() -> None:
    order = [one.rank([0.0] * 4, 1.0) for one in team(4) for _ in range(300)]
    rank = [{place: n for n, tier in enumerate(tiers) for place in tier} for tiers in order]
    assert fmean(places[0] for places in rank) < fmean(places[3] for places in rank)
    assert any(len(tiers) < 4 for tiers in order)


@pytest.mark.parametrize("scale", [0.01, 1, 1000])
def test_the_oracles_scale_does_not_matter(scale: float) -> None:
    def correct(scale: float) -> float:
        hits = []
        for one in team(3):
            for scores in tasks(100):
                tiers = one.rank([score * scale for score in scores], scale)
                rank = {place: n for n, tier in enumerate(tiers) for place in tier}
                hits += [(rank[i] < rank[j]) == (scores[i] > scores[j]) for i, j in combinations(range(4), 2)]
        return fmean(hits)

    assert correct(scale) == pytest.approx(correct(1), abs=0.02)


@pytest.mark.django_db
def test_they_rank_every_place_once_in_responses_own_numbers(project: Project, source: Source) -> None:
    round = bring_to(start_round(project=project, tasks=8, overlap=2), Round.State.ANNOTATING)
    people = hire(project, 3, seed=0)
    for one in people:
        one.habits = Habits(noise=0, primacy=0, tie_width=0, slips=0)
    assert list(work_off(round.batch, people, length)) == list(range(1, 17))
    tops = [
        len(
            ranking.task.responses.get(
                task_responses__position=ranking.tiers[0][0], task_responses__task=ranking.task
            ).text
        )
        == max(len(response.text) for response in ranking.task.responses.all())
        for ranking in Ranking.objects.all()
    ]
    assert len(tops) == 16 and all(tops)
    assert not User.objects.get(username="simulated1").has_usable_password()


@pytest.mark.django_db
def test_an_oracle_that_fails_is_named(project: Project, source: Source) -> None:
    from training.engine.oracles import load_oracle

    round = bring_to(start_round(project=project, tasks=2, overlap=1), Round.State.ANNOTATING)
    with pytest.raises(Refused, match=r"tests\.alignment\.oracles:failing"):
        next(work_off(round.batch, hire(project, 1, seed=0), load_oracle("tests.alignment.oracles:failing")))


@pytest.mark.django_db
@pytest.mark.parametrize("marks", [{"password": "correct horse battery"}, {"email": "sim@example.org"}])
def test_a_persons_account_is_never_taken_over(project: Project, marks: Any) -> None:
    person = create_user(username="simulated1", **marks)
    (hired,) = hire(project, 1, seed=0)
    assert hired.user.username == "simulated1-2" and not hired.user.has_usable_password()
    assert not project.memberships.filter(user=person).exists()
    assert hire(project, 1, seed=0)[0].user == hired.user

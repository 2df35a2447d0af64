"""What a policy that learned from a reward model shows: its curves and samples, its watch, and best-of-n beside it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from alignment.models import Round
from alignment.rounds import advance_round
from annotation.models import Project, User
from frontend.charts import WATCH_TITLE, charts_of
from tests.frontend.rounds import begin, open_kitchen, to_decision
from training.models import Run, RunMetric

pytestmark = pytest.mark.django_db

AsRole = Callable[[str], Client]
State = Round.State
VADER = "training.engine.oracles:vader"
# All that a ppo run tells of a rollout, see docs/engine.md.
TOLD = [
    "score", "score_spread", "reward", "kl", "kl_coefficient", "entropy", "length", "ended", "clip_fraction",
    "value_clip_fraction", "policy_loss", "value_loss", "policy_change", "ratio", "explained_variance",
    "grad_norm", "value_grad_norm", "learning_rate", "seconds/generation", "seconds/scoring",
    "seconds/optimisation", "watch/reward_model", "watch/oracle", "watch/sqrt_kl", "watch/alarm",
]  # fmt: skip


@pytest.fixture
def run(project: Project, people: dict[str, User]) -> Run:
    """A run that waits, of a round's sampling: what it tells makes it one of a policy."""
    open_kitchen(project)
    round = begin(project, people["manager"])
    advance_round(round.pk)
    Run.objects.update(kind=Run.Kind.PPO)
    return round.round_runs.get().run


def test_everything_that_a_policy_tells_is_drawn_and_in_the_table(
    project: Project, run: Run, as_role: AsRole
) -> None:
    RunMetric.objects.bulk_create(RunMetric(run=run, step=1, name=name, value=0.5) for name in TOLD)
    client = as_role("reviewer")
    charts = client.get(reverse("run_curves", args=[project.slug, run.pk])).json()["charts"]
    curves = sum(len(chart["curves"]) for chart in charts)
    # The distance is the watch's axis; the score, its scorers and the alarm are the watch's points.
    assert curves == len(TOLD) - 4 + 4
    page = client.get(reverse("run", args=[project.slug, run.pk])).content.decode()
    assert all(f">{name}</th>" in page for name in TOLD)
    assert "seconds/" not in str(charts) and "generation" in str(charts)


def test_the_watch_holds_scores_against_the_distance_from_the_model_before() -> None:
    watch = charts_of(
        {
            "score": {1: 0.0, 2: 2.0, 3: 1.0, 4: 9.0},
            "kl": {1: -0.5, 2: 9.0, 3: 4.0, 5: 1.0},
            "watch/oracle": {1: 0.1, 2: 0.2, 3: 0.3},
            "watch/alarm": {1: 0.0, 2: 1.0, 3: 0.0},
        }
    )[1]
    assert watch["title"] == WATCH_TITLE and watch["along"] == "√KL" and watch["scattered"]
    assert watch["steps"] == [0.0, 2.0, 3.0] == [math.sqrt(each) for each in (0, 4, 9)]
    assert watch["curves"] == [
        {"label": "reward model", "values": [0.0, 1.0, 2.0]},
        {"label": "oracle", "values": [0.1, 0.3, 0.2], "apart": True},
        {"label": "alarm", "values": [None, None, 2.0]},
    ]


def test_an_alarm_is_said_in_words(project: Project, run: Run, as_role: AsRole) -> None:
    client, address = as_role("reviewer"), reverse("run", args=[project.slug, run.pk])
    RunMetric.objects.create(run=run, step=17, name="watch/alarm", value=0.0)
    assert "exploit" not in client.get(address).content.decode()
    for step in (18, 19):
        RunMetric.objects.create(run=run, step=step, name="watch/alarm", value=1.0)
    assert "given 2 times, first after rollout 18" in client.get(address).content.decode()


def test_samples_stand_from_best_to_worst_newest_first_and_once(
    project: Project, run: Run, as_role: AsRole
) -> None:
    prompt = [{"role": "user", "content": "Why?"}]
    for step, scores in ((1, (3.0, 2.0)), (2, (1.0, -1.0, 0.5)), (2, (-1.0,))):
        for score in scores:
            text = f"At {step} for {score}"
            run.samples.create(step=step, prompt=prompt, response=text, scores={"score": score, "length": 7})
    client, address = as_role("reviewer"), reverse("run_samples", args=[project.slug, run.pk])
    page = client.get(address).content.decode()
    places = [page.index(text) for text in ("At 2 for 1.0", "At 2 for 0.5", "At 2 for -1.0", "At 1 for 3.0")]
    assert places == sorted(places) and page.count("At 2 for -1.0") == 1, "a resume repeated it"
    assert "Rollout 2, from the best score to the worst" in page and "7 tokens" in page

    last = run.samples.order_by("pk").last().pk
    assert client.get(address, {"last": last}).status_code == 204, "nothing newer: readers are left alone"
    assert client.get(address, {"last": last - 1}).status_code == 200


def test_best_of_n_stands_beside_the_policy(
    project: Project, people: dict[str, User], as_role: AsRole
) -> None:
    open_kitchen(project)
    people["manager"].is_superuser = True
    people["manager"].save()
    by_oracle = {"judge": "oracle", "oracle": VADER}
    decided = to_decision(project, people["manager"], recipe="ppo", overlap=1, **by_oracle)
    assert decided.state == State.DECIDING
    client = as_role("reviewer")
    round = client.get(reverse("round", args=[project.slug, decided.number])).content.decode()
    model = client.get(reverse("model_version", args=[project.slug, decided.candidate_id])).content.decode()
    for page in (round, model):
        assert "<strong>66 %</strong>" in page and "<strong>63 %</strong>" in page
        assert "ainst best of 4" in page
    assert "at most 0.64 nats" in round and ">Best of 4</th>" in round and "57.3" in round
    answer = client.get(f"/api/v1/rounds/{decided.pk}").json()
    assert answer["scorecard"]["figures"]["best_of"]["new_win_rate"] == 0.63
    assert [run["kind"] for run in answer["runs"]] == ["sample", "reward", "ppo", "evaluate"]

    policy = decided.round_runs.get(step=State.TRAINING).run
    shown = client.get(reverse("run", args=[project.slug, policy.pk])).content.decode()
    assert "Rollout 20, from the best score to the worst" in shown and "The alarm was given" in shown

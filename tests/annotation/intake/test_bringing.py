"""What comes in becomes tasks, places and rankings that everything else can use, once, and all or nothing."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import authenticate

from alignment.datasets import build_dataset, preview
from annotation.batch_quality import batch_quality
from annotation.intake import splits
from annotation.intake.bringing import Brought, LinesWrong, bring_in
from annotation.intake.forms import FORMS
from annotation.models import Assignment, Batch, ImportedAnnotator, Project, Ranking, Response, Source, User
from annotation.projects import create_project, set_aspects
from annotation.quality import batches_of
from annotation.refusals import Refusal
from annotation.review_queue import waiting_count
from annotation.submitting import current_rankings

pytestmark = pytest.mark.django_db

TABLE = {
    "prompt": "question",
    "responses": ["left", "right"],
    "sources": ["left_model", "right_model"],
    "winner": "winner",
    "annotator": "worker",
    "time": "at",
}


def bring(project: Project, *rows: dict[str, Any], form: str = "columns", **more: Any) -> Brought:
    given = {"name": "Votes", "mapping": TABLE if form == "columns" else {}, "drawn_by": uuid.uuid4()} | more
    return bring_in(project=project, rows=enumerate(rows, start=1), form=FORMS[form], **given)


def vote(question: str, worker: str, winner: str, **more: Any) -> dict[str, Any]:
    return {
        "question": question,
        "left": f"{question} a",
        "right": f"{question} b",
        "left_model": "old",
        "right_model": "new",
        "winner": winner,
        "worker": worker,
    } | more


def test_votes_become_a_closed_batch_with_a_place_for_each_voter(project: Project) -> None:
    brought = bring(
        project,
        vote("Rice?", "ann", "left", at="2024-01-02T03:04:05"),
        vote("Rice?", "ben", "tie"),
        # The same pair the other way round is the same task.
        vote("Rice?", "cem", "left", left="Rice? b", right="Rice? a", left_model="new", right_model="old"),
        vote("Tea?", "ann", "right"),
    )

    batch = project.batches.get()
    assert (batch.kind, batch.state, batch.overlap) == (Batch.Kind.IMPORTED, Batch.State.CLOSED, 3)
    assert brought.batch == batch
    assert brought.report == {
        "rows": 4,
        "bad": 0,
        "prompts": 2,
        "prompts_held_out": project.prompts.filter(split="held_out").count(),
        "prompts_existing": 0,
        "responses": 4,
        "responses_existing": 0,
        "tasks": 2,
        "rankings": 4,
        "rankings_existing": 0,
        "annotators": 3,
        "sources": 2,
        "ratings": 0,
        "ratings_left_out": {},
    }
    rice = batch.tasks.get(overlap=3)
    assert rice.prompt.messages == [{"role": "user", "content": "Rice?"}]
    number = {text: position for position, (text, _) in rice.replies.items()}
    a, b = number["Rice? a"], number["Rice? b"]
    said = {ranking.annotator.imported.name: ranking for ranking in current_rankings(batch).filter(task=rice)}
    assert {name: ranking.tiers for name, ranking in said.items()} == {
        "ann": [[a], [b]],
        "ben": [sorted([a, b])],
        "cem": [[b], [a]],
    }
    assert said["cem"].shown_order == [b, a]
    assert said["ann"].submitted_at == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert {place.state for place in Assignment.objects.all()} == {Assignment.State.SUBMITTED}
    assert dict(project.sources.values_list("name", "kind")) == {"old": "import", "new": "import"}


def test_the_same_file_again_adds_nothing_and_a_longer_one_what_is_new(project: Project) -> None:
    rows = [vote("Rice?", "ann", "left"), vote("Rice?", "", "left"), vote("Rice?", "", "right")]
    bring(project, *rows)
    counts = [model.objects.count() for model in (Ranking, Response, User, Batch)]

    again = bring(project, *rows)
    assert (again.report["rankings"], again.report["rankings_existing"]) == (0, 3)
    assert again.batch is None
    assert [model.objects.count() for model in (Ranking, Response, User, Batch)] == counts

    more = bring(project, *rows, vote("Rice?", "dan", "tie"))
    assert (more.report["rankings"], more.report["rankings_existing"], more.report["responses"]) == (1, 3, 0)
    assert more.batch is not None and more.batch.name == "Votes (2)"


def test_who_stands_twice_in_a_file_with_one_ranking_is_counted_once(project: Project) -> None:
    brought = bring(project, vote("Rice?", "ann", "left"), vote("Rice?", "ann", "left"))
    assert (brought.report["rankings"], brought.report["rankings_existing"]) == (1, 1)


def test_somebody_who_changed_their_mind_has_a_revision(project: Project) -> None:
    bring(
        project,
        vote("Rice?", "ann", "left", at="2024-01-02T00:00:00Z"),
        vote("Rice?", "ann", "right", at="2024-01-01T00:00:00Z"),
    )
    first, second = Ranking.objects.order_by("revision")
    assert (first.revision, second.revision) == (1, 2)
    assert first.submitted_at < second.submitted_at
    assert first.assignment == second.assignment
    assert current_rankings(project.batches.get()).get() == second


def test_unnamed_people_are_as_many_as_ranked_one_task(project: Project) -> None:
    bring(
        project, *(vote("Rice?", "", winner) for winner in ("left", "right", "tie")), vote("Tea?", "", "left")
    )
    assert sorted(ImportedAnnotator.objects.values_list("name", "number")) == [("", 1), ("", 2), ("", 3)]


def test_imported_people_are_no_members_and_cannot_log_in(project: Project, manager: User) -> None:
    bring(project, vote("Rice?", "ann", "left"))
    who = ImportedAnnotator.objects.get().user
    assert who.username == f"ann (imported {project.pk})"
    assert not who.is_active and not who.has_usable_password()
    assert not who.memberships.exists()
    assert authenticate(username=who.username, password="") is None
    assert set(project.memberships.values_list("user", flat=True)) == {manager.pk}


def test_imports_are_no_work_of_the_projects_people(project: Project, manager: User) -> None:
    bring(project, *(vote("Rice?", name, "left") for name in ("ann", "ben")))
    assert waiting_count(project=project, reviewer=manager) == 0
    assert not project.batches.filter(kind=Batch.Kind.ANNOTATION).exists()


def test_figures_and_datasets_take_imported_rankings(project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(held_out_share=0)
    project.refresh_from_db()
    for number in range(12):
        bring(project, *(vote(f"Question {number}?", name, "left") for name in ("ann", "ben")))
    batches = project.batches.filter(kind=Batch.Kind.IMPORTED)

    figures = batch_quality(batches).figures
    assert (figures.rankings, figures.agreement.agreement) == (24, 1.0)
    assert batch_quality(batches_of(batches[0])).figures.rankings == 2

    dataset = build_dataset(project=project)
    assert dataset.train_rankings == 12
    record = preview(dataset)[0]
    assert record.responses[record.tiers[0][0]].endswith(" a")
    assert record.meta["sources"][record.tiers[0][0]] == "old"


def test_near_duplicates_share_a_split_across_portions_and_with_what_is_there(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "AT_ONCE", 7)

    def asked(number: int) -> str:
        return (
            f"Sum up chapter {number} of this book for somebody who has read none of the chapters before it."
        )

    bring(project, *(vote(asked(number), "ann", "left") for number in range(30)))
    assert len(set(project.prompts.values_list("split", flat=True))) == 1
    brought = bring(project, *(vote(asked(number), "ann", "left") for number in range(20, 50)))
    assert (brought.report["prompts"], brought.report["prompts_existing"]) == (20, 10)
    assert len(set(project.prompts.values_list("split", flat=True))) == 1
    said = [
        messages[0]["content"]
        for messages in project.prompts.order_by("pk").values_list("messages", flat=True)
    ]
    assert said == [asked(number) for number in range(50)], "in the order of their lines"


def test_bad_lines_keep_all_out_unless_they_are_to_be_skipped(project: Project) -> None:
    rows = [vote("Rice?", "ann", "left"), vote("Tea?", "ann", "nobody"), vote("Egg?", "ann", "left", left=3)]
    with pytest.raises(LinesWrong) as wrong:
        bring(project, *rows)
    assert [(error.line, error.field) for error in wrong.value.lines] == [(2, "winner"), (3, "response 1")]
    assert wrong.value.bad.count == 2
    assert wrong.value.sentence.startswith(
        "2 of 3 lines are wrong, so nothing was imported. Line 2: winner: must say"
    )
    assert not project.prompts.exists() and not project.batches.exists()

    brought = bring(project, *rows, skip_bad=True)
    assert (brought.report["rankings"], brought.bad.count, brought.report["bad"]) == (1, 2, 2)


def test_a_file_of_bad_lines_alone_or_of_none_is_refused(project: Project) -> None:
    with pytest.raises(LinesWrong):
        bring(project, vote("Tea?", "ann", "nobody"), skip_bad=True)
    with pytest.raises(Refusal, match="holds no rows"):
        bring(project)


def test_ratings_are_kept_of_the_aspects_that_the_project_has(project: Project) -> None:
    set_aspects(project=project, aspects=[{"name": "honesty", "question": "Is it honest?", "steps": 5}])
    row = {
        "instruction": "Rice?",
        "completions": [
            {
                "model": model,
                "response": model,
                "annotations": {"honesty": {"Rating": rating}, "helpfulness": {"Rating": "3"}},
            }
            for model, rating in (("x", "5"), ("y", "2"), ("z", "2.5"))
        ],
    }
    brought = bring(project, row, form="ultrafeedback")
    ranking = Ranking.objects.get()
    texts = {position: text for position, (text, _) in ranking.task.replies.items()}
    assert {texts[one.position]: one.rating for one in ranking.aspect_ratings.all()} == {"x": 5, "y": 2}
    assert brought.report["ratings"] == 2
    assert brought.report["ratings_left_out"] == {
        "helpfulness: the project has no such aspect": 3,
        "honesty: not one of 1 to 5": 1,
    }


def test_where_a_response_stood_is_known_only_where_the_file_says(project: Project) -> None:
    """Pairs of chosen and rejected say nothing of it: who is read for favouring a place must not be read by them."""
    for n in range(12):
        bring(project, {"prompt": f"Question {n}?", "chosen": "yes", "rejected": "no"}, form="trl")
    bring(project, vote("Rice?", "ann", "left"))

    assert [ranking.shown_order for ranking in Ranking.objects.order_by("pk")][:12] == [[]] * 12
    everybody = batch_quality(project.batches.all()).figures.everybody
    assert (everybody.first_shown.pairs, everybody.first_shown.win_rate) == (1, 1.0)
    assert everybody.rankings == 13
    assert not batch_quality(project.batches.all()).figures.suspicions


def test_ratings_of_a_response_that_nobody_ranked_count(project: Project) -> None:
    """Neither a place on the page nor a tier tells of the fourth response: the task does."""
    set_aspects(project=project, aspects=[{"name": "honesty", "question": "Is it true?", "steps": 5}])
    record = {
        "prompt": [{"role": "user", "content": "Rice?"}],
        "responses": ["one", "two", "three", "four"],
        "tiers": [[0], [1]],
        "scores": [1.0, 0.0, 0.0, 0.0],
    }
    brought = bring(project, record, form="records")
    ranking = Ranking.objects.get()
    unranked = {0, 1, 2, 3} - {number for tier in ranking.tiers for number in tier}
    for position in sorted(unranked):
        ranking.aspect_ratings.create(aspect=project.aspects.get(), position=position, rating=4)

    assert brought.report["rankings"] == 1 and ranking.shown_order == []
    (honesty,) = batch_quality(project.batches.all()).figures.aspects
    assert honesty.ratings == 2


def test_a_source_of_another_kind_is_not_taken_for_an_import(project: Project, manager: User) -> None:
    Source.objects.create(project=project, name="old", kind=Source.Kind.PERSON, person=manager)
    bring(project, vote("Rice?", "ann", "left"))
    assert sorted(project.sources.values_list("name", flat=True)) == ["new", "old", "old (imported)"]
    assert bring(project, vote("Rice?", "ann", "left")).report["responses"] == 0


def test_prompts_and_responses_that_are_there_are_used(project: Project) -> None:
    bring(project, {"prompt": "rice?", "key": "r"}, form="prompts")
    bring(project, {"prompt": "Rice?", "response": "Rice? a", "source": "old"}, form="responses")
    brought = bring(project, vote("Rice?", "ann", "left"))
    assert (brought.report["prompts"], brought.report["prompts_existing"]) == (0, 1)
    assert (brought.report["responses"], brought.report["responses_existing"]) == (1, 1)
    assert project.prompts.get().key == "r"


def test_more_people_than_a_task_can_have_are_told(project: Project) -> None:
    rows = [vote("Rice?", f"w{number}", "left") for number in range(1003)]
    with pytest.raises(LinesWrong, match=r"3 of 1,003 lines are wrong.*Line 1,001: annotator"):
        bring(project, *rows)
    brought = bring(project, *rows, skip_bad=True)
    assert (brought.report["rankings"], brought.bad.count) == (1000, 3)


def test_names_that_are_long_or_differ_late_stay_apart(project: Project) -> None:
    names = ["n" * 180 + end for end in "ab"]
    bring(project, *(vote("Rice?", name, "left") for name in names))
    assert sorted(ImportedAnnotator.objects.values_list("name", flat=True)) == names
    assert all(len(user.username) <= 150 for user in User.objects.all())


def test_another_project_has_its_own_people_of_the_same_name(project: Project, manager: User) -> None:
    other = create_project(name="Other", created_by=manager)
    for each in (project, other):
        bring(each, vote("Rice?", "ann", "left"))
    assert ImportedAnnotator.objects.count() == 2

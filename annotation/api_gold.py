"""REST: known answers, batches of tasks that have one, and what an annotator is told after a qualification task."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from annotation import gold
from annotation.api_access import ProjectViewSet
from annotation.api_batches import BatchOut, TaskOut, most_per_annotator
from annotation.api_fields import Choice, Input, Integer, Text
from annotation.api_filters import LARGEST_ID
from annotation.api_ranking import TIERS_HELP
from annotation.batching import KNOWN_ANSWERS
from annotation.models import MAX_OVERLAP, MAX_RESPONSES, MIN_RESPONSES, Assignment, Batch, Project, Task
from annotation.models import Response as Answer
from annotation.qualifying import feedback_on
from annotation.refusals import Refusal


def tiers_field(help_text: str) -> serializers.ListField:
    """The field of an order of responses."""
    return serializers.ListField(
        child=serializers.ListField(
            child=Integer(min_value=0, max_value=MAX_RESPONSES - 1), min_length=1, max_length=MAX_RESPONSES
        ),
        min_length=1,
        max_length=MAX_RESPONSES,
        help_text=help_text,
    )


class KnownAnswerIn(Input):
    tiers = tiers_field(TIERS_HELP)
    note = Text(
        required=False,
        allow_blank=True,
        max_length=gold.LONGEST_REVIEW_NOTE,
        help_text="Why; whoever ranks it as a qualification task reads it afterwards.",
    )


class NewAnswerIn(KnownAnswerIn):
    prompt = Integer(min_value=1, max_value=LARGEST_ID)
    responses = serializers.ListField(
        child=Integer(min_value=1, max_value=LARGEST_ID), min_length=MIN_RESPONSES, max_length=MAX_RESPONSES
    )
    tiers = tiers_field("Places in `responses`, from 0, best tier first; places in one tier are tied.")


class GoldBatchIn(Input):
    name = Text(max_length=200)
    kind = Choice(
        choices=[(kind.value, kind.label) for kind in KNOWN_ANSWERS],
        help_text="`qualification`: ranked before all others, each answer being told how it did; `gold`: mixed among "
        "the others, unmarked.",
    )
    overlap = Integer(
        required=False,
        min_value=1,
        max_value=MAX_OVERLAP,
        help_text="How many annotators can rank each task of a gold batch: as many as the project has, and will have. "
        "A qualification has a place for whoever needs one.",
    )
    tasks = serializers.ListField(
        child=Integer(min_value=1, max_value=LARGEST_ID),
        required=False,
        max_length=gold.MOST_TASKS,
        help_text="Tasks of the project with known answers (`gold_tiers`), to be copied.",
    )
    answers = serializers.ListField(
        child=NewAnswerIn(),
        required=False,
        max_length=gold.MOST_TASKS,
        help_text="Prompts with responses of the project and their right order.",
    )
    max_per_annotator = most_per_annotator()


class GoldBatchOut(serializers.Serializer):
    batch = BatchOut()
    tasks = serializers.IntegerField()
    awaited_no_more = serializers.IntegerField(
        help_text="Ordinary tasks that show two of the responses and still awaited rankings: they await no more."
    )


class FeedbackOut(serializers.Serializer):
    """How the caller did on a qualification task that they ranked."""

    assignment = serializers.UUIDField(source="assignment.public_id")
    tiers = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()), help_text="The caller's."
    )
    known_tiers = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()), help_text="The known answer's."
    )
    right = serializers.FloatField(help_text="Pairs ordered as is known; undecided ones count half.")
    pairs = serializers.IntegerField(help_text="Pairs that the known answer orders.")
    note = serializers.CharField(allow_blank=True, help_text="Why the known answer is right.")
    done = serializers.IntegerField(
        help_text="Tasks of the qualification that the caller has ranked or skipped."
    )
    tasks = serializers.IntegerField(help_text="Tasks of the qualification.")
    outcome = serializers.ChoiceField(choices=["going", "qualified", "paused"])
    share = serializers.FloatField(
        allow_null=True,
        help_text="Of all pairs of the qualification's tasks so far, how many are right; a skipped task has none.",
    )
    bar = serializers.FloatField(help_text="The share that qualifies, once no task is left.")


class GoldBatchesViewSet(ProjectViewSet):
    queryset = Batch.objects.order_by("-pk")
    serializer_class = BatchOut

    @extend_schema(request=GoldBatchIn, responses={201: GoldBatchOut})
    def create(self, request: Request, project: str) -> Response:
        """Compose a batch of tasks with known answers, to measure annotators by: copies of tasks whose answer is known,
        and answers that are given here. Such batches teach and judge no model."""
        given = GoldBatchIn(data=request.data)
        given.is_valid(raise_exception=True)
        chosen = dict(given.validated_data)
        report = gold.compose_known(
            project=self.project,
            by=self.caller,
            tasks=_tasks(self.project, chosen.pop("tasks", [])),
            answers=_answers(self.project, chosen.pop("answers", [])),
            **chosen,
        )
        batch = report.batch
        batch.task_count = report.tasks  # type: ignore[attr-defined]
        body = {"batch": batch, "tasks": report.tasks, "awaited_no_more": report.awaited_no_more}
        return Response(GoldBatchOut(body).data, status.HTTP_201_CREATED)


class KnownAnswersViewSet(ProjectViewSet):
    queryset = (
        Task.objects.prefetch_related("task_responses__response")
        .select_related("batch__project")
        .order_by("pk")
    )
    serializer_class = TaskOut
    project_path = "batch__project"

    @extend_schema(request=KnownAnswerIn, responses=TaskOut)
    def set_answer(self, request: Request, pk: int) -> Response:
        """Say what the right order of a task's responses is. It can be copied into gold and qualification batches then;
        an earlier answer is replaced."""
        task = self.get_object()
        given = KnownAnswerIn(data=request.data)
        given.is_valid(raise_exception=True)
        gold.set_known_answer(task=task, by=self.caller, **given.validated_data)
        return Response(TaskOut(self.resources().get(pk=task.pk)).data)


class FeedbackViewSet(ProjectViewSet):
    queryset = Assignment.objects.select_related("batch__project", "task").order_by("pk")
    serializer_class = FeedbackOut
    project_path = "batch__project"
    lookup_field, lookup_url_kwarg = "public_id", "id"
    throttle_scope = "ranking"

    @extend_schema(responses=FeedbackOut)
    def feedback(self, request: Request, pk: UUID) -> Response:
        """How the caller did on a qualification task that they ranked. 409 for any other task of theirs."""
        assignment = self.get_object()
        if assignment.annotator_id != request.user.pk:
            raise Http404
        return Response(FeedbackOut(feedback_on(assignment=assignment, annotator=self.caller)).data)


def _tasks(project: Project, ids: list[int]) -> list[Task]:
    found = Task.objects.filter(batch__project=project).in_bulk(ids)
    if missing := [pk for pk in ids if pk not in found]:
        raise Refusal("invalid", f"The project has no task {missing[0]}.", field="tasks")
    return list(found.values())


def _answers(project: Project, rows: list[dict[str, Any]]) -> list[gold.KnownAnswer]:
    prompts = project.prompts.in_bulk([row["prompt"] for row in rows])
    wanted = [pk for row in rows for pk in row["responses"]]
    responses = Answer.objects.filter(prompt__project=project).in_bulk(wanted)
    answers = []
    for at, row in enumerate(rows):
        if row["prompt"] not in prompts:
            raise Refusal(
                "invalid", f"The project has no prompt {row['prompt']}.", field=f"answers[{at}].prompt"
            )
        if missing := [pk for pk in row["responses"] if pk not in responses]:
            raise Refusal(
                "invalid", f"The project has no response {missing[0]}.", field=f"answers[{at}].responses"
            )
        answers.append(
            gold.KnownAnswer(
                prompt=prompts[row["prompt"]],
                responses=[responses[pk] for pk in row["responses"]],
                tiers=row["tiers"],
                note=row.get("note", ""),
            )
        )
    return answers

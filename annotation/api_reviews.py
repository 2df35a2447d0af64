"""REST: what awaits a review, and reviewers' verdicts."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from annotation import reviewing
from annotation.api_access import ProjectViewSet
from annotation.api_fields import Choice, Input, Integer, Text
from annotation.api_filters import LARGEST_ID, ReviewQueueFilters
from annotation.api_prompts import MessageOut, PassageOut
from annotation.api_ranking import (
    TIERS_HELP,
    AspectRatingOut,
    DemonstrationOut,
    FlagOut,
    NumberedResponse,
    Rules,
)
from annotation.gold import LONGEST_REVIEW_NOTE
from annotation.models import MAX_RESPONSES, Flag, Review, Task
from annotation.review_queue import Reason, queue
from annotation.showing_reviews import review_view

ANNOTATOR_HELP = "A number from 1 that stands for the annotator within this task."


class WaitingOut(serializers.Serializer):
    task = serializers.IntegerField()
    batch = serializers.IntegerField()
    reasons = serializers.ListField(
        child=serializers.ChoiceField(choices=[(reason.value, reason.value) for reason in Reason])
    )
    agreement = serializers.FloatField(
        allow_null=True, help_text="Share of pairs of responses that two of its annotators order alike."
    )
    flags = serializers.ListField(child=serializers.ChoiceField(choices=Flag.Kind.choices))
    ranked_at = serializers.DateTimeField(help_text="When the last of its rankings came in.")


class TiersOut(serializers.ListField):
    child = serializers.ListField(child=serializers.IntegerField())


class RatedOut(AspectRatingOut):
    aspect = serializers.CharField()
    number = serializers.IntegerField()


class RankedOut(serializers.Serializer):
    """A ranking as a reviewer sees it, without its annotator's name."""

    id = serializers.IntegerField()
    annotator = serializers.IntegerField(help_text=ANNOTATOR_HELP)
    tiers = TiersOut(help_text=TIERS_HELP)
    strengths = serializers.ListField(
        child=serializers.IntegerField(allow_null=True),
        allow_null=True,
        help_text="How much better each tier but the last is than the next, from 1 to 4.",
    )
    rationale = serializers.CharField(allow_blank=True)
    seconds = serializers.FloatField(allow_null=True)
    changed = serializers.BooleanField(help_text="Whether it was amended.")
    returned_note = serializers.CharField(allow_null=True)
    flags = FlagOut(many=True)
    demonstrations = DemonstrationOut(many=True)
    ratings = RatedOut(many=True)


class DividedOut(serializers.Serializer):
    """Two responses on whose order the annotators differ."""

    first = serializers.IntegerField()
    second = serializers.IntegerField()
    over = serializers.IntegerField(help_text="How many put the first over the second.")
    under = serializers.IntegerField()
    tied = serializers.IntegerField()


class ReviewOut(serializers.Serializer):
    id = serializers.IntegerField()
    verdict = serializers.ChoiceField(choices=Review.Verdict.choices)
    reviewer = serializers.CharField(help_text="The username.")
    annotator = serializers.IntegerField(
        allow_null=True, help_text=f"Whose ranking was returned. {ANNOTATOR_HELP}"
    )
    tiers = TiersOut(allow_null=True, help_text=f"What was adjudicated. {TIERS_HELP}")
    note = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()


class ReviewViewOut(serializers.Serializer):
    """What a reviewer sees of a task: nothing in it tells where a response came from, or who ranked."""

    task = serializers.IntegerField()
    batch = serializers.IntegerField()
    version = serializers.CharField(
        help_text="Goes with the verdict, which is refused if the task has changed."
    )
    closed = serializers.BooleanField(help_text="Whether its batch is, so that nothing can be returned.")
    prompt = MessageOut(many=True)
    context = PassageOut(many=True)  # type: ignore[assignment]
    responses = NumberedResponse(many=True)
    rules = Rules()
    rankings = RankedOut(many=True)
    divided = DividedOut(many=True, help_text="The most divided pair first.")
    gold_tiers = TiersOut(allow_null=True, help_text=TIERS_HELP)
    reviews = ReviewOut(many=True)


class ReviewIn(Input):
    version = Text(max_length=100, help_text="Of `GET tasks/NUMBER/review`.")
    verdict = Choice(choices=Review.Verdict.choices)
    ranking = Integer(
        required=False, allow_null=True, min_value=1, max_value=LARGEST_ID, help_text="Which one is returned."
    )
    tiers = serializers.ListField(
        child=serializers.ListField(
            child=Integer(min_value=0, max_value=MAX_RESPONSES - 1), min_length=1, max_length=MAX_RESPONSES
        ),
        required=False,
        allow_null=True,
        min_length=1,
        max_length=MAX_RESPONSES,
        help_text=f"The right order, of an adjudication. {TIERS_HELP}",
    )
    note = Text(
        required=False,
        allow_blank=True,
        max_length=LONGEST_REVIEW_NOTE,
        help_text="Needed for a return: its annotator reads it.",
    )


class ReviewQueueViewSet(ProjectViewSet):
    queryset = Task.objects.all()
    serializer_class = WaitingOut
    filterset_class = ReviewQueueFilters
    project_path = "batch__project"

    def list(self, request: Request, project: str) -> Response:
        """What awaits the caller's review, the most urgent first, and why."""
        waiting = queue(project=self.project, reviewer=self.caller)
        tasks = self.get_queryset().filter(pk__in=[each.task for each in waiting])
        asked = set(self.filter_queryset(tasks).values_list("pk", flat=True))
        reason = request.query_params.get("reason")
        found = [
            each for each in waiting if each.task in asked and (reason is None or reason in each.reasons)
        ]
        page = self.paginate_queryset(found)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class TaskReviewsViewSet(ProjectViewSet):
    queryset = Task.objects.select_related("batch__project", "prompt")
    serializer_class = ReviewOut
    project_path = "batch__project"

    @extend_schema(responses=ReviewViewOut)
    def review(self, request: Request, pk: int) -> Response:
        """A task to review, blind: prompt, responses, rankings, where they differ, and earlier verdicts."""
        task = self.get_object()
        reviewing.require_reviewable(task, self.caller)
        return Response(ReviewViewOut(review_view(task)).data)

    @extend_schema(request=ReviewIn, responses={201: ReviewOut})
    def add_review(self, request: Request, pk: int) -> Response:
        """Give a verdict on a task: accept it, return one ranking to its annotator, or adjudicate it."""
        task = self.get_object()
        given = ReviewIn(data=request.data)
        given.is_valid(raise_exception=True)
        fields: dict[str, Any] = dict(given.validated_data)
        fields["ranking_id"] = fields.pop("ranking", None)
        review = reviewing.review_task(reviewer=self.caller, task_id=task.pk, **fields)
        said = {each["id"]: each for each in review_view(task)["reviews"]}
        return Response(ReviewOut(said[review.pk]).data, status.HTTP_201_CREATED)

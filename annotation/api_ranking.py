"""REST: the next task for those who rank, and the rankings that came of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from annotation import answering, assigning, submitting
from annotation.api_access import Access, ProjectViewSet
from annotation.api_fields import Choice, Input, Integer, Number, Text, Uuid
from annotation.api_filters import AssignmentFilters, RankingFilters
from annotation.api_projects import AspectOut
from annotation.api_prompts import MessageOut, PassageOut
from annotation.lettering import LETTER_HELP
from annotation.models import MAX_RESPONSES, Assignment, Demonstration, Flag, Ranking
from annotation.returning import with_returned_note
from annotation.showing import blind_view

TIERS_HELP = "Response numbers, best tier first; numbers in one tier are tied."
STRENGTHS_HELP = (
    "Of each tier but the last, how much better it is than the next: "
    + ", ".join(f"{step} {name}" for step, name in answering.STRENGTHS.items())
    + "; null where it was not said."
)
TASK_HELP = (
    "Null to annotators: numbers of tasks run in ranges by batch, which would tell more than they may know."
)
DEMONSTRATION_HELP = "Of the task's response that was edited; null: it was written anew."


class NumberedResponse(serializers.Serializer):
    number = serializers.IntegerField(help_text="What tiers call it.")
    letter = serializers.CharField(help_text=LETTER_HELP)
    text = serializers.CharField(allow_blank=True)
    ended = serializers.BooleanField(help_text="False where the maximum length cut it off.")


class ProjectName(serializers.Serializer):
    slug = serializers.CharField()
    name = serializers.CharField()


class Rules(serializers.Serializer):
    ties = serializers.BooleanField()
    partial = serializers.BooleanField(  # type: ignore[assignment]
        help_text="Whether responses may be left unranked."
    )
    strength = serializers.BooleanField(help_text="Whether `strengths` are asked for.")


class BlindView(serializers.Serializer):
    """What an annotator sees of a task: nothing in it tells where a response came from."""

    assignment = serializers.UUIDField()
    lease = serializers.UUIDField(allow_null=True, help_text="Goes with every answer.")
    state = serializers.ChoiceField(choices=Assignment.State.choices)
    leased_until = serializers.DateTimeField(allow_null=True)
    seconds_left = serializers.FloatField(
        allow_null=True, help_text="Until then, for whom the clock of this computer may be wrong."
    )
    project = ProjectName()
    guidelines = serializers.CharField(allow_blank=True)
    prompt = MessageOut(many=True)
    context = PassageOut(many=True)  # type: ignore[assignment]
    responses = NumberedResponse(many=True, help_text="In the order to be shown.")
    qualification = serializers.BooleanField(
        help_text="A task to qualify by: once it is submitted, `assignments/…/feedback` tells how it did."
    )
    rules = Rules()
    aspects = AspectOut(many=True)


class AssignmentOut(serializers.ModelSerializer):
    id = serializers.UUIDField(source="public_id")
    annotator = serializers.CharField(source="annotator.username", allow_null=True, default=None)

    class Meta:
        model = Assignment
        fields = ["id", "task", "batch", "place", "state", "annotator", "leased_at", "leased_until"]


class LeaseIn(Input):
    lease = Uuid()


class SkipIn(LeaseIn):
    reason = Text(required=False, allow_blank=True, max_length=assigning.LONGEST_SKIP_REASON)


NUMBER = {"type": "integer", "minimum": 0, "maximum": MAX_RESPONSES - 1}


@extend_schema_field(
    {
        "type": "object",
        "description": "By aspect, then by response number: from 1 to the aspect's steps.",
        "additionalProperties": {
            "type": "object",
            "propertyNames": {"pattern": f"^[0-{MAX_RESPONSES - 1}]$"},
            "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 10},
        },
    }
)
class Ratings(serializers.DictField):
    child = serializers.DictField(child=Integer(min_value=1, max_value=10))

    def to_internal_value(self, data: Any) -> dict[str, dict[str, int]]:
        ratings = super().to_internal_value(data)
        numbers = {str(number) for number in range(MAX_RESPONSES)}
        for aspect, by_response in ratings.items():
            if strange := by_response.keys() - numbers:
                raise serializers.ValidationError(
                    {aspect: f"{sorted(strange)[0]!r:.40} is no response number."}
                )
        return ratings


class FlagIn(Input):
    number = Integer(min_value=0, max_value=MAX_RESPONSES - 1)
    kind = Choice(choices=Flag.Kind.choices)
    note = Text(
        required=False,
        allow_blank=True,
        max_length=answering.LONGEST_FLAG_NOTE,
        help_text="What is wrong; the kind `other` needs it.",
    )


class DemonstrationIn(Input):
    number = Integer(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=MAX_RESPONSES - 1,
        help_text=DEMONSTRATION_HELP,
    )
    text = Text(max_length=answering.LONGEST_DEMONSTRATION)


class AmendIn(Input):
    key = Uuid(help_text="Your own name for this submission: sent twice, it counts once.")
    tiers = serializers.ListField(
        child=serializers.ListField(
            child=Integer(min_value=0, max_value=MAX_RESPONSES - 1), min_length=1, max_length=MAX_RESPONSES
        ),
        min_length=1,
        max_length=MAX_RESPONSES,
        help_text=TIERS_HELP,
    )
    strengths = serializers.ListField(
        child=Integer(
            min_value=min(answering.STRENGTHS), max_value=max(answering.STRENGTHS), allow_null=True
        ),
        required=False,
        allow_null=True,
        max_length=MAX_RESPONSES - 1,
        help_text=STRENGTHS_HELP,
    )
    ratings = Ratings(required=False)
    flags = serializers.ListField(
        child=FlagIn(),
        required=False,
        max_length=MAX_RESPONSES * len(Flag.Kind),
        help_text="What is wrong with responses, apart from their rank.",
    )
    demonstrations = serializers.ListField(
        child=DemonstrationIn(),
        required=False,
        max_length=MAX_RESPONSES + 1,
        help_text="Better responses: one edited text a response, and one written anew. They are learned from by `sft`.",
    )
    rationale = Text(required=False, allow_blank=True, max_length=answering.LONGEST_RATIONALE)
    seconds = Number(required=False, allow_null=True, min_value=0, max_value=answering.MOST_SECONDS)


class SubmitIn(LeaseIn, AmendIn):
    pass


class AspectRatingOut(serializers.Serializer):
    aspect = serializers.CharField(source="aspect.name")
    number = serializers.IntegerField(source="position")
    rating = serializers.IntegerField()


class FlagOut(serializers.ModelSerializer):
    number = serializers.IntegerField(source="position")

    class Meta:
        model = Flag
        fields = ["number", "kind", "note"]


class DemonstrationOut(serializers.ModelSerializer):
    number = serializers.IntegerField(source="position", allow_null=True, help_text=DEMONSTRATION_HELP)

    class Meta:
        model = Demonstration
        fields = ["number", "text"]


class RankingOut(serializers.ModelSerializer):
    assignment = serializers.UUIDField(source="assignment.public_id")
    task = serializers.SerializerMethodField(help_text=TASK_HELP)
    annotator = serializers.CharField(source="annotator.username")
    tiers = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()), help_text=TIERS_HELP
    )
    strengths = serializers.ListField(
        child=serializers.IntegerField(allow_null=True), allow_null=True, help_text=STRENGTHS_HELP
    )
    shown_order = serializers.ListField(
        child=serializers.IntegerField(), help_text="Empty where it came by a file that does not say."
    )
    ratings = AspectRatingOut(many=True, source="aspect_ratings")
    flags = FlagOut(many=True)
    demonstrations = DemonstrationOut(many=True)
    returned_note = serializers.CharField(
        read_only=True,
        allow_null=True,
        default=None,
        help_text="What a reviewer said who returned it; null unless it waits to be amended.",
    )

    class Meta:
        model = Ranking
        fields = [
            "id",
            "assignment",
            "task",
            "annotator",
            "revision",
            "key",
            "tiers",
            "strengths",
            "shown_order",
            "ratings",
            "flags",
            "demonstrations",
            "rationale",
            "seconds",
            "submitted_at",
            "returned_note",
        ]

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_task(self, ranking: Ranking) -> int | None:
        return ranking.task_id if self.context["view"].role >= Access.REVIEWER else None


class NextTaskViewSet(ProjectViewSet):
    queryset = Assignment.objects.all()
    serializer_class = BlindView
    project_path = "batch__project"
    throttle_scope = "ranking"

    @extend_schema(
        request=None, responses={200: BlindView, 204: OpenApiResponse(description="Nothing to rank now.")}
    )
    def lease(self, request: Request, project: str) -> Response:
        """Lease the caller's next task: the one they hold, else the next open one. 204: there is none now. 403: they
        are paused; the sentence says why."""
        assignment = assigning.next_assignment(annotator=self.caller, project=self.project)
        if assignment is None:
            return Response(status=status.HTTP_204_NO_CONTENT)
        return Response(BlindView(blind_view(assignment)).data)


class AssignmentsViewSet(ProjectViewSet):
    queryset = Assignment.objects.select_related("batch__project", "annotator").order_by("pk")
    serializer_class = AssignmentOut
    filterset_class = AssignmentFilters
    project_path = "batch__project"
    lookup_field, lookup_url_kwarg = "public_id", "id"
    throttle_scope = "ranking"

    def list(self, request: Request, project: str) -> Response:
        """All places of the project's tasks, and who has them."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(responses=BlindView)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """A task that the caller holds or has ranked, blind."""
        assignment = self.get_object()
        if assignment.annotator_id != request.user.pk:
            raise Http404
        return Response(BlindView(blind_view(assignment)).data)

    @extend_schema(request=SubmitIn, responses={201: RankingOut})
    def submit(self, request: Request, pk: UUID) -> Response:
        """Submit the ranking of a leased task. The same key again answers with the same ranking."""
        given = SubmitIn(data=request.data)
        given.is_valid(raise_exception=True)
        ranking = submitting.submit(annotator=self.caller, assignment_id=pk, **given.validated_data)
        return self._receipt(ranking)

    @extend_schema(request=AmendIn, responses={201: RankingOut})
    def amend(self, request: Request, pk: UUID) -> Response:
        """Submit a new revision of the caller's ranking, while the batch is not closed."""
        given = AmendIn(data=request.data)
        given.is_valid(raise_exception=True)
        ranking = submitting.amend(annotator=self.caller, assignment_id=pk, **given.validated_data)
        return self._receipt(ranking)

    @extend_schema(request=SkipIn, responses={204: None})
    def skip(self, request: Request, pk: UUID) -> Response:
        """Pass the task by: it is not offered to the caller again, and its place is open for others."""
        given = SkipIn(data=request.data)
        given.is_valid(raise_exception=True)
        assigning.skip(assignment=self.get_object(), annotator=self.caller, **given.validated_data)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=LeaseIn, responses=BlindView)
    def renew(self, request: Request, pk: UUID) -> Response:
        """Give the lease its full time again."""
        place = assigning.renew_lease(
            assignment=self.get_object(), annotator=self.caller, lease=self._lease(request)
        )
        return Response(BlindView(blind_view(place)).data)

    @extend_schema(request=LeaseIn, responses={204: None})
    def give_back(self, request: Request, pk: UUID) -> Response:
        """Return the place: it is open for anybody, the caller included."""
        assigning.return_lease(
            assignment=self.get_object(), annotator=self.caller, lease=self._lease(request)
        )
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _receipt(self, ranking: Ranking) -> Response:
        shown = RankingOut(ranking, context=self.get_serializer_context())
        return Response(shown.data, status.HTTP_201_CREATED)

    @staticmethod
    def _lease(request: Request) -> Any:
        given = LeaseIn(data=request.data)
        given.is_valid(raise_exception=True)
        return given.validated_data["lease"]


class RankingsViewSet(ProjectViewSet):
    """Reviewers and managers see all rankings; annotators their own."""

    queryset = (
        Ranking.objects.select_related("annotator", "assignment", "task__batch__project")
        .prefetch_related("aspect_ratings__aspect", "flags", "demonstrations")
        .order_by("-pk")
    )
    serializer_class = RankingOut
    filterset_class = RankingFilters
    ordering_fields = ("submitted_at",)
    project_path = "task__batch__project"

    def get_queryset(self) -> QuerySet[Ranking]:
        rows = super().get_queryset()
        sees_all = self.is_for_schema or self.role >= Access.REVIEWER
        return with_returned_note(rows if sees_all else rows.filter(annotator=self.request.user))

    def list(self, request: Request, project: str) -> Response:
        """Rankings, newest first, one row a revision."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        told_apart_by = {"batch", "task"} & set(self.request.query_params)
        if self.role < Access.REVIEWER and told_apart_by:
            raise serializers.ValidationError(
                dict.fromkeys(told_apart_by, "Only reviewers and managers see which batch a task is of.")
            )
        return super().filter_queryset(queryset)

    def retrieve(self, request: Request, pk: int) -> Response:
        """One ranking."""
        return Response(self.get_serializer(get_object_or_404(self.get_queryset(), pk=pk)).data)

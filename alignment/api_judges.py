"""REST: AI judges, what they are asked, and what they answered."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from alignment.api_quality import ReliabilityOut
from alignment.judges import judging, making
from alignment.judges.figures import judge_figures, work_of
from alignment.judges.models import Judge, Judgement, Judging
from annotation.api_access import ProjectViewSet
from annotation.api_fields import Choice, Flag, Input, Integer, Number, Text, Uuid
from annotation.api_filters import LARGEST_ID, FlagFilter, IdFilter
from annotation.api_quality import RatioOut
from annotation.models import Project
from annotation.projects import projects_of
from annotation.refusals import Refusal
from training.models import Run

SETTINGS_HELP = "temperature, top_p, max_tokens, seed; others keep defaults."


class EndpointJudgeIn(Input):
    kind = Choice(choices=["endpoint"])
    name = Text(max_length=200)
    url = Text(
        max_length=200,
        help_text="Up to and including the version, such as http://localhost:8000/v1. Administrators name any; others "
        "one that RANKLOOP_ENDPOINTS lists.",
    )
    model = Text(max_length=200, help_text="The endpoint's name of the model.")
    key_variable = Text(
        required=False,
        allow_blank=True,
        max_length=100,
        help_text="The workers' environment variable that holds the key; ends in _API_KEY.",
    )
    instructions = Text(
        required=False,
        allow_blank=True,
        max_length=making.LONGEST_INSTRUCTIONS,
        help_text="What it is told before each task; empty: the project's guidelines and aspects.",
    )
    orders = Choice(
        choices=Judge.Orders.choices,
        required=False,
        help_text="both: each task is shown in an order and its reverse; each: so often that every response stands "
        "once at every place.",
    )
    settings = serializers.DictField(required=False, help_text=SETTINGS_HELP)


class RewardJudgeIn(Input):
    kind = Choice(choices=["reward"])
    name = Text(max_length=200)
    reward_run = Uuid(help_text="A reward run of the project that succeeded.")


FORMS: dict[str, type[Input]] = {"endpoint": EndpointJudgeIn, "reward": RewardJudgeIn}


class JudgeChange(Input):
    archived = Flag(required=False, help_text="Whether it is asked nothing any more.")


class JudgingIn(Input):
    batch = Integer(min_value=1, max_value=LARGEST_ID)
    share = Number(
        required=False,
        min_value=0.0,
        max_value=1.0,
        help_text="Of the batch's tasks, above 0; all unless given.",
    )


class JudgeOut(serializers.ModelSerializer):
    url = serializers.CharField(source="endpoint_url")
    model = serializers.CharField(source="endpoint_model")
    key_variable = serializers.CharField(source="endpoint_key_variable")
    settings = serializers.DictField(help_text=SETTINGS_HELP)

    class Meta:
        model = Judge
        fields = [
            "id",
            "name",
            "kind",
            "url",
            "model",
            "key_variable",
            "reward_run",
            "instructions",
            "orders",
            "settings",
            "created_at",
            "archived_at",
        ]


class JudgingOut(serializers.ModelSerializer):
    state = serializers.ChoiceField(choices=Run.State.choices, source="run.state")
    reason = serializers.CharField(source="run.reason", allow_blank=True)

    class Meta:
        model = Judging
        fields = [
            "id",
            "batch",
            "run",
            "state",
            "reason",
            "share",
            "asked",
            "layout",
            "created_at",
            "ended_at",
        ]


class JudgementOut(serializers.ModelSerializer):
    shown_order = serializers.ListField(child=serializers.IntegerField())
    tiers = serializers.SerializerMethodField(
        help_text="Response numbers, best first; null where `fault` says why."
    )

    class Meta:
        model = Judgement
        fields = [
            "id",
            "judging",
            "task",
            "order",
            "shown_order",
            "tiers",
            "fault",
            "raw",
            "prompt_tokens",
            "tokens",
            "created_at",
        ]

    @extend_schema_field(
        {
            "type": ["array", "null"],
            "items": {"type": "array", "items": {"type": "integer"}},
        }
    )
    def get_tiers(self, judgement: Judgement) -> Any:
        return judgement.tiers


class WorkOut(serializers.Serializer):
    tasks = serializers.IntegerField()
    answers = serializers.IntegerField()
    faults = serializers.IntegerField(help_text="Answers that are no rankings, and count nowhere.")
    prompt_tokens = serializers.IntegerField(allow_null=True)
    tokens = serializers.IntegerField(allow_null=True, help_text="Of the answers.")


class MachineReliabilityOut(ReliabilityOut):
    annotator = None  # type: ignore[assignment]


class JudgeFiguresOut(serializers.Serializer):
    work = WorkOut()
    compared = serializers.IntegerField(help_text="Tasks that people ranked too.")
    agreement = RatioOut(help_text="With people who ranked the same task, on pairs of responses.")
    among_people = RatioOut(help_text="Of two people, on the tasks that the judge ranked.")
    consistency = RatioOut(help_text="Of its rankings of a task in different orders.")
    first_shown = RatioOut(help_text="How often the response that was shown further up won, ties left out.")
    longer = RatioOut(help_text="How often the longer response won.")
    peoples_longer = RatioOut(help_text="The same of people's rankings of these tasks.")
    reliability = MachineReliabilityOut(allow_null=True)


class JudgementFilters(filters.FilterSet):
    task = IdFilter(field_name="task_id")
    judging = IdFilter(field_name="judging_id")
    faulty = FlagFilter(field_name="tiers", lookup_expr="isnull")

    class Meta:
        model = Judgement
        fields = ["task", "judging"]


class JudgesViewSet(ProjectViewSet):
    queryset = Judge.objects.select_related("project").order_by("pk")
    serializer_class = JudgeOut
    ordering_fields = ("name", "created_at")

    def list(self, request: Request, project: str) -> Response:
        """The project's AI judges."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        request=PolymorphicProxySerializer(
            component_name="JudgeIn", serializers=dict(FORMS), resource_type_field_name="kind"
        ),
        responses={201: JudgeOut},
    )
    def create(self, request: Request, project: str) -> Response:
        """Make a judge: of an OpenAI-compatible endpoint, or of a reward model. It never changes; another one is
        measured apart."""
        kind = request.data.get("kind") if isinstance(request.data, dict) else None
        form = FORMS.get(kind) if isinstance(kind, str) else None
        if form is None:
            raise serializers.ValidationError({"kind": f"One of {', '.join(FORMS)}."})
        given = form(data=request.data)
        given.is_valid(raise_exception=True)
        fields = {name: value for name, value in given.validated_data.items() if name != "kind"}
        if form is RewardJudgeIn:
            run = Run.objects.filter(pk=fields["reward_run"], project_id=self.project.pk).first()
            if run is None:
                raise Refusal(
                    "invalid", f"The project has no run {fields['reward_run']}.", field="reward_run"
                )
            judge = making.create_reward_judge(
                project=self.project, name=fields["name"], reward_run=run, created_by=self.caller
            )
        else:
            judge = making.create_endpoint_judge(project=self.project, created_by=self.caller, **fields)
        return Response(JudgeOut(judge).data, status.HTTP_201_CREATED)

    @extend_schema(responses=JudgeOut)
    def retrieve(self, request: Request, pk: int) -> Response:
        """One judge, with all that decides its answers."""
        return Response(JudgeOut(self.get_object()).data)

    @extend_schema(request=JudgeChange, responses=JudgeOut)
    def partial_update(self, request: Request, pk: int) -> Response:
        """Archive the judge, or bring it back. What it answered stays."""
        given = JudgeChange(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        judge = self.get_object()
        if "archived" in given.validated_data:
            change = making.archive_judge if given.validated_data["archived"] else making.bring_judge_back
            judge = change(judge)
        return Response(JudgeOut(judge).data)

    @extend_schema(responses=JudgeFiguresOut)
    def figures(self, request: Request, pk: int) -> Response:
        """What the judge's answers are worth: its agreement with people, its reliability, and what sways it."""
        judge = self.get_object()
        figures = judge_figures(judge).figures
        told = {name: getattr(figures, name) for name in figures.__dataclass_fields__}
        return Response(JudgeFiguresOut({"work": work_of(judge.judgements.all()), **told}).data)


class OfJudgeViewSet(ProjectViewSet):
    """Rows that belong to the judge of the address."""

    def find_project(self) -> Project:
        mine = Judge.objects.select_related("project").filter(project__in=projects_of(self.request.user))
        self.judge = get_object_or_404(mine, pk=self.kwargs["pk"])
        return self.judge.project

    def get_queryset(self) -> QuerySet[Any]:
        rows = self.resources()
        return rows.none() if self.is_for_schema else rows.filter(judge=self.judge)

    def listed(self) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class JudgingsViewSet(OfJudgeViewSet):
    queryset = Judging.objects.select_related("run").order_by("-pk")
    serializer_class = JudgingOut

    @extend_schema(responses=JudgingOut(many=True))
    def judgings(self, request: Request, pk: int) -> Response:
        """What the judge was asked, the latest first."""
        return self.listed()

    @extend_schema(request=JudgingIn, responses={201: JudgingOut})
    def start_judging(self, request: Request, pk: int) -> Response:
        """Have the judge rank a batch, or a share of its tasks, where it has not. A run asks it in the background."""
        given = JudgingIn(data=request.data)
        given.is_valid(raise_exception=True)
        chosen = given.validated_data
        batch = self.project.batches.filter(pk=chosen["batch"]).first()
        if batch is None:
            raise Refusal("invalid", f"The project has no batch {chosen['batch']}.", field="batch")
        started = judging.start_judging(
            judge=self.judge, batch=batch, share=chosen.get("share", 1.0), created_by=self.caller
        )
        return Response(JudgingOut(started).data, status.HTTP_201_CREATED)


class JudgementsViewSet(OfJudgeViewSet):
    queryset = Judgement.objects.order_by("pk")
    serializer_class = JudgementOut
    filterset_class = JudgementFilters

    @extend_schema(responses=JudgementOut(many=True))
    def judgements(self, request: Request, pk: int) -> Response:
        """What the judge answered, as it came and as it was read."""
        return self.listed()

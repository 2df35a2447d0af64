"""REST: what a dataset's record rests on, where somebody's work went, withdrawing it, and the locked held-out set."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from alignment.dataset_lineage import Holding, behind, datasets_with, models_of
from alignment.held_out_lock import lock_held_out, lock_of
from alignment.models import Dataset, HeldOutLock, Withdrawal
from alignment.withdrawing import LONGEST_REASON, end_withdrawal, withdraw
from annotation.api_access import ProjectViewSet
from annotation.api_fields import Input, Integer, Text
from annotation.api_filters import LARGEST_ID
from annotation.models import Membership, Prompt, User
from annotation.refusals import Refusal


class RankingBehindOut(serializers.Serializer):
    ranking = serializers.IntegerField()
    annotator = serializers.CharField(help_text="A pseudonym: the same in all datasets of the project.")
    revision = serializers.IntegerField()
    tiers = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))
    submitted_at = serializers.DateTimeField()


class BehindOut(serializers.Serializer):
    task = serializers.IntegerField(source="task.pk")
    prompt = serializers.IntegerField(source="task.prompt_id")
    batch = serializers.IntegerField(source="task.batch_id")
    rankings = RankingBehindOut(many=True)
    adjudicated = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()),
        allow_null=True,
        help_text="The order that a reviewer gave before the dataset was built; null without one.",
    )


class BehindQuery(serializers.Serializer):
    task = serializers.IntegerField(min_value=1, max_value=LARGEST_ID, help_text="A record's `meta.task`.")


class HoldingOut(serializers.Serializer):
    dataset = serializers.IntegerField(source="dataset.pk")
    version = serializers.IntegerField(source="dataset.version")
    rankings = serializers.IntegerField()
    tasks = serializers.IntegerField()


class TrainedOut(serializers.Serializer):
    model_version = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    dataset = serializers.IntegerField(
        source="dataset_id", allow_null=True, help_text="That it was itself trained on."
    )


class HoldingsOut(serializers.Serializer):
    datasets = HoldingOut(many=True)
    models = TrainedOut(many=True, help_text="Trained on one of the datasets, or made of such a model since.")


class WithdrawalOut(serializers.ModelSerializer):
    annotator = serializers.CharField(source="annotator.username", allow_null=True, default=None)

    class Meta:
        model = Withdrawal
        fields = ["id", "annotator", "prompt", "reason", "created_at", "ended_at"]


class WithdrawnOut(WithdrawalOut):
    rankings = serializers.IntegerField(help_text="That no dataset holds from now on.")
    datasets = HoldingOut(many=True, help_text="That hold them, and stay as they are.")
    models = TrainedOut(many=True)
    rebuilt = serializers.IntegerField(
        allow_null=True, help_text="The newest of the datasets, built anew without them."
    )
    why_not_rebuilt = serializers.CharField(allow_blank=True)

    class Meta(WithdrawalOut.Meta):
        fields = [
            *WithdrawalOut.Meta.fields,
            "rankings",
            "datasets",
            "models",
            "rebuilt",
            "why_not_rebuilt",
        ]


class WithdrawalIn(Input):
    annotator = Text(required=False, max_length=150, help_text="A username. Give this or `prompt`.")
    prompt = Integer(required=False, min_value=1, max_value=LARGEST_ID)
    reason = Text(required=False, allow_blank=True, max_length=LONGEST_REASON)


class HeldOutLockOut(serializers.Serializer):
    locked_at = serializers.DateTimeField(allow_null=True, help_text="null: not locked.")
    prompts = serializers.IntegerField(help_text="That are locked.")


class DatasetLineageViewSet(ProjectViewSet):
    queryset = Dataset.objects.select_related("project")
    serializer_class = BehindOut

    @extend_schema(parameters=[BehindQuery], responses=BehindOut)
    def lineage(self, request: Request, pk: int) -> Response:
        """The rankings that a record of the dataset rests on, and who gave them, under pseudonyms."""
        asked = BehindQuery(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return Response(BehindOut(behind(self.get_object(), asked.validated_data["task"])).data)


class MemberDatasetsViewSet(ProjectViewSet):
    queryset = Membership.objects.select_related("user")
    serializer_class = HoldingsOut

    @extend_schema(responses=HoldingsOut)
    def datasets(self, request: Request, project: str, username: str) -> Response:
        """The datasets that hold an annotator's work, and the models that learned from it."""
        holding = datasets_with(self.project, annotator=_annotator(self, username))
        return Response(_holdings(holding))


class PromptDatasetsViewSet(ProjectViewSet):
    queryset = Prompt.objects.all()
    serializer_class = HoldingsOut

    @extend_schema(responses=HoldingsOut)
    def datasets(self, request: Request, pk: int) -> Response:
        """The datasets that hold rankings of a prompt, and the models that learned from them."""
        return Response(_holdings(datasets_with(self.project, prompt=self.get_object())))


class WithdrawalsViewSet(ProjectViewSet):
    queryset = Withdrawal.objects.select_related("annotator", "project").order_by("-pk")
    serializer_class = WithdrawalOut

    def list(self, request: Request, project: str) -> Response:
        """What is withdrawn from the project's datasets, or was, newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=WithdrawalIn, responses={201: WithdrawnOut})
    def create(self, request: Request, project: str) -> Response:
        """Keep an annotator's or a prompt's rankings out of every dataset from now on, and build the newest one that
        holds them anew. Rankings, frozen datasets and models stay; the answer lists those concerned."""
        given = WithdrawalIn(data=request.data)
        given.is_valid(raise_exception=True)
        of: dict[str, Any] = {"reason": given.validated_data.get("reason", "")}
        if "annotator" in given.validated_data:
            name = given.validated_data["annotator"]
            of["annotator"] = User.objects.filter(username=name).first()
            if of["annotator"] is None:
                raise Refusal("invalid", f"There is no account {name!r:.80}.", field="annotator")
        if "prompt" in given.validated_data:
            number = given.validated_data["prompt"]
            of["prompt"] = self.project.prompts.filter(pk=number).first()
            if of["prompt"] is None:
                raise Refusal("invalid", f"The project has no prompt {number}.", field="prompt")
        outcome = withdraw(project=self.project, by=self.caller, **of)
        body = WithdrawalOut(outcome.withdrawal).data | {
            "rankings": outcome.consequences.rankings,
            "datasets": HoldingOut(outcome.consequences.datasets, many=True).data,
            "models": TrainedOut(outcome.consequences.models, many=True).data,
            "rebuilt": outcome.dataset.pk if outcome.dataset else None,
            "why_not_rebuilt": outcome.why,
        }
        return Response(body, status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=WithdrawalOut)
    def end(self, request: Request, pk: int) -> Response:
        """Let new datasets hold the data again."""
        return Response(WithdrawalOut(end_withdrawal(self.get_object())).data)


class HeldOutLockViewSet(ProjectViewSet):
    queryset = HeldOutLock.objects.all()
    serializer_class = HeldOutLockOut

    @extend_schema(responses=HeldOutLockOut)
    def show(self, request: Request, project: str) -> Response:
        """Whether the project's held-out set is locked."""
        return Response(_lock_out(lock_of(self.project)))

    @extend_schema(request=None, responses={201: HeldOutLockOut})
    def create(self, request: Request, project: str) -> Response:
        """Lock the held-out prompts that there are, for the project's life: models are measured on these, and a dataset
        that would train on what nearly repeats one is refused."""
        return Response(
            _lock_out(lock_held_out(project=self.project, by=self.caller)), status.HTTP_201_CREATED
        )


def _lock_out(lock: HeldOutLock | None) -> dict[str, Any]:
    told = {"locked_at": lock.created_at if lock else None, "prompts": lock.prompts.count() if lock else 0}
    return dict(HeldOutLockOut(told).data)


def _holdings(holding: list[Holding]) -> dict[str, Any]:
    models = models_of(each.dataset for each in holding)
    return dict(HoldingsOut({"datasets": holding, "models": models}).data)


def _annotator(view: ProjectViewSet, username: str) -> User:
    """A member, or somebody who was one and ranked."""
    theirs = Q(memberships__project=view.project) | Q(rankings__task__batch__project=view.project)
    return get_object_or_404(User.objects.filter(theirs).distinct(), username=username)

"""REST: rounds, and the scorecards that decide them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from alignment import rounds
from alignment.api_datasets import WarningOut
from alignment.api_filters import RoundFilters, ScorecardFilters
from alignment.api_sources import version_of
from alignment.dataset_warnings import warnings_of
from alignment.models import Round, RoundRun, Scorecard
from alignment.recipes import RECIPES
from alignment.round_reviews import review_awaited
from alignment.scorecards import source_win_rates
from annotation.api_access import ProjectViewSet
from annotation.api_batches import sources_of
from annotation.api_fields import Choice, Input, Integer, Text
from annotation.api_filters import LARGEST_ID
from annotation.models import MAX_RESPONSES, MIN_RESPONSES
from training.models import Run


class RoundOut(serializers.ModelSerializer):
    settings = serializers.DictField(
        help_text="The recipe's, complete: `annotation`, `dataset`, `training`, `evaluation`, `processes`; for ppo "
        "also `reward`, `reward_models` and `watch`."
    )
    review_waived_by = serializers.CharField(
        source="review_waived_by.username",
        allow_null=True,
        default=None,
        help_text="Who went on without the review that the round was to wait for.",
    )

    class Meta:
        model = Round
        fields = [
            "id",
            "number",
            "recipe",
            "settings",
            "sources",
            "start_from",
            "responses_per_task",
            "overlap",
            "tasks",
            "seed",
            "judge",
            "oracle",
            "decision",
            "state",
            "reason",
            "failed_in",
            "candidate",
            "batch",
            "evaluation_batch",
            "dataset",
            "review_waived_by",
            "review_waived_at",
            "review_left",
            "created_at",
            "state_since",
            "ended_at",
        ]


class RoundRunOut(serializers.ModelSerializer):
    kind = serializers.ChoiceField(source="run.kind", choices=Run.Kind.choices)
    state = serializers.ChoiceField(source="run.state", choices=Run.State.choices)

    class Meta:
        model = RoundRun
        fields = ["run", "kind", "state", "step", "source", "number", "attempt", "taken_over"]


class ScorecardOut(serializers.ModelSerializer):
    figures = serializers.DictField(
        help_text="All that the evaluation measured; null is: not measured. Of a policy that learned from a reward "
        "model, `best_of` has best-of-n sampling by it: `n`, its `win_rate` against the old model, the candidate's "
        "`new_win_rate` against it, each with `_low` and `_high`, and `kl_bound`."
    )

    class Meta:
        model = Scorecard
        fields = [
            "id",
            "round",
            "model_version",
            "against",
            "run",
            "win_rate",
            "win_rate_low",
            "win_rate_high",
            "judge",
            "figures",
            "created_at",
        ]


class ReviewAwaitedOut(serializers.Serializer):
    tasks = serializers.IntegerField(
        help_text="That await a reviewer, for a reason that the round waits for."
    )
    reasons = serializers.DictField(child=serializers.IntegerField(), help_text="How many for each reason.")
    returned = serializers.IntegerField(help_text="Returned rankings that await their annotators' amendment.")


class RoundDetailOut(RoundOut):
    runs = RoundRunOut(many=True, source="round_runs")
    review_awaited = serializers.SerializerMethodField(
        help_text="What the round waits for once its tasks are ranked; null: for no review."
    )
    scorecard = ScorecardOut(allow_null=True, default=None)
    warnings = serializers.SerializerMethodField(help_text="What speaks against training on its dataset.")

    class Meta(RoundOut.Meta):
        fields = [*RoundOut.Meta.fields, "runs", "review_awaited", "scorecard", "warnings"]

    @extend_schema_field(ReviewAwaitedOut(allow_null=True))
    def get_review_awaited(self, round: Round) -> dict[str, Any] | None:
        awaited = review_awaited(round, live=False)
        return None if awaited is None else dict(ReviewAwaitedOut(awaited).data)

    @extend_schema_field(WarningOut(many=True))
    def get_warnings(self, round: Round) -> Any:
        found = warnings_of(round.dataset.card, round.recipe) if round.dataset else []
        return WarningOut(found, many=True).data


class WinRateOut(serializers.Serializer):
    source = serializers.IntegerField(source="source.pk")  # type: ignore[assignment]
    against = serializers.IntegerField(source="against.pk")
    win_rate = serializers.FloatField(help_text="Ties count one half.")
    win_rate_low = serializers.FloatField()
    win_rate_high = serializers.FloatField()
    prompts = serializers.IntegerField()
    comparisons = serializers.IntegerField()


class WinRatesOut(serializers.Serializer):
    win_rates = WinRateOut(many=True)


class RoundIn(Input):
    recipe = Choice(
        choices=[(name, recipe.title) for name, recipe in RECIPES.items()],
        required=False,
        help_text="How the round's model learns.",
    )
    settings = serializers.DictField(
        required=False,
        help_text="The recipe's `annotation` (the order of work, and whether the round waits for its review), "
        "`dataset`, `training` (the method's settings), `evaluation` and `processes` (one a GPU), as far as they "
        "differ from defaults. ppo also has `reward` (how the reward model is trained), "
        "`reward_models` (how many score together) and `watch` (whether one more watches for over-optimisation).",
    )
    sources = serializers.ListField(
        child=Integer(min_value=1, max_value=LARGEST_ID),
        required=False,
        min_length=1,
        max_length=100,
        help_text="The current model version's source and its predecessor's, unless given.",
    )
    start_from = Integer(
        required=False,
        min_value=1,
        max_value=LARGEST_ID,
        help_text="A model version; the one promoted last unless given.",
    )
    responses_per_task = Integer(required=False, min_value=MIN_RESPONSES, max_value=MAX_RESPONSES)
    overlap = Integer(required=False, min_value=1, max_value=100)
    tasks = Integer(required=False, allow_null=True, min_value=1, max_value=2**31 - 1)
    seed = Integer(required=False, min_value=0, max_value=2**32 - 1)
    judge = Choice(choices=Round.Judge.choices, required=False)
    oracle = Text(
        required=False,
        allow_blank=True,
        max_length=200,
        help_text="module:function; only administrators name one.",
    )
    decision = Choice(choices=Round.Decision.choices, required=False)


class ReasonIn(Input):
    reason = Text(required=False, allow_blank=True, max_length=2000)


class RoundsViewSet(ProjectViewSet):
    queryset = (
        Round.objects.select_related("project", "scorecard", "batch", "review_waived_by")
        .prefetch_related("sources", "round_runs__run")
        .order_by("-number")
    )
    serializer_class = RoundOut
    filterset_class = RoundFilters
    ordering_fields = ("number", "created_at")

    def list(self, request: Request, project: str) -> Response:
        """The project's rounds, newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=RoundIn, responses={201: RoundDetailOut})
    def create(self, request: Request, project: str) -> Response:
        """Start the next round. A project has one round at a time."""
        given = RoundIn(data=request.data)
        given.is_valid(raise_exception=True)
        chosen: dict[str, Any] = dict(given.validated_data)
        if "sources" in chosen:
            chosen["sources"] = sources_of(self.project, chosen["sources"])
        if "start_from" in chosen:
            chosen["start_from"] = version_of(self.project, chosen["start_from"], "start_from")
        started = rounds.start_round(project=self.project, created_by=self.caller, **chosen)
        return self._shown(started, status.HTTP_201_CREATED)

    @extend_schema(responses=RoundDetailOut)
    def retrieve(self, request: Request, pk: int) -> Response:
        """One round: where it is and why, its runs, and its scorecard once there is one."""
        return Response(RoundDetailOut(self.get_object()).data)

    @extend_schema(responses=WinRatesOut)
    def win_rates(self, request: Request, pk: int) -> Response:
        """How often people preferred one source to another in the round's batch, blind, with 95 % intervals."""
        batch = self.get_object().batch
        return Response(WinRatesOut({"win_rates": source_win_rates(batch) if batch else []}).data)

    @extend_schema(request=None, responses=RoundDetailOut)
    def close_annotation(self, request: Request, pk: int) -> Response:
        """Go on with the rankings that are there."""
        return self._shown(rounds.close_annotation(round=self.get_object(), by=self.caller))

    @extend_schema(request=None, responses=RoundDetailOut)
    def waive_review(self, request: Request, pk: int) -> Response:
        """Go on without the review that the round waits for; who did, when, and how much was left is kept."""
        return self._shown(rounds.waive_review(round=self.get_object(), by=self.caller))

    @extend_schema(request=None, responses=RoundDetailOut)
    def retry(self, request: Request, pk: int) -> Response:
        """Go on where the round failed."""
        return self._shown(rounds.retry_round(round=self.get_object(), by=self.caller))

    @extend_schema(request=ReasonIn, responses=RoundDetailOut)
    def cancel(self, request: Request, pk: int) -> Response:
        """End the round without a decision. What was made stays."""
        return self._shown(
            rounds.cancel_round(round=self.get_object(), by=self.caller, reason=self._reason(request))
        )

    @extend_schema(request=ReasonIn, responses=RoundDetailOut)
    def promote(self, request: Request, pk: int) -> Response:
        """Take the candidate: the next round starts from it."""
        return self._shown(
            rounds.promote(round=self.get_object(), by=self.caller, reason=self._reason(request))
        )

    @extend_schema(request=ReasonIn, responses=RoundDetailOut)
    def reject(self, request: Request, pk: int) -> Response:
        """Drop the candidate: the next round starts from where this one did."""
        return self._shown(
            rounds.reject(round=self.get_object(), by=self.caller, reason=self._reason(request))
        )

    def _shown(self, round: Round, answer: int = status.HTTP_200_OK) -> Response:
        return Response(RoundDetailOut(self.resources().get(pk=round.pk)).data, answer)

    @staticmethod
    def _reason(request: Request) -> str:
        given = ReasonIn(data=request.data)
        given.is_valid(raise_exception=True)
        return str(given.validated_data.get("reason", ""))


class ScorecardsViewSet(ProjectViewSet):
    queryset = Scorecard.objects.select_related("model_version__project").order_by("-pk")
    serializer_class = ScorecardOut
    filterset_class = ScorecardFilters
    ordering_fields = ("created_at", "win_rate")
    project_path = "model_version__project"

    def list(self, request: Request, project: str) -> Response:
        """The project's scorecards, newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, pk: int) -> Response:
        """One scorecard."""
        return Response(self.get_serializer(self.get_object()).data)

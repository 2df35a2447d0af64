"""The REST API under ``/api/v1/``: every endpoint, and the least role that may call it, in one table."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, path, register_converter, reverse
from django.urls.converters import StringConverter
from django.views.generic import RedirectView
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from alignment.api_datasets import DatasetFilesViewSet, DatasetsViewSet
from alignment.api_hub import HubPushesViewSet
from alignment.api_judges import JudgementsViewSet, JudgesViewSet, JudgingsViewSet
from alignment.api_leaderboard import LeaderboardFileViewSet, LeaderboardViewSet
from alignment.api_lineage import (
    DatasetLineageViewSet,
    HeldOutLockViewSet,
    MemberDatasetsViewSet,
    PromptDatasetsViewSet,
    WithdrawalsViewSet,
)
from alignment.api_quality import BatchConsensusViewSet
from alignment.api_rounds import RoundsViewSet, ScorecardsViewSet
from alignment.api_runs import (
    RunArtifactsViewSet,
    RunArtifactViewSet,
    RunMetricsViewSet,
    RunSamplesViewSet,
    RunsViewSet,
)
from alignment.api_sources import ModelVersionsViewSet, SourcesViewSet
from alignment.api_webhooks import (
    DeliveriesViewSet,
    DeliveryViewSet,
    WebhooksViewSet,
    WebhookTestViewSet,
)
from annotation.api_access import Access, ApiViewSet
from annotation.api_accounts import MeViewSet, TokensViewSet
from annotation.api_batch_quality import BatchPairsViewSet, BatchQualityViewSet, BatchTasksViewSet
from annotation.api_batches import BatchesViewSet, TasksViewSet
from annotation.api_gold import FeedbackViewSet, GoldBatchesViewSet, KnownAnswersViewSet
from annotation.api_imports import (
    ImportBadLinesViewSet,
    ImportFormsViewSet,
    ImportsViewSet,
    ProjectImportsViewSet,
)
from annotation.api_projects import MembersViewSet, ProjectsViewSet
from annotation.api_prompts import (
    PromptImportViewSet,
    PromptsViewSet,
    ResponseImportViewSet,
    ResponsesViewSet,
)
from annotation.api_ranking import AssignmentsViewSet, NextTaskViewSet, RankingsViewSet
from annotation.api_reviews import ReviewQueueViewSet, TaskReviewsViewSet
from config.api_pages import Document, RedocPage, SwaggerPage, send_redoc_script


class Name(StringConverter):
    """The name of a user or an artifact."""

    regex = r"[\w.@+-]+"


register_converter(Name, "name")


class RootOut(serializers.Serializer):
    documentation = serializers.CharField()
    reference = serializers.CharField()
    schema = serializers.CharField()
    me = serializers.CharField()
    tokens = serializers.CharField()
    projects = serializers.CharField()


class RootViewSet(ApiViewSet):
    """Where everything begins."""

    serializer_class = RootOut

    @extend_schema(responses=RootOut)
    def show(self, request: Request) -> Response:
        """Where everything begins."""
        names = {
            "documentation": "api-docs",
            "reference": "api-reference",
            "schema": "api-schema",
            "me": "api-me",
            "tokens": "api-tokens",
            "projects": "api-projects",
        }
        return Response({key: request.build_absolute_uri(reverse(name)) for key, name in names.items()})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one address, and who may call it."""

    method: str
    route: str
    view: type[ApiViewSet]
    action: str
    access: Access


ANYONE, SIGNED_IN, ANNOTATOR, REVIEWER, MANAGER, CREATOR = Access
_PROJECT = "projects/<slug:project>"

ENDPOINTS = tuple(
    Endpoint(*row)
    for row in (
        ("GET", "", RootViewSet, "show", ANYONE),
        ("GET", "me", MeViewSet, "retrieve", SIGNED_IN),
        ("GET", "tokens", TokensViewSet, "list", SIGNED_IN),
        ("POST", "tokens", TokensViewSet, "create", SIGNED_IN),
        ("DELETE", "tokens/<int:pk>", TokensViewSet, "destroy", SIGNED_IN),
        ("GET", "projects", ProjectsViewSet, "list", SIGNED_IN),
        ("POST", "projects", ProjectsViewSet, "create", CREATOR),
        ("GET", _PROJECT, ProjectsViewSet, "retrieve", ANNOTATOR),
        ("PATCH", _PROJECT, ProjectsViewSet, "partial_update", MANAGER),
        ("PUT", f"{_PROJECT}/aspects", ProjectsViewSet, "set_aspects", MANAGER),
        ("POST", f"{_PROJECT}/aspects", ProjectsViewSet, "add_rubric", MANAGER),
        ("GET", f"{_PROJECT}/members", MembersViewSet, "list", REVIEWER),
        ("POST", f"{_PROJECT}/members", MembersViewSet, "create", MANAGER),
        ("PATCH", f"{_PROJECT}/members/<name:username>", MembersViewSet, "partial_update", MANAGER),
        ("DELETE", f"{_PROJECT}/members/<name:username>", MembersViewSet, "destroy", MANAGER),
        ("GET", f"{_PROJECT}/members/<name:username>/gold", MembersViewSet, "gold", REVIEWER),
        ("GET", f"{_PROJECT}/prompts", PromptsViewSet, "list", REVIEWER),
        ("POST", f"{_PROJECT}/prompts", PromptsViewSet, "create", MANAGER),
        ("POST", f"{_PROJECT}/prompts/import", PromptImportViewSet, "import_file", MANAGER),
        ("GET", "prompts/<int:pk>", PromptsViewSet, "retrieve", REVIEWER),
        ("PATCH", "prompts/<int:pk>", PromptsViewSet, "partial_update", MANAGER),
        ("GET", f"{_PROJECT}/responses", ResponsesViewSet, "list", REVIEWER),
        ("POST", f"{_PROJECT}/responses/import", ResponseImportViewSet, "import_file", MANAGER),
        ("GET", "responses/<int:pk>", ResponsesViewSet, "retrieve", REVIEWER),
        ("GET", f"{_PROJECT}/import-forms", ImportFormsViewSet, "list", REVIEWER),
        ("GET", f"{_PROJECT}/imports", ProjectImportsViewSet, "list", REVIEWER),
        ("POST", f"{_PROJECT}/imports", ProjectImportsViewSet, "create", MANAGER),
        ("GET", "imports/<int:pk>", ImportsViewSet, "retrieve", REVIEWER),
        ("PATCH", "imports/<int:pk>", ImportsViewSet, "partial_update", MANAGER),
        ("GET", "imports/<int:pk>/preview", ImportsViewSet, "preview", REVIEWER),
        ("GET", "imports/<int:pk>/bad-lines", ImportBadLinesViewSet, "file", REVIEWER),
        ("POST", "imports/<int:pk>/start", ImportsViewSet, "start", MANAGER),
        ("POST", "imports/<int:pk>/cancel", ImportsViewSet, "cancel", MANAGER),
        ("GET", f"{_PROJECT}/sources", SourcesViewSet, "list", REVIEWER),
        ("POST", f"{_PROJECT}/sources", SourcesViewSet, "create", MANAGER),
        ("GET", "sources/<int:pk>", SourcesViewSet, "retrieve", REVIEWER),
        ("GET", f"{_PROJECT}/batches", BatchesViewSet, "list", REVIEWER),
        ("POST", f"{_PROJECT}/batches", BatchesViewSet, "create", MANAGER),
        ("POST", f"{_PROJECT}/gold-batches", GoldBatchesViewSet, "create", MANAGER),
        ("GET", "batches/<int:pk>", BatchesViewSet, "retrieve", REVIEWER),
        ("GET", "batches/<int:pk>/progress", BatchesViewSet, "progress", REVIEWER),
        ("GET", "batches/<int:pk>/agreement", BatchQualityViewSet, "agreement", REVIEWER),
        ("GET", "batches/<int:pk>/annotators", BatchQualityViewSet, "annotators", REVIEWER),
        ("GET", "batches/<int:pk>/annotators/pairs", BatchPairsViewSet, "pairs", REVIEWER),
        ("GET", "batches/<int:pk>/aspects", BatchQualityViewSet, "aspects", REVIEWER),
        ("GET", "batches/<int:pk>/sources", BatchQualityViewSet, "source_figures", REVIEWER),
        ("GET", "batches/<int:pk>/tasks", BatchTasksViewSet, "tasks", REVIEWER),
        ("GET", "batches/<int:pk>/reliability", BatchConsensusViewSet, "reliability", REVIEWER),
        ("GET", "batches/<int:pk>/win-rates", BatchConsensusViewSet, "win_rates", REVIEWER),
        ("GET", "batches/<int:pk>/order", BatchesViewSet, "order", REVIEWER),
        ("POST", "batches/<int:pk>/uncertainty", BatchesViewSet, "uncertainty", MANAGER),
        ("POST", "batches/<int:pk>/pause", BatchesViewSet, "pause", MANAGER),
        ("POST", "batches/<int:pk>/reopen", BatchesViewSet, "reopen", MANAGER),
        ("POST", "batches/<int:pk>/close", BatchesViewSet, "close", MANAGER),
        ("GET", f"{_PROJECT}/tasks", TasksViewSet, "list", REVIEWER),
        ("GET", "tasks/<int:pk>", TasksViewSet, "retrieve", REVIEWER),
        ("GET", f"{_PROJECT}/review", ReviewQueueViewSet, "list", REVIEWER),
        ("GET", "tasks/<int:pk>/review", TaskReviewsViewSet, "review", REVIEWER),
        ("POST", "tasks/<int:pk>/reviews", TaskReviewsViewSet, "add_review", REVIEWER),
        ("PUT", "tasks/<int:pk>/gold", KnownAnswersViewSet, "set_answer", REVIEWER),
        ("POST", f"{_PROJECT}/next-task", NextTaskViewSet, "lease", ANNOTATOR),
        ("GET", f"{_PROJECT}/assignments", AssignmentsViewSet, "list", REVIEWER),
        ("GET", "assignments/<uuid:pk>", AssignmentsViewSet, "retrieve", ANNOTATOR),
        ("GET", "assignments/<uuid:pk>/feedback", FeedbackViewSet, "feedback", ANNOTATOR),
        ("POST", "assignments/<uuid:pk>/submit", AssignmentsViewSet, "submit", ANNOTATOR),
        ("POST", "assignments/<uuid:pk>/amend", AssignmentsViewSet, "amend", ANNOTATOR),
        ("POST", "assignments/<uuid:pk>/skip", AssignmentsViewSet, "skip", ANNOTATOR),
        ("POST", "assignments/<uuid:pk>/renew", AssignmentsViewSet, "renew", ANNOTATOR),
        ("POST", "assignments/<uuid:pk>/return", AssignmentsViewSet, "give_back", ANNOTATOR),
        ("GET", f"{_PROJECT}/rankings", RankingsViewSet, "list", ANNOTATOR),
        ("GET", "rankings/<int:pk>", RankingsViewSet, "retrieve", ANNOTATOR),
        ("GET", f"{_PROJECT}/leaderboard", LeaderboardViewSet, "show", REVIEWER),
        ("GET", f"{_PROJECT}/leaderboard/csv", LeaderboardFileViewSet, "file", REVIEWER),
        ("GET", f"{_PROJECT}/judges", JudgesViewSet, "list", REVIEWER),
        ("POST", f"{_PROJECT}/judges", JudgesViewSet, "create", MANAGER),
        ("GET", "judges/<int:pk>", JudgesViewSet, "retrieve", REVIEWER),
        ("PATCH", "judges/<int:pk>", JudgesViewSet, "partial_update", MANAGER),
        ("GET", "judges/<int:pk>/figures", JudgesViewSet, "figures", REVIEWER),
        ("GET", "judges/<int:pk>/judgings", JudgingsViewSet, "judgings", REVIEWER),
        ("POST", "judges/<int:pk>/judgings", JudgingsViewSet, "start_judging", MANAGER),
        ("GET", "judges/<int:pk>/judgements", JudgementsViewSet, "judgements", REVIEWER),
        ("GET", f"{_PROJECT}/datasets", DatasetsViewSet, "list", REVIEWER),
        ("POST", f"{_PROJECT}/datasets", DatasetsViewSet, "create", MANAGER),
        ("POST", f"{_PROJECT}/datasets/draft", DatasetsViewSet, "draft", MANAGER),
        ("GET", "datasets/<int:pk>", DatasetsViewSet, "retrieve", REVIEWER),
        ("GET", "datasets/<int:pk>/comparison", DatasetsViewSet, "comparison", REVIEWER),
        ("GET", "datasets/<int:pk>/changes", DatasetFilesViewSet, "changes", REVIEWER),
        ("GET", "datasets/<int:pk>/lineage", DatasetLineageViewSet, "lineage", REVIEWER),
        ("GET", f"{_PROJECT}/members/<name:username>/datasets", MemberDatasetsViewSet, "datasets", REVIEWER),
        ("GET", "prompts/<int:pk>/datasets", PromptDatasetsViewSet, "datasets", REVIEWER),
        ("GET", f"{_PROJECT}/withdrawals", WithdrawalsViewSet, "list", REVIEWER),
        ("POST", f"{_PROJECT}/withdrawals", WithdrawalsViewSet, "create", MANAGER),
        ("POST", "withdrawals/<int:pk>/end", WithdrawalsViewSet, "end", MANAGER),
        ("GET", f"{_PROJECT}/held-out-lock", HeldOutLockViewSet, "show", REVIEWER),
        ("POST", f"{_PROJECT}/held-out-lock", HeldOutLockViewSet, "create", MANAGER),
        ("GET", "datasets/<int:pk>/preview", DatasetsViewSet, "preview", REVIEWER),
        ("GET", "datasets/<int:pk>/card", DatasetFilesViewSet, "card", REVIEWER),
        ("GET", "datasets/<int:pk>/export", DatasetFilesViewSet, "export", REVIEWER),
        ("GET", "datasets/<int:pk>/hub-pushes", HubPushesViewSet, "pushes", REVIEWER),
        ("POST", "datasets/<int:pk>/hub-pushes", HubPushesViewSet, "push", MANAGER),
        ("GET", f"{_PROJECT}/model-versions", ModelVersionsViewSet, "list", REVIEWER),
        ("POST", f"{_PROJECT}/model-versions", ModelVersionsViewSet, "create", MANAGER),
        ("GET", "model-versions/<int:pk>", ModelVersionsViewSet, "retrieve", REVIEWER),
        ("PATCH", "model-versions/<int:pk>", ModelVersionsViewSet, "partial_update", MANAGER),
        ("GET", f"{_PROJECT}/rounds", RoundsViewSet, "list", REVIEWER),
        ("POST", f"{_PROJECT}/rounds", RoundsViewSet, "create", MANAGER),
        ("GET", "rounds/<int:pk>", RoundsViewSet, "retrieve", REVIEWER),
        ("GET", "rounds/<int:pk>/win-rates", RoundsViewSet, "win_rates", REVIEWER),
        ("POST", "rounds/<int:pk>/close-annotation", RoundsViewSet, "close_annotation", MANAGER),
        ("POST", "rounds/<int:pk>/waive-review", RoundsViewSet, "waive_review", MANAGER),
        ("POST", "rounds/<int:pk>/retry", RoundsViewSet, "retry", MANAGER),
        ("POST", "rounds/<int:pk>/cancel", RoundsViewSet, "cancel", MANAGER),
        ("POST", "rounds/<int:pk>/promote", RoundsViewSet, "promote", MANAGER),
        ("POST", "rounds/<int:pk>/reject", RoundsViewSet, "reject", MANAGER),
        ("GET", f"{_PROJECT}/scorecards", ScorecardsViewSet, "list", REVIEWER),
        ("GET", "scorecards/<int:pk>", ScorecardsViewSet, "retrieve", REVIEWER),
        ("GET", f"{_PROJECT}/runs", RunsViewSet, "list", REVIEWER),
        ("GET", "runs/<uuid:pk>", RunsViewSet, "retrieve", REVIEWER),
        ("GET", "runs/<uuid:pk>/metrics", RunMetricsViewSet, "metrics", REVIEWER),
        ("GET", "runs/<uuid:pk>/samples", RunSamplesViewSet, "samples", REVIEWER),
        ("GET", "runs/<uuid:pk>/log", RunsViewSet, "log", REVIEWER),
        ("GET", "runs/<uuid:pk>/artifacts", RunArtifactsViewSet, "artifacts", REVIEWER),
        ("GET", "runs/<uuid:pk>/artifacts/<name:name>", RunArtifactViewSet, "download", REVIEWER),
        ("POST", "runs/<uuid:pk>/cancel", RunsViewSet, "cancel", MANAGER),
        ("GET", f"{_PROJECT}/webhooks", WebhooksViewSet, "list", MANAGER),
        ("POST", f"{_PROJECT}/webhooks", WebhooksViewSet, "create", MANAGER),
        ("GET", "webhooks/<int:pk>", WebhooksViewSet, "retrieve", MANAGER),
        ("PATCH", "webhooks/<int:pk>", WebhooksViewSet, "partial_update", MANAGER),
        ("DELETE", "webhooks/<int:pk>", WebhooksViewSet, "destroy", MANAGER),
        ("POST", "webhooks/<int:pk>/test", WebhookTestViewSet, "test", MANAGER),
        ("POST", "webhooks/<int:pk>/rotate-secret", WebhooksViewSet, "rotate_secret", MANAGER),
        ("GET", "webhooks/<int:pk>/deliveries", DeliveriesViewSet, "deliveries", MANAGER),
        ("POST", "deliveries/<int:pk>/resend", DeliveryViewSet, "resend", MANAGER),
    )
)


def _patterns() -> list[URLPattern]:
    by_route: dict[str, list[Endpoint]] = defaultdict(list)
    for endpoint in ENDPOINTS:
        by_route[endpoint.route].append(endpoint)
    patterns = []
    for route, endpoints in by_route.items():
        view: Any = endpoints[0].view.as_view(
            {endpoint.method.lower(): endpoint.action for endpoint in endpoints},
            access={endpoint.action: endpoint.access for endpoint in endpoints},
            basename=_resource(route),
        )
        patterns.append(path(route, view, name=f"api-{route}" if "<" not in route else None))
        if route:
            # A slash at the end is as good as none: a POST cannot follow a redirect.
            patterns.append(path(f"{route}/", view))
    return patterns


def _resource(route: str) -> str:
    """What the address is of: ``prompts`` of ``projects/<slug:project>/prompts/import``."""
    parts = [part for part in route.split("/") if not part.startswith("<")]
    return parts[1] if len(parts) > 1 and parts[0] == "projects" else parts[0] or "root"


urlpatterns = [
    *_patterns(),
    path("schema", Document.as_view(), name="api-schema"),
    path("schema/", Document.as_view()),
    path("docs/", SwaggerPage.as_view(), name="api-docs"),
    path("docs", RedirectView.as_view(pattern_name="api-docs")),
    path("redoc/", RedocPage.as_view(), name="api-reference"),
    path("redoc", RedirectView.as_view(pattern_name="api-reference")),
    path("redoc/redoc.js", send_redoc_script, name="api-reference-script"),
]

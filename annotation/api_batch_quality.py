"""REST: the quality of one batch. All of it is remembered between calls, see `annotation.remembering`."""

from __future__ import annotations

import dataclasses

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.api_access import ProjectViewSet
from annotation.api_filters import PairFilters, QualityTaskFilters
from annotation.api_quality import (
    AnnotatorPairOut,
    AnnotatorsOut,
    AspectFiguresOut,
    BatchAgreementOut,
    QualityTaskOut,
    SourceQualityOut,
    annotators_answer,
)
from annotation.batch_quality import BatchQuality, batch_quality, quality_tasks
from annotation.models import Batch
from annotation.quality import batches_of
from annotation.task_figures import rows_of


class BatchFiguresViewSet(ProjectViewSet):
    queryset = Batch.objects.select_related("project")

    @property
    def figures(self) -> BatchQuality:
        return batch_quality(batches_of(self.get_object())).figures


class BatchQualityViewSet(BatchFiguresViewSet):
    pagination_class = None

    @extend_schema(responses=BatchAgreementOut)
    def agreement(self, request: Request, pk: int) -> Response:
        """How far the annotators of the batch agree: as a share, corrected for chance, as rank correlations, and over
        time."""
        figures = self.figures
        now = dataclasses.asdict(figures.agreement)
        return Response(BatchAgreementOut({**now, "over_time": figures.over_time}).data)

    @extend_schema(responses=AnnotatorsOut)
    def annotators(self, request: Request, pk: int) -> Response:
        """What each annotator of the batch did: agreement, gold, time, leanings, and patterns worth a look."""
        return Response(AnnotatorsOut(annotators_answer(self.figures)).data)

    @extend_schema(responses=AspectFiguresOut(many=True))
    def aspects(self, request: Request, pk: int) -> Response:
        """How each aspect was rated: whether annotators agree on it, how ratings spread, and whether they go with the
        ranking."""
        return Response(AspectFiguresOut(self.figures.aspects, many=True).data)

    @extend_schema(responses=SourceQualityOut(many=True))
    def source_figures(self, request: Request, pk: int) -> Response:
        """How far annotators agree on the responses of each source, and how often they flagged one."""
        return Response(SourceQualityOut(self.figures.sources, many=True).data)


class BatchPairsViewSet(BatchFiguresViewSet):
    filterset_class = PairFilters

    @extend_schema(responses=AnnotatorPairOut(many=True))
    def pairs(self, request: Request, pk: int) -> Response:
        """How far each two annotators agree on the tasks that both ranked."""
        name = request.query_params.get("annotator", "")
        chosen = [one for one in self.figures.pairs if name in ("", one.annotator, one.other)]
        page = self.paginate_queryset(chosen)
        return self.get_paginated_response(AnnotatorPairOut(page, many=True).data)


class BatchTasksViewSet(BatchFiguresViewSet):
    filterset_class = QualityTaskFilters

    @extend_schema(responses=QualityTaskOut(many=True))
    def tasks(self, request: Request, pk: int) -> Response:
        """The batch's tasks by what was said of them, those on which annotators disagree most first."""
        asked = QualityTaskFilters(request.query_params)
        if not asked.is_valid():
            raise ValidationError(asked.errors)
        keys, disagreement = quality_tasks(batches_of(self.get_object()), *asked.told())
        page = self.paginate_queryset(keys) or []
        return self.get_paginated_response(QualityTaskOut(rows_of(page, disagreement), many=True).data)

"""REST: what the consensus says of a batch's annotators, and people's win rates of its sources."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from alignment.api_rounds import WinRatesOut
from alignment.reliability import batch_reliability, batch_win_rates
from annotation.api_access import ProjectViewSet
from annotation.models import Batch
from annotation.quality import batches_of


class ReliabilityOut(serializers.Serializer):
    annotator = serializers.CharField(help_text="The username.")
    value = serializers.FloatField(help_text="1 is the average annotator, 0 ranks at random.")
    low = serializers.FloatField(help_text="Of the 95 % interval.")
    high = serializers.FloatField()


class BatchConsensusViewSet(ProjectViewSet):
    queryset = Batch.objects.select_related("project")
    pagination_class = None

    @extend_schema(responses=ReliabilityOut(many=True))
    def reliability(self, request: Request, pk: int) -> Response:
        """How far each annotator's rankings follow what all rankings together say. Who ranked fewer than ten tasks that
        others ranked too is left out."""
        found = batch_reliability(batches_of(self.get_object())).figures
        rows = [
            {"annotator": name, "value": one.value, "low": one.low, "high": one.high}
            for name, one in sorted(found.items())
        ]
        return Response(ReliabilityOut(rows, many=True).data)

    @extend_schema(responses=WinRatesOut)
    def win_rates(self, request: Request, pk: int) -> Response:
        """How often people preferred one source to another in the batch, blind, with 95 % intervals."""
        rates = batch_win_rates(batches_of(self.get_object())).figures
        return Response(WinRatesOut({"win_rates": rates}).data)

"""Filters of this room's lists."""

from __future__ import annotations

from django_filters import rest_framework as filters

from alignment.models import Dataset, ModelVersion, Round, Scorecard
from annotation.api_filters import FlagFilter, IdFilter
from annotation.models import Source
from training.models import Run, RunMetric


class SourceFilters(filters.FilterSet):
    kind = filters.ChoiceFilter(choices=Source.Kind.choices)

    class Meta:
        model = Source
        fields = ["kind"]


class ModelVersionFilters(filters.FilterSet):
    state = filters.ChoiceFilter(choices=ModelVersion.State.choices)
    form = filters.ChoiceFilter(choices=ModelVersion.Form.choices)
    parent = IdFilter(field_name="parent_id")
    archived = FlagFilter(field_name="archived_at", lookup_expr="isnull", exclude=True)

    class Meta:
        model = ModelVersion
        fields = ["state", "form", "parent"]


class DatasetFilters(filters.FilterSet):
    batch = IdFilter(field_name="batches", distinct=True)
    sha256 = filters.CharFilter()

    class Meta:
        model = Dataset
        fields = ["sha256"]


class RoundFilters(filters.FilterSet):
    state = filters.ChoiceFilter(choices=Round.State.choices)

    class Meta:
        model = Round
        fields = ["state"]


class ScorecardFilters(filters.FilterSet):
    model_version = IdFilter(field_name="model_version_id")
    round = IdFilter(field_name="round_id")

    class Meta:
        model = Scorecard
        fields = ["model_version", "round"]


class RunFilters(filters.FilterSet):
    kind = filters.ChoiceFilter(choices=Run.Kind.choices)
    state = filters.ChoiceFilter(choices=Run.State.choices)
    round = IdFilter(field_name="round_runs__round_id")

    class Meta:
        model = Run
        fields = ["kind", "state"]


class MetricFilters(filters.FilterSet):
    name = filters.CharFilter()

    class Meta:
        model = RunMetric
        fields = ["name"]

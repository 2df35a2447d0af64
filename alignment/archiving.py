"""Model versions that are chosen no more, such as a base model whose name was mistyped: what uses them stays."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from alignment.models import ModelVersion, Round
from annotation.models import Project, Source
from annotation.refusals import Refusal


@transaction.atomic
def archive_version(version: ModelVersion) -> ModelVersion:
    """Keep a model version, and the sources that sample it, out of what new rounds and sources may choose.

    What was made of it, and with it, stays and works: lineages, responses, datasets, scorecards. Archiving twice is
    archiving once.

    Raises:
        Refusal: a round that has not ended starts from it, made it or samples it.
    """
    # The project's row is what `rounds.start_round` holds while it chooses.
    Project.objects.select_for_update(no_key=True).get(pk=version.project_id)
    locked = ModelVersion.objects.select_for_update(of=("self",)).get(pk=version.pk)
    if locked.archived_at is None:
        using = Round.objects.exclude(state__in=Round.ENDED).filter(
            Q(start_from=locked) | Q(candidate=locked) | Q(sources__model_source__model_version=locked)
        )
        if round := using.first():
            raise Refusal(
                "conflict",
                f"Round {round.number} uses {locked} and is {round.state}. Finish or cancel it first.",
            )
        locked.archived_at = timezone.now()
        locked.save(update_fields=["archived_at"])
    return locked


@transaction.atomic
def bring_version_back(version: ModelVersion) -> ModelVersion:
    """Let an archived model version be chosen again."""
    locked = ModelVersion.objects.select_for_update(of=("self",)).get(pk=version.pk)
    if locked.archived_at is not None:
        locked.archived_at = None
        locked.save(update_fields=["archived_at"])
    return locked


def versions_in_use(project: Project) -> QuerySet[ModelVersion]:
    """Return the project's model versions that may be chosen."""
    return project.model_versions.filter(archived_at=None)


def sources_in_use(project: Project) -> QuerySet[Source]:
    """Return the project's sources that a round may choose: all but those that sample an archived model version."""
    return project.sources.filter(model_source__model_version__archived_at=None)


def require_in_use(version: ModelVersion, *, field: str) -> None:
    """Refuse an archived model version where one is chosen, naming the input's ``field``."""
    if version.archived_at is not None:
        raise Refusal(
            "invalid", f"{version} is archived. Bring it back, or choose another model.", field=field
        )

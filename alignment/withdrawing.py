"""Withdrawing an annotator's rankings, or a prompt's, from training; what it means for datasets and models."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from alignment.consensus_records import ConsensusSettings
from alignment.dataset_lineage import Holding, datasets_with, models_of
from alignment.datasets import build_dataset
from alignment.models import Dataset, ModelVersion, Withdrawal
from annotation.models import Project, Prompt, Ranking, User
from annotation.refusals import Refusal
from annotation.submitting import current_rankings

LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a withdrawal concerns.

    Attributes:
        rankings: current ones, in tasks of the project.
        datasets: that hold them. They stay as they are, and say that they hold withdrawn data.
        models: that were trained on those, or made of such models. Nothing makes a model forget: for people to judge.
    """

    rankings: int
    datasets: list[Holding]
    models: list[ModelVersion]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a withdrawal: ``dataset`` is the new version of the newest dataset that held the data; None where
    none did, or where it could not be built, and then ``why`` says so."""

    withdrawal: Withdrawal
    consequences: Consequences
    dataset: Dataset | None
    why: str = ""


def consequences_of(
    project: Project, *, annotator: User | None = None, prompt: Prompt | None = None
) -> Consequences:
    """Return what a withdrawal would concern, before anything is done."""
    rankings = Ranking.objects.filter(task__batch__project=project)
    rankings = rankings.filter(annotator=annotator) if annotator else rankings.filter(task__prompt=prompt)
    holding = datasets_with(project, annotator=annotator, prompt=prompt)
    return Consequences(
        current_rankings(rankings).count(), holding, models_of(each.dataset for each in holding)
    )


def withdraw(
    *,
    project: Project,
    annotator: User | None = None,
    prompt: Prompt | None = None,
    reason: str = "",
    by: User | None = None,
) -> Outcome:
    """Keep an annotator's rankings, or those of a prompt, out of every dataset from now on, and build the newest one
    that holds them anew, without them.

    The rankings themselves stay, and so do frozen datasets and models. An annotator's rankings go with the better
    responses that they wrote beside them, their flags and ratings; verdicts that they gave as a reviewer stay.

    Raises:
        Refusal: neither or both are named, the prompt or annotator is another project's, or it is withdrawn already.
    """
    reason = reason.strip()
    _check(project, annotator, prompt, reason)
    with transaction.atomic():
        # Building checks what is withdrawn under the same lock, so no dataset slips through.
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        if project.withdrawals.filter(annotator=annotator, prompt=prompt, ended_at=None).exists():
            raise Refusal(
                "conflict",
                f"{'This annotator' if annotator else 'This prompt'} is withdrawn already.",
                field="annotator" if annotator else "prompt",
            )
        withdrawal = Withdrawal.objects.create(
            project=project, annotator=annotator, prompt=prompt, reason=reason, created_by=by
        )
    concerned = consequences_of(project, annotator=annotator, prompt=prompt)
    if not concerned.datasets:
        return Outcome(withdrawal, concerned, None)
    newest = concerned.datasets[0].dataset
    try:
        rebuilt = rebuild(newest, by=by)
    except Refusal as refusal:
        return Outcome(
            withdrawal, concerned, None, f"No new version of {newest} was built: {refusal.sentence}"
        )
    return Outcome(withdrawal, concerned, rebuilt)


def rebuild(dataset: Dataset, *, by: User | None = None) -> Dataset:
    """Build a dataset anew from the same batches, with its settings and filters, without what is withdrawn.

    Raises:
        Refusal: as `build_dataset`.
    """
    return build_dataset(
        project=dataset.project,
        batches=dataset.batches.all(),
        settings={
            field.name: dataset.settings[field.name]
            for field in dataclasses.fields(ConsensusSettings)
            if field.name in dataset.settings
        },
        filters=dataset.settings.get("filters"),
        created_by=by,
    )


@transaction.atomic
def end_withdrawal(withdrawal: Withdrawal) -> Withdrawal:
    """Let new datasets hold the data again. Ending twice is ending once; the row stays, to tell what was withheld and
    when."""
    locked = Withdrawal.objects.select_for_update().get(pk=withdrawal.pk)
    if locked.ended_at is None:
        locked.ended_at = timezone.now()
        locked.save(update_fields=["ended_at"])
    return locked


def _check(project: Project, annotator: User | None, prompt: Prompt | None, reason: str) -> None:
    if (annotator is None) == (prompt is None):
        raise Refusal("invalid", "Name either an annotator or a prompt to withdraw.", field="annotator")
    if prompt is not None and prompt.project_id != project.pk:
        raise Refusal("invalid", f"Prompt {prompt.pk} belongs to another project.", field="prompt")
    if (
        annotator is not None
        and not Ranking.objects.filter(task__batch__project=project, annotator=annotator).exists()
    ):
        raise Refusal("invalid", f"{annotator} has ranked nothing in {project}.", field="annotator")
    if len(reason) > LONGEST_REASON:
        raise Refusal(
            "invalid",
            f"The reason has {len(reason):,} characters; at most {LONGEST_REASON} fit.",
            field="reason",
        )

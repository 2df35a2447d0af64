"""What happened in a project, for other programs: written where it happened, in the same transaction, once each.

An event's row and its deliveries are there if, and only if, what it tells is. From then on `alignment.delivering` sends
it until the other side has taken it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import CharField, Exists, OuterRef
from django.db.models.functions import Cast
from django.utils import timezone

from alignment.models import Dataset, Delivery, Event, Round, RoundRun, Webhook
from annotation.batching import batch_progress, is_complete
from annotation.models import Batch, Project
from config.hints import send_hint
from training.models import Run


def batch_finished(batch: Batch) -> None:
    """Record that a batch takes no more answers: it is closed, or the last of its places was ranked."""

    def data() -> dict[str, Any]:
        progress = batch_progress(batch)
        return {
            "batch": batch.pk,
            "name": batch.name,
            "kind": batch.kind,
            "state": batch.state,
            "places": progress.places,
            "ranked": progress.submitted,
            "skipped": progress.skipped,
            "path": f"/api/v1/batches/{batch.pk}",
        }

    # Each amendment of a complete batch says that it is complete, and counting its places takes a while.
    _record(batch.project, Event.Type.BATCH_FINISHED, batch.pk, data)


def dataset_frozen(dataset: Dataset) -> None:
    """Record that a new version of a dataset is there."""
    _record(
        dataset.project,
        Event.Type.DATASET_FROZEN,
        dataset.pk,
        {
            "dataset": dataset.pk,
            "version": dataset.version,
            "sha256": dataset.sha256,
            "train_rankings": dataset.train_rankings,
            "held_out_rankings": dataset.held_out_rankings,
            "path": f"/api/v1/datasets/{dataset.pk}",
        },
    )


def run_ended(run: Run) -> None:
    """Record that a run has succeeded, failed or been cancelled; nothing for a run of no project."""
    project = Project.objects.filter(pk=run.project_id).first() if run.project_id is not None else None
    if project is None:
        return
    link = RoundRun.objects.filter(run=run, taken_over=False).select_related("round").first()
    _record(
        project,
        Event.Type.RUN_ENDED,
        run.pk,
        {
            "run": str(run.pk),
            "kind": run.kind,
            "state": run.state,
            "reason": run.reason,
            "round": link.round.number if link is not None else None,
            "path": f"/api/v1/runs/{run.pk}",
        },
    )


def round_decided(round: Round) -> None:
    """Record that a round's candidate was promoted or rejected."""
    card = getattr(round, "scorecard", None)
    _record(
        round.project,
        Event.Type.ROUND_DECIDED,
        round.pk,
        {
            "round": round.pk,
            "number": round.number,
            "state": round.state,
            "reason": round.reason,
            "model_version": round.candidate_id,
            "win_rate": card.win_rate if card is not None else None,
            "path": f"/api/v1/rounds/{round.pk}",
        },
    )


def record_finished_batches() -> int:
    """Record the batches that are complete and whose process died before it could say so; return how many.

    Of two last answers at the same moment neither sees the other's, so a batch is found complete only after the commit.
    """
    told = Event.objects.filter(
        type=Event.Type.BATCH_FINISHED, subject=Cast(OuterRef("pk"), CharField(max_length=36))
    )
    untold = Batch.objects.filter(~Exists(told)).select_related("project").order_by("pk")
    found = [batch for batch in untold if is_complete(batch)]
    for batch in found:
        batch_finished(batch)
    return len(found)


def _record(
    project: Project, type: Event.Type, subject: object, data: dict[str, Any] | Callable[[], dict[str, Any]]
) -> None:
    """Write the event and a delivery to each webhook that wants it, unless it was written before.

    Args:
        data: or what makes it, called if it is needed.
    """
    with transaction.atomic():
        event, is_new = Event.objects.get_or_create(
            type=type, subject=str(subject), defaults={"project": project, "data": data}
        )
        if not is_new:
            return
        wanting = Webhook.objects.filter(project=project, events__contains=[type.value])
        deliver(event, list(wanting))


def deliver(event: Event, webhooks: list[Webhook]) -> None:
    """Have an event sent to webhooks, soon after this transaction."""
    now = timezone.now()
    Delivery.objects.bulk_create(Delivery(webhook=hook, event=event, due_at=now) for hook in webhooks)
    if any(hook.paused_at is None for hook in webhooks):
        send_soon()


def send_soon() -> None:
    """Ask a worker, once this transaction is committed, to send what is due."""
    transaction.on_commit(partial(send_hint, "alignment.tasks.deliver", queue="default"), robust=True)

"""What other rooms' signals mean here: time to look at a round or a judge, and events that other programs are told."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.dispatch import receiver

from alignment import events
from alignment.hints import advance_soon, take_in_soon
from alignment.models import Judging, Round
from annotation.models import Batch
from annotation.signals import batch_closing, batch_completed, task_reviewed
from training.models import Run
from training.signals import run_ended, run_ending


@receiver(batch_completed)
def look_at_the_batchs_round(batch_id: int, **kwargs: Any) -> None:
    for round_id in Round.objects.filter(Q(batch=batch_id) | Q(evaluation_batch=batch_id)).values_list(
        "pk", flat=True
    ):
        advance_soon(round_id)


@receiver(task_reviewed)
def look_at_the_round_that_waits_for_reviews(batch_id: int, **kwargs: Any) -> None:
    waiting = Round.objects.filter(batch=batch_id, state=Round.State.ANNOTATING)
    for round_id in waiting.exclude(settings__annotation__review="none").values_list("pk", flat=True):
        advance_soon(round_id)


@receiver(run_ended)
def look_at_the_runs_round(run: Run, **kwargs: Any) -> None:
    for round_id in Round.objects.filter(round_runs__run=run).values_list("pk", flat=True):
        advance_soon(round_id)


@receiver(run_ended)
def look_at_the_runs_judging(run: Run, **kwargs: Any) -> None:
    for judging_id in Judging.objects.filter(run=run, ended_at__isnull=True).values_list("pk", flat=True):
        take_in_soon(judging_id)


@receiver(batch_completed)
def tell_that_the_batch_is_ranked(batch_id: int, **kwargs: Any) -> None:
    events.batch_finished(Batch.objects.select_related("project").get(pk=batch_id))


@receiver(batch_closing)
def tell_that_the_batch_is_closed(batch: Batch, **kwargs: Any) -> None:
    events.batch_finished(batch)


@receiver(run_ending)
def tell_that_the_run_ended(run: Run, **kwargs: Any) -> None:
    events.run_ended(run)

"""What other rooms' signals mean to a round or a judge: time to look at it."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.dispatch import receiver

from alignment.hints import advance_soon, take_in_soon
from alignment.models import Judging, Round
from annotation.signals import batch_completed
from training.models import Run
from training.signals import run_ended


@receiver(batch_completed)
def look_at_the_batchs_round(batch_id: int, **kwargs: Any) -> None:
    for round_id in Round.objects.filter(Q(batch=batch_id) | Q(evaluation_batch=batch_id)).values_list(
        "pk", flat=True
    ):
        advance_soon(round_id)


@receiver(run_ended)
def look_at_the_runs_round(run: Run, **kwargs: Any) -> None:
    for round_id in Round.objects.filter(round_runs__run=run).values_list("pk", flat=True):
        advance_soon(round_id)


@receiver(run_ended)
def look_at_the_runs_judging(run: Run, **kwargs: Any) -> None:
    for judging_id in Judging.objects.filter(run=run, ended_at__isnull=True).values_list("pk", flat=True):
        take_in_soon(judging_id)

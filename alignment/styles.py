"""The style of responses, counted once and kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from django.db.models import QuerySet

from alignment.models import ResponseStyle
from alignment.style import FEATURES, counts_of
from annotation.models import Batch, Response

AT_ONCE = 1_000
COLUMNS = {name: name.replace(" ", "_") for name in FEATURES}


def unmeasured(batches: QuerySet[Batch]) -> QuerySet[Response]:
    """The responses of the batches' tasks whose style nobody has counted."""
    return Response.objects.filter(task_responses__task__batch__in=batches, style__isnull=True).distinct()


def features_of(responses: Iterable[int]) -> Mapping[int, Mapping[str, float]]:
    """Return the features of `alignment.style.style_of` of responses, by primary key; those that are not there yet are
    counted and kept."""
    wanted = sorted(set(responses))
    found: dict[int, dict[str, float]] = {}
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        _measure(some)
        rows = ResponseStyle.objects.filter(pk__in=some).values_list("pk", *COLUMNS.values())
        for pk, *counts in rows:
            found[pk] = {name: math.log1p(count) for name, count in zip(COLUMNS, counts, strict=True)}
    return found


def _measure(responses: list[int]) -> None:
    missing = Response.objects.filter(pk__in=responses, style__isnull=True).values_list("pk", "text")
    ResponseStyle.objects.bulk_create(
        [
            ResponseStyle(response_id=pk, **{COLUMNS[name]: count for name, count in counts_of(text).items()})
            for pk, text in missing
        ],
        ignore_conflicts=True,
    )

"""Storing what a sample run drew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import transaction

from annotation.models import Response, Source
from annotation.refusals import Refusal

ROWS_A_QUERY = 1000


@transaction.atomic
def store_draws(*, source: Source, drawn_by: UUID, draws: Iterable[Mapping[str, Any]]) -> int:
    """Store a sample run's responses. Storing the same draws again changes nothing.

    Args:
        source: what was sampled.
        drawn_by: the sample run.
        draws: ``{"id", "index", "text", "tokens", "finish": "stop" | "length"}``; the id is the prompt's primary key,
            as a number or text.

    Returns:
        How many were new.

    Raises:
        Refusal: a draw answers a prompt that is not of the source's project.
    """
    prompts = set(source.project.prompts.values_list("pk", flat=True))
    before = Response.objects.filter(source=source, drawn_by=drawn_by).count()
    responses = (_response(draw, source, drawn_by, prompts) for draw in draws)
    for chunk in _chunks(responses):
        Response.objects.bulk_create(chunk, ignore_conflicts=True)
    return Response.objects.filter(source=source, drawn_by=drawn_by).count() - before


def _response(draw: Mapping[str, Any], source: Source, drawn_by: UUID, prompts: set[int]) -> Response:
    prompt = int(draw["id"])
    if prompt not in prompts:
        raise Refusal(
            "invalid",
            f"Run {drawn_by} answered prompt {prompt}, which {source.project} does not have.",
            field="id",
        )
    return Response(
        prompt_id=prompt,
        source=source,
        drawn_by=drawn_by,
        index=draw["index"],
        # A model may say NUL; PostgreSQL cannot store it.
        text=draw["text"].replace("\x00", "\N{REPLACEMENT CHARACTER}"),
        tokens=draw.get("tokens"),
        ended=draw.get("finish", "stop") == "stop",
    )


def _chunks(responses: Iterator[Response]) -> Iterator[list[Response]]:
    while chunk := list(islice(responses, ROWS_A_QUERY)):
        yield chunk

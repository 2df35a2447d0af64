"""What a reviewer may see of a task. Blind: neither where a response came from nor who ranked is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, cast

from annotation.agreement import Tiers, order_of
from annotation.lettering import letter_of
from annotation.models import Batch, Ranking, Task
from annotation.returning import with_returned_note
from annotation.showing import rules_of
from annotation.submitting import current_rankings


@dataclass(frozen=True, slots=True)
class Divided:
    """Two responses of a task on whose order its annotators differ: how many put the first over the second, how many
    under it, and how many tied them."""

    first: int
    second: int
    over: int
    under: int
    tied: int


def review_view(task: Task) -> dict[str, Any]:
    """What a reviewer sees of a task, as plain data fit for JSON but for datetimes. Blind: neither where a response
    came from nor who ranked is in it.

    Returns:
        ``task``, ``batch`` (id), ``version`` (goes with the verdict), ``closed`` (whether its batch is, so that
        nothing can be returned), ``prompt`` (messages), ``context`` (passages), ``responses`` (``{"number", "letter",
        "text", "ended"}``, by number, which were dealt at random), ``rules`` (``ties``, ``partial``), ``rankings`` (see
        ``_shown``, in an order that follows from the task's seed), ``divided`` (see `Divided`, the most divided pair
        first), ``gold_tiers`` and ``reviews`` (earlier verdicts).
    """
    project = task.batch.project
    rankings = sorted(_current(task), key=lambda ranking: _pseudonym(task, ranking))
    annotator = {ranking.assignment_id: number for number, ranking in enumerate(rankings, start=1)}
    reviews = task.reviews.select_related("reviewer", "ranking").order_by("pk")
    return {
        "task": task.pk,
        "batch": task.batch_id,
        "version": version_of(task),
        "closed": task.batch.state == Batch.State.CLOSED,
        "prompt": [{"role": m["role"], "content": m["content"]} for m in task.prompt.messages],
        "context": [
            {name: passage.get(name, "") for name in ("id", "title", "text", "url")}
            for passage in task.prompt.context
        ],
        "responses": [
            {"number": number, "letter": letter_of(number), "text": text, "ended": ended}
            for number, text, ended in task.task_responses.order_by("position").values_list(
                "position", "response__text", "response__ended"
            )
        ],
        "rules": rules_of(project),
        "rankings": [_shown(ranking, annotator[ranking.assignment_id]) for ranking in rankings],
        "divided": divided_pairs([ranking.tiers for ranking in rankings]),
        "gold_tiers": task.gold_tiers,
        "reviews": [
            {
                "id": review.pk,
                "verdict": review.verdict,
                "reviewer": review.reviewer.username,
                "annotator": annotator.get(review.ranking.assignment_id) if review.ranking else None,
                "tiers": review.tiers,
                "note": review.note,
                "created_at": review.created_at,
            }
            for review in reviews
        ],
    }


def version_of(task: Task) -> str:
    """Names what there is of a task to judge: its current rankings and its last review. It differs once either does."""
    last = task.reviews.order_by("pk").last()
    return f"{last.pk if last else 0}.{_digest(_current(task))}"


def divided_pairs(rankings: Sequence[Tiers]) -> list[Divided]:
    """The pairs of responses that not all who ordered both order alike, the most divided first."""
    orders = [order_of(tiers) for tiers in rankings]
    found = []
    for pair in sorted(set().union(*orders)):
        said = [order[pair] for order in orders if pair in order]
        if len(set(said)) > 1:
            found.append(Divided(*pair, over=said.count(-1), under=said.count(1), tied=said.count(0)))
    return sorted(found, key=lambda pair: -_disagreeing(pair))


def _current(task: Task) -> list[Ranking]:
    current = with_returned_note(current_rankings(Ranking.objects.filter(task=task)))
    return list(current.prefetch_related("flags", "demonstrations", "aspect_ratings__aspect").order_by("pk"))


def _digest(rankings: Sequence[Ranking]) -> str:
    ids = ",".join(str(ranking.pk) for ranking in rankings)
    return hashlib.sha256(ids.encode()).hexdigest()[:16]


def _pseudonym(task: Task, ranking: Ranking) -> str:
    # Neither the order of names nor that of places: somebody who knows who is quick should not know who this is.
    return hashlib.sha256(f"{task.seed}:{ranking.annotator_id}".encode()).hexdigest()


def _shown(ranking: Ranking, annotator: int) -> Mapping[str, Any]:
    """A ranking without its annotator's name: ``annotator`` numbers those of the task from 1."""
    return {
        "id": ranking.pk,
        "annotator": annotator,
        "tiers": ranking.tiers,
        "strengths": ranking.strengths,
        "rationale": ranking.rationale,
        "seconds": ranking.seconds,
        "changed": ranking.revision > 1,
        "returned_note": cast(Any, ranking).returned_note,
        "flags": [
            {"number": flag.position, "kind": flag.kind, "note": flag.note} for flag in ranking.flags.all()
        ],
        "demonstrations": [
            {"number": each.position, "text": each.text} for each in ranking.demonstrations.all()
        ],
        "ratings": [
            {"aspect": rating.aspect.name, "number": rating.position, "rating": rating.rating}
            for rating in ranking.aspect_ratings.all()
        ],
    }


def _disagreeing(pair: Divided) -> int:
    """How many couples of annotators differ on it."""
    counts = (pair.over, pair.under, pair.tied)
    return sum(one * other for one, other in combinations(counts, 2))

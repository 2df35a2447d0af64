"""What annotators said besides the ranking: flags, better responses, reasons. Of the answers that count."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from annotation.models import Batch, Demonstration, Flag, Ranking, Task
from annotation.refusals import Refusal
from annotation.submitting import current_rankings

DEMONSTRATIONS = "demonstrations"
RATIONALES = "rationales"
REMARKS = (*Flag.Kind.values, DEMONSTRATIONS, RATIONALES)


@dataclass(frozen=True, slots=True)
class RemarkCounts:
    """How much was said of a batch."""

    flags: dict[str, int]
    """By kind, of those that occur: responses flagged, once for each annotator who did."""
    demonstrations: int
    rationales: int

    @property
    def any(self) -> bool:
        return bool(self.flags or self.demonstrations or self.rationales)


def flag_name(kind: str) -> str:
    """A kind of flag in the middle of a sentence: ``wrong language`` of ``wrong_language``."""
    return str(Flag.Kind(kind).label).lower()


def remark_counts(batch: Batch) -> RemarkCounts:
    """Count what the batch's current rankings say besides their tiers."""
    current = current_rankings(batch)
    found = dict(
        Flag.objects.filter(ranking__in=current).values_list("kind").annotate(count=Count("pk")).order_by()
    )
    return RemarkCounts(
        flags={kind: found[kind] for kind in Flag.Kind.values if kind in found},
        demonstrations=Demonstration.objects.filter(ranking__in=current).count(),
        rationales=current.exclude(rationale="").count(),
    )


def remarked(batch: Batch, remark: str = "") -> QuerySet[Ranking]:
    """The batch's current rankings with a remark, newest first.

    Args:
        remark: one of ``REMARKS``; any of them unless given.

    Raises:
        Refusal: there is no such remark.
    """
    flags = Flag.objects.filter(ranking=OuterRef("pk"))
    demonstrated = Q(Exists(Demonstration.objects.filter(ranking=OuterRef("pk"))))
    if remark == "":
        found = Q(Exists(flags)) | demonstrated | ~Q(rationale="")
    elif remark == DEMONSTRATIONS:
        found = demonstrated
    elif remark == RATIONALES:
        found = ~Q(rationale="")
    elif remark in Flag.Kind.values:
        found = Q(Exists(flags.filter(kind=remark)))
    else:
        raise Refusal(
            "invalid", f"A remark is one of {', '.join(REMARKS)}, not {remark!r:.40}.", field="remark"
        )
    return current_rankings(batch).filter(found).order_by("-submitted_at", "-pk")


def with_flag(rankings: QuerySet[Ranking], kind: str) -> QuerySet[Ranking]:
    """Of these rankings, those that flag a response so."""
    return rankings.filter(Exists(Flag.objects.filter(ranking=OuterRef("pk"), kind=kind)))


def tasks_with_flag(tasks: QuerySet[Task], kind: str) -> QuerySet[Task]:
    """Of these tasks, those of which a ranking that counts flags a response so."""
    counting = current_rankings(Ranking.objects.filter(task=OuterRef("pk")))
    return tasks.filter(Exists(with_flag(counting, kind)))

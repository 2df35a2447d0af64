"""The held-out set that a project's models are measured on, locked for its life."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from django.db import transaction
from django.db.models import QuerySet
from django.utils.text import Truncator

from alignment.consensus_records import RankedTask
from alignment.models import HeldOutLock
from annotation.models import Project, Prompt, User
from annotation.near_duplicates import Near, nearest
from annotation.refusals import Refusal

MOST_NAMED = 5
NAME_CHARACTERS = 80


@transaction.atomic
def lock_held_out(*, project: Project, by: User | None = None) -> HeldOutLock:
    """Lock the project's held-out prompts, for good: models are measured on these, and no dataset may train on what
    nearly repeats one. Held-out prompts that come later are held out as well, but measured on by nobody.

    Raises:
        Refusal: it is locked already, or there are no held-out prompts.
    """
    locked = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    there = lock_of(locked)
    if there is not None:
        raise Refusal(
            "conflict",
            f"The held-out set of {project} was locked on {there.created_at:%Y-%m-%d}, for the project's life.",
        )
    prompts = list(
        project.prompts.filter(split=Prompt.Split.HELD_OUT, retired_at=None).values_list("pk", flat=True)
    )
    if not prompts:
        raise Refusal("conflict", f"{project} has no held-out prompts to lock. Import prompts first.")
    lock = HeldOutLock.objects.create(project=project, created_by=by)
    lock.prompts.set(prompts)
    return lock


def lock_of(project: Project) -> HeldOutLock | None:
    """Return the project's lock, if its held-out set is locked."""
    return HeldOutLock.objects.filter(project=project).first()


def measured_prompts(project: Project) -> QuerySet[Prompt]:
    """Return the held-out prompts that models are measured on: the locked ones, or all where nothing is locked, but for
    retired ones."""
    held_out = project.prompts.filter(split=Prompt.Split.HELD_OUT, retired_at=None)
    lock = lock_of(project)
    return held_out if lock is None else held_out.filter(pk__in=lock.prompts.values("pk"))


def require_apart(project: Project, tasks: Sequence[RankedTask]) -> None:
    """Refuse training tasks whose prompts are locked ones, or nearly repeat one.

    Raises:
        Refusal: with how many, and which.
    """
    lock = lock_of(project)
    if lock is None:
        return
    training = [one.task for one in tasks if one.task.prompt.split == Prompt.Split.TRAIN]
    near = nearest({task.prompt_id: task.prompt for task in training}.values(), lock.prompts.all())
    if not near:
        return
    of_prompt = Counter(task.prompt_id for task in training if task.prompt_id in near)
    prompts = {task.prompt_id: task.prompt for task in training}
    named = "; ".join(_named(prompts[pk], near[pk]) for pk in list(near)[:MOST_NAMED])
    more = f"; and {len(near) - MOST_NAMED:,} more" if len(near) > MOST_NAMED else ""
    one = len(near) == 1
    raise Refusal(
        "conflict",
        f"The dataset would train on {of_prompt.total():,} task{'s' if of_prompt.total() != 1 else ''} of "
        f"{len(near):,} prompt{'' if one else 's'} that nearly repeat{'s' if one else ''} the locked held-out set: "
        f"{named}{more}. Build it with the filter `apart_from_held_out`, which leaves them out.",
        field="filters.apart_from_held_out",
    )


def _named(prompt: Prompt, near: Near) -> str:
    ours, theirs = (
        Truncator(" ".join(str(each).split())).chars(NAME_CHARACTERS) for each in (prompt, near.prompt)
    )
    return f"“{ours}” ({near.similarity:.0%} like “{theirs}”)"

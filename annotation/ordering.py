"""In which order a batch's places are handed out: how the next one is searched for.

Another order is one more entry of ``ORDERS`` (and of ``Batch.Order``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper

from annotation.models import Assignment, Batch, Membership
from annotation.preparing import preparing_cursor


@dataclass(frozen=True, slots=True)
class Seeker:
    """Who looks for a place, and what they may be given.

    Attributes:
        languages: of the prompts, in small letters; ``en`` stands for ``en-GB`` as well; empty: all. A prompt without a
            language is for everybody.
        tags: the prompt has one of them; empty: all. A prompt without tags is for everybody.
        new_prompts: no task whose prompt they have had in another one. Otherwise, no task that shows two of the
            responses of one with a known answer that they have had: an order that they were told, or are measured by,
            would be asked for twice.
    """

    annotator: int
    project: int
    languages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    new_prompts: bool = False


def seeker_of(member: Membership) -> Seeker:
    """A member, as they look for a place of an ordinary batch."""
    return Seeker(
        annotator=member.user_id,
        project=member.project_id,
        languages=tuple(member.languages),
        tags=tuple(member.tags),
    )


@dataclass(frozen=True, slots=True)
class Found:
    """The place that was found, locked, and by what it was chosen (``Assignment.chosen_by``)."""

    place: int
    chosen_by: str


@dataclass(frozen=True, slots=True)
class Search:
    """A scalar expression in SQL: the id of the next place of ``batch.id``, or NULL. ``chosen_by`` is told of what it
    finds."""

    sql: str
    chosen_by: str = ""


# Not theirs yet: two probes of the unique indexes assignment_annotator_once and skip_once, both on (task, annotator).
# OFFSET 0 keeps them probes: as joins they would read all that the annotator ever had. Nobody ranks what they wrote
# themselves, or said the right order of: what a task has of that is looked at for those alone who did either.
_NOT_YET_THEIRS = """
    NOT EXISTS (SELECT FROM annotation_assignment own
                WHERE own.task_id = place.task_id AND own.annotator_id = %(annotator)s <probe>)
    AND NOT EXISTS (SELECT FROM annotation_skip passed
                    WHERE passed.task_id = place.task_id AND passed.annotator_id = %(annotator)s <probe>)
    AND (NOT EXISTS (SELECT FROM annotation_source mine
                     WHERE mine.project_id = %(project)s AND mine.person_id = %(annotator)s)
         OR NOT EXISTS (SELECT FROM annotation_taskresponse shown
                        JOIN annotation_response response ON response.id = shown.response_id
                        JOIN annotation_source source ON source.id = response.source_id
                        WHERE shown.task_id = place.task_id AND source.person_id = %(annotator)s OFFSET 0))
    AND (NOT EXISTS (SELECT FROM annotation_review ever WHERE ever.reviewer_id = %(annotator)s)
         OR NOT EXISTS (SELECT FROM annotation_review judged
                        WHERE judged.task_id = place.task_id AND judged.reviewer_id = %(annotator)s OFFSET 0))
"""
# In the searches of those alone who are limited: two probes by primary key.
_WITHIN_LIMITS = """
    AND EXISTS (SELECT FROM annotation_task task JOIN annotation_prompt prompt ON prompt.id = task.prompt_id
                WHERE task.id = place.task_id
                      AND (cardinality(%(languages)s::text[]) = 0 OR prompt.language = ''
                           OR lower(prompt.language) = ANY(%(languages)s::text[])
                           OR split_part(lower(prompt.language), '-', 1) = ANY(%(languages)s::text[]))
                      AND (cardinality(%(tags)s::text[]) = 0 OR prompt.tags = '[]'::jsonb
                           OR prompt.tags ?| %(tags)s::text[]) OFFSET 0)
"""
# One probe for each other task of the prompt, of which there are few. Passed by is had as well.
_HAD_ALIKE = """
    NOT EXISTS (SELECT FROM annotation_task had
                WHERE had.prompt_id = (SELECT asked.prompt_id FROM annotation_task asked
                                       WHERE asked.id = place.task_id)
                      AND had.id <> place.task_id
                      AND (EXISTS (SELECT FROM annotation_assignment theirs
                                   WHERE theirs.task_id = had.id AND theirs.annotator_id = %(annotator)s OFFSET 0)
                           OR EXISTS (SELECT FROM annotation_skip passed
                                      WHERE passed.task_id = had.id AND passed.annotator_id = %(annotator)s OFFSET 0))
                      <alike> OFFSET 0)
"""
_TWO_RESPONSES_ALIKE = """
    AND (SELECT count(*)
         FROM annotation_taskresponse here JOIN annotation_response shown ON shown.id = here.response_id,
              annotation_taskresponse there JOIN annotation_response known ON known.id = there.response_id
         WHERE here.task_id = place.task_id AND there.task_id = had.id AND known.text = shown.text) > 1
"""
_MEASURES = f"IN ({', '.join(repr(kind.value) for kind in Batch.KNOWN_ANSWERS)})"
_WITH_A_KNOWN_ANSWER = (
    f"AND (SELECT batch.kind FROM annotation_batch batch WHERE batch.id = had.batch_id) {_MEASURES}"  # noqa: S608 - no input is spliced in
)
# Most projects have no batch of known answers; they are asked once a search, not once a place.
_NO_KNOWN_ANSWERS = (
    "NOT EXISTS (SELECT FROM annotation_batch measuring "
    f"WHERE measuring.project_id = %(project)s AND measuring.kind {_MEASURES})"
)
_OF_A_NEW_PROMPT = f"AND {_HAD_ALIKE.replace('<alike>', '')}"
_HAD_WITH_ITS_ANSWER_KNOWN = _HAD_ALIKE.replace("<alike>", _WITH_A_KNOWN_ANSWER + _TWO_RESPONSES_ALIKE)
_NOT_KNOWN = f"AND ({_NO_KNOWN_ANSWERS} OR {_HAD_WITH_ITS_ANSWER_KNOWN})"
_BY_TASK = "ORDER BY place.task_id, place.place DESC LIMIT 1 <lock>"
_OPEN_PLACE = (
    "SELECT place.id FROM annotation_assignment place "
    "WHERE place.batch_id = batch.id AND place.state = 'open'"
)
_GIVEN_BACK = f"{_OPEN_PLACE} AND place.leased_at IS NOT NULL AND <theirs> {_BY_TASK}"
_FRESH = f"{_OPEN_PLACE} AND place.leased_at IS NULL AND <theirs> {_BY_TASK}"

# Places are handed out by task, oldest first. So an annotator has had every task up to their last one of a batch, and
# a place there that was never leased is not for them: the search starts behind it (index assignment_progress, then
# assignment_fresh) and its cost does not grow with the batch. Places given back are few and come first (index
# assignment_given_back). Of a task, the last place goes first, because no other index has that order: statistics that
# are long out of date cannot make another one look as good. The comparison of (batch, task) keeps the planner on the
# index that begins with both.
OLDEST_FIRST = Search(f"""COALESCE(
    ({_GIVEN_BACK}),
    ({_OPEN_PLACE} AND place.leased_at IS NULL
     AND (place.batch_id, place.task_id) > (
         batch.id,
         COALESCE((SELECT last.task_id FROM annotation_assignment last
                   WHERE last.annotator_id = %(annotator)s AND last.batch_id = batch.id
                   ORDER BY last.task_id DESC, last.place LIMIT 1), 0))
     AND <theirs> {_BY_TASK}))""")  # noqa: S608 - no input is spliced in

# A place that was passed over because a transaction held it that then failed lies behind the annotators' last tasks.
# Only who finds nothing else looks there.
ANYWHERE = Search(f"({_OPEN_PLACE} AND <theirs, joined> {_BY_TASK})")

# Index assignment_uncertain. What is passed over are uncertain tasks that the annotator has had and that wait for
# others: few, since those come first for everybody.
MOST_UNCERTAIN = Search(
    f"({_OPEN_PLACE} AND place.uncertainty > 0 AND <theirs> "
    "ORDER BY place.uncertainty DESC, place.task_id, place.place DESC LIMIT 1 <lock>)",
    Assignment.ChosenBy.UNCERTAINTY,
)

# From a random point between the first and the last task with a fresh place, then from the beginning: the index is
# entered where the dice fell, whatever the batch's size.
_EDGE = (
    "SELECT edge.task_id FROM annotation_assignment edge "
    "WHERE edge.batch_id = batch.id AND edge.state = 'open' AND edge.leased_at IS NULL ORDER BY"
)
_FIRST, _LAST = (
    f"({_EDGE} edge.task_id, edge.place DESC LIMIT 1)",
    f"({_EDGE} edge.task_id DESC, edge.place LIMIT 1)",
)
_BY_CHANCE = f"""COALESCE(
    ({_OPEN_PLACE} AND place.leased_at IS NULL
     AND (place.batch_id, place.task_id) >= (
         batch.id, {_FIRST} + floor(%(dice)s * ({_LAST} - {_FIRST} + 1))::bigint)
     AND <theirs> {_BY_TASK}),
    ({_FRESH}),
    ({_GIVEN_BACK}))"""
BY_CHANCE = Search(_BY_CHANCE)
CONTROL = Search(_BY_CHANCE, Assignment.ChosenBy.CONTROL)


def _oldest_first(control_share: float) -> Sequence[Search]:
    return (OLDEST_FIRST,)


def _most_uncertain_first(control_share: float) -> Sequence[Search]:
    by_chance = random.random() < control_share  # noqa: S311 - no secret; what it gave is stored
    return (CONTROL,) if by_chance else (MOST_UNCERTAIN, BY_CHANCE)


ORDERS: Mapping[str, Callable[[float], Sequence[Search]]] = {
    Batch.Order.OLDEST: _oldest_first,
    Batch.Order.UNCERTAINTY: _most_uncertain_first,
}
"""By ``Batch.order``: the searches to try in turn for one place, given the batch's ``control_share``."""


def find_place(batches: Sequence[Batch], seeker: Seeker, *, lock: bool = True) -> Found | None:
    """Find the next open place of ``batches`` for the seeker, and lock it to the end of the transaction.

    Args:
        batches: the first ones come first; those that are not open by now are passed over.
        lock: False only looks whether there is one.
    """
    alike = groupby(batches, key=lambda batch: (batch.order, batch.control_share))
    for (order, control_share), group in alike:
        of_order = [batch.pk for batch in group]
        for search in ORDERS[order](control_share):
            if (place := _run(search, of_order, seeker, lock)) is not None:
                return Found(place, search.chosen_by)
    everywhere = [batch.pk for batch in batches]
    place = _run(ANYWHERE, everywhere, seeker, lock) if everywhere else None
    return None if place is None else Found(place, ANYWHERE.chosen_by)


WAYS_AROUND_INDEXES = ("enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_incremental_sort")
WHILE_SEARCHING = {
    **dict.fromkeys(WAYS_AROUND_INDEXES, "off"),
    # What the planner may not do seems so dear to it that a server with LLVM compiles the query first: 0.3 s for
    # a millisecond's work.
    "jit": "off",
    # Planned once a connection and not for each annotator anew: there is one good plan.
    "plan_cache_mode": "force_generic_plan",
}


@contextmanager
def indexes_only(cursor: CursorWrapper) -> Iterator[None]:
    """Have what is executed in the block read by the indexes it was written for.

    Statistics are a minute or more behind a batch that was just released, and the planner that believes them reads and
    sorts all of it for each annotator. Needs a transaction.
    """
    cursor.execute("".join(f"SET LOCAL {setting} = {value};" for setting, value in WHILE_SEARCHING.items()))
    yield
    cursor.execute("".join(f"SET LOCAL {setting} TO DEFAULT;" for setting in WHILE_SEARCHING))


@lru_cache(maxsize=64)
def query_of(search: Search, *, limited: bool = False, new_prompts: bool = False, lock: bool = True) -> str:
    """The statement of a search over the batches ``%(batches)s``. Its parameters are those of ``parameters_of``.

    OFFSET 0 keeps the planner from reordering batches or evaluating a locking subquery twice. A batch's row is shared
    before a place of it is taken: a batch that is being closed is waited for, and then passed over.
    """
    conditions = theirs(limited=limited, new_prompts=new_prompts)
    expression = search.sql.replace("<theirs>", conditions.replace("<probe>", "OFFSET 0"))
    expression = expression.replace("<theirs, joined>", conditions.replace("<probe>", ""))
    expression = expression.replace("<lock>", "FOR NO KEY UPDATE SKIP LOCKED" if lock else "")
    return f"""
        SELECT found.id
        FROM (SELECT id FROM annotation_batch
              WHERE id = ANY(%(batches)s) AND state = 'open'
              ORDER BY priority DESC, id OFFSET 0 {"FOR SHARE" if lock else ""}) batch
        CROSS JOIN LATERAL (SELECT {expression} AS id OFFSET 0) found
        WHERE found.id IS NOT NULL
        LIMIT 1
    """  # noqa: S608 - no input is spliced in


def theirs(*, limited: bool, new_prompts: bool = False) -> str:
    """The condition in SQL on a place that the seeker of ``parameters_of`` may be given it, whatever its state:
    ``place.task_id`` is looked at. ``<probe>`` in it is OFFSET 0, or nothing in a search that joins."""
    return (
        _NOT_YET_THEIRS
        + (_WITHIN_LIMITS if limited else "")
        + (_OF_A_NEW_PROMPT if new_prompts else _NOT_KNOWN)
    )


def parameters_of(seeker: Seeker, batches: Sequence[int]) -> dict[str, Any]:
    return {
        "batches": list(batches),
        "annotator": seeker.annotator,
        "project": seeker.project,
        "languages": list(seeker.languages),
        "tags": list(seeker.tags),
        "dice": random.random(),  # noqa: S311 - no secret
    }


def _run(search: Search, batches: Sequence[int], seeker: Seeker, lock: bool) -> int | None:
    query = query_of(
        search, limited=bool(seeker.languages or seeker.tags), new_prompts=seeker.new_prompts, lock=lock
    )
    with connection.cursor() as cursor, indexes_only(cursor), preparing_cursor() as prepared:
        prepared.execute(query, parameters_of(seeker, batches))
        row = prepared.fetchone()
    return None if row is None else row[0]

"""The places of qualification tasks: one is made for each annotator who needs it.

Everybody who has to qualify must be able to, so a qualification's tasks are released without places: one comes into
being when an annotator asks for it and none is open. It is a row within the task's overlap as all places are, and that
overlap is ``MAX_OVERLAP``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import connection

from annotation.models import Batch, Membership
from annotation.ordering import Found, Seeker, find_place, parameters_of, seeker_of, theirs

_TASKS = """
    (SELECT task.id AS task_id, task.overlap,
            (SELECT count(*) FROM annotation_assignment made WHERE made.task_id = task.id) AS made
     FROM annotation_task task WHERE task.batch_id = exam.id) place
"""
_TO_MAKE = f"""
    SELECT place.task_id, place.made
    FROM (SELECT id FROM annotation_batch WHERE id = %(exam)s AND state = 'open' FOR SHARE) exam, LATERAL {_TASKS}
    WHERE place.made < place.overlap AND <theirs>
    ORDER BY place.task_id LIMIT 1
"""  # noqa: S608 - no input is spliced in
_MAKE = """
    INSERT INTO annotation_assignment (task_id, batch_id, place, overlap, state, uncertainty, chosen_by)
    SELECT id, batch_id, %s, overlap, 'open', 0, '' FROM annotation_task WHERE id = %s
    ON CONFLICT (task_id, place) DO NOTHING
    RETURNING id
"""
_WHO = f"""
    SELECT member.user_id FROM annotation_membership member
    WHERE member.id = ANY(%(members)s) AND EXISTS (
        SELECT FROM annotation_batch exam, LATERAL {_TASKS}
        WHERE exam.id = ANY(%(exams)s) AND exam.state = 'open' AND <theirs>
              AND (place.made < place.overlap
                   OR EXISTS (SELECT FROM annotation_assignment free
                              WHERE free.task_id = place.task_id AND free.state = 'open')))
"""  # noqa: S608 - no input is spliced in
_FROM_THE_MEMBER = {
    "%(annotator)s": "member.user_id",
    "%(project)s": "member.project_id",
    "%(languages)s::text[]": "ARRAY(SELECT jsonb_array_elements_text(member.languages))",
    "%(tags)s::text[]": "ARRAY(SELECT jsonb_array_elements_text(member.tags))",
}
"""What stands for the seeker's parameters where several members are asked about at once."""
_THEIRS = theirs(limited=True).replace("<probe>", "OFFSET 0")


def find_exam_place(member: Membership, exams: Sequence[Batch]) -> Found | None:
    """The member's next place of these qualification batches, locked to the end of the transaction; None where none of
    their tasks is for them. Lock the annotator before it."""
    seeker = seeker_of(member)
    found = find_place(exams, seeker)
    if found is not None:
        return found
    made = (place for exam in exams if (place := _make_place(exam, seeker)) is not None)
    return next((Found(place, "") for place in made), None)


def can_be_given(member: Membership, exams: Sequence[Batch]) -> bool:
    """Whether a task of these qualification batches is left for the member."""
    return bool(who_can_be_given([member], exams))


def who_can_be_given(members: Iterable[Membership], exams: Sequence[Batch]) -> set[int]:
    """Of some members, the users for whom a task of these qualification batches is left, in one statement."""
    condition = _THEIRS
    for parameter, of_the_member in _FROM_THE_MEMBER.items():
        condition = condition.replace(parameter, of_the_member)
    keys = {"members": [member.pk for member in members], "exams": [exam.pk for exam in exams]}
    with connection.cursor() as cursor:
        cursor.execute(_WHO.replace("<theirs>", condition), keys)
        return {user for (user,) in cursor.fetchall()}


def _make_place(exam: Batch, seeker: Seeker) -> int | None:
    """Make the seeker's next place in the batch; None where none of its tasks is for them."""
    query, parameters = _TO_MAKE.replace("<theirs>", _THEIRS), parameters_of(seeker, [])
    with connection.cursor() as cursor:
        while True:
            cursor.execute(query, {**parameters, "exam": exam.pk})
            row = cursor.fetchone()
            if row is None:
                return None
            task, made = row
            # Whoever makes the place of the same number at this moment is waited for; the next number is free then. No
            # task is locked: who passes one by holds it while they wait for their annotator.
            cursor.execute(_MAKE, [made, task])
            if (place := cursor.fetchone()) is not None:
                return int(place[0])

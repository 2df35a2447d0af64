"""Prompts, responses, tasks and rankings made of what was staged, in a few statements however many they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.db import connection
from django.utils import timezone

from annotation.intake.splits import store_prompts
from annotation.intake.staging import drop_tables
from annotation.models import MAX_OVERLAP, Batch, ImportedAnnotator, Project, Prompt, Source, User
from annotation.refusals import LineError, Refusal
from annotation.rows import LARGEST_INDEX

UNNAMED = "unknown"
DERIVED = (
    "known_prompt", "stage_source", "known_reply", "ballot", "stage_annotator", "place", "new_task", "ranked",
)  # fmt: skip
STEPS = 8


@dataclass(slots=True)
class Settled:
    """What was new and what was there, in numbers; and the batch, if there were new rankings."""

    prompts: int = 0
    prompts_held_out: int = 0
    """Of the new ones."""
    prompts_existing: int = 0
    responses: int = 0
    responses_existing: int = 0
    tasks: int = 0
    rankings: int = 0
    rankings_existing: int = 0
    annotators: int = 0
    sources: int = 0
    ratings: int = 0
    batch: Batch | None = None
    errors: list[LineError] = field(default_factory=list)
    """Rankings that had to be left out, by line."""


def settle(
    *, project: Project, name: str, drawn_by: UUID, tell: Callable[[int], None] = lambda step: None
) -> Settled:
    """Keep what is staged and not there yet. Call it in the transaction in which it was staged.

    A prompt is there if the project has one of the same digest; a response if its prompt has the same text from the
    same source; a ranking if an imported annotator of the project gave the same under the same key. The new rankings
    make one closed batch of the kind *imported*, with as many places a task as there are annotators of it.

    Args:
        name: of the batch; a number comes after it where the name is taken.
        drawn_by: names this import in its responses.
        tell: told how many of ``STEPS`` are done.

    Raises:
        Refusal: a prompt has more different responses of one source than can be numbered.
    """
    # Imports into a project take turns, so that what counts as new is new; and the held-out share stands still.
    project = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    drop_tables(DERIVED)
    done = Settled()
    _prompts(project, done, lambda: tell(0))
    tell(1)
    for step, part in enumerate((_sources, _responses, _ballots), start=2):
        part(project, done, drawn_by)
        tell(step)
    if done.rankings:
        done.batch = _batch(project, name)
        for step, later in enumerate((_tasks, _places, _rankings), start=5):
            later(done.batch, done)
            tell(step)
    tell(STEPS)
    return done


def _run(statement: str, *values: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


def _rows(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _derive(table: str, select: str, *values: Any) -> None:
    """A temporary table of what the statement finds, with the figures that the planner needs."""
    _run(f"CREATE TEMP TABLE {table} ON COMMIT DROP AS {select}", *values)
    _run(f"ANALYZE {table}")


def _sequence(table: str) -> str:
    """The name of the sequence that numbers a table's rows."""
    return str(_rows("SELECT pg_get_serial_sequence(%s, 'id')", f"annotation_{table}")[0][0])


def _prompts(project: Project, done: Settled, tell: Callable[[], None]) -> None:
    for table in ("stage_prompt", "stage_reply", "stage_card", "stage_vote", "stage_rating"):
        _run(f"ANALYZE {table}")
    stored = store_prompts(project, tell)
    done.prompts, done.prompts_held_out = stored.total(), stored[Prompt.Split.HELD_OUT]
    _derive(
        "known_prompt",
        "SELECT staged.digest, prompt.id FROM (SELECT DISTINCT digest FROM stage_prompt) staged "
        "JOIN annotation_prompt prompt ON prompt.project_id = %s AND prompt.digest = staged.digest",
        project.pk,
    )
    done.prompts_existing = _rows("SELECT count(*) FROM known_prompt")[0][0] - done.prompts


def _sources(project: Project, done: Settled, drawn_by: UUID) -> None:
    """Each name's source of the kind import; where another kind has the name, one named after it."""
    names = [name for (name,) in _rows("SELECT DISTINCT source FROM stage_reply ORDER BY 1")]
    there = {source.name: source for source in project.sources.all()}
    free = dict.fromkeys(names)
    chosen: list[tuple[str, int]] = []
    for name in names:
        wanted, number = name, 1
        while (wanted in there and there[wanted].kind != Source.Kind.IMPORT) or (
            wanted != name and wanted in free
        ):
            ending = " (imported)" if number == 1 else f" (imported {number})"
            wanted, number = name[: 200 - len(ending)] + ending, number + 1
        if wanted not in there:
            there[wanted] = Source.objects.create(project=project, name=wanted, kind=Source.Kind.IMPORT)
            done.sources += 1
        chosen.append((name, there[wanted].pk))
    _run("CREATE TEMP TABLE stage_source (name text, id bigint) ON COMMIT DROP")
    _copy("stage_source", chosen)


def _copy(table: str, rows: list[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    _run(f"ANALYZE {table}")


def _responses(project: Project, done: Settled, drawn_by: UUID) -> None:
    _derive(
        "known_reply",
        "SELECT once.*, COALESCE(existing, nextval(%s::regclass)) AS response_id FROM ("
        "SELECT DISTINCT ON (staged.id) staged.id, prompt.id AS prompt_id, source.id AS source_id, staged.text, "
        "staged.line, response.id AS existing FROM stage_reply staged "
        "JOIN known_prompt prompt ON prompt.digest = staged.prompt "
        "JOIN stage_source source ON source.name = staged.source "
        "LEFT JOIN annotation_response response ON response.prompt_id = prompt.id "
        "AND response.source_id = source.id AND response.text = staged.text "
        "ORDER BY staged.id, staged.line, response.id) once",
        _sequence("response"),
    )
    most = _rows(
        "SELECT max(count) FROM (SELECT count(*) FROM known_reply WHERE existing IS NULL "
        "GROUP BY prompt_id, source_id) each"
    )[0][0]
    if (most or 0) > LARGEST_INDEX + 1:
        raise Refusal(
            "invalid",
            f"One source has {most:,} different responses to one prompt; {LARGEST_INDEX + 1:,} can be kept at a time. "
            "Split the file.",
            field="file",
        )
    done.responses = _run(
        'INSERT INTO annotation_response (id, prompt_id, source_id, drawn_by, "index", text, ended) '
        "SELECT response_id, prompt_id, source_id, %s, "
        "row_number() OVER (PARTITION BY prompt_id, source_id ORDER BY line, id) - 1, text, true "
        "FROM known_reply WHERE existing IS NULL",
        drawn_by,
    )
    done.responses_existing = _rows("SELECT count(*) FROM known_reply WHERE existing IS NOT NULL")[0][0]


def _ballots(project: Project, done: Settled, drawn_by: UUID) -> None:
    """What remains of the staged rankings: each once, and none that is there. Then whose they are."""
    done.rankings_existing = _run(
        "DELETE FROM stage_vote staged USING annotation_ranking ranking, annotation_importedannotator who "
        "WHERE who.project_id = %s AND who.name = staged.annotator AND ranking.annotator_id = who.user_id "
        "AND ranking.key = staged.key",
        project.pk,
    )
    # Nobody known is somebody else for each ranking of a task.
    _derive(
        "ballot",
        "SELECT once.*, CASE WHEN annotator = '' THEN "
        "row_number() OVER (PARTITION BY task, annotator ORDER BY item) ELSE 0 END AS number FROM ("
        "SELECT DISTINCT ON (annotator, key) * FROM stage_vote ORDER BY annotator, key, item) once",
    )
    staged = _rows("SELECT count(*) FROM stage_vote")[0][0]
    who = _annotators(project, done)
    _run("CREATE TEMP TABLE stage_annotator (name text, number int, user_id bigint) ON COMMIT DROP")
    _copy("stage_annotator", who)
    _derive(
        "place",
        "SELECT *, nextval(%s::regclass) AS id FROM (SELECT each.task, who.user_id, each.first, "
        "row_number() OVER (PARTITION BY each.task ORDER BY each.first) - 1 AS place FROM ("
        "SELECT task, annotator, number, min(item) AS first FROM ballot GROUP BY task, annotator, number) each "
        "JOIN stage_annotator who ON who.name = each.annotator AND who.number = each.number) placed",
        _sequence("assignment"),
    )
    _derive(
        "ranked",
        "SELECT ballot.*, nextval(%s::regclass) AS ranking_id, who.user_id FROM ballot "
        "JOIN stage_annotator who ON who.name = ballot.annotator AND who.number = ballot.number",
        _sequence("ranking"),
    )
    _leave_out_crowds(done)
    done.rankings = _rows("SELECT count(*) FROM ranked")[0][0]
    done.rankings_existing += staged - done.rankings - len(done.errors)


def _annotators(project: Project, done: Settled) -> list[tuple[Any, ...]]:
    wanted = {(name, number) for name, number in _rows("SELECT DISTINCT annotator, number FROM ballot")}
    there = {
        (name, number): user
        for name, number, user in project.imported_annotators.values_list("name", "number", "user_id")
    }
    lacking = sorted(wanted - there.keys())
    users = User.objects.bulk_create(
        User(username=_username(project, name, number), password=make_password(None), is_active=False)
        for name, number in lacking
    )
    ImportedAnnotator.objects.bulk_create(
        ImportedAnnotator(project=project, name=name, number=number, user=user)
        for (name, number), user in zip(lacking, users, strict=True)
    )
    there |= {key: user.pk for key, user in zip(lacking, users, strict=True)}
    done.annotators = len(wanted)
    return [(name, number, there[name, number]) for name, number in wanted]


def _username(project: Project, name: str, number: int) -> str:
    """A name that no account can have, since it has spaces: within 150 characters, which is a username's most."""
    called = name or f"{UNNAMED} {number}"
    ending = f" (imported {project.pk})"
    if len(called) + len(ending) > 150:
        # Names that differ far behind stay different.
        mark = sha256(called.encode()).hexdigest()[:12]
        called = f"{called[: 150 - len(ending) - len(mark) - 1]}…{mark}"
    return called + ending


def _leave_out_crowds(done: Settled) -> None:
    """A task has at most ``MAX_OVERLAP`` annotators; who comes later is told as a bad line."""
    crowd = (
        "FROM ranked USING place WHERE place.task = ranked.task AND place.user_id = ranked.user_id "
        "AND place.place >= %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE {crowd} RETURNING ranked.line", [MAX_OVERLAP])
        lines = sorted(line for (line,) in cursor.fetchall())
    if lines:
        _run("DELETE FROM place WHERE place >= %s", MAX_OVERLAP)
    reason = f"is one of more than {MAX_OVERLAP:,} who ranked the same responses"
    done.errors = [LineError(line, "annotator", reason) for line in lines]


def _batch(project: Project, name: str) -> Batch:
    taken = set(project.batches.filter(name__startswith=name[:180]).values_list("name", flat=True))
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name[:180]} ({number})"
    overlap = _rows("SELECT max(place) + 1 FROM place")[0][0]
    return Batch.objects.create(
        project=project,
        name=free,
        kind=Batch.Kind.IMPORTED,
        overlap=overlap,
        state=Batch.State.CLOSED,
        closed_at=timezone.now(),
    )


def _tasks(batch: Batch, done: Settled) -> None:
    _derive(
        "new_task",
        "SELECT *, nextval(%s::regclass) AS id FROM (SELECT each.task, each.overlap, prompt.id AS prompt_id "
        "FROM (SELECT task, count(*) AS overlap, min(first) AS first FROM place GROUP BY task) each "
        "JOIN (SELECT DISTINCT task, prompt FROM ranked) ballot ON ballot.task = each.task "
        "JOIN known_prompt prompt ON prompt.digest = ballot.prompt ORDER BY each.first) ordered",
        _sequence("task"),
    )
    done.tasks = _run(
        "INSERT INTO annotation_task (id, batch_id, prompt_id, overlap, seed) SELECT id, %s, prompt_id, overlap, "
        "hashtextextended(task::text, 0) & 9223372036854775807 FROM new_task ORDER BY id",
        batch.pk,
    )
    _run(
        "INSERT INTO annotation_taskresponse (task_id, response_id, position) "
        "SELECT DISTINCT task.id, reply.response_id, card.position FROM stage_card card "
        "JOIN new_task task ON task.task = card.task JOIN known_reply reply ON reply.id = card.reply"
    )


def _places(batch: Batch, done: Settled) -> None:
    _run(
        "INSERT INTO annotation_assignment (id, task_id, batch_id, place, overlap, state, annotator_id, shown_order, "
        "uncertainty, chosen_by) SELECT place.id, task.id, %s, place.place, task.overlap, 'submitted', "
        "place.user_id, NULLIF(ballot.shown, '[]')::jsonb, 0, '' "
        "FROM place JOIN new_task task ON task.task = place.task "
        "JOIN ranked ballot ON ballot.item = place.first ORDER BY place.id",
        batch.pk,
    )


def _rankings(batch: Batch, done: Settled) -> None:
    _run(
        "INSERT INTO annotation_ranking (id, assignment_id, task_id, annotator_id, revision, key, tiers, shown_order, "
        "rationale, seconds, submitted_at) SELECT ballot.ranking_id, place.id, task.id, ballot.user_id, "
        "row_number() OVER (PARTITION BY place.id ORDER BY ballot.at NULLS FIRST, ballot.item), ballot.key, "
        "ballot.tiers::jsonb, ballot.shown::jsonb, ballot.rationale, ballot.seconds, COALESCE(ballot.at, now()) "
        "FROM ranked ballot JOIN new_task task ON task.task = ballot.task "
        "JOIN place ON place.task = ballot.task AND place.user_id = ballot.user_id ORDER BY ballot.ranking_id"
    )
    done.ratings = _run(
        "INSERT INTO annotation_aspectrating (ranking_id, aspect_id, position, rating) "
        "SELECT ballot.ranking_id, rating.aspect, rating.position, rating.rating FROM stage_rating rating "
        "JOIN ranked ballot ON ballot.item = rating.item"
    )

"""What the annotators of the serving benchmark rank: projects of any size with long Markdown replies, and a look at
what became of them. Needs Django set up on a database of its own."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection
from django.test import Client

from annotation.batching import compose_batch
from annotation.importing import import_prompts
from annotation.models import Assignment, Project, Ranking, Source, User
from annotation.projects import add_member, create_project, create_user

RESPONSES, OVERLAP = 4, 3
SOURCES = 2
VOCABULARY = """
the of a to and in that it is for on with as this by from at an which one all when there each how their if
will other about many then them these some would into more time has two like than first been who its now over
any only also after use work water heat flour dough oven minute hour salt sugar butter pan surface bubble
yeast temperature mixture result because however usually carefully slowly again before until evenly golden
brown check memory index query table column function value error test build release version branch server
client request cost budget month interest account balance payment risk market average rate growth share
history century law court evidence study patient dose symptom sleep exercise protein vitamin muscle heart
blood river coast mountain
"""
WORDS = VOCABULARY.split()


@dataclass(frozen=True, slots=True)
class Annotator:
    """A logged-in person: the session's key stands in their cookie."""

    user: int
    session: str


def make_annotators(count: int) -> tuple[list[User], list[Annotator]]:
    """Accounts, each with a session as a log-in makes it."""
    users = [create_user(username=f"annotator{number}") for number in range(count)]
    annotators = []
    for user in users:
        browser = Client()
        browser.force_login(user)
        annotators.append(Annotator(user.pk, browser.cookies["sessionid"].value))
    return users, annotators


def make_project(name: str, tasks: int, annotators: list[User], manager: User) -> Project:
    """A project with one batch of ``tasks`` tasks of ``RESPONSES`` different replies of some 200 words, to be ranked
    by ``OVERLAP`` of the annotators each."""
    project = create_project(name=name, created_by=manager, guidelines="Prefer what is **right**.")
    for annotator in annotators:
        add_member(project=project, user=annotator, role="annotator")
    writer = Writer(seed=tasks)
    import_prompts(
        project=project,
        rows=((n, {"prompt": writer.question(n), "tags": ["bench"]}) for n in range(1, tasks + 1)),
    )
    sources = [
        Source.objects.create(project=project, name=f"model {number}", kind=Source.Kind.IMPORT)
        for number in range(SOURCES)
    ]
    _copy_responses(project, sources, writer)
    compose_batch(
        project=project,
        name="batch",
        prompts=project.prompts.iterator(chunk_size=1000),
        sources=sources,
        responses_per_task=RESPONSES,
        overlap=OVERLAP,
    )
    return project


def _copy_responses(project: Project, sources: list[Source], writer: Writer) -> None:
    """Responses as ``importing.import_responses`` stores them, by COPY: checked by lines they would take longer than
    all that is measured."""
    drawn_by = uuid.uuid4()
    prompts = list(project.prompts.values_list("pk", flat=True))
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY annotation_response (prompt_id, source_id, drawn_by, index, text, ended) FROM STDIN"
        ) as copy,
    ):
        for prompt in prompts:
            for number in range(RESPONSES):
                source = sources[number % SOURCES].pk
                copy.write_row((prompt, source, drawn_by, number // SOURCES, writer.reply(), True))


class Writer:
    """Writes replies as models do: paragraphs, lists, some code and tables. No two are the same text."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.written = 0
        self.paragraphs = [" ".join(self._sentences(4)) for _ in range(400)]
        self.lists = [
            "\n".join(f"{mark} **{self._words(2)}**: {self._words(9)}." for mark in marks)
            for _ in range(100)
            for marks in (["-"] * 4, ["1.", "2.", "3.", "4."])
        ]
        self.code = [
            f'```python\ndef {self.dice.choice(WORDS)}_{n}(value):\n    """{self._words(5)}."""\n'
            f"    for index in range({n}):\n        value += index * {n}\n    return value\n```"
            for n in range(40)
        ]
        self.tables = [
            "\n".join(
                ["| what | how much |", "| --- | --- |", *(f"| {self._words(2)} | {n} |" for n in range(4))]
            )
            for _ in range(40)
        ]

    def question(self, number: int) -> str:
        return f"{number}: how does the {self._words(12)}, and what would you do about the {self._words(4)}?"

    def reply(self) -> str:
        self.written += 1
        choose = self.dice.choice
        extra = self.dice.random()
        last = (
            choose(self.code)
            if extra < 0.1
            else choose(self.tables)
            if extra < 0.15
            else choose(self.paragraphs)
        )
        return "\n\n".join(
            (
                f"Answer {self.written}: {choose(self.paragraphs)}",
                f"### {choose(WORDS).capitalize()} and `{choose(WORDS)}`"
                if extra > 0.6
                else choose(self.paragraphs),
                choose(self.lists),
                last,
            )
        )

    def _sentences(self, count: int) -> Iterator[str]:
        for _ in range(count):
            words = self._words(self.dice.randint(8, 16))
            emphasis = self.dice.random()
            if emphasis < 0.15:
                words += f" *{self._words(2)}*"
            elif emphasis < 0.3:
                words += f" `{self._words(1)}`"
            yield f"{words.capitalize()}."

    def _words(self, count: int) -> str:
        return " ".join(self.dice.choices(WORDS, k=count))


@dataclass(frozen=True, slots=True)
class Found:
    """What the database holds of a project, beside what its annotators were told.

    ``lost``: acknowledged, and not there. ``unacknowledged``: there, and never acknowledged. ``doubled``: rankings
    beyond one a place, places beyond one a task and annotator, and submitted places without a ranking.
    """

    rankings: int
    over_overlap: int
    lost: int
    unacknowledged: int
    doubled: int


def compare(project: Project, acknowledged: set[tuple[uuid.UUID, uuid.UUID]]) -> Found:
    """``acknowledged``: the key and the place of each submission that was answered by 200."""
    rankings = Ranking.objects.filter(task__batch__project=project)
    stored = set(rankings.values_list("key", "assignment__public_id"))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE given > overlap), coalesce(sum(given - people), 0) FROM ("
            "  SELECT task.overlap, count(*) AS given, count(DISTINCT ranking.annotator_id) AS people"
            "  FROM annotation_ranking ranking JOIN annotation_task task ON task.id = ranking.task_id"
            "  JOIN annotation_batch batch ON batch.id = task.batch_id"
            "  WHERE batch.project_id = %s GROUP BY task.id) each",
            [project.pk],
        )
        over, same_person = cursor.fetchone()
    places = Assignment.objects.filter(batch__project=project, state=Assignment.State.SUBMITTED).count()
    one_a_place = len({place for _, place in stored})
    return Found(
        rankings=len(stored),
        over_overlap=over,
        lost=len(acknowledged - stored),
        unacknowledged=len(stored - acknowledged),
        doubled=len(stored) - one_a_place + int(same_person) + abs(places - one_a_place),
    )

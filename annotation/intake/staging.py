"""What an import brings, copied beside the tables: checked a row at a time, compared with what is there all at once."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from django.db import connection

from annotation.intake.items import Item
from annotation.models import Aspect, Project
from annotation.splitting import digest_of

ROWS_A_COPY = 5_000
MOST_REASONS = 50
MOST_REMEMBERED = 1_000_000
"""So many prompts, responses and tasks are remembered as staged; what is staged twice does no harm."""

TABLES = {
    "stage_prompt": "line bigint, digest text, messages text, context text, tags text, key text, language text",
    "stage_reply": "line bigint, id uuid, prompt text, source text, text text",
    "stage_card": "task uuid, reply uuid, position smallint",
    "stage_vote": "item bigint, line bigint, task uuid, prompt text, annotator text, key uuid, tiers text, shown text, "
    "rationale text, seconds float8, at timestamptz",
    "stage_rating": "item bigint, aspect bigint, position smallint, rating smallint",
}


def drop_tables(names: Iterable[str]) -> None:
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"DROP TABLE IF EXISTS pg_temp.{name}")


class Stage:
    """Temporary tables of one import, which end with its transaction.

    Args:
        project: that it goes into.
        source: the name of the source of responses whose form names none.
    """

    def __init__(self, project: Project, source: str) -> None:
        self.project = project
        self.source = source
        self.aspects: dict[str, Aspect] = {plain(aspect.name): aspect for aspect in project.aspects.all()}
        self.rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES}
        self.remembered: set[bytes] = set()
        self.items = 0
        self.left_out: Counter[str] = Counter()
        drop_tables(TABLES)
        with connection.cursor() as cursor:
            for name, columns in TABLES.items():
                cursor.execute(f"CREATE TEMP TABLE {name} ({columns}) ON COMMIT DROP")

    def add(self, line: int, item: Item) -> None:
        """Stage an item that ``check_item`` found fit to be kept."""
        self.items += 1
        digest = digest_of(item.messages)
        if self._is_new(bytes.fromhex(digest)):
            self.rows["stage_prompt"].append(self._prompt(line, digest, item))
        replies = [reply_key(digest, one.source or self.source, one.text) for one in item.candidates]
        for key, candidate in zip(replies, item.candidates, strict=True):
            if self._is_new(key):
                row = (line, uuid.UUID(bytes=key), digest, candidate.source or self.source, candidate.text)
                self.rows["stage_reply"].append(row)
        if item.tiers is not None:
            self._rank(line, digest, item, replies)
        if max(map(len, self.rows.values())) >= ROWS_A_COPY:
            self.flush()

    def flush(self) -> None:
        """Copy what is held."""
        with connection.cursor() as cursor:
            for name, rows in self.rows.items():
                if not rows:
                    continue
                with cursor.copy(f"COPY {name} FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
                rows.clear()

    def _is_new(self, key: bytes) -> bool:
        if key in self.remembered:
            return False
        if len(self.remembered) >= MOST_REMEMBERED:
            self.remembered.clear()
        self.remembered.add(key)
        return True

    def _prompt(self, line: int, digest: str, item: Item) -> tuple[Any, ...]:
        return (
            line,
            digest,
            as_json(item.messages),
            as_json(list(item.context)),
            as_json(list(item.tags)),
            item.key,
            item.language,
        )

    def _rank(self, line: int, digest: str, item: Item, replies: Sequence[bytes]) -> None:
        # Numbers follow from the texts' hashes: the same responses make the same task, however a form orders them, and
        # a number tells nothing.
        order = sorted(range(len(replies)), key=replies.__getitem__)
        number = {place: position for position, place in enumerate(order)}
        assert item.tiers is not None
        tiers = as_json([sorted(number[place] for place in tier) for tier in item.tiers])
        shown = [number[place] for place in range(len(replies))] if item.as_shown else []
        task = hashed(digest, *(replies[place].hex() for place in order))
        if self._is_new(task):
            for position, place in enumerate(order):
                self.rows["stage_card"].append(
                    (uuid.UUID(bytes=task), uuid.UUID(bytes=replies[place]), position)
                )
        key = hashed(str(self.project.pk), item.annotator, item.vote, task.hex(), tiers)
        self.rows["stage_vote"].append(
            (
                self.items,
                line,
                uuid.UUID(bytes=task),
                digest,
                item.annotator,
                uuid.UUID(bytes=key),
                tiers,
                as_json(shown),
                item.rationale,
                item.seconds,
                item.at,
            )
        )
        for name, ratings in item.ratings.items():
            for place, rating in enumerate(ratings):
                if rating is not None:
                    self._rate(name, number[place], rating)

    def _rate(self, name: str, position: int, rating: float) -> None:
        aspect = self.aspects.get(plain(name))
        if aspect is None:
            name = name if len(self.left_out) < MOST_REASONS else "others"
            self.left_out[f"{name}: the project has no such aspect"] += 1
        elif not float(rating).is_integer() or not 1 <= rating <= aspect.steps:
            self.left_out[f"{name}: not one of 1 to {aspect.steps}"] += 1
        else:
            self.rows["stage_rating"].append((self.items, aspect.pk, position, int(rating)))


def plain(name: str) -> str:
    """An aspect's name however it is written."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def reply_key(digest: str, source: str, text: str) -> bytes:
    """What tells a response from others, of all prompts. 16 bytes."""
    return hashed(digest, source, text)


def hashed(*parts: str) -> bytes:
    """16 bytes that follow from the parts, each ended by what none holds."""
    return blake2b("\x00".join(parts).encode(), digest_size=16).digest()


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

"""What changed from one version of a dataset to another, task by task, in one pass over both files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from django.core.cache import cache

from alignment.datasets import split_file
from alignment.models import Dataset
from alignment.narrowing import SPLITS
from annotation.refusals import Refusal
from annotation.splitting import digest_of
from training.engine.records import Ranking, read_rankings

Kind = Literal["added", "removed", "changed"]
REMEMBERED_SECONDS = 7 * 24 * 3600
"""How long counts are kept: a dataset never changes, so they never turn wrong."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a task: ``before`` is None where it was added, ``after`` where it was removed."""

    kind: Kind
    split: str
    task: str
    before: Ranking | None
    after: Ranking | None

    def to_json(self) -> dict[str, Any]:
        """The change as one line of a file has it."""
        return {
            "change": self.kind,
            "split": self.split,
            "task": self.task,
            "before": self.before.to_record() if self.before else None,
            "after": self.after.to_record() if self.after else None,
        }


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks of a split were added, removed and changed, and how many are the same."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    same: int = 0


def changes(before: Dataset, after: Dataset) -> Iterator[Change]:
    """Return what changed, in the files' order, training first. One record of each file is held at a time.

    A task is changed where its tiers, scores, responses, demonstrations or number of rankings differ.

    Raises:
        Refusal: the datasets are of two projects, or a file is gone.
    """
    if before.project_id != after.project_id:
        raise Refusal("invalid", "The two datasets are of different projects.", field="before")
    files = [(str(split), split_file(before, split), split_file(after, split)) for split in SPLITS]
    return (
        change
        for split, old, new in files
        for change in _changes(split, read_rankings(old), read_rankings(new))
    )


def count_changes(before: Dataset, after: Dataset) -> Mapping[str, Counts]:
    """Return how much changed in each split; remembered, since neither dataset ever changes.

    Raises:
        Refusal: as `changes`.
    """
    found = changes(before, after)
    key = f"dataset-changes:{before.pk}:{before.sha256[:16]}:{after.pk}:{after.sha256[:16]}"
    known: dict[str, Counts] | None = cache.get(key)
    if known is not None:
        return known
    counts = {str(split): {"added": 0, "removed": 0, "changed": 0} for split in SPLITS}
    for change in found:
        counts[change.split][change.kind] += 1
    there = {"train": after.train_rankings, "held_out": after.held_out_rankings}
    result = {
        split: Counts(**of_split, same=there[split] - of_split["added"] - of_split["changed"])
        for split, of_split in counts.items()
    }
    cache.set(key, result, REMEMBERED_SECONDS)
    return result


def _changes(split: str, before: Iterator[Ranking], after: Iterator[Ranking]) -> Iterator[Change]:
    """Merge two files, whose order is the same: by the prompt's digest, then by the task's number."""
    old, new = next(before, None), next(after, None)
    while old is not None or new is not None:
        ours = _key(old) if old is not None else None
        theirs = _key(new) if new is not None else None
        if theirs is None or (ours is not None and ours < theirs):
            assert old is not None
            yield Change("removed", split, old.meta["task"], old, None)
            old = next(before, None)
        elif ours is None or theirs < ours:
            assert new is not None
            yield Change("added", split, new.meta["task"], None, new)
            new = next(after, None)
        else:
            assert old is not None and new is not None
            if old != new:
                yield Change("changed", split, new.meta["task"], old, new)
            old, new = next(before, None), next(after, None)


def _key(record: Ranking) -> tuple[str, int]:
    return digest_of(record.prompt), int(record.meta["task"])

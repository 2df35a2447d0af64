"""Datasets: the consensus of people's rankings, frozen under the hash of its own content."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.db import connection, transaction
from django.db.models import Max

from alignment import events
from alignment.consensus_records import ESTIMATOR, ConsensusSettings, ranked_tasks
from alignment.dataset_card import as_markdown, describe
from alignment.dataset_filters import Filters, check_filters
from alignment.held_out_lock import require_apart
from alignment.judges.hearing import judges_named
from alignment.models import Dataset
from alignment.narrowing import SPLITS, Narrowed, narrow
from alignment.withdrawn import Withdrawn, withdrawn_of
from annotation.batching import KNOWN_ANSWERS, is_complete
from annotation.models import Batch, Project, Prompt, Task, User
from annotation.refusals import Refusal
from annotation.reviewing import adjudications
from training.engine.files import flush
from training.engine.records import Ranking, read_rankings, write_rankings
from training.engine.refusal import Refused
from training.engine.settings import check_settings


@dataclass(frozen=True, slots=True)
class Draft:
    """What a dataset would hold, before it is frozen."""

    batches: list[Batch]
    settings: ConsensusSettings
    filters: Filters
    withdrawn: Withdrawn
    narrowed: Narrowed

    def by_split(self) -> dict[str, list[Ranking]]:
        """The records of each split, in the dataset's order."""
        found: dict[str, list[Ranking]] = {str(split): [] for split in SPLITS}
        for one, record in zip(self.narrowed.tasks, self.narrowed.records, strict=True):
            found[one.task.prompt.split].append(record)
        return found


def build_dataset(
    *,
    project: Project,
    batches: Iterable[Batch] | None = None,
    settings: dict[str, Any] | None = None,
    filters: Mapping[str, Any] | None = None,
    created_by: User | None = None,
) -> Dataset:
    """Freeze the consensus of batches' rankings; the same rankings, adjudications, settings and filters return the
    dataset that is there already.

    Each ranked task becomes one ranking record of weight 1, in the split of its prompt. Responses that
    nobody ranked are in no tier. An adjudication is one more person's ranking, and its order is the task's. Better
    responses that its annotators wrote are the record's demonstrations. What was withdrawn is in no new dataset.

    Args:
        batches: of the project; by default its closed and complete ones. None whose answers are known: those measure
            annotators.
        settings: those of `ConsensusSettings` that differ from their defaults.
        filters: those of `Filters` that leave something out.

    Raises:
        Refusal: a setting or filter is wrong, a batch is another project's, nothing is left, or it would train on what
            nearly repeats a locked held-out prompt.
    """
    draft = draft_dataset(project=project, batches=batches, settings=settings, filters=filters)
    if not draft.narrowed.tasks:
        raise Refusal(
            "conflict",
            "The filters, and what is withdrawn, leave no task. Look at what each leaves out, and filter less.",
            field="filters",
        )
    require_apart(project, draft.narrowed.tasks)
    by_split = draft.by_split()
    card = describe(project=project, batches=draft.batches, narrowed=draft.narrowed, by_split=by_split)
    card["estimator"] = {"name": ESTIMATOR, **draft.settings.frozen(), **card["estimator"]}
    frozen_settings: dict[str, Any] = {
        "batches": [batch.pk for batch in draft.batches],
        "consensus": ESTIMATOR,
    }
    frozen_settings |= draft.settings.frozen()
    # A dataset of everything keeps the settings, and so the hash, that it had before there were filters.
    if given := draft.filters.given():
        frozen_settings["filters"] = given
    sha256 = _freeze(by_split, frozen_settings, card)
    return _register(project, draft, sha256, frozen_settings, card, created_by)


def draft_dataset(
    *,
    project: Project,
    batches: Iterable[Batch] | None = None,
    settings: dict[str, Any] | None = None,
    filters: Mapping[str, Any] | None = None,
) -> Draft:
    """Return what `build_dataset` would freeze, with what each filter leaves out; nothing is kept.

    Raises:
        Refusal: as `build_dataset`, but for locked prompts.
    """
    checked = _check(settings)
    chosen = _check_batches(project, batches)
    asked = check_filters(project, filters)
    tasks = ranked_tasks(chosen, ratings=bool(asked.aspect or asked.min_rating_of))
    if not tasks:
        names = ", ".join(batch.name for batch in chosen) or "the project's closed batches"
        raise Refusal(
            "conflict", f"Nobody has ranked anything in {names} yet. Rank some tasks first.", field="batches"
        )
    withdrawn = withdrawn_of(project)
    decided = adjudications(Task.objects.filter(batch__in=chosen))
    judges = judges_named(project, checked.judges, field="settings.judges")
    narrowed = narrow(project, tasks, decided, checked, judges, asked, withdrawn.without)
    return Draft(chosen, checked, asked, withdrawn, narrowed)


def dataset_folder(dataset: Dataset) -> Path:
    """Return the folder with ``train.parquet``, ``held_out.parquet`` and ``README.md``."""
    return _folder(dataset.sha256)


def split_file(dataset: Dataset, split: str) -> Path:
    """Return the Parquet file of a split's ranking records.

    Raises:
        Refusal: there is no such split, or the file is gone.
    """
    if split not in SPLITS:
        raise Refusal(
            "invalid", f"The split must be {' or '.join(SPLITS)}, not {split!r:.40}.", field="split"
        )
    return _file_of(dataset, f"{split}.parquet")


def card_file(dataset: Dataset) -> Path:
    """Return the dataset's card, in Markdown.

    Raises:
        Refusal: the file is gone.
    """
    return _file_of(dataset, "README.md")


def _file_of(dataset: Dataset, name: str) -> Path:
    path = dataset_folder(dataset) / name
    if not path.is_file():
        raise Refusal(
            "not_found", f"The file {path} of {dataset} is gone; restore RANKLOOP_HOME from a backup."
        )
    return path


def preview(dataset: Dataset, *, split: str = "train", offset: int = 0, limit: int = 20) -> list[Ranking]:
    """Return some ranking records of a split, for people to look at, in the file's order."""
    if offset > sys.maxsize - limit:  # beyond what islice counts to, and so beyond any file
        return []
    return list(islice(read_rankings(split_file(dataset, split)), offset, offset + limit))


def _check(settings: dict[str, Any] | None) -> ConsensusSettings:
    try:
        return check_settings(ConsensusSettings, settings or {}, "settings")
    except Refused as refused:
        raise Refusal("invalid", str(refused), field="settings") from refused


def _check_batches(project: Project, batches: Iterable[Batch] | None) -> list[Batch]:
    if batches is None:
        of_project = project.batches.exclude(kind__in=KNOWN_ANSWERS).order_by("pk")
        return [batch for batch in of_project if is_complete(batch)]
    chosen = sorted(batches, key=lambda batch: batch.pk)
    for batch in chosen:
        if batch.project_id != project.pk:
            raise Refusal("invalid", f"The batch {batch} belongs to another project.", field="batches")
        if batch.kind in KNOWN_ANSWERS:
            raise Refusal(
                "invalid",
                f"The answers of the {batch.kind} batch {batch} are known: it measures annotators and teaches no "
                "model. Leave it out.",
                field="batches",
            )
    return chosen


def _freeze(by_split: dict[str, list[Ranking]], settings: dict[str, Any], card: dict[str, Any]) -> str:
    """Write the dataset's folder, whole or not at all, and return its hash: of the files' hashes and the settings."""
    draft = _folder(f".{uuid.uuid4()}.part")
    draft.mkdir(parents=True)
    try:
        # Both files or neither: `datasets` reads the splits of one dataset by the same columns.
        demonstrations = any(record.demonstrations for records in by_split.values() for record in records)
        for split, records in by_split.items():
            write_rankings(draft / f"{split}.parquet", records, demonstrations=demonstrations)
        sha256 = content_hash(draft, settings)
        (draft / "README.md").write_text(as_markdown(card), encoding="utf-8")
        # On the disk before the row that names them: a power cut must not leave the row alone.
        for path in (*draft.iterdir(), draft):
            flush(path)
        _publish(draft, _folder(sha256))
        flush(_folder(sha256).parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return sha256


def content_hash(folder: Path, settings: dict[str, Any]) -> str:
    """Return the hash that a dataset has if these are its files and settings.

    Raises:
        OSError: a file is missing or cannot be read.
    """
    names = [f"{split}.parquet" for split in SPLITS]
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    content = json.dumps({"files": hashes, "settings": settings}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _publish(draft: Path, folder: Path) -> None:
    """Give the folder its name, unless the same content has it already."""
    try:
        if not folder.exists():
            draft.rename(folder)
    except OSError:
        if not folder.exists():  # else another process froze the same content at this moment
            raise


@transaction.atomic
def _register(
    project: Project,
    draft: Draft,
    sha256: str,
    settings: dict[str, Any],
    card: dict[str, Any],
    created_by: User | None,
) -> Dataset:
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    if withdrawn_of(project) != draft.withdrawn:
        raise Refusal(
            "conflict", "Data were withdrawn while the dataset was built, so it was not kept. Build it again."
        )
    known = project.datasets.filter(sha256=sha256).first()
    if known is not None:
        return known
    after = draft.narrowed.after
    dataset = Dataset.objects.create(
        project=project,
        version=(project.datasets.aggregate(last=Max("version"))["last"] or 0) + 1,
        sha256=sha256,
        settings=settings,
        card=card,
        train_rankings=after[Prompt.Split.TRAIN].tasks,
        held_out_rankings=after[Prompt.Split.HELD_OUT].tasks,
        created_by=created_by,
    )
    dataset.batches.set(draft.batches)
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY alignment_datasetranking (dataset_id, ranking_id) FROM STDIN") as copy,
    ):
        for one in draft.narrowed.tasks:
            for vote in one.votes:
                copy.write_row((dataset.pk, vote.answer.pk))
    events.dataset_frozen(dataset)
    return dataset


def _folder(sha256: str) -> Path:
    return django_settings.RANKLOOP_HOME / "datasets" / sha256

"""Datasets: the consensus of people's rankings, frozen under the hash of its own content."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.db import transaction
from django.db.models import Max

from alignment.adjudicating import put_in_order
from alignment.consensus import PRIOR, Consensus, Spread
from alignment.dataset_card import as_markdown, describe
from alignment.judges.hearing import SHARE, fit_with_judges, judges_named
from alignment.models import Dataset
from annotation.batching import KNOWN_ANSWERS, is_complete
from annotation.models import Batch, Project, Prompt, Task, User
from annotation.models import Ranking as Answer
from annotation.refusals import Refusal
from annotation.reviewing import Adjudication, adjudications
from annotation.submitting import current_rankings
from training.engine.files import flush
from training.engine.records import Ranking, read_rankings, write_rankings
from training.engine.refusal import Refused
from training.engine.settings import check_settings, setting

ESTIMATOR = "davidson-luce"
# Beyond what the estimator converges to on any machine, digits would only break the equality of hashes.
DECIMALS = 6
SPLITS = (Prompt.Split.TRAIN, Prompt.Split.HELD_OUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusSettings:
    """How the rankings of a task become one."""

    prior: float = setting(PRIOR, above=0, at_most=100)
    """What the spread of responses' scores within a task, a standard deviation in log-worth, is taken to be before
    rankings of the same task by several people tell; see `alignment.consensus`."""
    tie_margin: float = setting(0.1, at_least=0, at_most=10)
    """A response whose score is less than this below its tier's best is tied with it. 0.1: the better one
    would be preferred with a probability below 52.5 %, which says nothing worth learning."""
    judges: tuple[int, ...] = setting(())
    """AI judges, by primary key, that are heard on the tasks that people ranked."""
    judge_share: float = setting(SHARE, above=0, at_most=1)
    """Of a task's weight, what all judges together have at most; ½ lets them weigh as much as its people, 1 does not
    hold them back."""

    def frozen(self) -> dict[str, Any]:
        """The settings as a dataset keeps them: those of judges only where some are heard, so that what was built
        before there were any keeps its hash."""
        kept = dataclasses.asdict(self)
        if not self.judges:
            del kept["judges"], kept["judge_share"]
        return kept | ({"judges": sorted(set(self.judges))} if self.judges else {})


def build_dataset(
    *,
    project: Project,
    batches: Iterable[Batch] | None = None,
    settings: dict[str, Any] | None = None,
    created_by: User | None = None,
) -> Dataset:
    """Freeze the consensus of batches' rankings; the same rankings, adjudications and settings return the dataset
    that is there already.

    Each ranked task becomes one ranking record of weight 1, in the split of its prompt. Responses that
    nobody ranked are in no tier. An adjudication is one more person's ranking, and its order is the task's. Better
    responses that its annotators wrote are the record's demonstrations.

    Args:
        batches: of the project; by default its closed and complete ones. None whose answers are known: those measure
            annotators.
        settings: those of `ConsensusSettings` that differ from their defaults.

    Raises:
        Refusal: a setting is wrong, a batch is another project's, or nobody has ranked anything yet.
    """
    checked = _check(settings)
    chosen = _check_batches(project, batches)
    tasks = _ranked_tasks(chosen)
    if not tasks:
        names = ", ".join(batch.name for batch in chosen) or "the project's closed batches"
        raise Refusal(
            "conflict", f"Nobody has ranked anything in {names} yet. Rank some tasks first.", field="batches"
        )
    decided = adjudications(Task.objects.filter(batch__in=chosen))
    said = [(task.pk, answer.annotator_id, answer.tiers) for task, answers in tasks for answer in answers]
    said += [
        (task.pk, decided[task.pk].reviewer, decided[task.pk].tiers)
        for task, _ in tasks
        if task.pk in decided
    ]
    consensus = fit_with_judges(
        said,
        judges_named(project, checked.judges, field="settings.judges"),
        batches=chosen,
        prior=Spread(checked.prior),
        share=checked.judge_share,
    )
    records = [
        _record(task, answers, decided.get(task.pk), consensus, checked.tie_margin) for task, answers in tasks
    ]
    by_split: dict[str, list[Ranking]] = {split: [] for split in SPLITS}
    for (task, _), record in zip(tasks, records, strict=True):
        by_split[task.prompt.split].append(record)
    card = describe(project=project, batches=chosen, tasks=tasks, by_split=by_split, consensus=consensus)
    card["estimator"] = {"name": ESTIMATOR, **checked.frozen(), **card["estimator"]}
    frozen_settings = {"batches": [batch.pk for batch in chosen], "consensus": card["estimator"]["name"]}
    frozen_settings |= checked.frozen()
    sha256 = _freeze(by_split, frozen_settings, card)
    return _register(project, chosen, sha256, frozen_settings, card, by_split, created_by)


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


def _ranked_tasks(batches: Sequence[Batch]) -> list[tuple[Task, list[Answer]]]:
    """Return the tasks that somebody ranked, with their current answers: an order that the content alone decides."""
    answers: dict[int, list[Answer]] = defaultdict(list)
    current = current_rankings(Batch.objects.filter(pk__in=[b.pk for b in batches]))
    for answer in current.prefetch_related("demonstrations", "flags").order_by("pk"):
        answers[answer.task_id].append(answer)
    tasks = (
        Task.objects.filter(pk__in=answers)
        .select_related("prompt")
        .prefetch_related("task_responses__response__source")
    )
    in_order = sorted(tasks, key=lambda task: (task.prompt.digest, task.pk))
    return [(task, answers[task.pk]) for task in in_order]


def _record(
    task: Task, answers: list[Answer], decided: Adjudication | None, consensus: Consensus, tie_margin: float
) -> Ranking:
    responses = [each.response for each in task.task_responses.all()]
    orders = [answer.tiers for answer in answers] if decided is None else [decided.tiers]
    ranked = sorted({number for tiers in orders for tier in tiers for number in tier})
    # Models learn the probabilities, so those have to hold for rankings yet to come.
    foretold = {number: consensus.predictive_scores[task.pk, number] for number in ranked}
    if decided is not None:
        foretold = put_in_order(foretold, decided.tiers)
    scores = {number: round(score, DECIMALS) + 0.0 for number, score in foretold.items()}  # no negative zero
    return Ranking(
        prompt=[{"role": m["role"], "content": m["content"]} for m in task.prompt.messages],
        context=[
            {name: passage.get(name) or "" for name in ("id", "title", "text", "url")}
            for passage in task.prompt.context
        ],
        responses=[response.text for response in responses],
        tiers=tiers_of(scores, tie_margin) if decided is None else [sorted(tier) for tier in decided.tiers],
        scores=[scores.get(number, 0.0) for number in range(len(responses))],
        weight=1.0,
        meta={
            "task": str(task.pk),
            "rankings": len(answers),
            "sources": [response.source.name for response in responses],
            **({"adjudicated": True} if decided is not None else {}),
        },
        # Sorted: what was written decides the order, not who wrote first.
        demonstrations=sorted({each.text for answer in answers for each in answer.demonstrations.all()}),
    )


def tiers_of(scores: dict[int, float], tie_margin: float) -> list[list[int]]:
    """Return the tiers that scores make, best first, each one's numbers in order.

    A response joins a tier while it is less than ``tie_margin`` below the tier's best; equal scores are always tied.
    """
    tiers: list[list[int]] = []
    best = 0.0
    for number in sorted(scores, key=lambda number: (-scores[number], number)):
        if tiers and (best - scores[number] < tie_margin or best == scores[number]):
            tiers[-1].append(number)
        else:
            tiers.append([number])
            best = scores[number]
    return [sorted(tier) for tier in tiers]


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
    batches: list[Batch],
    sha256: str,
    settings: dict[str, Any],
    card: dict[str, Any],
    by_split: dict[str, list[Ranking]],
    created_by: User | None,
) -> Dataset:
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    known = project.datasets.filter(sha256=sha256).first()
    if known is not None:
        return known
    dataset = Dataset.objects.create(
        project=project,
        version=(project.datasets.aggregate(last=Max("version"))["last"] or 0) + 1,
        sha256=sha256,
        settings=settings,
        card=card,
        train_rankings=len(by_split[Prompt.Split.TRAIN]),
        held_out_rankings=len(by_split[Prompt.Split.HELD_OUT]),
        created_by=created_by,
    )
    dataset.batches.set(batches)
    return dataset


def _folder(sha256: str) -> Path:
    return django_settings.RANKLOOP_HOME / "datasets" / sha256

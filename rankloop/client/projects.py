"""A project: prompts and responses in, tasks and rankings out, datasets and rounds."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from rankloop.client.datasets import Dataset
from rankloop.client.problems import NotFound
from rankloop.client.progress import bar, read_with
from rankloop.client.records import (
    BatchRecord,
    DatasetRecord,
    EventType,
    ImportReport,
    NewWebhook,
    ProjectRecord,
    PromptRecord,
    RankingRecord,
    ResponseRecord,
    RoundRecord,
    RunRecord,
    SourceRecord,
    TaskRecord,
    TaskToRank,
    Tiers,
    WebhookRecord,
)
from rankloop.client.transport import Transport

IN_MEMORY = 2**24
"""Bytes of rows that wait in memory to be sent; more wait in a file."""

Rows = str | os.PathLike[str] | Iterable[str | Mapping[str, Any]]
"""The path of a JSONL, CSV or Parquet file, or rows: objects as such a file has them, and prompts as plain text."""


class Project:
    """One project. Lists come as iterators that ask for the next page when it is needed."""

    def __init__(self, transport: Transport, record: ProjectRecord) -> None:
        self._transport = transport
        self.record = record
        self.slug = record["slug"]
        self.name = record["name"]

    def __repr__(self) -> str:
        return f"<Project {self.slug}>"

    def import_prompts(self, rows: Rows, *, progress: bool = True) -> ImportReport:
        """Bring prompts in: all of them or, where any is bad, none; `Invalid` then names every bad line.

        Args:
            rows: a file's path, or objects with ``prompt`` or ``messages``, or plain texts. Twice is once.
        """
        return self._import("prompts/import", rows, {}, progress)

    def import_responses(self, source: int, rows: Rows, *, progress: bool = True) -> ImportReport:
        """Bring responses in, as `import_prompts` does.

        Args:
            source: the number of a source of the kind import or person.
        """
        return self._import("responses/import", rows, {"source": str(source)}, progress)

    def prompts(self, **filters: Any) -> Iterator[PromptRecord]:
        """Yield the prompts; ``split``, ``tag``, ``key``, ``retired`` and ``ordering`` choose among them."""
        return self._listed("prompts", filters)

    def responses(self, **filters: Any) -> Iterator[ResponseRecord]:
        """Yield the responses; ``prompt`` and ``source`` choose among them."""
        return self._listed("responses", filters)

    def sources(self, **filters: Any) -> Iterator[SourceRecord]:
        """Yield the sources; ``kind`` chooses among them."""
        return self._listed("sources", filters)

    def create_source(self, name: str, kind: str = "import", **fields: Any) -> SourceRecord:
        """Make a source; what each kind needs stands in the API's reference."""
        return cast(SourceRecord, self._post("sources", {"name": name, "kind": kind, **fields}))

    def batches(self, **filters: Any) -> Iterator[BatchRecord]:
        """Yield the batches, newest first; ``state`` and ``kind`` choose among them."""
        return self._listed("batches", filters)

    def create_batch(
        self, name: str, *, sources: Sequence[int], responses_per_task: int, overlap: int, **fields: Any
    ) -> BatchRecord:
        """Release one task a prompt, of responses that are there."""
        given = {
            "name": name,
            "sources": list(sources),
            "responses_per_task": responses_per_task,
            "overlap": overlap,
            **fields,
        }
        return cast(BatchRecord, self._post("batches", given)["batch"])

    def close_batch(self, batch: int) -> BatchRecord:
        """Take no more rankings of a batch, for good."""
        return cast(BatchRecord, self._transport.call("POST", f"batches/{batch}/close", twice_is_once=True))

    def tasks(self, **filters: Any) -> Iterator[TaskRecord]:
        """Yield the tasks with where each response came from; ``batch`` and ``flag`` choose among them."""
        return self._listed("tasks", filters)

    def rankings(self, **filters: Any) -> Iterator[RankingRecord]:
        """Yield the rankings; ``batch``, ``current``, ``annotator`` and ``flag`` choose among them."""
        return self._listed("rankings", filters)

    def next_task(self) -> TaskToRank | None:
        """Lease the next task of the token's owner; None where there is nothing to rank now."""
        answer = self._transport.call("POST", f"projects/{self.slug}/next-task", twice_is_once=True)
        return cast("TaskToRank | None", answer)

    def submit(self, task: TaskToRank, tiers: Tiers, **parts: Any) -> RankingRecord:
        """Submit a ranking of a leased task, once, however often the connection breaks.

        Args:
            tiers: response numbers, the best tier first.
            parts: what else an answer may have: ``ratings``, ``flags``, ``rationale``, …
        """
        given = {"lease": task["lease"], "key": str(uuid.uuid4()), "tiers": tiers, **parts}
        answer = self._transport.call(
            "POST", f"assignments/{task['assignment']}/submit", json=given, twice_is_once=True
        )
        return cast(RankingRecord, answer)

    def datasets(self, **filters: Any) -> Iterator[Dataset]:
        """Yield the datasets, newest first."""
        records: Iterator[DatasetRecord] = self._listed("datasets", filters)
        return (Dataset(self._transport, record) for record in records)

    def dataset(self, version: int | None = None) -> Dataset:
        """Return one version of the dataset, by default the newest.

        Raises:
            NotFound: there is no such version.
        """
        for dataset in self.datasets():
            if version in (None, dataset.version):
                return dataset
        what = "no dataset yet" if version is None else f"no dataset version {version}"
        raise NotFound(404, "not_found", f"{self.name} has {what}; `freeze_dataset` makes one.", [])

    def freeze_dataset(
        self, batches: Sequence[int] | None = None, settings: Mapping[str, Any] | None = None
    ) -> Dataset:
        """Freeze the consensus of batches' rankings. The same rankings and settings give the dataset there is.

        Args:
            batches: by default the closed and the completely ranked ones.
        """
        given: dict[str, Any] = {} if batches is None else {"batches": list(batches)}
        if settings is not None:
            given["settings"] = dict(settings)
        answer = self._transport.call(
            "POST", f"projects/{self.slug}/datasets", json=given, twice_is_once=True
        )
        return Dataset(self._transport, answer)

    def rounds(self, **filters: Any) -> Iterator[RoundRecord]:
        """Yield the rounds, newest first; ``state`` chooses among them."""
        return self._listed("rounds", filters)

    def start_round(self, **fields: Any) -> RoundRecord:
        """Start a round; what it takes stands in the API's reference."""
        return cast(RoundRecord, self._post("rounds", fields))

    def runs(self, **filters: Any) -> Iterator[RunRecord]:
        """Yield the runs, newest first; ``kind``, ``state`` and ``round`` choose among them."""
        return self._listed("runs", filters)

    def webhooks(self) -> Iterator[WebhookRecord]:
        """Yield the webhooks, without their secrets."""
        return self._listed("webhooks", {})

    def create_webhook(self, name: str, url: str, events: Sequence[EventType]) -> NewWebhook:
        """Make a webhook; its ``secret`` is told this once."""
        return cast(NewWebhook, self._post("webhooks", {"name": name, "url": url, "events": list(events)}))

    def _post(self, path: str, given: Any) -> Any:
        return self._transport.call("POST", f"projects/{self.slug}/{path}", json=given)

    def _listed(self, path: str, filters: Mapping[str, Any]) -> Iterator[Any]:
        query = {name: _as_text(value) for name, value in filters.items()}
        return self._transport.pages(f"projects/{self.slug}/{path}", query)

    def _import(self, path: str, rows: Rows, fields: dict[str, str], progress: bool) -> ImportReport:
        with _file_of(rows) as (file, name):
            size = file.seek(0, os.SEEK_END)
            with bar(name, size, shown=progress) as shown:

                def body() -> dict[str, Any]:
                    file.seek(0)
                    shown.reset()
                    return {"files": {"file": (name, read_with(shown, file))}, "data": fields}

                answer = self._transport.call(
                    "POST", f"projects/{self.slug}/{path}", body=body, twice_is_once=True
                )
        return cast(ImportReport, answer)


@contextmanager
def _file_of(rows: Rows) -> Iterator[tuple[IO[bytes], str]]:
    """The rows as a file that is read from its beginning, and its name, whose ending says what it is."""
    if isinstance(rows, str | os.PathLike):
        path = Path(rows)
        with path.open("rb") as file:
            yield file, path.name
        return
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as spooled:
        for row in rows:
            line = json.dumps({"prompt": row} if isinstance(row, str) else dict(row), ensure_ascii=False)
            spooled.write(line.encode() + b"\n")
        yield cast("IO[bytes]", spooled), "rows.jsonl"


def _as_text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value

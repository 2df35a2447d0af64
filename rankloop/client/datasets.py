"""A frozen dataset: its rows, and its files on this machine."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx

from rankloop.client.problems import RankloopError, Unreachable
from rankloop.client.progress import bar
from rankloop.client.records import Compression, DatasetDetail, DatasetRecord, Format, Shape, Split, Which
from rankloop.client.transport import Transport

ENDINGS: dict[str, tuple[Format, Compression]] = {
    ".jsonl": ("jsonl", ""),
    ".jsonl.gz": ("jsonl", "gzip"),
    ".jsonl.zst": ("jsonl", "zstd"),
    ".csv": ("csv", ""),
    ".csv.gz": ("csv", "gzip"),
    ".csv.zst": ("csv", "zstd"),
    ".parquet": ("parquet", ""),
}
"""What the name of a downloaded file ends in, and what that makes it."""


class Dataset:
    """One version of a project's dataset. It never changes."""

    def __init__(self, transport: Transport, record: DatasetRecord) -> None:
        self._transport = transport
        self.record = record
        self.id = record["id"]
        self.version = record["version"]
        self.sha256 = record["sha256"]

    def __repr__(self) -> str:
        return f"<Dataset version {self.version}, {self.sha256[:12]}…>"

    def detail(self) -> DatasetDetail:
        """Return its settings and card as well."""
        return cast(DatasetDetail, self._transport.get(f"datasets/{self.id}"))

    def card(self) -> str:
        """Return its card, in Markdown."""
        return b"".join(self._transport.parts(f"datasets/{self.id}/card")).decode()

    def rows(
        self, shape: Shape = "pairs", *, split: Split = "train", which: Which = "all"
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows as they arrive, however many there are."""
        query = self._query(shape, split, which, "jsonl", "")
        line = b""
        for part in self._transport.parts(f"datasets/{self.id}/export", query):
            *whole, line = (line + part).split(b"\n")
            for each in whole:
                yield json.loads(each)

    def download(
        self,
        path: str | os.PathLike[str],
        *,
        shape: Shape = "pairs",
        split: Split = "train",
        which: Which = "all",
        progress: bool = True,
    ) -> Path:
        """Save a split as a file, whole or not at all; one that broke off goes on at the next call.

        Args:
            path: whose name ends in one of `ENDINGS`, which says what it becomes. A file that is there is replaced.
            progress: whether a bar is shown to whoever looks.

        Returns:
            The path.

        Raises:
            ValueError: the name's ending is none of those.
            RankloopError: the server refused, the connection broke too often, or the bytes are not those that the
                server has.
        """
        final = Path(path)
        format_, compression = _meant(final)
        query = self._query(shape, split, which, format_, compression)
        headers = self._transport.head(f"datasets/{self.id}/export", query)
        etag = headers["ETag"]
        # Named by its content: what another file left behind is not gone on with.
        draft = final.with_name(f".{final.name}.{etag.strip(chr(34))[:16]}.part")
        self._fetch(draft, query, headers, what=final.name, progress=progress)
        if _sha256(draft) != etag.strip('"'):
            draft.unlink()
            raise RankloopError(
                f"What arrived of {final.name} is not what the server has. Download it again."
            )
        draft.replace(final)
        return final

    def url(
        self,
        shape: Shape = "pairs",
        *,
        split: Split = "train",
        format: Format = "parquet",
        which: Which = "all",
        compression: Compression = "",
    ) -> str:
        """Return the address of an export, for ``datasets.load_dataset`` with `storage_options`."""
        query = self._query(shape, split, which, format, compression)
        return str(httpx.URL(f"{self._transport.address}/datasets/{self.id}/export", params=query))

    @property
    def storage_options(self) -> dict[str, Any]:
        """What ``datasets.load_dataset`` needs beside `url`. It holds the token."""
        return {"http": {"client_kwargs": {"headers": {"Authorization": f"Bearer {self._transport.token}"}}}}

    def _fetch(
        self, draft: Path, query: dict[str, str], headers: httpx.Headers, *, what: str, progress: bool
    ) -> None:
        size = int(headers["Content-Length"])
        done = draft.stat().st_size if draft.exists() else 0
        if done > size:
            draft.unlink()
            done = 0
        with bar(what, size, shown=progress) as shown, draft.open("ab") as file:
            shown.update(done)
            if done == size:
                return
            parts = self._transport.parts(
                f"datasets/{self.id}/export", query, etag=headers["ETag"], start=done
            )
            for part in parts:
                file.write(part)
                shown.update(len(part))
        if draft.stat().st_size != size:
            raise Unreachable(f"{what} broke off. Download it again: it goes on where it stopped.")

    def _query(
        self, shape: Shape, split: Split, which: Which, format: Format, compression: Compression
    ) -> dict[str, str]:
        query: dict[str, str] = {"shape": shape, "split": split, "format": format}
        if which != "all":
            query["which"] = which
        if compression:
            query["compression"] = compression
        return query


def _meant(path: Path) -> tuple[Format, Compression]:
    for ending in sorted(ENDINGS, key=len, reverse=True):
        if path.name.endswith(ending):
            return ENDINGS[ending]
    raise ValueError(
        f"The name {path.name} must end in one of {', '.join(ENDINGS)}, which says what it becomes."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()

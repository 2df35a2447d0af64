"""The responses of a sample run: their records, and the partial output that a stopped run resumes from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from training.engine.events import close_torn_line


@dataclass(frozen=True, slots=True)
class Response:
    """One reply to a prompt."""

    id: str
    """The prompt's id."""
    index: int
    """Which of the prompt's responses, from 0."""
    text: str
    """May be empty: a model may end its reply at once."""
    tokens: int | None
    """Length in tokens, without the one that ends it; None where an endpoint does not say."""
    finish: Literal["stop", "length"]
    """Ended by the model, or cut at the longest length."""
    prompt_tokens: int | None = None
    """What an endpoint counted of the prompt, for its price."""
    refused: str | None = None
    """Why the endpoint answered nothing, in a sentence."""

    def as_record(self) -> dict[str, Any]:
        """The response as a line has it: without what only endpoints say, where there is none of it."""
        record = asdict(self)
        for name in ("prompt_tokens", "refused"):
            if record[name] is None:
                del record[name]
        return record


class PartialOutput:
    """Responses as they are finished, appended to a file in the run's folder.

    The file's name holds a fingerprint of all that determines the responses, so that output of other settings
    is never resumed.

    Args:
        output: the run's folder.
        determined_by: JSON-able; equal values mean equal responses.
    """

    def __init__(self, output: Path, determined_by: Any) -> None:
        fingerprint = hashlib.sha256(json.dumps(determined_by, sort_keys=True).encode()).hexdigest()[:16]
        self._path = output / f"responses-{fingerprint}.partial.jsonl"
        close_torn_line(self._path)

    def read(self) -> list[Response]:
        """Return what was appended by this start and those before, in order."""
        if not self._path.exists():
            return []
        lines = self._path.read_text(encoding="utf-8").split("\n")
        return [Response(**json.loads(line)) for line in lines if line]

    def append(self, responses: Sequence[Response]) -> None:
        """Add finished responses; they are on disk when this returns."""
        with self._path.open("ab") as file:
            file.write(b"".join(_line(response.as_record()) for response in responses))
            file.flush()
            os.fsync(file.fileno())

    def keep(self, responses: Sequence[Response]) -> None:
        """Forget all but these responses."""
        temporary = self._path.with_suffix(".part")
        write_records(temporary, [response.as_record() for response in responses])
        temporary.replace(self._path)

    def remove(self) -> None:
        """Delete the file, once the responses are in an artifact."""
        self._path.unlink(missing_ok=True)


def write_responses(path: Path, responses: Sequence[Response], prompt_ids: Sequence[str]) -> None:
    """Write ``responses.jsonl``: in the order of the prompts, and of the indices within a prompt."""
    write_records(path, [response.as_record() for response in in_order(responses, prompt_ids)])


def in_order(responses: Sequence[Response], prompt_ids: Sequence[str]) -> list[Response]:
    """Return the responses sorted by their prompt's place in `prompt_ids`, then by index."""
    place = {id: number for number, id in enumerate(prompt_ids)}
    return sorted(responses, key=lambda response: (place[response.id], response.index))


def write_records(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write records as JSON lines."""
    path.write_bytes(b"".join(_line(record) for record in records))


def _line(record: dict[str, Any]) -> bytes:
    # A byte-level model can produce half of a surrogate pair, which UTF-8 cannot hold.
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"

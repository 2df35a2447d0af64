"""Files that runs are told to read."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_lines(folder: Path, records: Iterable[dict[str, Any]]) -> Path:
    """Return the file in the folder that holds the records as JSON lines. It is named by its content: no other choice,
    of this installation or of one that had its home before, is ever taken for it, and writing it again changes
    nothing."""
    content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    path = folder / f"{hashlib.sha256(content).hexdigest()}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4()}.part")
    draft.write_bytes(content)
    draft.replace(path)
    return path

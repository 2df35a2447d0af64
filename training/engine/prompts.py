"""The file of prompts that a run answers: one JSON object a line, ``{"id", "prompt", "context"}``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from training.engine.conversation import Message, check_context, check_prompt
from training.engine.refusal import Refused


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt to answer: its id, its messages, its source passages."""

    id: str
    messages: list[Message]
    context: list[dict[str, str]]


def read_prompts(path: str | Path) -> list[Prompt]:
    """Read a file of prompts, in its order.

    Raises:
        Refused: no such file, no prompts, a line that is no prompt, or an id that stands twice; names the line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"`data.prompts`: {path} cannot be read: {error}.") from error
    prompts: dict[str, Prompt] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise Refused(f"{where} is not JSON: {error}.") from error
        if not isinstance(record, dict) or not isinstance(record.get("id"), str):
            raise Refused(f"{where} must be an object with an `id` that is text and a `prompt`.")
        if record["id"] in prompts:
            raise Refused(f"{where}: the id {record['id']!r} stands twice; ids must differ.")
        prompts[record["id"]] = Prompt(
            record["id"],
            check_prompt(record.get("prompt"), where),
            check_context(record.get("context"), where),
        )
    if not prompts:
        raise Refused(f"`data.prompts`: {path} holds no prompts.")
    return list(prompts.values())

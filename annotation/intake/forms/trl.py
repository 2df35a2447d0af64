"""TRL's preference type: chosen and rejected, with the prompt apart or within them, as messages or as plain text.

https://huggingface.co/docs/trl/dataset_formats, "Preference".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

from annotation.intake.forms.form import Form, Mapping, Sample
from annotation.intake.items import (
    Candidate,
    Item,
    Messages,
    Row,
    as_prompt,
    conversation,
    prompt_and_replies,
    said_by_user,
)
from annotation.rows import BadField, is_list, text_of

SIDES = ("chosen", "rejected")


def _read(row: Row, mapping: Mapping) -> Iterator[Item]:
    prompt, replies = _parts(row)
    yield Item(messages=prompt, candidates=[Candidate(text) for text in replies], tiers=[[0], [1]])


def _parts(row: Row) -> tuple[Messages, list[str]]:
    prompt, sides = row.get("prompt"), [row.get(side) for side in SIDES]
    if any(map(is_list, sides)):
        told = [conversation(side, name) for side, name in zip(sides, SIDES, strict=True)]
        # Some repeat the prompt in both, as UltraFeedback's binarized version does, and give it apart as well.
        if all(len(messages) == 1 for messages in told):
            before = conversation(prompt, "prompt") if is_list(prompt) else said_by_user(prompt, "prompt")
            told = [before + messages for messages in told]
        return prompt_and_replies(told, SIDES)
    texts = [text_of(side, name) for side, name in zip(sides, SIDES, strict=True)]
    if is_list(prompt):
        return as_prompt(conversation(prompt, "prompt"), "prompt"), texts
    if prompt is not None:
        return said_by_user(prompt, "prompt"), texts
    return _common(texts)


def _common(texts: list[str]) -> tuple[Messages, list[str]]:
    """The words that both texts begin with are the prompt."""
    alike = takewhile(lambda both: both[0] == both[1], zip(*texts, strict=False))
    common = "".join(one for one, _ in alike)
    if any(text[len(common) : len(common) + 1].strip() for text in texts):
        common = re.sub(r"\S+\Z", "", common)  # not in the middle of a word
    if not common.strip():
        raise BadField("chosen", "and rejected have no first words in common, and there is no prompt")
    return said_by_user(common.strip(), "chosen"), [text[len(common) :].strip() for text in texts]


def _matches(sample: Sample) -> bool:
    return sample.has(*SIDES)


FORM = Form(
    name="trl",
    title="TRL preference pairs",
    about="https://huggingface.co/docs/trl/dataset_formats#preference",
    becomes=(
        ("prompt", "the prompt; without it, what chosen and rejected begin with in common"),
        ("chosen, rejected", "two responses, the chosen one over the other"),
    ),
    matches=_matches,
    read=_read,
)

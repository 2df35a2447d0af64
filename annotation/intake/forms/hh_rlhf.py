"""Anthropic's HH-RLHF: two transcripts that differ in their last reply.

https://github.com/anthropics/hh-rlhf, and "Training a Helpful and Harmless Assistant with Reinforcement Learning from
Human Feedback" (Bai et al. 2022).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from annotation.intake.forms.form import Form, Mapping, Sample
from annotation.intake.items import Candidate, Item, Messages, Row, prompt_and_replies
from annotation.rows import BadField, text_of

TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant):")
ROLES = {"Human": "user", "Assistant": "assistant"}
SIDES = ("chosen", "rejected")


def _matches(sample: Sample) -> bool:
    return sample.has(*SIDES) and all(
        isinstance(row[side], str) and TURN.match(row[side].lstrip()) is not None
        for row in sample.rows
        for side in SIDES
    )


def _read(row: Row, mapping: Mapping) -> Iterator[Item]:
    prompt, replies = prompt_and_replies([_turns(row.get(side), side) for side in SIDES], SIDES)
    yield Item(messages=prompt, candidates=[Candidate(text) for text in replies], tiers=[[0], [1]])


def _turns(transcript: object, field: str) -> Messages:
    before, *parts = TURN.split(text_of(transcript, field))
    if before.strip() or not parts:
        raise BadField(
            field, "must be a transcript that begins with “Human:”, with “Assistant:” before each reply"
        )
    return [
        {"role": ROLES[role], "content": content.strip()}
        for role, content in zip(parts[::2], parts[1::2], strict=True)
    ]


FORM = Form(
    name="hh-rlhf",
    title="HH-RLHF transcripts",
    about="https://github.com/anthropics/hh-rlhf",
    becomes=(
        ("chosen, rejected: up to the last “Assistant:”", "the prompt, a conversation"),
        ("chosen, rejected: the last reply", "two responses, the chosen one over the other"),
    ),
    matches=_matches,
    read=_read,
)

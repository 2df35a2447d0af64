"""LMArena's (LMSYS Chatbot Arena's) votes: two models' replies to one conversation, and which of them won.

Three releases have three forms: https://huggingface.co/datasets/lmsys/chatbot_arena_conversations (``conversation_a``,
``conversation_b``, ``winner`` of model_a, model_b, tie or "tie (bothbad)", ``judge``, ``tstamp``),
https://huggingface.co/datasets/lmarena-ai/arena-human-preference-140k (contents in parts, ``both_bad``, no judge) and
https://huggingface.co/datasets/lmsys/lmsys-arena-human-preference-55k (``prompt``, ``response_a`` and ``response_b``
hold JSON lists of the turns; ``winner_model_a``, ``winner_model_b`` and ``winner_tie`` are 0 or 1).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from annotation.intake.forms.form import Form, Mapping, Sample
from annotation.intake.items import (
    Candidate,
    Item,
    Messages,
    Row,
    conversation,
    name_of,
    number_of,
    prompt_and_replies,
    tiers_of_winner,
    time_of,
)
from annotation.rows import BadField, is_list, text_of

CONVERSATIONS = ("conversation_a", "conversation_b")
WON = ("winner_model_a", "winner_model_b", "winner_tie")
TURNS = ("prompt", "response_a", "response_b")


def _matches(sample: Sample) -> bool:
    return sample.has("model_a", "model_b") and (
        sample.has(*CONVERSATIONS, "winner") or sample.has(*TURNS, *WON)
    )


def _read(row: Row, mapping: Mapping) -> Iterator[Item]:
    if row.get("conversation_a") is not None:
        told = [conversation(row.get(name), name) for name in CONVERSATIONS]
        tiers = tiers_of_winner(row.get("winner"), [["model_a"], ["model_b"]], "winner")
    else:
        told = _of_turns(row)
        tiers = _won(row)
    prompt, replies = _one_prompt(told)
    models = [name_of(row.get(name), name) for name in ("model_a", "model_b")]
    time = "tstamp" if row.get("tstamp") is not None else "timestamp"
    yield Item(
        messages=prompt,
        candidates=[Candidate(text, model) for text, model in zip(replies, models, strict=True)],
        tiers=tiers,
        annotator=name_of(row.get("judge"), "judge"),
        vote=name_of(row.get("question_id", row.get("id")), "question_id"),
        as_shown=True,
        at=time_of(row.get(time), time),
        language=name_of(row.get("language"), "language")[:20],
    )


def _one_prompt(told: list[Messages]) -> tuple[Messages, list[str]]:
    try:
        return prompt_and_replies(told, CONVERSATIONS)
    except BadField as bad:
        turns = sum(message["role"] == "user" for message in told[0])
        if turns < 2:
            raise
        raise BadField(
            bad.field,
            f"has {turns} turns, in which each model went on from its own replies: they are no replies to one prompt",
        ) from bad


def _of_turns(row: Row) -> list[Messages]:
    asked = _listed(row.get("prompt"), "prompt")
    told = []
    for name in ("response_a", "response_b"):
        replies = _listed(row.get(name), name)
        if len(replies) != len(asked):
            raise BadField(name, f"has {len(replies)} turns; the prompt has {len(asked)}")
        turns = zip(asked, replies, strict=True)
        told.append(
            [
                {"role": role, "content": text_of("" if text is None else text, name)}
                for turn in turns
                for role, text in zip(("user", "assistant"), turn, strict=True)
            ]
        )
    return told


def _listed(value: Any, field: str) -> list[Any]:
    try:
        turns = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        turns = None
    if not is_list(turns) or not turns:
        raise BadField(field, f"must be a JSON list of the turns' texts, not {value!r:.60}")
    return list(turns)


def _won(row: Row) -> list[list[int]]:
    won = [number_of(row.get(name), name) for name in WON]
    if sorted(value or 0 for value in won) != [0, 0, 1]:
        raise BadField("winner_model_a", "and winner_model_b and winner_tie must be 1 once and 0 twice")
    return [[[0], [1]], [[1], [0]], [[0, 1]]][won.index(1)]


FORM = Form(
    name="lmarena",
    title="LMArena votes",
    about="https://huggingface.co/datasets/lmsys/chatbot_arena_conversations",
    becomes=(
        (
            "conversation_a, conversation_b, or prompt, response_a, response_b",
            "the prompt, and two responses",
        ),
        ("model_a, model_b", "the responses' sources"),
        ("winner, or winner_model_a, winner_model_b, winner_tie", "the ranking; “both bad” is a tie"),
        ("judge", "the annotator; without it, nobody known"),
        ("question_id, or id", "tells one vote from another"),
        ("tstamp, or timestamp", "when it was given"),
        ("language", "the prompt's language"),
        (
            "conversations of several turns, where the models' earlier replies differ",
            "are bad lines: no one prompt",
        ),
    ),
    matches=_matches,
    read=_read,
)

"""A plain table: which column means what is chosen, and shown before it is carried out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from annotation.intake.forms.form import Field, Form, Mapping, Sample
from annotation.intake.forms.guessing import first_named, prompt_among, responses_among
from annotation.intake.items import (
    Candidate,
    Item,
    Messages,
    Row,
    name_of,
    number_of,
    prompt_from,
    said_by_user,
    tiers_by,
    tiers_of_winner,
    time_of,
)
from annotation.rows import BadField

WINNERS = ("winner", "preferred", "preference", "better", "choice", "vote", "label", "verdict")
ANNOTATORS = (
    "annotator",
    "worker",
    "judge",
    "user",
    "user_id",
    "rater",
    "labeler",
    "annotator_id",
    "worker_id",
)
TIMES = ("timestamp", "tstamp", "created_at", "submitted_at", "time", "date")
VOTES = ("vote_id", "ranking_id", "question_id", "comparison_id")
SOURCE = re.compile(r"(model|source|system|left|right)", re.I)


def _guess(sample: Sample) -> dict[str, Any]:
    columns = sample.columns
    prompt = prompt_among(columns)
    winner = first_named(columns, WINNERS)
    responses = [name for name in responses_among(columns) if name not in (prompt, winner)]
    taken = {prompt, winner, *responses}
    sources = [name for name in columns if SOURCE.search(name) and name not in taken]
    ranks = [name for name in columns if re.search(r"rank", name, re.I) and name not in taken]
    scores = [name for name in columns if re.search(r"(score|rating)", name, re.I) and name not in taken]

    def as_many(names: list[str]) -> list[str]:
        return names if len(names) == len(responses) else []

    return {
        "prompt": prompt,
        "responses": responses,
        "sources": as_many(sources),
        "winner": winner,
        "ranks": [] if winner else as_many(ranks),
        "scores": [] if winner or as_many(ranks) else as_many(scores),
        "annotator": first_named(columns, ANNOTATORS),
        "time": first_named(columns, TIMES),
        "vote": first_named(columns, VOTES),
        "key": first_named(columns, ("key", "prompt_id", "prompt_key")),
        "language": first_named(columns, ("language", "lang")),
    }


def _read(row: Row, mapping: Mapping) -> Iterator[Item]:
    names: list[str] = mapping["responses"]
    sources = [name_of(row.get(name), name) for name in mapping.get("sources", [])] or [""] * len(names)
    if len(sources) != len(names):
        raise BadField("sources", f"are {len(sources)} columns; the responses are {len(names)}")
    texts = [row.get(name) for name in names]
    yield Item(
        messages=_prompt(row.get(mapping["prompt"]), mapping["prompt"]),
        # A cell without anything in it is a response that says nothing, which models give.
        candidates=[
            Candidate("" if text is None else text, source)
            for text, source in zip(texts, sources, strict=True)
        ],
        tiers=_tiers(row, mapping, names, sources),
        annotator=_named(row, mapping, "annotator"),
        vote=_named(row, mapping, "vote"),
        as_shown="winner" in mapping,
        at=time_of(row.get(mapping["time"]), mapping["time"]) if "time" in mapping else None,
        key=_named(row, mapping, "key"),
        language=_named(row, mapping, "language")[:20],
        rationale=_named_text(row, mapping, "rationale"),
    )


def _prompt(value: Any, field: str) -> Messages:
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value = json.loads(value)
        except ValueError:
            return said_by_user(value, field)
    return prompt_from(value, field)


def _tiers(row: Row, mapping: Mapping, names: list[str], sources: list[str]) -> list[list[int]] | None:
    if "winner" in mapping:
        called = [{name, source} for name, source in zip(names, sources, strict=True)]
        return tiers_of_winner(row.get(mapping["winner"]), called, mapping["winner"])
    for by, sign in (("ranks", -1), ("scores", 1)):
        columns: list[str] = mapping.get(by, [])
        if columns:
            if len(columns) != len(names):
                raise BadField(by, f"are {len(columns)} columns; the responses are {len(names)}")
            numbers = [number_of(row.get(column), column) for column in columns]
            return tiers_by([None if number is None else sign * number for number in numbers])
    return None


def _named(row: Row, mapping: Mapping, field: str) -> str:
    return name_of(row.get(mapping[field]), mapping[field]) if field in mapping else ""


def _named_text(row: Row, mapping: Mapping, field: str) -> str:
    value = row.get(mapping[field]) if field in mapping else None
    return "" if value is None else str(value)


FORM = Form(
    name="columns",
    title="A table of your own",
    about="docs/imports.md#a-table-of-your-own",
    becomes=(("the columns", "what they are mapped to below"), ("other columns", "left out")),
    matches=lambda sample: True,
    read=_read,
    fields=(
        Field("prompt", "Prompt", "Text, or a conversation in JSON.", needed=True),
        Field(
            "responses",
            "Responses",
            "Two to nine columns, in the order in which they were shown.",
            True,
            True,
        ),
        Field(
            "sources",
            "Sources",
            "The model of each response: as many columns, in the same order.",
            several=True,
        ),
        Field(
            "winner", "Winner", "Says which won: its column or source, left or right, a or b, 1 or 2; or tie."
        ),
        Field("ranks", "Ranks", "Or: a column a response, 1 is best; equal ones are tied.", several=True),
        Field("scores", "Scores", "Or: a column a response, the highest is best.", several=True),
        Field("annotator", "Annotator", "Who ranked."),
        Field("time", "Time", "When: ISO 8601, or seconds since 1970."),
        Field("vote", "Ranking's id", "Tells two equal rankings apart."),
        Field("key", "Prompt's key"),
        Field("language", "Language"),
        Field("rationale", "Reason", "Why, in the annotator's words."),
    ),
    choices=lambda sample: sample.columns,
    guess=_guess,
)

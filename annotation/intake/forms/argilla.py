"""Argilla's exports: records with fields, and people's answers to a ranking or label question about them.

https://docs.argilla.io/latest/how_to_guides/query_export: ``to_list`` and ``to_json`` give records with ``fields`` and
``responses`` (by question, of ``{"value", "user_id"}``); flattened, and on the Hub, a record has its fields side by
side with ``QUESTION.responses``, ``QUESTION.responses.users`` and ``QUESTION.responses.status``. Version 1 (Feedback
datasets) has a list of ``{"user_id", "value", "status"}`` by the question's name, and ranks in a ranking's value
(https://docs.v1.argilla.io).
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as ReadOnly
from typing import Any

from annotation.intake.forms.form import Field, Form, Mapping, Sample, named
from annotation.intake.forms.guessing import prompt_among, responses_among
from annotation.intake.items import (
    Candidate,
    Item,
    Row,
    name_of,
    number_of,
    prompt_from,
    tiers_by,
    tiers_of_winner,
)
from annotation.rows import BadField, is_list

ANSWERS = ".responses"
SUBMITTED = "submitted"
NOBODY = ("", "None")


def _matches(sample: Sample) -> bool:
    return bool(_questions(sample))


def _is_nested(sample: Sample) -> bool:
    return sample.has("fields", "responses") and all(
        isinstance(row["fields"], ReadOnly) and isinstance(row["responses"] or {}, ReadOnly)
        for row in sample.rows
    )


def _questions(sample: Sample) -> list[str]:
    if _is_nested(sample):
        return named(name for row in sample.rows for name in row["responses"] or {})
    users = f"{ANSWERS}.users"
    flat = [name.removesuffix(users) for name in sample.columns if name.endswith(users)]
    return flat or [name for name in sample.columns if any(map(_is_answers, sample.values(name)))]


def _is_answers(value: Any) -> bool:
    """Whether it is version 1's: a list of answers, or, in Parquet, an object of lists."""
    answers = [value] if isinstance(value, ReadOnly) else value if is_list(value) else []
    return bool(answers) and all(
        isinstance(one, ReadOnly) and {"user_id", "value"} <= set(one) for one in answers
    )


def _choices(sample: Sample) -> list[str]:
    return [*_fields(sample), *_questions(sample)]


def _fields(sample: Sample) -> list[str]:
    if _is_nested(sample):
        return named(name for row in sample.rows for name in row["fields"])
    questions = _questions(sample)
    own = {"id", "_server_id", "external_id", "metadata", "vectors", "status"}
    return [
        name
        for name in sample.columns
        if name not in own
        and not any(name == each or name.startswith((f"{each}.", f"{each}-")) for each in questions)
    ]


def _guess(sample: Sample) -> dict[str, Any]:
    fields, questions = _fields(sample), _questions(sample)
    ordering = [
        name
        for name in questions
        if any(word in name.lower() for word in ("rank", "prefer", "best", "better"))
    ]
    return {
        "prompt": prompt_among(fields),
        "responses": responses_among(fields),
        "question": (ordering or questions or [""])[0],
    }


def _read(row: Row, mapping: Mapping) -> Iterator[Item]:
    fields = row["fields"] if isinstance(row.get("fields"), ReadOnly) else row
    names: list[str] = mapping["responses"]
    prompt = prompt_from(fields.get(mapping["prompt"]), mapping["prompt"])
    candidates = [Candidate(fields.get(name)) for name in names]  # type: ignore[arg-type]
    key = name_of(row.get("external_id", row.get("id")), "id")
    answers = list(_answers(row, mapping["question"]))
    if not answers:
        yield Item(messages=prompt, candidates=candidates, key=key)
    for value, user in answers:
        yield Item(
            messages=prompt,
            candidates=candidates,
            tiers=_tiers(value, names, mapping["question"]),
            annotator=user,
            vote=f"{key}/{user}" if key and user else "",
            as_shown=True,
            key=key,
        )


def _answers(row: Row, question: str) -> Iterator[tuple[Any, str]]:
    """The submitted answers to the question, with who gave each."""
    given = row["responses"].get(question) if isinstance(row.get("responses"), ReadOnly) else None
    if given is None and f"{question}{ANSWERS}" in row:
        values = row.get(f"{question}{ANSWERS}") or []
        users = row.get(f"{question}{ANSWERS}.users") or [None] * len(values)
        states = row.get(f"{question}{ANSWERS}.status") or [SUBMITTED] * len(values)
        if not len(values) == len(users) == len(states):
            raise BadField(f"{question}{ANSWERS}", "has not as many users and states as values")
        given = [
            {"value": value, "user_id": user, "status": state}
            for value, user, state in zip(values, users, states, strict=True)
        ]
    if given is None:
        given = row.get(question) or []
    if isinstance(given, ReadOnly):
        given = [dict(zip(given, one, strict=True)) for one in zip(*given.values(), strict=False)]
    if not is_list(given) or not all(isinstance(one, ReadOnly) for one in given):
        raise BadField(question, "must be a list of answers with value and user_id")
    for answer in given:
        if answer.get("status") in (SUBMITTED, None) and answer.get("value") is not None:
            user = name_of(answer.get("user_id"), f"{question}.user_id")
            yield answer["value"], "" if user in NOBODY else user


def _tiers(value: Any, names: list[str], question: str) -> list[list[int]]:
    if isinstance(value, ReadOnly) and {"value", "rank"} <= set(value):
        value = [
            {"value": one, "rank": rank} for one, rank in zip(value["value"], value["rank"], strict=False)
        ]
    if not is_list(value):
        return tiers_of_winner(value, [[name] for name in names], question)
    if all(isinstance(one, ReadOnly) and "rank" in one for one in value):
        ranks: list[float | None] = [None] * len(names)
        for one in value:
            rank = number_of(one["rank"], f"{question}.rank")
            ranks[_place(one.get("value"), names, question)] = None if rank is None else -rank
        return tiers_by(ranks)
    return [
        [_place(one.get("value") if isinstance(one, ReadOnly) else one, names, question)] for one in value
    ]


def _place(option: Any, names: list[str], question: str) -> int:
    if option not in names:
        raise BadField(
            question,
            f"ranks {option!r:.40}, which is none of the fields {', '.join(names)} that hold responses",
        )
    return names.index(option)


FORM = Form(
    name="argilla",
    title="Argilla export",
    about="https://docs.argilla.io/latest/how_to_guides/query_export",
    becomes=(
        ("fields", "the prompt and the responses, as chosen below"),
        (
            "the question's submitted answers",
            "a ranking each, by the annotator user_id; equal ranks are tied",
        ),
        ("external_id, or id", "the prompt's key"),
        ("drafts, discarded answers, suggestions, metadata, vectors, other questions", "left out"),
    ),
    matches=_matches,
    read=_read,
    fields=(
        Field("prompt", "Prompt", "Text, or a conversation.", needed=True),
        Field("responses", "Responses", "Named as the question's options are.", needed=True, several=True),
        Field(
            "question", "Question", "The ranking or label question that says which is better.", needed=True
        ),
    ),
    choices=_choices,
    guess=_guess,
)

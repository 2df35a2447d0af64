"""Label Studio's JSON export: tasks with ``data`` and ``annotations``, compared by Pairwise or ordered by Ranker.

https://labelstud.io/guide/task_format (tasks, ``completed_by``, ``lead_time``, ``was_cancelled``),
https://labelstud.io/tags/pairwise (a result of type pairwise has ``value.selected``, left or right) and
https://labelstud.io/tags/ranker (a result of type ranker has ``value.ranker``, ids in order, or by bucket; the list's
items have id, title, body).
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as ReadOnly
from typing import Any, TypeGuard

from annotation.intake.forms.form import Field, Form, Mapping, Sample
from annotation.intake.forms.guessing import is_of, prompt_among, responses_among
from annotation.intake.items import (
    Candidate,
    Item,
    Row,
    name_of,
    number_of,
    prompt_from,
    time_of,
)
from annotation.rows import BadField, is_list

SIDES = {"left": [[0], [1]], "right": [[1], [0]]}
ORIGINAL = "_"
"""Where Ranker keeps the list as it was, if it has buckets without a default."""


def _matches(sample: Sample) -> bool:
    return sample.has("data", "annotations") and all(
        isinstance(row["data"], ReadOnly) and is_list(row["annotations"]) for row in sample.rows
    )


def _data(sample: Sample) -> Sample:
    return Sample([row["data"] for row in sample.rows if isinstance(row.get("data"), ReadOnly)])


def _choices(sample: Sample) -> list[str]:
    return _data(sample).columns


def _guess(sample: Sample) -> dict[str, Any]:
    data = _data(sample)
    prompt = prompt_among(data.columns)
    listed = [name for name in data.columns if any(map(_is_item_list, data.values(name)))]
    texts = [name for name in data.columns if name != prompt and is_of(str, data.values(name))]
    return {"prompt": prompt, "responses": listed[:1] or responses_among(texts)}


def _is_item_list(value: Any) -> TypeGuard[list[Any]]:
    return is_list(value) and bool(value) and all(isinstance(one, ReadOnly) and "id" in one for one in value)


def _read(row: Row, mapping: Mapping) -> Iterator[Item]:
    data = row.get("data")
    if not isinstance(data, ReadOnly):
        raise BadField("data", "must be an object, as in Label Studio's JSON export")
    prompt = prompt_from(data.get(mapping["prompt"]), f"data.{mapping['prompt']}")
    candidates, ids = _candidates(data, mapping["responses"])
    annotations = row.get("annotations") or []
    if not is_list(annotations) or not all(isinstance(one, ReadOnly) for one in annotations):
        raise BadField("annotations", "must be a list of objects")
    given = [one for one in annotations if not one.get("was_cancelled")]
    if not given:
        yield Item(messages=prompt, candidates=candidates)
    for number, annotation in enumerate(given):
        at = f"annotations[{number}]"
        yield Item(
            messages=prompt,
            candidates=candidates,
            tiers=_tiers(annotation, ids, at),
            annotator=_who(annotation.get("completed_by"), f"{at}.completed_by"),
            vote=name_of(annotation.get("unique_id", annotation.get("id")), f"{at}.id"),
            as_shown=not ids,
            at=time_of(annotation.get("created_at"), f"{at}.created_at"),
            seconds=number_of(annotation.get("lead_time"), f"{at}.lead_time"),
        )


def _candidates(data: ReadOnly[str, Any], names: list[str]) -> tuple[list[Candidate], list[str]]:
    """The responses, and, where they are items of one list, their ids."""
    first = data.get(names[0])
    if len(names) == 1 and _is_item_list(first):
        texts = [item.get("body", item.get("html")) for item in first]
        return [Candidate(text) for text in texts], [str(item["id"]) for item in first]
    return [Candidate(data.get(name)) for name in names], []  # type: ignore[arg-type]


def _tiers(annotation: ReadOnly[str, Any], ids: list[str], at: str) -> list[list[int]]:
    results = annotation.get("result") or []
    for result in results if is_list(results) else []:
        value = result.get("value") if isinstance(result, ReadOnly) else None
        if not isinstance(value, ReadOnly):
            continue
        if result.get("type") == "pairwise":
            if value.get("selected") not in SIDES:
                raise BadField(
                    f"{at}.value.selected", f"must be left or right, not {value.get('selected')!r:.40}"
                )
            return SIDES[value["selected"]]
        if result.get("type") == "ranker":
            return [[_place(one, ids, at)] for one in _order(value.get("ranker"), at)]
    raise BadField(f"{at}.result", "has no result of type pairwise or ranker")


def _order(ranker: Any, at: str) -> list[Any]:
    if isinstance(ranker, ReadOnly):
        buckets = [bucket for name, bucket in ranker.items() if name != ORIGINAL]
        if len(buckets) != 1:
            raise BadField(
                f"{at}.value.ranker",
                f"has {len(buckets)} buckets; which of them is better the export does not say",
            )
        ranker = buckets[0]
    if not is_list(ranker):
        raise BadField(f"{at}.value.ranker", "must be a list of ids, best first")
    return list(ranker)


def _place(one: Any, ids: list[str], at: str) -> int:
    if str(one) not in ids:
        raise BadField(f"{at}.value.ranker", f"names the item {one!r:.40}, which the list does not have")
    return ids.index(str(one))


def _who(value: Any, field: str) -> str:
    if isinstance(value, ReadOnly):
        value = value.get("id", value.get("email"))
    return name_of(value, field)


FORM = Form(
    name="label-studio",
    title="Label Studio export (JSON)",
    about="https://labelstud.io/guide/task_format",
    becomes=(
        ("data.…", "the prompt and the responses, as chosen below"),
        (
            "annotations[].result[] of type pairwise or ranker",
            "a ranking each; items left in the list are unranked",
        ),
        ("annotations[].completed_by", "the annotator, by number"),
        ("annotations[].created_at, .lead_time", "when, and how long it took"),
        ("annotations that were cancelled, predictions, results of other types", "left out"),
    ),
    matches=_matches,
    read=_read,
    fields=(
        Field("prompt", "Prompt", "Text, or a conversation.", needed=True),
        Field(
            "responses",
            "Responses",
            "One list of items, or one field each: left, then right.",
            needed=True,
            several=True,
        ),
    ),
    choices=_choices,
    guess=_guess,
)

"""Rankloop's own forms: ranking records as datasets export them, and rows of prompts and of responses."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as ReadOnly

from annotation.intake.forms.form import Form, Mapping, Sample
from annotation.intake.items import Candidate, Item, Row, as_prompt, conversation, name_of
from annotation.rows import BadField, context_of, is_list, messages_of, prompt_of, text_of

CONSENSUS = "consensus"


def _are_records(sample: Sample) -> bool:
    return sample.has("prompt", "responses", "tiers")


def _read_record(row: Row, mapping: Mapping) -> Iterator[Item]:
    texts, tiers, meta = row.get("responses"), row.get("tiers"), row.get("meta")
    if not is_list(texts):
        raise BadField("responses", "must be a list of texts")
    if not is_list(tiers) or not all(
        is_list(tier) and all(type(number) is int for number in tier) for tier in tiers
    ):
        raise BadField("tiers", "must be lists of places in responses, best first, as in [[2], [0, 3], [1]]")
    sources = meta.get("sources") if isinstance(meta, ReadOnly) else None
    if not is_list(sources) or len(sources) != len(texts):
        sources = [""] * len(texts)
    prompt = row.get("prompt")
    yield Item(
        messages=as_prompt(conversation(prompt, "prompt"), "prompt") if is_list(prompt) else messages_of(row),
        candidates=[
            Candidate(text, name_of(source, "meta.sources"))
            for text, source in zip(texts, sources, strict=True)
        ],
        tiers=[tier for tier in tiers if tier],
        annotator=name_of(row.get("annotator"), "annotator") or CONSENSUS,
        context=context_of(row.get("context")),
    )


def _are_responses(sample: Sample) -> bool:
    return (sample.has("prompt") or sample.has("messages")) and (sample.has("text") or sample.has("response"))


def _read_response(row: Row, mapping: Mapping) -> Iterator[Item]:
    field = "text" if row.get("text") is not None else "response"
    yield Item(
        messages=messages_of({"prompt": row.get("prompt"), "messages": row.get("messages")}),
        candidates=[Candidate(text_of(row.get(field), field), name_of(row.get("source"), "source"))],
    )


FLAT_RESPONSES = (
    "response_a",
    "response_1",
    "response_0",
    "response1",
    "chosen",
    "winner",
    "answer_a",
    "left",
)


def _are_prompts(sample: Sample) -> bool:
    return (sample.has("prompt") or sample.has("messages")) and not set(FLAT_RESPONSES) & set(sample.columns)


def _read_prompt(row: Row, mapping: Mapping) -> Iterator[Item]:
    prompt = prompt_of(row)
    yield Item(
        messages=prompt.messages,
        context=prompt.context,
        tags=prompt.tags,
        key=prompt.key,
        language=prompt.language,
    )


RECORDS = Form(
    name="records",
    title="Rankloop's ranking records",
    about="docs/architecture.md#the-ranking-record",
    becomes=(
        ("prompt, context", "the prompt"),
        ("responses, meta.sources", "responses, with their sources"),
        ("tiers", "a ranking, by the annotator, or else by one named consensus"),
        ("scores, weight, demonstrations", "left out: they are found anew"),
    ),
    matches=_are_records,
    read=_read_record,
)
RESPONSES = Form(
    name="responses",
    title="Responses, one a row",
    about="docs/api.md#bring-prompts-in",
    becomes=(
        ("prompt, or messages", "the prompt, which is added if the project lacks it"),
        ("text, or response", "a response to it"),
        ("source", "its source; without it, the import's name"),
    ),
    matches=_are_responses,
    read=_read_response,
)
PROMPTS = Form(
    name="prompts",
    title="Prompts, one a row",
    about="docs/api.md#bring-prompts-in",
    becomes=(
        ("prompt, or messages", "a prompt: text, or a conversation that ends with the user"),
        ("context, key, tags, language", "the prompt's"),
    ),
    matches=_are_prompts,
    read=_read_prompt,
)

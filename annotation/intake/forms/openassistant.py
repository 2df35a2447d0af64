"""OpenAssistant's message trees, one a line: replies to one message carry ranks.

https://projects.laion.ai/Open-Assistant/docs/data/schemas, and "OpenAssistant Conversations" (Köpf et al. 2023): ranks
are merged from those of several people (section 3.2 and appendix), 0 is best.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as ReadOnly
from typing import Any

from annotation.intake.forms.form import Form, Mapping, Sample
from annotation.intake.items import Candidate, Item, Messages, Row, as_prompt, name_of, number_of, tiers_by
from annotation.models import MIN_RESPONSES
from annotation.rows import BadField, is_list, text_of

MERGED = "merged ranks"
ROLES = {"prompter": "user", "assistant": "assistant"}


def _matches(sample: Sample) -> bool:
    return sample.has("message_tree_id", "prompt") and all(
        isinstance(row["prompt"], ReadOnly) and "replies" in row["prompt"] for row in sample.rows
    )


def _read(row: Row, mapping: Mapping) -> Iterator[Item]:
    if not isinstance(row.get("prompt"), ReadOnly):
        raise BadField("prompt", "must be the tree's first message, an object with text, role and replies")
    waiting: list[tuple[ReadOnly[str, Any], Messages]] = [(row["prompt"], [])]
    while waiting:
        message, before = waiting.pop()
        at = f"message {message.get('message_id')!s:.40}"
        role = ROLES.get(str(message.get("role")))
        if role is None:
            raise BadField(f"{at}.role", f"must be prompter or assistant, not {message.get('role')!r:.40}")
        said = [*before, {"role": role, "content": text_of(message.get("text"), f"{at}.text")}]
        replies = message.get("replies") or []
        if not is_list(replies) or not all(isinstance(reply, ReadOnly) for reply in replies):
            raise BadField(f"{at}.replies", "must be a list of messages")
        there = [reply for reply in replies if not reply.get("deleted")]
        if role == "user" and there:
            yield from _siblings(message, as_prompt(said, at), there)
        # The first reply's branch comes first.
        waiting.extend((reply, said) for reply in reversed(there))


def _siblings(
    message: ReadOnly[str, Any], prompt: Messages, replies: list[ReadOnly[str, Any]]
) -> Iterator[Item]:
    ranks = [number_of(reply.get("rank"), "rank") for reply in replies]
    common: dict[str, Any] = {
        "messages": prompt,
        "key": name_of(message.get("message_id"), "message_id"),
        "language": name_of(message.get("lang"), "lang")[:20],
    }
    ranked = [number for number, rank in enumerate(ranks) if rank is not None]
    if len(ranked) < MIN_RESPONSES:
        yield Item(candidates=[_candidate(reply) for reply in replies], **common)
        return
    yield Item(
        candidates=[_candidate(replies[number]) for number in ranked],
        tiers=tiers_by([-rank for rank in ranks if rank is not None]),
        annotator=MERGED,
        **common,
    )
    rest = [_candidate(reply) for reply, rank in zip(replies, ranks, strict=True) if rank is None]
    if rest:
        yield Item(candidates=rest, **common)


def _candidate(reply: ReadOnly[str, Any]) -> Candidate:
    at = f"message {reply.get('message_id')!s:.40}"
    return Candidate(
        text_of(reply.get("text"), f"{at}.text"), name_of(reply.get("model_name"), f"{at}.model_name")
    )


FORM = Form(
    name="openassistant",
    title="OpenAssistant trees",
    about="https://projects.laion.ai/Open-Assistant/docs/data/schemas",
    becomes=(
        ("each prompter's message, with all before it", "a prompt; message_id is its key, lang its language"),
        ("the replies to it", "responses, from a source of the name in model_name where there is one"),
        ("rank", "the ranking, by one annotator: the ranks are merged from several people's"),
        ("deleted", "leaves a message and all below it out"),
        ("labels, emojis, reviews", "left out"),
    ),
    matches=_matches,
    read=_read,
)

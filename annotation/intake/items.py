"""What every form is read as: a prompt, responses to it, and what somebody thought of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from annotation.answering import LONGEST_RATIONALE, MOST_SECONDS
from annotation.models import MAX_RESPONSES, MIN_RESPONSES
from annotation.rows import BadField, filled_text, is_list, messages_of, text_of

LONGEST_NAME = 200
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)

Messages = list[dict[str, str]]
Row = Mapping[str, Any]

ROLE_OF = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A response, and its source's name; "" where the form names none."""

    text: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A prompt with responses, and one ranking of them where ``tiers`` has one.

    Attributes:
        messages: the prompt's; the last is the user's.
        candidates: the responses.
        tiers: indices of ``candidates``, best first; one in no tier is unranked. None: nobody ranked them.
        annotator: the form's own name of whoever ranked them; "" where it has none.
        vote: the form's own name of this ranking; "" where it has none. What has none and says the same of the same
            responses by the same annotator is one ranking.
        as_shown: whether the candidates are in the order in which the annotator saw them.
        at: when it was ranked.
        seconds: spent on it.
        ratings: by aspect, of each candidate; None where it was not rated.
    """

    messages: Messages
    candidates: Sequence[Candidate] = ()
    tiers: Sequence[Sequence[int]] | None = None
    annotator: str = ""
    vote: str = ""
    as_shown: bool = False
    at: datetime | None = None
    seconds: float | None = None
    rationale: str = ""
    ratings: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    context: Sequence[Mapping[str, str]] = ()
    tags: Sequence[str] = ()
    key: str = ""
    language: str = ""


def check_item(item: Item) -> None:
    """Raise BadField unless the item can be kept. Its messages are checked where they are read."""
    for number, candidate in enumerate(item.candidates, start=1):
        text_of(candidate.text, f"response {number}")
        name_of(candidate.source, f"source of response {number}")
    name_of(item.annotator, "annotator")
    name_of(item.key, "key")
    if item.tiers is None:
        return
    if not MIN_RESPONSES <= len(item.candidates) <= MAX_RESPONSES:
        raise BadField(
            "responses",
            f"are {len(item.candidates)}; people rank {MIN_RESPONSES} to {MAX_RESPONSES} of them together",
        )
    seen: dict[Candidate, int] = {}
    for number, candidate in enumerate(item.candidates, start=1):
        if candidate in seen:
            raise BadField(
                f"response {number}",
                f"is the same text as response {seen[candidate]}, from the same source; nobody can prefer one of them",
            )
        seen[candidate] = number
    ranked = [number for tier in item.tiers for number in tier]
    if len(ranked) < MIN_RESPONSES:
        raise BadField("preference", "compares fewer than two responses")
    if len(set(ranked)) < len(ranked) or not set(ranked) <= set(range(len(item.candidates))):
        raise BadField("preference", "ranks a response twice, or one that the row does not have")
    if len(item.rationale) > LONGEST_RATIONALE:
        raise BadField(
            "rationale", f"has {len(item.rationale):,} characters; {LONGEST_RATIONALE:,} are allowed"
        )
    text_of(item.rationale, "rationale")
    if item.seconds is not None and not 0 <= item.seconds <= MOST_SECONDS:
        raise BadField("seconds", f"must be from 0 to {MOST_SECONDS:,}, not {item.seconds!r:.40}")


def name_of(value: Any, field: str) -> str:
    """A name as text, "" for none: a number is a name as well. Raises BadField."""
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = f"{value:g}" if isinstance(value, float) and not value.is_integer() else str(int(value))
    text = text_of(value, field).strip()
    if len(text) > LONGEST_NAME:
        raise BadField(field, f"has {len(text)} characters; {LONGEST_NAME} are allowed")
    return text


def said_by_user(text: Any, field: str) -> Messages:
    """A prompt of one message. Raises BadField."""
    return [{"role": "user", "content": filled_text(text, field)}]


def conversation(value: Any, field: str) -> Messages:
    """A list of ``{"role", "content"}``, by whichever names of roles, other keys left out, content in one text or in
    parts of type text. Whose turn is the last is not checked. Raises BadField."""
    if not is_list(value) or not value:
        raise BadField(field, f"must be a list of messages with role and content, not {value!r:.60}")
    messages = []
    for number, message in enumerate(value):
        at = f"{field}[{number}]"
        if not isinstance(message, Mapping):
            raise BadField(at, f"must be an object with role and content, not {message!r:.60}")
        role = ROLE_OF.get(str(message.get("role")))
        if role is None:
            raise BadField(
                f"{at}.role", f"must be one of user, assistant, system, not {message.get('role')!r:.60}"
            )
        messages.append({"role": role, "content": _content(message.get("content"), f"{at}.content")})
    return messages


def _content(value: Any, field: str) -> str:
    if not is_list(value):
        return text_of(value, field)
    texts = []
    for part in value:
        if (
            not isinstance(part, Mapping)
            or part.get("type") != "text"
            or not isinstance(part.get("text"), str)
        ):
            raise BadField(field, "holds something other than text, which cannot be shown")
        texts.append(part["text"])
    return text_of("\n".join(texts), field)


def prompt_and_replies(conversations: Sequence[Messages], names: Sequence[str]) -> tuple[Messages, list[str]]:
    """Whole conversations that differ in their last message alone, as what came before it and that message's texts.

    Args:
        names: of the fields that they are in.

    Raises:
        BadField: one does not end with the assistant's message, or they part earlier.
    """
    for messages, name in zip(conversations, names, strict=True):
        if len(messages) < 2 or messages[-1]["role"] != "assistant":
            raise BadField(name, "must end with the assistant's message, after the user's")
    before = [messages[:-1] for messages in conversations]
    for messages, name in zip(before[1:], names[1:], strict=True):
        if messages != before[0]:
            raise BadField(
                name,
                f"and {names[0]} part before their last messages, so that they are replies to different prompts",
            )
    return as_prompt(before[0], names[0]), [messages[-1]["content"] for messages in conversations]


def as_prompt(messages: Messages, field: str) -> Messages:
    """Messages that a reply can follow. Raises BadField."""
    try:
        return messages_of({"messages": messages})
    except BadField as bad:
        raise BadField(bad.field.replace("messages", field, 1), bad.reason) from bad


def prompt_from(value: Any, field: str) -> Messages:
    """A prompt that is one text or a list of messages. Raises BadField."""
    return as_prompt(conversation(value, field), field) if is_list(value) else said_by_user(value, field)


def tiers_by(scores: Sequence[float | None]) -> list[list[int]]:
    """Tiers from scores, the highest first; equal ones are tied, None is unranked."""
    values = sorted({score for score in scores if score is not None}, reverse=True)
    return [[number for number, score in enumerate(scores) if score == value] for value in values]


def number_of(value: Any, field: str) -> float | None:
    """A finite number, also as text; None for none. Raises BadField."""
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadField(field, f"must be a number, not {value!r:.60}") from None
    if isinstance(value, bool) or not math.isfinite(number):
        raise BadField(field, f"must be a number, not {value!r:.60}")
    return number


def time_of(value: Any, field: str) -> datetime | None:
    """A time of the computer's age: ISO 8601 (UTC unless it says otherwise), or seconds since 1970. Raises BadField."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, datetime):
            found = value
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value, UTC)
        elif isinstance(value, str) and value.replace(".", "", 1).isdecimal() and len(value) < 20:
            found = datetime.fromtimestamp(float(value), UTC)
        else:
            found = datetime.fromisoformat(value)
    except (TypeError, ValueError, OverflowError, OSError):
        raise BadField(field, f"must be a time as in 2026-01-31T12:00:00Z, not {value!r:.60}") from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    if not EARLIEST <= found <= datetime.now(UTC) + timedelta(days=1):
        raise BadField(field, f"must be a time between {EARLIEST:%Y} and now, not {value!r:.60}")
    return found


TIED = frozenset(
    {"tie", "tied", "draw", "equal", "same", "both", "neither", "both_bad", "both_good", "tie (bothbad)"}
)
FIRST = frozenset(
    {"a", "left", "x", "first", "1", "model_a", "model_1", "response_a", "response_1", "chosen_a"}
)
SECOND = frozenset(
    {"b", "right", "y", "second", "2", "model_b", "model_2", "response_b", "response_2", "chosen_b"}
)


def tiers_of_winner(value: Any, names: Sequence[Iterable[str]], field: str) -> list[list[int]]:
    """Tiers from a word that says which of the candidates won, or that they are tied.

    Args:
        names: for each candidate, what else it may be called than first or second.

    Raises:
        BadField: it says neither.
    """
    word = name_of(value, field)
    count = len(names)
    called = [number for number, own in enumerate(names) if word and word in own]
    plain = word.lower()
    if not called and plain in TIED:
        return [list(range(count))]
    if not called and count == 2 and plain in FIRST | SECOND:
        called = [0 if plain in FIRST else 1]
    if len(called) != 1:
        known = ", ".join(sorted({name for own in names for name in own if name})[:9])
        raise BadField(
            field,
            f"must say which response won, or tie, not {word!r:.60}"
            + (f"; known are {known}" if known else ""),
        )
    return [called, [number for number in range(count) if number != called[0]]]

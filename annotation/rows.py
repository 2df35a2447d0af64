"""What a row of an import may hold, and the check of each field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

from annotation.models import Prompt
from annotation.refusals import LineError, Refusal
from annotation.splitting import digest_of

MOST_ERRORS_LISTED = 1000
ROWS_A_CHUNK = 1000
MOST_COLUMNS_NAMED = 50
ROLES = ("system", "user", "assistant")
PASSAGE_FIELDS = ("id", "title", "text", "url")
PROMPT_FIELDS = frozenset({"prompt", "messages", "context", "key", "tags", "language"})
PROMPT_NEEDS = (("prompt", "messages"),)
RESPONSE_FIELDS = frozenset({"prompt", "messages", "key", "digest", "text", "response", "index", "tokens"})
RESPONSE_NEEDS = (("key", "digest", "prompt", "messages"), ("text", "response"))
LARGEST_INDEX = 32_767
LARGEST_COUNT = 2**31 - 1

Row = Mapping[str, Any] | LineError
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """A response to import. ``names`` says how its prompt is named: ``("key" | "digest", value)``."""

    names: tuple[str, str]
    text: str
    index: int | None
    tokens: int | None


class BadField(ValueError):
    """One field of a row is wrong; the message says what would be right."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


class Checking:
    """Runs over an import's rows once, in chunks, and remembers what was wrong.

    Args:
        rows: line number and row each.
        known: the fields that a row may have.
        needs: groups of fields; a row has one of each.
    """

    def __init__(
        self, rows: Iterable[tuple[int, Row]], known: frozenset[str], needs: Sequence[Sequence[str]]
    ) -> None:
        self.rows = rows
        self.known = known
        self.needs = needs
        self.columns: dict[str, None] = {}
        self.unreadable = 0
        self.seen = 0
        self.bad = 0
        self.errors: list[LineError] = []
        self.ignored: Counter[str] = Counter()

    def chunks(self, parse: Callable[[Mapping[str, Any]], T]) -> Iterator[list[tuple[int, T]]]:
        """Yield the good rows as ``parse`` makes them, with their line numbers. Once a line was bad nothing more is
        yielded, since nothing will be kept; the rest is checked all the same."""
        chunk: list[tuple[int, T]] = []
        for line, row in self.rows:
            self.seen += 1
            if isinstance(row, LineError):
                self.unreadable += 1
                self.refuse(row.line, row.field, row.reason)
                continue
            if len(self.columns) < MOST_COLUMNS_NAMED:
                self.columns |= dict.fromkeys(str(name) for name, value in row.items() if value is not None)
            try:
                parsed = parse(row)
            except BadField as error:
                self.refuse(line, error.field, error.reason)
                continue
            self.ignored.update(name for name in row if name not in self.known)
            if not self.bad:
                chunk.append((line, parsed))
            if len(chunk) == ROWS_A_CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def refuse(self, line: int, field: str, reason: str) -> None:
        """Remember that a line is bad."""
        self.bad += 1
        if len(self.errors) < MOST_ERRORS_LISTED:
            self.errors.append(LineError(line, field, reason))

    def require_good(self, what: str) -> None:
        """Raise Refusal unless there were rows and all were good. ``what``: prompts, or responses."""
        if self.bad:
            listed = f" The first {MOST_ERRORS_LISTED:,} are listed." if self.bad > len(self.errors) else ""
            first = min(self.errors, key=lambda error: error.line)
            where = f"{first.field}: " if first.field else ""
            self._require_columns(what)
            raise Refusal(
                "invalid",
                f"{self.bad:,} of {self.seen:,} lines {'is' if self.bad == 1 else 'are'} wrong, so no {what} were "
                f"imported. Line {first.line}: {where}{first.reason}.{listed}",
                field="file",
                lines=sorted(self.errors, key=lambda error: error.line),
            )
        if not self.seen:
            raise Refusal("invalid", f"The file holds no {what}.", field="file")

    def _require_columns(self, what: str) -> None:
        """Raise Refusal where a column is missing from every line: told once, it is understood."""
        if self.unreadable:
            return
        missing = [" or ".join(group) for group in self.needs if not self.columns.keys() & set(group)]
        if not self.columns or not missing or len(self.columns) >= MOST_COLUMNS_NAMED:
            return
        needed = [name for group in self.needs for name in group]
        optional = sorted(self.known - set(needed))
        raise Refusal(
            "invalid",
            f"No line has a value for {', nor for '.join(missing)}, so no {what} were imported. The columns that have "
            f"values are {', '.join(f'{name!r:.40}' for name in self.columns)}; expected are "
            f"{', and '.join(' or '.join(group) for group in self.needs)}, and there may be {', '.join(optional)}.",
            field="file",
        )


def prompt_of(row: Mapping[str, Any]) -> Prompt:
    """The row as a prompt, without project and split. Raises BadField."""
    messages = messages_of(row)
    return Prompt(
        messages=messages,
        digest=digest_of(messages),
        context=context_of(row.get("context")),
        tags=tags_of(row.get("tags")),
        key=short_text(row, "key", 200),
        language=short_text(row, "language", 20),
    )


def reply_of(row: Mapping[str, Any]) -> Reply:
    """The row as a response. Raises BadField."""
    field = "response" if row.get("text") is None and row.get("response") is not None else "text"
    if row.get("text") is not None and row.get("response") is not None:
        raise BadField("response", "give text or response, not both")
    return Reply(
        names=_names(row),
        text=text_of(row.get(field), field),
        index=_count(row.get("index"), "index", LARGEST_INDEX),
        tokens=_count(row.get("tokens"), "tokens", LARGEST_COUNT),
    )


def _names(row: Mapping[str, Any]) -> tuple[str, str]:
    if row.get("digest") is not None:
        return "digest", text_of(row["digest"], "digest")
    if row.get("key") not in (None, ""):
        return "key", text_of(row["key"], "key")
    if row.get("prompt") is None and row.get("messages") is None:
        raise BadField("prompt", "name the prompt by key, digest, prompt or messages")
    return "digest", digest_of(messages_of(row))


def messages_of(row: Mapping[str, Any]) -> list[dict[str, str]]:
    prompt, messages = row.get("prompt"), row.get("messages")
    if prompt is not None and messages is not None:
        raise BadField("messages", "give prompt or messages, not both")
    if isinstance(prompt, str):
        return [{"role": "user", "content": filled_text(prompt, "prompt")}]
    field = "prompt" if prompt is not None else "messages"
    messages = prompt if prompt is not None else messages
    if messages is None:
        raise BadField("prompt", "is missing: give text, or a list of messages with role and content")
    if not is_list(messages) or not messages:
        raise BadField(
            field, f"must be text or a list of messages with role and content, not {messages!r:.60}"
        )
    checked = [_message(message, f"{field}[{number}]", number) for number, message in enumerate(messages)]
    if checked[-1]["role"] != "user":
        raise BadField(field, f"must end with the user's message, not the {checked[-1]['role']}'s")
    return checked


def _message(message: Any, field: str, number: int) -> dict[str, str]:
    if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
        raise BadField(field, f"must be an object with role and content only, not {message!r:.60}")
    if message["role"] not in ROLES:
        raise BadField(f"{field}.role", f"must be one of {', '.join(ROLES)}, not {message['role']!r:.60}")
    if message["role"] == "system" and number:
        raise BadField(f"{field}.role", "a system message can only be the first")
    return {"role": message["role"], "content": filled_text(message["content"], f"{field}.content")}


def context_of(passages: Any) -> list[dict[str, str]]:
    if passages is None:
        return []
    if not is_list(passages):
        raise BadField("context", f"must be a list of passages, not {passages!r:.60}")
    checked = []
    for number, passage in enumerate(passages):
        field = f"context[{number}]"
        if not isinstance(passage, Mapping) or not set(passage) <= set(PASSAGE_FIELDS):
            raise BadField(
                field, f"must be an object with {', '.join(PASSAGE_FIELDS)} only, not {passage!r:.60}"
            )
        checked.append(
            {
                "id": filled_text(passage.get("id"), f"{field}.id"),
                "title": text_of(passage.get("title") or "", f"{field}.title"),
                "text": filled_text(passage.get("text"), f"{field}.text"),
                "url": _url(passage.get("url") or "", f"{field}.url"),
            }
        )
    if len({passage["id"] for passage in checked}) < len(checked):
        raise BadField("context", "two passages have one id; citations could not tell them apart")
    return checked


def tags_of(tags: Any) -> list[str]:
    if tags is None:
        return []
    if not is_list(tags):
        raise BadField("tags", f"must be a list of text, not {tags!r:.60}")
    return [filled_text(tag, f"tags[{number}]").strip() for number, tag in enumerate(tags)]


def _url(value: Any, field: str) -> str:
    url = text_of(value, field)
    if url and not url.lower().startswith(("http://", "https://")):
        raise BadField(field, f"must start with http:// or https://, not {url!r:.60}")
    return url


def short_text(row: Mapping[str, Any], field: str, longest: int) -> str:
    text = text_of(row.get(field) if row.get(field) is not None else "", field)
    if len(text) > longest:
        raise BadField(field, f"has {len(text)} characters; {longest} are allowed")
    return text


def filled_text(value: Any, field: str) -> str:
    text = text_of(value, field)
    if not text.strip():
        raise BadField(field, "is empty")
    return text


def text_of(value: Any, field: str) -> str:
    if value is None:
        raise BadField(field, "is missing")
    if not isinstance(value, str):
        raise BadField(field, f"must be text, not {value!r:.60}")
    if "\x00" in value:
        raise BadField(field, "holds a NUL character, which cannot be stored")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadField(field, f"holds half of a surrogate pair at character {error.start + 1}") from None
    return value


def _count(value: Any, field: str, largest: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= largest:
        raise BadField(field, f"must be a whole number from 0 to {largest}, not {value!r:.60}")
    return value


def is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))

"""What is learned from, as tokens: read, checked, fitted to the length and counted before a model is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from training.engine.conversation import Message, check_prompt, render
from training.engine.methods import RankingMethod, TrainingMethod
from training.engine.models import encode_prompt
from training.engine.packing import Branching, Tokens
from training.engine.records import Ranking, best_response, comparisons, imitated, read_rankings, sigmoid
from training.engine.refusal import Refused

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two responses of an example, one preferred."""

    better: int
    worse: int
    margin: float
    """Consensus score of the better less that of the worse."""

    @property
    def probability(self) -> float:
        """That the better one is preferred, by the consensus."""
        return sigmoid(self.margin)


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt with the responses that are learned from, numbered from 0."""

    prompt: Tokens
    responses: tuple[Tokens, ...]
    messages: tuple[Message, ...]
    """The conversation that the prompt's tokens are of."""
    comparisons: tuple[Comparison, ...] = ()
    tiers: tuple[tuple[int, ...], ...] = ()
    best: int = 0
    """The response to imitate."""
    weight: float = 1.0
    aspect: str = ""
    """What the ranking judged, if not responses as a whole."""

    @property
    def branching(self) -> Branching:
        """What a forward pass scores."""
        return Branching(self.prompt, self.responses)

    @property
    def size(self) -> int:
        """Tokens of the prompt and its responses."""
        return len(self.prompt) + sum(map(len, self.responses))


@dataclass(slots=True)
class Reading:
    """The examples of one file, and what became of the rest."""

    where: str
    """The field of the spec that names it, such as ``data.train``."""
    path: Path
    limit: int
    """Longest prompt with response, in tokens."""
    examples: list[Example] = field(default_factory=list)
    records: int = 0
    """Rankings in the file; for instruction tuning, replies to imitate: a ranking may have several demonstrations."""
    silent: int = 0
    """Of them, those that say nothing: no preference, or of weight 0."""
    long: int = 0
    """Of them, those with a prompt or a response beyond the limit."""
    longest: int = 0
    """Tokens of the longest prompt with response."""
    cut: int = 0
    """Responses whose end was cut off."""
    left_out: int = 0
    """Responses that were left out, or that nothing tells apart within the limit."""

    def sentence(self) -> str:
        """Say what was cut, left out or passed over; empty if nothing was."""
        told = []
        if self.cut or self.left_out:
            told.append(
                f"With `method.max_length` {self.limit}, {self.cut} responses of `{self.where}` have their end cut off "
                f"and {self.left_out} are left out."
            )
        if self.silent:
            told.append(
                f"{self.silent} records of `{self.where}` say nothing (no preference or no reply, or of weight 0)."
            )
        if told:
            told.append(f"{len(self.examples)} of {self.records} records are learned from.")
        return " ".join(told)


def read_examples(
    path: str, where: str, method: TrainingMethod, tokenizer: PreTrainedTokenizerBase
) -> Reading:
    """Read a file of rankings, or of conversations to imitate, as examples of what `method` learns.

    Args:
        path: the file.
        where: the spec's field that names it.
        method: says which comparisons count, how prompts are rendered and what happens to what is too long.
        tokenizer: the model's, with a chat template.

    Raises:
        Refused: the file cannot be read, a record in it is wrong, the template does not take a conversation, or a text
            is beyond the length and that is to be refused.
    """
    reading = Reading(where, Path(path), method.max_length)
    for ranking in _learned(path, method):
        reading.records += 1
        example = _encode(ranking, method, tokenizer)
        if example is None:
            reading.silent += 1
            continue
        fitted = _fit(example, method, reading)
        if fitted is not None:
            reading.examples.append(fitted)
    if reading.long and method.too_long == "refuse":
        raise Refused(
            f"`{where}`: {reading.long} of the {reading.records} records in {path} have a prompt or response beyond "
            f"`method.max_length` {method.max_length} (the longest has {reading.longest} tokens). Raise it, or say "
            "with `method.too_long` whether to cut them or to leave_out those responses."
        )
    return reading


def _learned(path: str, method: TrainingMethod) -> Iterator[Ranking]:
    """Yield what examples are made of: rankings to compare within, or each reply to imitate as a ranking of its own."""
    for ranking in _records(path):
        if isinstance(method, RankingMethod):
            yield ranking
        else:
            yield from imitated(ranking) or [ranking]


def _records(path: str) -> Iterator[Ranking]:
    """Yield rankings; a conversation ``{"messages": […]}`` is a ranking of its last message alone."""
    file = Path(path)
    if not _holds_conversations(file):
        yield from read_rankings(file)
        return
    try:
        with file.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _conversation(line, f"{file.name}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} cannot be read: {error}.") from error


def _holds_conversations(file: Path) -> bool:
    """Whether the first line of a JSON lines file is a conversation."""
    if file.suffix != ".jsonl":
        return False
    try:
        with file.open(encoding="utf-8", newline="\n") as lines:
            record = json.loads(next((line for line in lines if line.strip()), "null"))
    except (OSError, ValueError):
        return False  # and reading it as rankings says what is wrong
    return isinstance(record, dict) and "messages" in record


def _conversation(line: str, where: str) -> Ranking:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise Refused(f"{where} is not JSON: {error}.") from error
    messages: Any = record.get("messages") if isinstance(record, dict) else None
    last = messages[-1] if isinstance(messages, list) and messages else None
    if (
        not isinstance(last, dict)
        or last.get("role") != "assistant"
        or not isinstance(last.get("content"), str)
    ):
        raise Refused(f"{where}: `messages` must end with the assistant's message that is to be imitated.")
    weight = record.get("weight", 1.0)
    if type(weight) not in (int, float) or not 0 <= weight < float("inf"):
        raise Refused(f"{where}: `weight` must be a number of at least 0, not {weight!r:.80}.")
    return Ranking(
        prompt=check_prompt(messages[:-1], where),
        responses=[last["content"]],
        tiers=[[0]],
        scores=[0.0],
        weight=float(weight),
    )


def _encode(ranking: Ranking, method: TrainingMethod, tokenizer: PreTrainedTokenizerBase) -> Example | None:
    """Return the ranking as tokens, without responses that are in no comparison; None if it says nothing."""
    if ranking.weight == 0:
        return None
    best = best_response(ranking)
    pairs: list[tuple[int, int]] = []
    if isinstance(method, RankingMethod):
        pairs = comparisons(ranking, method.pairs)
        kept = sorted({index for pair in pairs for index in pair})
    else:
        kept = [] if best is None else [best]
    if not kept:
        return None
    messages = render(
        ranking.prompt,
        context=ranking.context,
        system_prompt=method.system_prompt,
        give_context=method.give_context,
    )
    prompt = encode_prompt(tokenizer, messages)
    whole = [
        _conversation_tokens(
            tokenizer, [*messages, {"role": "assistant", "content": ranking.responses[index]}]
        )
        for index in kept
    ]
    # Where a template or the tokenizer treats the prompt differently before a reply, the reply begins there.
    begin = min(_common_length(prompt, ids) for ids in whole)
    number = {index: place for place, index in enumerate(kept)}
    responses = tuple(tuple(ids[begin:]) for ids in whole)
    tiers = _tiers(ranking.tiers, number, responses)
    return Example(
        prompt=tuple(prompt[:begin]),
        responses=responses,
        messages=tuple(messages),
        comparisons=tuple(
            Comparison(number[better], number[worse], ranking.scores[better] - ranking.scores[worse])
            for better, worse in pairs
        ),
        tiers=tiers,
        best=_best(best, number, tiers),
        weight=ranking.weight,
        aspect=str(ranking.meta.get("aspect") or ""),
    )


def _fit(example: Example, method: TrainingMethod, reading: Reading) -> Example | None:
    """Return the example within the length; None if nothing can be learned from what fits."""
    room = method.max_length - len(example.prompt)
    longest = max(map(len, example.responses))
    reading.longest = max(reading.longest, len(example.prompt) + longest)
    if longest > room:
        reading.long += 1
    if longest <= room:
        return example
    if method.too_long == "leave_out":
        kept = [n for n, tokens in enumerate(example.responses) if len(tokens) <= room]
    else:
        kept = list(range(len(example.responses))) if room > 0 else []
        reading.cut += sum(len(example.responses[n]) > room for n in kept)
    reading.left_out += len(example.responses) - len(kept)
    fitted = _only(example, kept, max(room, 0))
    if isinstance(method, RankingMethod):
        fitted = _only(
            fitted, sorted({i for c in fitted.comparisons for i in (c.better, c.worse)}), max(room, 0)
        )
        reading.left_out += len(kept) - len(fitted.responses)
    return fitted if fitted.responses else None


def _only(example: Example, kept: Sequence[int], room: int) -> Example:
    """Return the example with some of its responses, each cut to `room` tokens; what the cut made equal is not
    compared."""
    number = {index: place for place, index in enumerate(kept)}
    responses = tuple(example.responses[index][:room] for index in kept)
    tiers = _tiers(example.tiers, number, responses)
    return Example(
        prompt=example.prompt,
        responses=responses,
        messages=example.messages,
        comparisons=tuple(
            Comparison(number[c.better], number[c.worse], c.margin)
            for c in example.comparisons
            if c.better in number
            and c.worse in number
            and responses[number[c.better]] != responses[number[c.worse]]
        ),
        tiers=tiers,
        best=_best(example.best, number, tiers),
        weight=example.weight,
        aspect=example.aspect,
    )


def _tiers(
    tiers: Sequence[Sequence[int]], number: Mapping[int, int], responses: Sequence[Tokens]
) -> tuple[tuple[int, ...], ...]:
    """Return the tiers of the responses that are left, by their new numbers. Of equal responses the best placed one
    stands for all: none of them can be chosen over another."""
    seen: set[tuple[int, ...]] = set()
    found = []
    for tier in tiers:
        left = []
        for index in tier:
            if index in number and tuple(responses[number[index]]) not in seen:
                seen.add(tuple(responses[number[index]]))
                left.append(number[index])
        if left:
            found.append(tuple(left))
    return tuple(found)


def _best(wanted: int | None, number: Mapping[int, int], tiers: Sequence[Sequence[int]]) -> int:
    """Return the new number of the response to imitate, or if it was left out, of the best that is left."""
    if wanted is not None and wanted in number:
        return number[wanted]
    return tiers[0][0] if tiers else 0


def _conversation_tokens(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> list[int]:
    try:
        ids: Any = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    except TemplateError as error:  # some take a question and not the reply to it
        raise Refused(f"The model's chat template does not take the conversation: {error}.") from error
    return list(ids)


def _common_length(one: Tokens, other: Tokens) -> int:
    length = min(len(one), len(other))
    return next((n for n in range(length) if one[n] != other[n]), length)

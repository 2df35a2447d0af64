"""The ranking record, and the shapes that training takes which follow from it.

A record is one JSON object a line or one Parquet row; its fields are those of `Ranking`.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from training.engine.conversation import Message, check_context, check_prompt, render
from training.engine.refusal import Refused

PASSAGE = pa.struct([(name, pa.string()) for name in ("id", "title", "text", "url")])
SCHEMA = pa.schema(
    [
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("context", pa.list_(PASSAGE)),
        ("responses", pa.list_(pa.string())),
        ("tiers", pa.list_(pa.list_(pa.int32()))),
        ("scores", pa.list_(pa.float64())),
        ("weight", pa.float64()),
        ("meta", pa.string()),
    ]
)
DEMONSTRATIONS = pa.field("demonstrations", pa.list_(pa.string()))
"""A column that a file has only where one of its records does: files without stay as they were, byte for byte."""

FIELDS = (*SCHEMA.names, DEMONSTRATIONS.name)
ROWS_A_GROUP = 1024
ROWS_AT_ONCE = 64

Which = Literal["all", "adjacent", "best_worst"]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Consensus on the responses to one prompt."""

    prompt: list[Message]
    responses: list[str]
    tiers: list[list[int]]
    """Indices into `responses`, best tier first; those in one tier are tied, those in none are unranked."""
    scores: list[float]
    """Log-worth of each response: P(i preferred to j) = σ(scores[i] − scores[j])."""
    context: list[dict[str, str]] = field(default_factory=list)
    weight: float = 1.0
    meta: dict[str, Any] = field(default_factory=dict)
    demonstrations: list[str] = field(default_factory=list)
    """Better replies that annotators wrote, each once. A record without any lacks the field."""

    @classmethod
    def from_record(cls, record: Any, where: str = "The record") -> Ranking:
        """Check a record as JSON gives it.

        Args:
            record: the record; ``meta`` may be an object or JSON text.
            where: names the place in the message of a refusal, such as ``train.jsonl, line 3``.

        Raises:
            Refused: a field is missing, unknown or wrong; the sentence names it.
        """
        if not isinstance(record, Mapping):
            raise Refused(f"{where} must be an object, not {record!r:.80}.")
        unknown = sorted(set(record) - set(FIELDS))
        if unknown:
            raise Refused(f"{where} has an unknown field `{unknown[0]}`; known are {', '.join(FIELDS)}.")
        responses = record.get("responses")
        if not isinstance(responses, list) or not all(isinstance(text, str) for text in responses):
            raise Refused(f"{where}: `responses` must be a list of texts.")
        return cls(
            prompt=check_prompt(record.get("prompt"), where),
            context=check_context(record.get("context"), where),
            responses=responses,
            tiers=(tiers := _check_tiers(record.get("tiers"), len(responses), where)),
            scores=_check_scores(record.get("scores"), len(responses), tiers, where),
            weight=_check_weight(record.get("weight", 1.0), where),
            meta=_check_meta(record.get("meta"), where),
            demonstrations=_check_demonstrations(record.get("demonstrations"), where),
        )

    def to_record(self) -> dict[str, Any]:
        """Return the record as JSON takes it."""
        record = asdict(self)
        names = FIELDS if self.demonstrations else SCHEMA.names
        return {name: record[name] for name in names}


def read_rankings(path: str | Path) -> Iterator[Ranking]:
    """Yield the rankings of a ``.parquet`` or ``.jsonl`` file, in its order.

    Raises:
        Refused: the file cannot be read, or a line or row is no record; the sentence names file, line and field.
    """
    path = Path(path)
    try:
        if path.suffix == ".parquet":
            yield from _read_parquet(path)
        else:
            yield from _read_jsonl(path)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise Refused(f"The rankings {path} cannot be read: {error}.") from error


def write_rankings(
    path: str | Path, rankings: Iterable[Ranking], *, demonstrations: bool | None = None
) -> None:
    """Write rankings, in their order, as ``.parquet`` or ``.jsonl``; the file appears whole or not at all.

    Equal rankings give equal bytes (for Parquet: with an equal version of pyarrow).

    Args:
        demonstrations: of Parquet: whether there is a column for them. By default, if a ranking has any; files that are
            read together need the same columns.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4()}.part")
    try:
        if path.suffix == ".parquet":
            _write_parquet(temporary, rankings, demonstrations)
        else:
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(
                    json.dumps(ranking.to_record(), ensure_ascii=False, allow_nan=False) + "\n"
                    for ranking in rankings
                )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def comparisons(ranking: Ranking, which: Which = "all") -> list[tuple[int, int]]:
    """Return which responses of a ranking are preferred to which: indices of the better and the worse.

    Args:
        which: ``all``: every two responses in different tiers; ``adjacent``: in neighbouring tiers;
            ``best_worst``: in the first and the last tier. Tied and unranked responses make no comparison, nor do
            two responses of the same text.
    """
    return [
        (chosen, rejected)
        for better, tier in enumerate(ranking.tiers)
        for worse in _lower_tiers(better, len(ranking.tiers), which)
        for chosen in tier
        for rejected in ranking.tiers[worse]
        if ranking.responses[chosen] != ranking.responses[rejected]
    ]


def to_pairs(
    ranking: Ranking, *, which: Which = "all", system_prompt: str = "", give_context: bool = True
) -> list[dict[str, Any]]:
    """Return the preferences of a ranking in TRL's conversational shape.

    Args:
        which: see `comparisons`.

    Returns:
        Dicts ``prompt`` (messages), ``chosen`` and ``rejected`` (one message each), ``probability`` that
        chosen is preferred, σ(margin), ``margin`` (difference of scores) and ``weight`` (the ranking's). They share the
        prompt and the replies, the very same objects.
    """
    prompt = render(
        ranking.prompt, context=ranking.context, system_prompt=system_prompt, give_context=give_context
    )
    replies = [[_reply(text)] for text in ranking.responses]
    pairs = []
    for chosen, rejected in comparisons(ranking, which):
        margin = ranking.scores[chosen] - ranking.scores[rejected]
        pairs.append(
            {
                "prompt": prompt,
                "chosen": replies[chosen],
                "rejected": replies[rejected],
                "probability": sigmoid(margin),
                "margin": margin,
                "weight": ranking.weight,
            }
        )
    return pairs


def to_unpaired(
    ranking: Ranking, *, system_prompt: str = "", give_context: bool = True
) -> list[dict[str, Any]]:
    """Return the ranked responses in TRL's unpaired shape: ``prompt``, ``completion``, ``label`` and ``weight``.

    The label is true where the response would be preferred to another ranked one of this prompt with a
    probability above ½ on average, false where below; exactly ½ says nothing and is left out.
    """
    prompt = render(
        ranking.prompt, context=ranking.context, system_prompt=system_prompt, give_context=give_context
    )
    ranked = sorted(index for tier in ranking.tiers for index in tier)
    rows = []
    for index in ranked:
        wins = [
            sigmoid(ranking.scores[index] - ranking.scores[other]) - 0.5 for other in ranked if other != index
        ]
        if sum(wins) != 0:
            rows.append(
                {
                    "prompt": prompt,
                    "completion": [_reply(ranking.responses[index])],
                    "label": sum(wins) > 0,
                    "weight": ranking.weight,
                }
            )
    return rows


def best_response(ranking: Ranking) -> int | None:
    """Return the index of the response with the highest score in the first tier, the first such if several have it;
    None if none is ranked."""
    return max(sorted(ranking.tiers[0]), key=lambda index: ranking.scores[index]) if ranking.tiers else None


def imitated(ranking: Ranking) -> list[Ranking]:
    """Return what of a ranking is to be imitated: a ranking of one reply alone, for each such reply.

    Demonstrations take the best response's place: each was written by somebody who had read all responses and found
    them wanting, and beside it the best of those would teach the very words that were mended. Several annotators' are
    several replies that would do, so each is kept, at the ranking's weight. Without any, it is the best response;
    nothing if none is ranked.
    """
    texts = ranking.demonstrations
    if not texts:
        best = best_response(ranking)
        texts = [] if best is None else [ranking.responses[best]]
    return [
        replace(ranking, responses=[text], tiers=[[0]], scores=[0.0], demonstrations=[]) for text in texts
    ]


def to_sft(ranking: Ranking, *, system_prompt: str = "", give_context: bool = True) -> list[dict[str, Any]]:
    """Return what is `imitated` as conversations: ``messages`` and ``weight``."""
    prompt = render(
        ranking.prompt, context=ranking.context, system_prompt=system_prompt, give_context=give_context
    )
    return [
        {"messages": [*prompt, _reply(one.responses[0])], "weight": one.weight} for one in imitated(ranking)
    ]


def _lower_tiers(better: int, tiers: int, which: Which) -> range:
    if which == "all":
        return range(better + 1, tiers)
    if which == "adjacent":
        return range(better + 1, min(better + 2, tiers))
    return range(tiers - 1, tiers) if better == 0 and tiers > 1 else range(0)


def _reply(text: str) -> Message:
    return {"role": "assistant", "content": text}


def sigmoid(x: float) -> float:
    """Return 1 / (1 + e⁻ˣ), without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _read_jsonl(path: Path) -> Iterator[Ranking]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path.name}, line {number}"
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise Refused(f"{where} is not JSON: {error}.") from error
                yield Ranking.from_record(record, where)


def _read_parquet(path: Path) -> Iterator[Ranking]:
    number = 0
    with pq.ParquetFile(path) as file:
        # One reader over all groups holds on to those that it has read, and threads decode ahead.
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], use_threads=False):
                for record in batch.to_pylist():
                    number += 1
                    yield Ranking.from_record(record, f"{path.name}, row {number}")


def _write_parquet(path: Path, rankings: Iterable[Ranking], demonstrations: bool | None) -> None:
    if demonstrations is None:
        rankings = list(rankings)
        demonstrations = any(ranking.demonstrations for ranking in rankings)
    schema = SCHEMA.append(DEMONSTRATIONS) if demonstrations else SCHEMA
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for ranking in rankings:
            record = ranking.to_record()
            record["meta"] = json.dumps(ranking.meta, ensure_ascii=False, sort_keys=True, allow_nan=False)
            rows.append(record)
            if len(rows) == ROWS_A_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows = []
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _check_tiers(tiers: Any, responses: int, where: str) -> list[list[int]]:
    if not isinstance(tiers, list) or not all(isinstance(tier, list) and tier for tier in tiers):
        raise Refused(f"{where}: `tiers` must be a list of lists of indices, none of them empty.")
    indices = [index for tier in tiers for index in tier]
    for index in indices:
        if type(index) is not int or not 0 <= index < responses:
            raise Refused(f"{where}: `tiers` holds {index!r}; an index must be from 0 to {responses - 1}.")
        if indices.count(index) > 1:
            raise Refused(f"{where}: `tiers` holds the response {index} more than once.")
    return tiers


def _check_scores(scores: Any, responses: int, tiers: list[list[int]], where: str) -> list[float]:
    numbers = isinstance(scores, list) and all(
        type(score) in (int, float) and math.isfinite(score) for score in scores
    )
    if not numbers or len(scores) != responses:
        raise Refused(f"{where}: `scores` must be a list of {responses} finite numbers, one a response.")
    for better, worse in pairwise(tiers):
        low, high = min(better, key=lambda index: scores[index]), max(worse, key=lambda index: scores[index])
        if scores[low] < scores[high]:
            raise Refused(
                f"{where}: `scores` and `tiers` contradict each other: the response {low} is in a better tier than "
                f"{high}, but its score is lower ({scores[low]:g} and {scores[high]:g})."
            )
    return [float(score) for score in scores]


def _check_weight(weight: Any, where: str) -> float:
    if type(weight) not in (int, float) or not math.isfinite(weight) or weight < 0:
        raise Refused(f"{where}: `weight` must be a number of at least 0, not {weight!r:.80}.")
    return float(weight)


def _check_meta(meta: Any, where: str) -> dict[str, Any]:
    if isinstance(meta, str):
        try:
            meta = json.loads(meta)
        except ValueError as error:
            raise Refused(f"{where}: `meta` is not JSON: {error}.") from error
    if meta is None:
        return {}
    if not isinstance(meta, dict):
        raise Refused(f"{where}: `meta` must be an object, not {meta!r:.80}.")
    return meta


def _check_demonstrations(demonstrations: Any, where: str) -> list[str]:
    if demonstrations is None:
        return []
    if not isinstance(demonstrations, list) or not all(
        isinstance(text, str) and text.strip() for text in demonstrations
    ):
        raise Refused(f"{where}: `demonstrations` must be a list of texts, none of them empty.")
    if len(set(demonstrations)) < len(demonstrations):
        raise Refused(f"{where}: `demonstrations` holds a text twice; each counts once.")
    return demonstrations

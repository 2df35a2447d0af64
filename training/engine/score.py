"""A *score* run: reward models give responses that are there a number each. Nothing is drawn, nothing learned.

The responses are one JSON object a line, ``{"id", "prompt", "text"}``, ``prompt`` being the id of one of the prompts;
the artifact ``scores.jsonl`` has a line for each, ``{"id", "scores"}``: the reward that each model gives, as it was
trained (differences of two are log-odds by Bradley and Terry), or null where prompt and response are longer than the
model takes.

Adapters were trained on the run's model and share one copy of it. Whole reward models come one after the other, so
that the memory of one is enough.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.engine.events import Events, close_torn_line
from training.engine.interrupt import Interrupt
from training.engine.judging import episode_of, task_of
from training.engine.models import closing_tokens
from training.engine.prompts import Prompt, read_prompts
from training.engine.refusal import Refused
from training.engine.responses import write_records
from training.engine.reward_judge import load_judge
from training.engine.reward_models import RewardFolder, read_rewards
from training.engine.spec import Spec

RESPONSES_TOGETHER = 64
"""Scored between two looks at what is done; what is lost when a run is killed. Passes are smaller."""
PHASE = "scoring"


@dataclass(frozen=True, slots=True)
class Given:
    """A response to score."""

    id: str
    prompt: str
    """The prompt's id."""
    text: str


def run(spec: Spec, events: Events, interrupt: Interrupt) -> None:
    """Score `spec.data.responses` by `spec.data.rewards`; the artifact is ``scores.jsonl``.

    Raises:
        Refused: prompts, responses or a reward model cannot be used.
        Stopped: what was scored is kept, and the next start goes on after it.
    """
    assert spec.model is not None
    prompts = read_prompts(spec.data.prompts)
    responses = read_responses(spec.data.responses, prompts)
    folders = read_rewards(spec.data.rewards, spec.model, where="data.rewards", normalise=False)
    partial = _Partial(spec, prompts, responses)
    found = partial.read()
    done = sum(map(len, found.values()))
    events.progress(done, len(responses) * len(folders), PHASE)
    for members in _hands(folders):
        parts = [
            responses[start : start + RESPONSES_TOGETHER]
            for start in range(0, len(responses), RESPONSES_TOGETHER)
        ]
        # A part is scored as a whole, so that its passes are the same whenever a run was stopped.
        waiting = [part for part in parts if any(members[0] not in found[each.id] for each in part)]
        if not waiting:
            continue
        scorer = _Scorer(spec, [folders[number] for number in members], prompts)
        for part in waiting:
            scored = scorer.score(part, interrupt)
            partial.append(members, scored)
            for id, scores in scored.items():
                found[id] |= dict(zip(members, scores, strict=True))
            done = sum(map(len, found.values()))
            events.progress(done, len(responses) * len(folders), PHASE)
        del scorer
    too_long = sum(None in each.values() for each in found.values())
    if too_long:
        events.log(f"{too_long} of {len(responses)} responses are too long to be scored with their prompts.")
    with events.artifact("scores.jsonl") as path:
        write_records(
            path,
            [
                {"id": each.id, "scores": [found[each.id][n] for n in range(len(folders))]}
                for each in responses
            ],
        )
    partial.remove()


def read_responses(path: str, prompts: Sequence[Prompt]) -> list[Given]:
    """Read a file of responses to some prompts, in its order.

    Raises:
        Refused: no such file, no response, a line that is none, an id that stands twice, or a prompt that is not
            there; names the line.
    """
    known = {prompt.id for prompt in prompts}
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"`data.responses`: {file} cannot be read: {error}.") from error
    found: dict[str, Given] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{file.name}, line {number}"
        try:
            record = json.loads(line)
            given = Given(record["id"], record["prompt"], record["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(
                f"{where} must be an object with `id`, `prompt` and `text` ({type(error).__name__}: {error})."
            ) from error
        if not all(isinstance(each, str) for each in (given.id, given.prompt, given.text)):
            raise Refused(f"{where}: `id`, `prompt` and `text` must be text.")
        if given.id in found:
            raise Refused(f"{where}: the id {given.id!r} stands twice; ids must differ.")
        if given.prompt not in known:
            raise Refused(f"{where}: `data.prompts` has no prompt {given.prompt!r}.")
        found[given.id] = given
    if not found:
        raise Refused(f"`data.responses`: {file} holds no responses.")
    return list(found.values())


def _hands(folders: Sequence[RewardFolder]) -> Iterator[list[int]]:
    """Yield the numbers of the reward models that are in memory at a time."""
    adapters = [number for number, folder in enumerate(folders) if folder.adapter]
    if adapters:
        yield adapters
    for number, folder in enumerate(folders):
        if not folder.adapter:
            yield [number]


class _Scorer:
    """Some reward models, in memory."""

    def __init__(self, spec: Spec, folders: Sequence[RewardFolder], prompts: Sequence[Prompt]) -> None:
        assert spec.model is not None
        self._judge, tokenizer = load_judge(spec.model, folders)
        self._tokenizer = tokenizer
        self._tasks = [task_of(prompt, spec.method, tokenizer) for prompt in prompts]
        self._number_of = {task.id: number for number, task in enumerate(self._tasks)}
        network: Any = self._judge.rewards[0].role.network
        self._limit = getattr(network.config.get_text_config(), "max_position_embeddings", None)
        self._closing = len(closing_tokens(tokenizer))

    def score(self, responses: Sequence[Given], interrupt: Interrupt) -> dict[str, list[float | None]]:
        """Return each response's reward by each of the models; None where it is too long."""
        numbers = [self._number_of[each.prompt] for each in responses]
        episodes = [
            episode_of(number, each.text, self._tokenizer)
            for number, each in zip(numbers, responses, strict=True)
        ]
        short = [
            place
            for place, (number, episode) in enumerate(zip(numbers, episodes, strict=True))
            if self._limit is None
            or len(self._tasks[number].tokens) + len(episode.text_tokens) + self._closing <= self._limit
        ]
        count = len(self._judge.rewards)
        found: dict[str, list[float | None]] = {each.id: [None] * count for each in responses}
        if short:
            scores_MB = self._judge.members(
                self._tasks, [episodes[place] for place in short], interrupt.check
            )
            for place, scores_M in zip(short, scores_MB.T.tolist(), strict=True):
                found[responses[place].id] = scores_M
        return found


class _Partial:
    """Scores as they are found, appended to a file in the run's folder whose name holds a fingerprint of all that
    determines them."""

    def __init__(self, spec: Spec, prompts: Sequence[Prompt], responses: Sequence[Given]) -> None:
        assert spec.model is not None
        determined_by = [
            asdict(spec.model),
            list(spec.data.rewards),
            asdict(spec.method),
            [asdict(prompt) for prompt in prompts],
            [asdict(response) for response in responses],
        ]
        digest = hashlib.sha256(json.dumps(determined_by, sort_keys=True).encode()).hexdigest()
        self._path = spec.output / f"scores-{digest[:16]}.partial.jsonl"
        self._ids = [response.id for response in responses]
        close_torn_line(self._path)

    def read(self) -> dict[str, dict[int, float | None]]:
        """Return what was found by this start and those before: by response, by the model's number, its score."""
        found: dict[str, dict[int, float | None]] = {id: {} for id in self._ids}
        lines = self._path.read_text(encoding="utf-8").split("\n") if self._path.exists() else []
        for line in filter(None, lines):
            part = json.loads(line)
            for id, scores in part["scores"].items():
                found[id] |= dict(zip(part["models"], scores, strict=True))
        return found

    def append(self, models: Sequence[int], scores: dict[str, list[float | None]]) -> None:
        """Add a part's scores, as one line; they are on disk when this returns."""
        with self._path.open("ab") as file:
            file.write(json.dumps({"models": list(models), "scores": scores}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Delete the file, once the scores are in an artifact."""
        self._path.unlink(missing_ok=True)

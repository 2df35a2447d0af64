"""A *sample* run on a model version: K responses a prompt."""

from __future__ import annotations

import functools
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from training.engine.conversation import render
from training.engine.drawing import Request
from training.engine.events import Events
from training.engine.generator import Generator, make_generator
from training.engine.interrupt import Interrupt
from training.engine.methods import ModelSpec, SampleMethod
from training.engine.models import encode_prompt, load_config
from training.engine.prompts import Prompt, read_prompts
from training.engine.refusal import Refused
from training.engine.responses import PartialOutput, Response, write_responses
from training.engine.spec import Spec

PROGRESS_SECONDS = 2.0
"""From one word on how far a batch is to the next."""
NAMED = 5
"""So many of the prompts that are left out are named."""


def run(spec: Spec, events: Events, interrupt: Interrupt) -> None:
    """Sample `spec.model` on `spec.data.prompts`; the artifact is ``responses.jsonl``.

    Raises:
        Refused: prompts or model cannot be used.
        Stopped: finished batches are kept, and the next start goes on after them.
    """
    assert spec.model is not None
    prompts = read_prompts(spec.data.prompts)
    sampler = Sampler(spec.model, spec.method, spec.seed, events, interrupt)
    partial = sampler.partial_output(spec, prompts)
    responses = sampler.sample(prompts, partial)
    with events.artifact("responses.jsonl") as path:
        write_responses(path, responses, [prompt.id for prompt in prompts])
    partial.remove()


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws responses from one model version with one set of settings."""

    model: ModelSpec
    method: SampleMethod
    seed: int
    events: Events
    interrupt: Interrupt
    phase: str = "sampling"
    """Named in progress events."""

    def partial_output(self, spec: Spec, prompts: Sequence[Prompt]) -> PartialOutput:
        """Return the partial output in the run's folder that holds responses of just this model, settings,
        seed and prompts."""
        return PartialOutput(
            spec.output,
            [asdict(self.model), asdict(self.method), self.seed, [asdict(prompt) for prompt in prompts]],
        )

    def sample(self, prompts: Sequence[Prompt], partial: PartialOutput) -> list[Response]:
        """Return ``method.responses`` responses to each prompt, starting after the whole batches in `partial`.

        Prompts that are too long for the model are left out, and the log says so. A batch is always made of the same
        prompts, and each row has its own random numbers (from seed, prompt id and index), so a resumed run gives what
        an unbroken one gives.

        Raises:
            Refused: every prompt is too long.
            Stopped: as the interrupt asks.
        """
        total = len(prompts) * self.method.responses
        responses = partial.read()
        if len(responses) == total:
            self.events.progress(total, total, self.phase)
            return responses
        generator, tokenizer = make_generator(self.model, self.method)
        batches = self._batches(generator, tokenizer, prompts)
        total = sum(map(len, batches)) * self.method.responses
        answers = Counter(response.id for response in responses)
        while batches and all(answers[prompt.id] == self.method.responses for prompt, _ in batches[0]):
            del batches[0]
        begun = {prompt.id for batch in batches for prompt, _ in batch}
        responses = [response for response in responses if response.id not in begun]
        partial.keep(responses)
        self.events.progress(len(responses), total, self.phase)
        for batch in batches:
            tokens = generator.draw(
                Request(
                    prompts=[ids for _, ids in batch],
                    uniforms=[self._uniforms(prompt.id) for prompt, _ in batch],
                    temperature=self.method.temperature,
                    top_p=self.method.top_p,
                    interrupt=self.interrupt,
                    on_progress=_Seldom(
                        functools.partial(self._tell_within, len(responses), len(batch), total)
                    ),
                )
            )
            finished = [
                self._response(tokenizer, prompt.id, index, row, generator.ends)
                for (prompt, _), rows in zip(batch, tokens, strict=True)
                for index, row in enumerate(rows)
            ]
            partial.append(finished)
            responses += finished
            self.events.progress(len(responses), total, self.phase)
            self.events.sample(batch[0][0].messages, finished[0].text)
        generator.close()
        return responses

    def _tell_within(self, before: int, prompts: int, total: int, share: float) -> None:
        rows = prompts * self.method.responses
        self.events.progress(before + int(share * rows), total, self.phase, kept=False)

    def _batches(
        self, generator: Generator, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]
    ) -> list[list[tuple[Prompt, list[int]]]]:
        """Return the prompts that fit, with their tokens, in batches of like length.

        The longest come first, so that memory runs out early or never.
        """
        limit = getattr(load_config(self.model).get_text_config(), "max_position_embeddings", None)
        encoded: list[tuple[Prompt, list[int]]] = []
        too_long: list[str] = []
        for prompt in prompts:
            messages = render(
                prompt.messages,
                context=prompt.context,
                system_prompt=self.method.system_prompt,
                few_shot=self.method.few_shot,
                give_context=self.method.give_context,
            )
            ids = encode_prompt(tokenizer, messages)
            if limit is not None and len(ids) + self.method.max_tokens > limit:
                too_long.append(f"{prompt.id!r} ({len(ids)})")
            else:
                encoded.append((prompt, ids))
        if too_long:
            left_out = (
                f"{len(too_long)} of {len(prompts)} prompts have more tokens than the model's {limit} leave beside "
                f"{self.method.max_tokens} for the response: {', '.join(too_long[:NAMED])}"
                f"{', …' if len(too_long) > NAMED else ''}."
            )
            if not encoded:
                raise Refused(f"{left_out} Shorten them, or set `method.max_tokens` lower.")
            self.events.log(f"Left out: {left_out}")
        encoded.sort(key=lambda pair: -len(pair[1]))
        size = max(1, generator.rows // self.method.responses)
        return [encoded[start : start + size] for start in range(0, len(encoded), size)]

    def _uniforms(self, prompt_id: str) -> np.ndarray:
        """Return the random numbers of a prompt's responses. Shape: ``(responses, max_tokens)``, float32 in [0, 1)."""
        key = int.from_bytes(hashlib.sha256(prompt_id.encode()).digest()[:16])
        rows = [
            np.random.default_rng([self.seed, key, index]).random(self.method.max_tokens, dtype=np.float32)
            for index in range(self.method.responses)
        ]
        return np.stack(rows)

    def _response(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompt_id: str,
        index: int,
        row: list[int],
        ends: Sequence[int],
    ) -> Response:
        ended = bool(row) and row[-1] in ends
        tokens = row[:-1] if ended else row
        return Response(
            id=prompt_id,
            index=index,
            text=str(tokenizer.decode(tokens, skip_special_tokens=True)),
            tokens=len(tokens),
            finish="stop" if ended else "length",
        )


class _Seldom:
    """Passes on how far something is, every `PROGRESS_SECONDS` at most."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._told = time.monotonic()

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            self._tell(share)

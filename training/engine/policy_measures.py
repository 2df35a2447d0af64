"""What is measured of a policy beside its preferences: how far it went from the model before training, what it says
now, and whether it forgets what has nothing to do with the rankings."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from training.engine.batches import Examples
from training.engine.drawing import Request, draw
from training.engine.events import Events
from training.engine.examples import Example
from training.engine.interrupt import Interrupt
from training.engine.models import end_tokens
from training.engine.packing import Branching, Tokens, Work, pack
from training.engine.step_plan import StepPlan

GENERAL_TEXT = Path(__file__).with_name("general_text.txt")
"""Sentences on everyday and general knowledge, written for this purpose."""
WINDOW = 256
"""Tokens of the general text that are scored together, from the first of them on."""
SAMPLE_TOKENS = 64
"""Longest response drawn at a measurement."""


def general_examples(tokenizer: PreTrainedTokenizerBase, limit: int | None) -> list[Example]:
    """Return the general text as examples to score: in each window, all tokens after the first given the ones before.

    Args:
        tokenizer: the model's.
        limit: the model's longest sequence in tokens, if it has one.
    """
    ids = tokenizer.encode(GENERAL_TEXT.read_text(encoding="utf-8"), add_special_tokens=False)
    window = min(WINDOW, limit or WINDOW)
    windows = [tuple(ids[start : start + window]) for start in range(0, len(ids), window)]
    return [Example(part[:1], (part[1:],), messages=()) for part in windows if len(part) > 1]


@dataclass(frozen=True, slots=True)
class Retention:
    """Perplexity of the general text, against that of the model before training.

    Args:
        trainer: a `RankingTrainer`.
        text: `general_examples`, with references.
        plan: their passes.
    """

    trainer: Any
    text: Examples
    plan: StepPlan

    def __call__(self) -> Mapping[str, float]:
        """Return ``perplexity`` now and ``perplexity_before``; the one well above the other is forgetting."""
        assert self.text.references is not None
        tokens = sum(len(response) for example in self.text.examples for response in example.responses)
        before = -sum(score for scores in self.text.references for score in scores) / tokens
        now = (
            -sum(score for scores in self.trainer.log_probs(self.text, self.plan) for score in scores)
            / tokens
        )
        return {"perplexity": math.exp(min(now, 50)), "perplexity_before": math.exp(min(before, 50))}


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers held-out prompts, with the same random numbers each time.

    Args:
        model: the policy in training.
        tokenizer: its own.
        prompts: examples whose prompts are answered.
        seed: of the random numbers.
        layout_work: costs for scoring.
        events: gets a sample of each measurement.
        interrupt: asked at each token.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    prompts: Sequence[Example]
    seed: int
    layout_work: Work
    events: Events
    interrupt: Interrupt

    def __call__(self) -> Mapping[str, float]:
        """Return ``length`` of responses in tokens, the share that ``ended`` within `SAMPLE_TOKENS`, and for adapters
        ``kl``, an estimate of KL(policy ‖ model before training) a response in nats."""
        drawn = self.draw()
        shown = next(iter(zip(self.prompts, drawn, strict=True)))
        self.events.sample(shown[0].messages, str(self.tokenizer.decode(shown[1], skip_special_tokens=True)))
        ends = self._ends()
        told = {
            "length": sum(map(len, drawn)) / len(drawn),
            "ended": sum(row[-1] in ends for row in drawn) / len(drawn),
        }
        if isinstance(self.model, PeftModel):
            told["kl"] = float((self._score(drawn) - self._reference(drawn)).mean())
        return told

    def draw(self) -> list[list[int]]:
        """Return the tokens of an answer to each prompt, as the model is now.

        Raises:
            Stopped: as the interrupt asks.
        """
        was_training = self.model.training
        self.model.eval()
        request = Request(
            prompts=[example.prompt for example in self.prompts],
            uniforms=[self._uniforms(example.prompt) for example in self.prompts],
            temperature=1.0,
            top_p=1.0,
            interrupt=self.interrupt,
        )
        padding: Any = self.tokenizer.pad_token_id
        drawn = draw(self._network, request, ends=self._ends(), pad=padding)
        self.model.train(was_training)
        return [rows[0] for rows in drawn]

    @property
    def _network(self) -> Any:
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    def _ends(self) -> list[int]:
        return end_tokens(self._network, self.tokenizer)

    def _reference(self, drawn: Sequence[Tokens]) -> torch.Tensor:
        with self.model.disable_adapter():
            return self._score(drawn)

    def _score(self, drawn: Sequence[Tokens]) -> torch.Tensor:
        pairs = [Branching(e.prompt, (tuple(row),)) for e, row in zip(self.prompts, drawn, strict=True)]
        packed = pack(pairs, self.layout_work, "alone").to(self.model.device)
        return packed.sums(self.model(packed=packed).float())

    def _uniforms(self, prompt: Tokens) -> np.ndarray:
        key = int.from_bytes(hashlib.sha256(repr(tuple(prompt)).encode()).digest()[:16])
        return np.random.default_rng([self.seed, key]).random((1, SAMPLE_TOKENS), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class ForwardKL:
    """How far a policy went from the model before training where that is no longer in memory: on answers that it gave
    before, with the log-probabilities that they had then.

    Args:
        trainer: a `RankingTrainer`.
        answers: examples of one response each, drawn at temperature 1 from the model before training, with references.
        plan: their passes.
    """

    trainer: Any
    answers: Examples
    plan: StepPlan

    def __call__(self) -> Mapping[str, float]:
        """Return ``forward_kl``, an estimate of KL(model before training ‖ policy) a response in nats."""
        assert self.answers.references is not None
        now = self.trainer.log_probs(self.answers, self.plan)
        gaps = [before[0] - after[0] for before, after in zip(self.answers.references, now, strict=True)]
        return {"forward_kl": sum(gaps) / len(gaps)}

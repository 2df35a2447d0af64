"""Log-probabilities of given responses under a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from training.engine.interrupt import Interrupt
from training.engine.layout_check import choose_layout
from training.engine.packed_forward import score_packed_responses
from training.engine.packing import Branching, Tokens, pack
from training.engine.step_plan import StepPlan
from training.engine.work import estimate_work

TOKENS_AT_ONCE = 4096
"""Tokens of one pass, padding included."""
RESPONSES_TOGETHER = 9
"""Responses at most that share one computation of their prompt: as many as a ranking has."""


@torch.no_grad()
def sequence_log_probs(
    network: PreTrainedModel,
    sequences: Sequence[tuple[Tokens, Tokens]],
    *,
    pad: int,
    interrupt: Interrupt,
    on_progress: Callable[[int, int], None],
) -> np.ndarray:
    """Return the log-probability of each response given its prompt: the sum over the response's tokens, in nats.

    Responses to one prompt share its computation where the model's attention allows it, as in training.

    Args:
        network: a causal language model in eval mode; it takes ``packed`` from now on.
        sequences: prompts with responses, as tokens; a response may be empty.
        pad: the token that fills up rows.
        interrupt: asked at each pass.
        on_progress: called with sequences done and in all.

    Returns:
        Shape: ``(sequences,)``, float64.

    Raises:
        Refused: the model's scores in a pass are not those of its own forward pass.
    """
    sums = np.zeros(len(sequences))
    on_progress(0, len(sequences))
    together = list(_by_prompt(sequences))
    if not together:
        return sums
    branchings = [
        Branching(sequences[numbers[0]][0], [sequences[number][1] for number in numbers])
        for numbers in together
    ]
    score_packed_responses(network)
    layout, _ = choose_layout(network, branchings, "auto")
    work = estimate_work(network)
    plan = StepPlan(
        branchings,
        batch_size=len(branchings),
        tokens_at_once=TOKENS_AT_ONCE,
        work=work,
        layout=layout,
        shuffle=False,
    )
    done = 0
    for chosen in plan:
        interrupt.check()
        packed = pack([branchings[n] for n in chosen.examples], work, layout, pad=pad).to(network.device)
        scored = [number for n in chosen.examples for number in together[n]]
        sums[scored] = packed.sums(network(packed=packed).double()).cpu().numpy()
        done += len(scored)
        on_progress(done, len(sequences))
    return sums


def _by_prompt(sequences: Sequence[tuple[Tokens, Tokens]]) -> Iterator[list[int]]:
    """Yield the numbers of sequences that share a prompt, so many at a time."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, (prompt, _) in enumerate(sequences):
        groups[tuple(prompt)].append(number)
    for numbers in groups.values():
        for start in range(0, len(numbers), RESPONSES_TOGETHER):
            yield numbers[start : start + RESPONSES_TOGETHER]

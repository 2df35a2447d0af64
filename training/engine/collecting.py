"""Values of responses over all examples of a set, gathered from all processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from accelerate.utils import gather_object

from training.engine.batches import Batch, Examples
from training.engine.step_plan import StepPlan


def collect(
    examples: Examples,
    plan: StepPlan,
    values_of: Callable[[Batch], torch.Tensor],
    *,
    device: torch.device,
    processes: int = 1,
    after_pass: Callable[[int], None] = lambda done: None,
) -> list[list[float]]:
    """Return a number for each response of each example, in the examples' order; the same in every process.

    Args:
        examples: what is passed through the model.
        plan: this process's passes, each example once.
        values_of: carries out a pass, which lies on `device`; its result has the shape ``(responses,)``.
        device: where passes are computed.
        processes: how many share the work.
        after_pass: called with the number of examples that this process has done; may raise to stop.
    """
    found: list[tuple[int, list[float]]] = []
    for chosen in plan:
        batch = examples.__getitems__(chosen).to(device)
        values = values_of(batch).tolist()
        if not chosen.idle:
            for start, number in zip(batch.first_E.tolist(), chosen.examples, strict=True):
                found.append((number, values[start : start + len(examples.examples[number].responses)]))
        after_pass(len(found))
    everywhere = gather_object(found) if processes > 1 else found
    return [values for _, values in sorted(everywhere)]

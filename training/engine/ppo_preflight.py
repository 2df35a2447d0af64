"""Before a *ppo* run loads its models: what it will need against what there is; and afterwards, what it took."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import torch

from training.engine.events import Events
from training.engine.memory import PeakMemory, free_memory
from training.engine.ppo_estimate import PpoEstimator
from training.engine.ppo_limits import recomputes, tokens_at_once
from training.engine.preflight import ARTIFACT, as_record, refuse_too_big, sentence
from training.engine.processes import Processes
from training.engine.reward_models import RewardFolder
from training.engine.rollout import Task
from training.engine.spec import Spec


def estimator_of(
    spec: Spec,
    tasks: Sequence[Task],
    rewards: Sequence[RewardFolder],
    watch: RewardFolder | None,
    device: torch.device,
    *,
    processes: int,
) -> PpoEstimator:
    """Return what estimates a run, the device's defaults filled in."""
    return PpoEstimator(
        spec,
        tasks,
        rewards,
        watch,
        device,
        tokens_at_once=tokens_at_once(spec.method, device),
        checkpointing=recomputes(spec.method, device),
        processes=processes,
    )


class PpoPreflight:
    """Holds a run to its estimate before anything is loaded; entered while it runs, it measures what the run takes.

    Args:
        estimator: of the run, from `estimator_of`.
        events: told the estimate, and given the record.
        processes: of the run; the one with the least free memory decides.
        binding: whether a run that does not fit is refused.

    Raises:
        Refused: it does not fit; the sentence says what would.
    """

    def __init__(
        self, estimator: PpoEstimator, events: Events, processes: Processes, *, binding: bool
    ) -> None:
        self._events = events
        self._processes = processes
        self._memory = PeakMemory(processes.device)
        free = min(processes.gather([free_memory(processes.device)]))
        self.estimate = estimator.estimate(estimator.setup, free)
        events.log(sentence(self.estimate))
        if binding:
            refuse_too_big(self.estimate, estimator)

    def __enter__(self) -> Self:
        self._memory.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._memory.__exit__(kind, error, trace)

    def record(self) -> None:
        """Leave what was estimated and what came of it."""
        measured = max(self._processes.gather([self._memory.highest()]))
        if not self._processes.first:
            return
        content = {
            "estimated": as_record(self.estimate),
            "measured": {"bytes": measured},
            "relative_error": {"bytes": self.estimate.needed / measured - 1 if measured else None},
        }
        with self._events.artifact(ARTIFACT) as file:
            file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

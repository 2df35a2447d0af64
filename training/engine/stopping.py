"""Early stopping that a resumed run agrees with: it goes by the log of measurements, which checkpoints hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

MEASURED = "eval_loss"


class EarlyStopping(TrainerCallback):
    """Stops training after `patience` measurements in a row without a lower held-out loss."""

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if _in_vain(state.log_history) >= self._patience:
            control.should_training_stop = True


def stopped_early(checkpoint: Path, patience: int | None) -> bool:
    """Whether training had stopped for good where this checkpoint was written."""
    if patience is None:
        return False
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    return _in_vain(state.log_history) >= patience


def _in_vain(log: Sequence[Mapping[str, float]]) -> int:
    """Return how many measurements came after the lowest loss."""
    losses = [row[MEASURED] for row in log if MEASURED in row]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0

"""Checkpoints of a *ppo* run, whole or absent.

All that decides how a run goes on is weights, Adam's moments, a few numbers, and within a rollout what was measured of
its responses: nothing is drawn from a generator with a state, since random numbers come from seed, rollout and index.
So a run that goes on from a checkpoint, whether it was killed while it drew or while it learned, ends on a CPU in the
same bits.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors.torch import load_file, save_file

from training.engine.checkpoints import CHECKPOINTS_FOLDER, CHECKPOINTS_KEPT, newest_checkpoint
from training.engine.files import put_in_place
from training.engine.optimising import Optimiser
from training.engine.over_optimisation import Watched
from training.engine.processes import Processes
from training.engine.refusal import Unavailable
from training.engine.rollout import Experience

STATE_FILE = "state.json"
TENSORS_FILE = "tensors.safetensors"


@dataclass
class Progress:
    """How far a run is."""

    coefficient: float
    """β of the next rollout."""
    rollout: int = 0
    """Rollouts that were learned from."""
    step: int = 0
    """Optimizer steps taken on the one after them."""
    rate_factor: float = 1.0
    over: str = ""
    """Why the run ends before its last rollout; empty: it does not."""
    watched: list[Watched] = field(default_factory=list)
    tally: dict[str, float] = field(default_factory=dict)
    """Means over the optimizer steps of the present rollout, as far as it is."""
    last: dict[str, float] = field(default_factory=dict)
    """Figures of the last whole rollout."""


class Checkpoints:
    """The checkpoints of a run, written by its first process, with each process's own responses.

    Args:
        output: the run's folder.
        processes: of the run.
    """

    def __init__(self, output: Path, processes: Processes) -> None:
        self._folder = output / CHECKPOINTS_FOLDER
        self._processes = processes

    def restore(self, optimiser: Optimiser, *, before: int | None = None) -> Progress | None:
        """Take weights and moments from the newest checkpoint; None if there is none.

        Args:
            optimiser: is given them.
            before: only checkpoints of fewer optimizer steps count.
        """
        if self._processes.first:
            newest_checkpoint(self._folder)  # clears away what a killed process left half written
        self._processes.wait()
        counting = [each for each in self._whole() if before is None or steps_of(each) < before]
        if not counting:
            return None
        optimiser.take(load_file(counting[-1] / TENSORS_FILE))
        state = json.loads((counting[-1] / STATE_FILE).read_text(encoding="utf-8"))
        return Progress(**{**state, "watched": [Watched(**each) for each in state["watched"]]})

    def experience(self, progress: Progress) -> Experience | None:
        """Return this process's responses of the newest checkpoint, if it was written within a rollout."""
        newest = newest_checkpoint(self._folder)
        if newest is None or not progress.step:
            return None
        return Experience.read(newest / self._own_file)

    def save(
        self, optimiser: Optimiser, progress: Progress, experience: Experience | None, steps: int
    ) -> None:
        """Write a checkpoint of so many optimizer steps, unless it exists; keep the `CHECKPOINTS_KEPT` newest.

        Raises:
            Unavailable: it cannot be written (a full disk); the ones before it stay.
        """
        final = self._folder / f"checkpoint-{steps}"
        # All go by what the first one sees, or some would wait for others that have nothing to do.
        if self._processes.gather([final.is_dir()])[0]:
            return
        aside = self._folder / f".{final.name}.part"
        failure = ""
        try:
            aside.mkdir(parents=True, exist_ok=True)
            if experience is not None and progress.step:
                experience.save(aside / self._own_file)
            if self._processes.first:
                save_file(optimiser.tensors(), aside / TENSORS_FILE)
                (aside / STATE_FILE).write_text(json.dumps(asdict(progress)), encoding="utf-8")
        except Exception as error:
            # safetensors wraps "no space left" in a type of its own, so it cannot be told by type.
            failure = str(error)
        failures = [each for each in self._processes.gather([failure]) if each]
        if self._processes.first:
            if failures:
                shutil.rmtree(aside, ignore_errors=True)
            else:
                put_in_place(aside, final)
                self._forget_old()
        self._processes.wait()
        if failures:
            raise Unavailable(
                f"The checkpoint of step {steps} could not be written to {self._folder}: {failures[0]}. Make room and "
                "start the run again: it goes on from the one before."
            )

    @property
    def _own_file(self) -> str:
        return f"experience-{self._processes.rank}.safetensors"

    def _whole(self) -> list[Path]:
        """Return the checkpoints, the newest last."""
        return sorted(self._folder.glob("checkpoint-*"), key=steps_of)

    def _forget_old(self) -> None:
        for old in self._whole()[:-CHECKPOINTS_KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def steps_of(checkpoint: Path) -> int:
    """Return after how many optimizer steps a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])

"""Checkpoints of a Trainer that are whole or absent, so that a killed run ends as an unbroken one."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import rotate_checkpoints

from training.engine.files import put_in_place
from training.engine.refusal import Unavailable

CHECKPOINTS_FOLDER = "checkpoints"
"""Folder of checkpoints within a run's output."""

CHECKPOINTS_KEPT = 2
"""The newest ones stay on the disk: one to resume from, and the one before it; and the best one, if it is another."""

_TORCH_WRITES = ("PytorchStreamWriter", "inline_container", "iostream")
"""What torch names in the RuntimeError of a file that it cannot write."""

_WHOLE = re.compile(r"checkpoint-(\d+)")


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint to resume from, or None; what a killed process left half written is removed.

    Args:
        folder: the folder of checkpoints; may be missing.
    """
    if not folder.is_dir():
        return None
    whole = {}
    for entry in folder.iterdir():
        if match := _WHOLE.fullmatch(entry.name):
            whole[int(match[1])] = entry
        else:
            shutil.rmtree(entry, ignore_errors=True)
    return whole[max(whole)] if whole else None


class WholeCheckpoints(Trainer):
    """A Trainer whose checkpoints are written aside and renamed when they are complete.

    It writes to `args.output_dir`, keeps `CHECKPOINTS_KEPT` and the best, and takes no part in choosing when to save.

    Saving raises `Unavailable` if a checkpoint cannot be written (a full disk); the ones before it stay.
    """

    _aside: str | None = None

    def _get_output_dir(self, trial: Any) -> str:
        return self._aside or super()._get_output_dir(trial)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """A checkpoint has no card; the artifact's own is written once, with its figures."""

    def best_checkpoint(self) -> Path | None:
        """Return the checkpoint of the best measurement so far, if it is on the disk."""
        best = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.best_global_step}"
        return best if self.state.best_global_step and best.is_dir() else None

    def load_best(self) -> None:
        """Give the model the weights of the best checkpoint, if it is another than the last step's."""
        best = self.best_checkpoint()
        if best is not None and self.state.best_global_step != self.state.global_step:
            self.state.best_model_checkpoint = str(best)
            self._load_best_model()

    def save_now(self) -> None:
        """Write a checkpoint of the last step, for a run stopped in an evaluation; none before the first."""
        if self.state.global_step > 0:
            self._save_checkpoint(self.model, trial=None)

    def amend_checkpoint(self, checkpoint: Path) -> None:
        """Write the state into a checkpoint of the step that it is of."""
        aside = checkpoint / f".{TRAINER_STATE_NAME}.part"
        with self._telling_of_full_disks(), contextlib.ExitStack() as clean:
            clean.callback(aside.unlink, missing_ok=True)
            self.state.save_to_json(str(aside))
            put_in_place(aside, checkpoint / TRAINER_STATE_NAME)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder, name = Path(str(self.args.output_dir)), f"checkpoint-{self.state.global_step}"
        if (folder / name).is_dir():
            return
        aside = folder / f".{name}.part"
        self._aside = str(aside)
        try:
            with self._telling_of_full_disks():
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if self.state.best_model_checkpoint:  # named by the folder aside, which is gone in a moment
                    self.state.best_model_checkpoint = str(
                        folder / f"checkpoint-{self.state.best_global_step}"
                    )
                if self.is_world_process_zero():
                    self.state.save_to_json(str(aside / name / TRAINER_STATE_NAME))
                    put_in_place(aside / name, folder / name)
                    best = self.best_checkpoint()
                    rotate_checkpoints(
                        str(folder),
                        save_total_limit=CHECKPOINTS_KEPT,
                        best_model_checkpoint=None if best is None else str(best),
                    )
        finally:
            self._aside = None
            if self.is_world_process_zero():
                shutil.rmtree(aside, ignore_errors=True)

    @contextlib.contextmanager
    def _telling_of_full_disks(self) -> Iterator[None]:
        """Raise `Unavailable`, with what to do, for what the libraries below raise when a file cannot be written: torch
        has no type of its own for that."""
        folder = Path(str(self.args.output_dir))
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as error:
            if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in _TORCH_WRITES):
                raise
            kept = newest_checkpoint(folder)
            free = shutil.disk_usage(folder).free // 2**20
            raise Unavailable(
                f"The checkpoint of step {self.state.global_step} could not be written to {folder}: {error}. "
                f"{free} MiB are free there; make room and start the run again: "
                + (f"it goes on from {kept.name}." if kept else "it starts from the beginning.")
            ) from error

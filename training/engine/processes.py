"""The processes of a run that has a training loop of its own: what they add up, agree on, and wait for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import nn

from training.engine.interrupt import Interrupt


class Processes:
    """This process among those that torchrun started; alone where there is no torchrun.

    Each method but `of_first` must be called by all of them at the same place, or some would wait for ever.
    """

    def __init__(self) -> None:
        self._state = PartialState(cpu=not torch.cuda.is_available())
        self.rank: int = self._state.process_index
        self.world: int = self._state.num_processes
        device: torch.device = self._state.device
        # With several processes it is cpu:0, which safetensors does not know.
        self.device = torch.device("cpu") if device.type == "cpu" else device

    @property
    def first(self) -> bool:
        """Whether this one writes what all have in common."""
        return self.rank == 0

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all processes, where the tensor is."""
        if self.world == 1:
            return value
        # On GPUs only what lies there can be added up.
        summed = value.to(self.device, copy=True)
        torch.distributed.all_reduce(summed)
        return summed.to(value.device)

    def add_up_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their sums over all processes; one that is missing here counts as 0."""
        if self.world == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)

    def gather(self, mine: Sequence[Any]) -> list[Any]:
        """Return the items of all processes, in the order of their ranks."""
        return list(mine) if self.world == 1 else list(gather_object(list(mine)))

    def stop_together(self, interrupt: Interrupt) -> bool:
        """Whether any of them was asked to stop; then all are."""
        asked = torch.tensor(float(interrupt.requested), device=self.device)
        if not self.total(asked):
            return False
        interrupt.request("Another process of the run was stopped.")
        return True

    def wait(self) -> None:
        """Wait until all have come here."""
        self._state.wait_for_everyone()

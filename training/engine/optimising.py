"""Adam for roles that learn side by side, each with a rate, a gradient norm and moments of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from training.engine.actor_critic import Role
from training.engine.ppo_settings import PpoMethod
from training.engine.processes import Processes

ADAM_EPSILON = 1e-5
"""Huang et al. 2024 (N+), Adam's epsilon; PyTorch's 1e-8 takes steps where there is next to no gradient."""
HEAD_RATE = 10
"""The rate of a value function that is a head alone, in the policy's: it learns a linear function of what is fixed."""
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class Optimiser:
    """Steps for several roles.

    Args:
        roles: by name; ``policy`` takes the method's rate, others its value rate.
        method: rates, their course, and clipping.
        processes: gradients are added up over them.
    """

    def __init__(self, roles: Mapping[str, Role], method: PpoMethod, processes: Processes) -> None:
        self._method = method
        self._processes = processes
        self.parameters: dict[str, dict[str, nn.Parameter]] = {n: r.parameters() for n, r in roles.items()}
        """What is trained, by role and name."""
        for own in self.parameters.values():
            for parameter in own.values():
                parameter.requires_grad_(True)
        usual = method.learning_rate * (HEAD_RATE if method.value == "head" else 1)
        value_rate = method.value_learning_rate or usual
        rates = {name: method.learning_rate if name == "policy" else value_rate for name in roles}
        self._adam = torch.optim.AdamW(
            [
                {"params": list(own.values()), "peak": rates[n], "lr": 0.0}
                for n, own in self.parameters.items()
            ],
            eps=ADAM_EPSILON,
            weight_decay=0.0,
        )
        self.rate = 0.0
        """The policy's, of the last step."""

    def step(self, share: float, factor: float) -> dict[str, float]:
        """Take a step, if every gradient is finite, and forget the gradients.

        Args:
            share: of the run that is done, from 0 to 1.
            factor: the rates are multiplied by it.

        Returns:
            The norm of each role's gradient before clipping.
        """
        norms = {}
        for name, own in self.parameters.items():
            self._processes.add_up_gradients(own.values())
            limit = self._method.max_grad_norm or math.inf
            norms[name] = float(nn.utils.clip_grad_norm_(own.values(), limit))
        if all(map(math.isfinite, norms.values())):
            for group in self._adam.param_groups:
                group["lr"] = group["peak"] * factor * course(self._method.scheduler, share)
            self.rate = self._adam.param_groups[0]["lr"]
            self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        return norms

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return weights and moments by name, on the CPU."""
        found: dict[str, torch.Tensor] = {}
        for role, own in self.parameters.items():
            for name, parameter in own.items():
                found[f"{role}/{name}"] = parameter.detach().cpu().contiguous()
                for moment, value in self._adam.state.get(parameter, {}).items():
                    found[f"{role}/{name}/{moment}"] = value.cpu().contiguous()
        return found

    def take(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set weights and moments to what `tensors` returned."""
        for role, own in self.parameters.items():
            for name, parameter in own.items():
                with torch.no_grad():
                    parameter.copy_(tensors[f"{role}/{name}"])
                state: dict[str, Any] = {}
                for moment in MOMENTS:
                    saved = tensors.get(f"{role}/{name}/{moment}")
                    if saved is not None:
                        state[moment] = (
                            saved.clone() if moment == "step" else saved.to(parameter.device).clone()
                        )
                self._adam.state[parameter] = state

    def finite(self) -> bool:
        """Whether every weight is a finite number."""
        return all(bool(p.isfinite().all()) for own in self.parameters.values() for p in own.values())


def course(scheduler: str, share: float) -> float:
    """Return the rate at a share of the run, in its peak."""
    if scheduler == "linear":
        return 1 - share
    return (1 + math.cos(math.pi * share)) / 2 if scheduler == "cosine" else 1.0

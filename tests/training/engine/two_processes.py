"""What each of two processes does: the runs of all specs in a folder, one after another, and a packed forward pass of a
model that is divided among the processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

SHARDED = ("llama", "llama, tied", "gemma3", "gpt2")


def main(folder: Path) -> int:
    """Carry out the runs, and write ``codes.json`` and ``sharded.json``; return the exit code."""
    from training.engine.__main__ import leave_group
    from training.engine.__main__ import main as run_engine

    codes = {spec.stem: run_engine([str(spec)]) for spec in sorted(folder.glob("*.spec"))}
    gaps = {family: list(gaps_when_sharded(family)) for family in SHARDED}
    if dist.get_rank() == 0:
        (folder / "codes.json").write_text(json.dumps(codes))
        (folder / "sharded.json").write_text(json.dumps(gaps))
    leave_group()
    return 0


def run_one(folder: Path) -> int:
    """Carry out the run of ``spec.json``; return its exit code."""
    from training.engine.__main__ import leave_group
    from training.engine.__main__ import main as run_engine

    code = run_engine([str(folder / "spec.json")])
    leave_group()
    return code


def gaps_when_sharded(family: str) -> tuple[float, float]:
    """Return by how much scores, and gradients relative to their size, of a model under FSDP2 differ from those of the
    whole one; each process computes rankings of its own."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    from tests.training.engine.families import build
    from tests.training.engine.test_families import FREE, RANKINGS
    from training.engine.packed_forward import score_packed_responses
    from training.engine.packing import pack

    mine = [pack(RANKINGS[rank::2], FREE, "tree") for rank in range(2)]
    whole = build(family)
    score_packed_responses(whole)
    expected = [whole(packed=packed) for packed in mine]
    sum(weighted(scores) for scores in expected).backward()

    network = build(family)
    score_packed_responses(network)
    mesh = init_device_mesh("cpu", (2,))
    for block in layers(network):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    rank = dist.get_rank()
    found = network(packed=mine[rank])
    (weighted(found) * 2).backward()  # FSDP takes the mean of the processes
    gap = (found - expected[rank]).abs().max()
    worst = torch.zeros(())
    theirs = dict(whole.named_parameters())
    for name, parameter in network.named_parameters():
        gradient = parameter.grad.full_tensor()
        worst = max(worst, (gradient - theirs[name].grad).norm() / theirs[name].grad.norm().clamp(min=1e-3))
    return float(gap.detach()), float(worst)


def weighted(scores_N: torch.Tensor) -> torch.Tensor:
    return (scores_N * torch.linspace(-1, 1.5, len(scores_N))).sum()


def layers(network: Any) -> list[torch.nn.Module]:
    is_list: Callable[[Any], bool] = lambda module: isinstance(module, torch.nn.ModuleList)  # noqa: E731
    return list(next(module for module in network.modules() if is_list(module)))

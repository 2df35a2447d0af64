"""The packed forward pass is right for this model, or it is not used.

Some attention cannot be packed (ALiBi, state-space layers, linear attention), and no list of names is ever complete. So
at a run's start, real data are scored as a tree and by the model's own plain forward pass, one sequence at a time. If
they differ, nothing shares a row; if that differs too, the run is given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from training.engine.dry_run import ran_out_of_memory
from training.engine.packing import Branching, Layout, Work, pack
from training.engine.refusal import Refused

TOKENS = 2048
"""What is compared is the widest branching within so many tokens, and the two narrowest."""
TOLERANCE = {torch.float32: (1e-3, 1e-3), torch.bfloat16: (0.1, 1.5)}
"""Mean and largest difference allowed, in nats a token (of rewards: as a share of their size). Rounding gives below
1e-4 in float32, up to 0.3 at single tokens in bfloat16; a wrong mask gives several nats."""


def choose_layout(network: Any, branchings: Sequence[Branching], wanted: Layout) -> tuple[Layout, str]:
    """Return the layout to train in and, if it is another than the one wanted, why.

    Args:
        network: takes ``packed``; without adapters, in eval mode.
        branchings: what is trained on.
        wanted: by the settings. All of them put several sequences into a row where there is room.

    Raises:
        Refused: not even one sequence a row comes out as by the model's own forward pass.
        RuntimeError: a pass ran out of memory, which says nothing of the layout.
    """
    sample = _sample(branchings)
    expected = torch.cat(
        [_plain(network, each.prompt, response) for each in sample for response in each.responses]
    )
    allowed = TOLERANCE[torch.float32 if network.dtype == torch.float32 else torch.bfloat16]
    reason = ""
    layouts: tuple[Layout, Layout] = ("tree", "alone")
    for layout in layouts:
        try:
            mean, largest = _difference(network, sample, layout, expected)
        except (RuntimeError, ValueError, IndexError, KeyError, TypeError) as error:
            # Some models fail on positions or masks that they do not expect, each in its own way.
            if ran_out_of_memory(error):
                raise
            reason = (
                f"In the layout {layout} the model's forward pass fails ({type(error).__name__}: {error})"
            )
        else:
            if mean <= allowed[0] and largest <= allowed[1]:
                return (wanted if layout == "tree" else "alone"), reason
            reason = (
                f"In the layout {layout} the model's scores differ from its own by {mean:.2g} a token on average, at "
                f"most {largest:.2g} ({allowed[0]:g} and {allowed[1]:g} are tolerated)"
            )
        if layout == "tree":
            reason += "; its attention does not take trees, so each response is computed in a row of its own."
    raise Refused(f"The model {type(network).__name__} cannot be trained on. {reason}.")


def _sample(branchings: Sequence[Branching]) -> list[Branching]:
    """Return what is compared: a wide tree, and two narrow ones that share a row and leave room in it."""
    fitting = [each for each in branchings if _size(each) <= TOKENS] or [min(branchings, key=_size)]
    widest = max([each for each in fitting if len(each.responses) > 1] or fitting, key=_size)
    narrow = sorted((each for each in fitting if each is not widest), key=_size)[:2]
    if len(widest.responses) == 1:
        widest = Branching(widest.prompt, [*widest.responses, *widest.responses])
    return [widest, *narrow]


@torch.no_grad()
def _difference(
    network: Any, sample: Sequence[Branching], layout: Layout, expected: torch.Tensor
) -> tuple[float, float]:
    packed = pack(sample, Work(attention=0.0), layout).to(network.device)
    found = network(packed=packed).float().cpu()
    if not _scores_tokens(network):
        scale = expected.abs().mean().clamp(min=1e-6)
        expected, found = expected / scale, found / scale
    gap = (found - expected).abs()
    if not len(gap):  # nothing but empty responses, whose scores are sums over nothing
        return 0.0, 0.0
    if not gap.isfinite().all():
        return float("inf"), float("inf")
    return float(gap.mean()), float(gap.max())


@torch.no_grad()
def _plain(network: Any, prompt: Sequence[int], response: Sequence[int]) -> torch.Tensor:
    """Return what the model itself says of one sequence: log-probabilities of the response's tokens, or its reward."""
    ids = torch.tensor([[*prompt, *response]], device=network.device)
    if not _scores_tokens(network):
        hidden = network.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
        return network.score(hidden).float().view(1).cpu()
    logits = network(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    return logits.float().log_softmax(-1).gather(-1, ids[0, len(prompt) :, None]).squeeze(-1).cpu()


def _scores_tokens(network: Any) -> bool:
    return network.get_output_embeddings() is not None


def _size(branching: Branching) -> int:
    return len(branching.prompt) + sum(map(len, branching.responses))

"""Reward models that judge what others wrote: loaded beside the model that their adapters were trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.engine.actor_critic import RewardLoader
from training.engine.judging import Judge
from training.engine.methods import ModelSpec, ParametersSpec
from training.engine.models import choose_device, load_tokenizer
from training.engine.parameters import load_for_training, with_adapters
from training.engine.ppo_losses import just_mine
from training.engine.reward_models import RewardFolder
from training.engine.rollout import PassMaker
from training.engine.tree_attention import install
from training.engine.work import estimate_work

CLIP = 1e6
"""Rewards are ordered here, not learned from, so none is cut."""
TOKENS_AT_ONCE = 2_048


def load_judge(model: ModelSpec, folders: Sequence[RewardFolder]) -> tuple[Judge, Any]:
    """Return a judge by the reward models in some folders, and the tokenizer of `model`, which prompts and responses
    are read with. The model itself is loaded where one of them is an adapter of it."""
    install()
    device = choose_device()
    wrapped: Any = None
    if any(folder.adapter for folder in folders):
        network, tokenizer = load_for_training(model, ParametersSpec(), device)
        wrapped = with_adapters(network, ParametersSpec(rank=1), "CAUSAL_LM")
    else:
        tokenizer = load_tokenizer(model)
    loader = RewardLoader(wrapped, tokenizer, device)
    rewards = [loader.load(folder, f"reward-{number}") for number, folder in enumerate(folders)]
    if wrapped is not None:
        wrapped.eval()
    padding: Any = tokenizer.pad_token_id
    work = estimate_work(wrapped.get_base_model() if wrapped is not None else rewards[0].role.network)
    judge = Judge(
        tokenizer=tokenizer,
        rewards=rewards,
        watch=None,
        oracle=None,
        pass_maker=PassMaker(work, "alone", padding, TOKENS_AT_ONCE),
        device=device,
        clip=CLIP,
        penalty=0.0,
        total=just_mine,
    )
    return judge, tokenizer

"""Policy, reference, value and rewards of one run: roles that a single frozen backbone plays, by adapters.

With LoRA the base's weights are in memory once. The policy is an adapter on them; the reference is the base with
adapters off; the value function and each reward model are an adapter with a head of one number. What is trained is what
has an adapter of its own, so gradients and Adam's moments are a few MiB. Training every weight of the policy, or a
reward model that is no adapter on this base, takes a second model, which then plays that role alone.

Everything stays in eval mode: with dropout, the ratio of two passes would not be 1 where the policies are the same
(Huang et al. 2024, "The N+ implementation details of RLHF with PPO", disabling dropout).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.engine.frozen_linear import freeze_in_half
from training.engine.methods import ModelSpec
from training.engine.packed_forward import hidden_states
from training.engine.packing import Packed
from training.engine.parameters import load_for_training, with_adapters
from training.engine.ppo_settings import PpoMethod
from training.engine.reward_models import RewardFolder, same_tokens
from training.engine.token_scores import Head, token_log_probs
from training.engine.tree_attention import install

POLICY = "default"
"""PEFT saves an adapter of this name as a folder that loads by itself, others one level further down."""
VALUE = "value"
REWARD = "reward"
FIRST_REWARD = f"{REWARD}-0"


@dataclass(eq=False)
class Role:
    """A network in one of its parts."""

    network: Any
    """The causal language model or classifier whose layers compute; adapters lie within them."""
    wrapped: PeftModel | None = None
    """PEFT's hold on its adapters, where it has any."""
    adapter: str | None = None
    """The adapter that is on; None: none is."""
    head: nn.Linear | None = None
    """Makes one number of a hidden state; None: the role is a policy."""
    temperature: float = 1.0
    """Logits are divided by it."""
    head_only: bool = False
    """Whether of this role the head alone is trained, on hidden states that do not change."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Play this role within the block. A backward pass belongs into the block of its forward pass: PEFT freezes
        the adapters that are off, and their gradients would be 0 without a word."""
        if self.wrapped is None:
            yield
            return
        if self.adapter is None:
            with self.wrapped.disable_adapter():
                yield
            return
        self.wrapped.set_adapter(self.adapter)
        yield

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return what of the network is this role's alone, by name: what is trained if the role is."""
        if self.head_only:
            own = {}
        elif self.wrapped is None:
            own = dict(self.network.named_parameters())
        else:
            own = {
                name.replace(f".{self.adapter}.", "."): parameter
                for name, parameter in self.wrapped.named_parameters()
                if f".{self.adapter}." in name
            }
        if self.head is not None:
            own |= {f"head.{name}": parameter for name, parameter in self.head.named_parameters()}
        return own

    def log_probs(self, packed: Packed) -> torch.Tensor:
        """Return the log-probability of each scored token, at the role's temperature: nats. Shape: ``(tokens,)``."""
        hidden_ND = hidden_states(self.network, packed).index_select(0, packed.sources_N)
        head = Head.of(self.network)
        # A soft cap c bends logits before they are divided: c·tanh(x / c) / t = (c / t)·tanh((x / t) / (c / t)).
        capped = None if head.softcap is None else head.softcap / self.temperature
        head = replace(head, scale=head.scale / self.temperature, softcap=capped)
        return token_log_probs(hidden_ND, head, packed.targets_N)

    def values(self, packed: Packed, positions_N: torch.Tensor) -> torch.Tensor:
        """Return the head's number at flat positions of a pass, float32. Shape: ``(positions,)``."""
        return self.values_of(self.hidden(packed, positions_N))

    def hidden(self, packed: Packed, positions_N: torch.Tensor) -> torch.Tensor:
        """Return last hidden states at flat positions of a pass. Shape: ``(positions, hidden)``."""
        return hidden_states(self.network, packed).index_select(0, positions_N)

    def values_of(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """Return the head's number for hidden states, float32. Shape: ``(positions,)``."""
        assert self.head is not None
        values_N: torch.Tensor = self.head(hidden_ND.to(self.head.weight.dtype)).float().squeeze(-1)
        return values_N

    def scale_head(self, slope: float, intercept: float) -> None:
        """Let the head say `slope` times what it says now, plus `intercept`."""
        assert self.head is not None
        with torch.no_grad():
            self.head.weight.mul_(slope)
            self.head.bias.mul_(slope).add_(intercept)


@dataclass(eq=False)
class RewardRole:
    """A reward model, and how its numbers are normalised."""

    role: Role
    mean: float
    std: float
    tokenizer: PreTrainedTokenizerBase | None
    """Its own, where responses must be read anew; None: it takes the policy's tokens."""


@dataclass(eq=False)
class ActorCritic:
    """The roles of a run.

    ``backbone`` is the frozen base with its adapters, ``policy``, ``reference`` and ``value`` are roles (no value
    without a value function), ``rewards`` the ensemble, ``watch`` the independent reward model or None.
    """

    backbone: PeftModel
    policy: Role
    reference: Role
    value: Role
    rewards: list[RewardRole]
    watch: RewardRole | None

    @classmethod
    def load(
        cls,
        model: ModelSpec,
        method: PpoMethod,
        rewards: list[RewardFolder],
        watch: RewardFolder | None,
        device: torch.device,
    ) -> tuple[ActorCritic, PreTrainedTokenizerBase]:
        """Load what a run needs, and the policy's tokenizer.

        On a CPU the frozen base's products are in 16 bits where the model's dtype asks for that, see
        `training.engine.frozen_linear`.

        The value function starts as the first reward model, normalised like it (N+, value initialised from the reward
        model), if that is an adapter on the backbone; otherwise as 0 with a new adapter. Draws from torch's generator:
        new adapters start from random numbers.

        Raises:
            Refused: as `load_for_training`, `with_adapters` and `RewardFolder.load_whole`.
        """
        install()
        parameters = method.parameters
        full = parameters.kind == "full"
        frozen = replace(parameters, kind="lora" if full else parameters.kind)
        network, tokenizer = load_for_training(model, frozen, device)
        if device.type == "cpu" and model.dtype == "bfloat16" and parameters.kind != "qlora":
            freeze_in_half(network)
        own = load_for_training(model, parameters, device)[0] if full else None
        rank = method.value_rank or parameters.rank
        # PEFT needs one adapter to begin with: the policy's, or where that has none, one that stays off.
        wrapped: Any = with_adapters(network, frozen, "CAUSAL_LM")
        inner = wrapped.get_base_model()
        if own is not None:
            policy = Role(own, temperature=method.temperature)
        else:
            policy = Role(inner, wrapped, POLICY, temperature=method.temperature)

        shared = RewardLoader(wrapped, tokenizer, device)
        value_from = rewards[0] if rewards[0].adapter else None
        hidden = inner.config.get_text_config().hidden_size
        head = nn.Linear(hidden, 1, device=device, dtype=torch.float32)
        head_only = method.value == "head"
        if value_from is None:
            config = replace_rank(wrapped.peft_config[POLICY], rank)
            wrapped.add_adapter(VALUE, config)
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        else:
            if not head_only:
                shared.adapter(value_from, VALUE, trained=True)
            with torch.no_grad():
                head.weight.copy_(value_from.head() / value_from.std)
                head.bias.fill_(-value_from.mean / value_from.std)
        if full:
            wrapped.delete_adapter(POLICY)
        loaded = [shared.load(each, f"{REWARD}-{number}") for number, each in enumerate(rewards)]
        roles = cls(
            backbone=wrapped,
            policy=policy,
            reference=Role(inner, wrapped, None, temperature=method.temperature),
            value=Role(inner, wrapped, FIRST_REWARD if head_only else VALUE, head, head_only=head_only),
            rewards=loaded,
            watch=None if watch is None else shared.load(watch, "watch"),
        )
        wrapped.eval()
        return roles, tokenizer

    @property
    def trained(self) -> dict[str, Role]:
        """The roles that learn, by name."""
        return {"policy": self.policy, "value": self.value}

    def policy_network(self) -> PreTrainedModel:
        """Return the network that draws responses, to be used while the policy is `Role.active`."""
        network: PreTrainedModel = self.policy.network
        return network

    def save_policy_adapter(self, folder: Path) -> None:
        """Write the policy's adapter to a folder, in place of what lies there."""
        self.backbone.save_pretrained(str(folder), selected_adapters=[POLICY])

    @contextmanager
    def checkpointing(self, wanted: bool) -> Iterator[None]:
        """Recompute activations in backward passes within the block. transformers does so where a layer is in training
        mode; what lies within layers stays in eval mode, and they themselves drop nothing."""
        if not wanted:
            yield
            return
        networks = {id(role.network): role.network for role in self.trained.values()}.values()
        with contextlib.ExitStack() as stack:
            for network in networks:
                network.gradient_checkpointing_enable({"use_reentrant": False})
                stack.callback(network.gradient_checkpointing_disable)
                stack.callback(network.eval)
                layers = [
                    each for each in network.modules() if getattr(each, "gradient_checkpointing", False)
                ]
                for layer in layers:
                    layer.training = True
                # Some layers look their dropout up in the configuration, which is saved with the weights.
                for owner in (*layers, network.config.get_text_config()):
                    for name, rate in list(vars(owner).items()):
                        if "drop" in name and isinstance(rate, float):
                            setattr(owner, name, 0.0)
                            stack.callback(setattr, owner, name, rate)
            yield


@dataclass(frozen=True)
class RewardLoader:
    """Puts reward models on a backbone, or beside it."""

    wrapped: Any
    tokenizer: PreTrainedTokenizerBase
    device: torch.device

    def adapter(self, folder: RewardFolder, name: str, *, trained: bool) -> None:
        """Load a folder's adapter under a name."""
        # accelerate calls a CPU cpu:0 where several processes run, which safetensors does not know.
        device = "cpu" if self.device.type == "cpu" else str(self.device)
        self.wrapped.load_adapter(str(folder.path), name, is_trainable=trained, torch_device=device)

    def load(self, folder: RewardFolder, name: str) -> RewardRole:
        """Load a reward model as a role."""
        if not folder.adapter:
            network, tokenizer = folder.load_whole(self.device)
            own = None if same_tokens(self.tokenizer, tokenizer) else tokenizer
            return RewardRole(Role(network, head=network.score), folder.mean, folder.std, own)
        self.adapter(folder, name, trained=False)
        weight = folder.head()
        head = nn.Linear(weight.shape[1], 1, bias=False, device=self.device, dtype=torch.float32)
        head.weight = nn.Parameter(weight.to(self.device), requires_grad=False)
        role = Role(self.wrapped.get_base_model(), self.wrapped, name, head)
        return RewardRole(role, folder.mean, folder.std, None)


def replace_rank(config: LoraConfig, rank: int) -> LoraConfig:
    """Return the settings of adapters like others, of another rank and the same scale."""
    return replace(config, r=rank, lora_alpha=config.lora_alpha * rank / config.r)  # type: ignore[arg-type]

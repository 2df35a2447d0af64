"""Reward models that a *reward* run left, as a policy's trainer takes them: checked, and told by what they need.

An adapter on the very model that is trained costs a few MiB, since it shares that model's weights. A whole model, of
this architecture or another, costs its own memory, and reads responses with its own tokenizer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

from training.engine.methods import ModelSpec
from training.engine.models import CLASSIFIER, content_fingerprint
from training.engine.refusal import Refused
from training.engine.reward import STATISTICS_FILE

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
HEAD = "base_model.model.score.weight"
"""The head's name among an adapter's weights."""


@dataclass(frozen=True, slots=True)
class RewardFolder:
    """What a reward run left in one folder."""

    path: Path
    adapter: bool
    """Whether it holds an adapter; otherwise a whole model."""
    base: tuple[str, ...]
    """Content of the model that it was trained on; empty where the folder does not say."""
    mean: float
    std: float
    """Of its rewards, on the responses that it was trained on."""

    @classmethod
    def read(cls, path: str, where: str, *, normalise: bool) -> RewardFolder:
        """Look at a folder without loading weights.

        Args:
            path: the folder.
            where: the spec's field that names it.
            normalise: whether mean and spread are needed; otherwise they are 0 and 1.

        Raises:
            Refused: it holds no reward model, or mean and spread are needed and absent.
        """
        folder = Path(path)
        adapter = (folder / ADAPTER_CONFIG).is_file()
        wanted = [ADAPTER_WEIGHTS] if adapter else ["config.json"]
        missing = [name for name in wanted if not (folder / name).is_file()]
        if missing or (not adapter and not any(folder.glob("*.safetensors"))):
            raise Refused(
                f"`{where}`: {folder} holds no reward model: it must be a folder that a reward run left (adapter, "
                "weights or merged), with safetensors."
            )
        config = _read_json(folder / (ADAPTER_CONFIG if adapter else "config.json"), where)
        architectures = config.get("architectures") or []
        gives_rewards = (
            config.get("task_type") == "SEQ_CLS"
            if adapter
            else any(each.endswith(CLASSIFIER) for each in architectures)
        )
        if not gives_rewards:
            raise Refused(f"`{where}`: {folder} holds a model that writes, not one that gives rewards.")
        statistics_file = folder / STATISTICS_FILE
        if not statistics_file.is_file():
            if normalise or adapter:
                raise Refused(
                    f"`{where}`: {folder} has no {STATISTICS_FILE}, which says what the reward model was trained on "
                    "and how its rewards are spread. Train it with a reward run of this version."
                )
            return cls(folder, adapter, (), 0.0, 1.0)
        statistics = _read_json(statistics_file, where)
        try:
            base, mean, std = statistics["base"], float(statistics["mean"]), float(statistics["std"])
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(f"`{where}`: {statistics_file} must hold base, mean and std ({error}).") from error
        if not normalise:
            mean, std = 0.0, 1.0
        elif not math.isfinite(mean) or not std > 0 or not math.isfinite(std):
            raise Refused(
                f"`{where}`: the rewards of {folder} have mean {mean} and spread {std}: a model that gives all "
                "responses the same reward teaches nothing. Train it on more rankings."
            )
        return cls(folder, adapter, tuple(base), mean, std)

    def refuse_other_base(self, model: ModelSpec, where: str) -> None:
        """Raise `Refused` if this is an adapter that was trained on another model than `model`."""
        if self.adapter and list(self.base) != content_fingerprint(model):
            raise Refused(
                f"`{where}`: the reward adapter {self.path} was trained on another model than `model` (their weights "
                "have different hashes), so its rewards would mean nothing. Train a reward model on this model, or "
                "name the whole one (`merged`), which takes memory of its own."
            )

    def head(self) -> torch.Tensor:
        """Return an adapter's head. Shape: ``(1, hidden)``, float32."""
        try:
            with safe_open(self.path / ADAPTER_WEIGHTS, "pt") as weights:
                return weights.get_tensor(HEAD).float()
        except (SafetensorError, OSError) as error:
            raise Refused(f"The reward adapter {self.path} has no head that can be read: {error}") from error

    def rank(self) -> int:
        """Return the rank of an adapter."""
        config: Any = PeftConfig.from_pretrained(str(self.path))
        return int(config.r)

    def load_whole(self, device: torch.device) -> tuple[Any, PreTrainedTokenizerBase]:
        """Load a whole reward model in eval mode, and the tokenizer beside it.

        Raises:
            Refused: it cannot be loaded, gives more than one number, or has no chat template.
        """
        try:
            network = AutoModelForSequenceClassification.from_pretrained(
                self.path, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
            tokenizer = AutoTokenizer.from_pretrained(self.path, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise Refused(f"The reward model {self.path} cannot be loaded: {error}") from error
        # Decoders read the reward at the last token and call the head so; encoders read it elsewhere.
        is_decoder = isinstance(getattr(network, "score", None), nn.Linear)
        if not is_decoder or network.config.num_labels != 1 or tokenizer.chat_template is None:
            raise Refused(
                f"The reward model {self.path} must be a decoder that gives one number a response, and have a "
                "tokenizer with a chat template."
            )
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        return network.to(device).eval(), tokenizer


def read_rewards(
    paths: Sequence[str], model: ModelSpec, *, where: str, normalise: bool
) -> list[RewardFolder]:
    """Look at an ensemble's folders, and check that adapters were trained on `model`; raises as `RewardFolder.read`."""
    if not paths:
        raise Refused(f"`{where}` names no reward model.")
    found = []
    for number, path in enumerate(paths):
        each = RewardFolder.read(path, f"{where}[{number}]", normalise=normalise)
        each.refuse_other_base(model, f"{where}[{number}]")
        found.append(each)
    return found


def same_tokens(mine: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers make the same tokens of a conversation, so that either's model may be handed them."""
    return mine.get_vocab() == theirs.get_vocab() and mine.chat_template == theirs.chat_template


def _read_json(path: Path, where: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"`{where}`: {path} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise Refused(f"`{where}`: {path} must hold an object.")
    return content

"""A *reward* run: a model version with a head that gives each response a number, in the order of the rankings.

Ouyang et al. 2022, "Training language models to follow instructions with human feedback", section 3.5.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from training.engine.events import Events
from training.engine.interrupt import Interrupt
from training.engine.models import content_fingerprint
from training.engine.objectives import RewardObjective
from training.engine.refusal import Refused
from training.engine.spec import Spec
from training.engine.training_run import Learner, TrainingRun, train

STATISTICS_FILE = "reward.json"
"""Beside the weights: the model that they were trained on, and mean and spread of the rewards that they give."""
STATISTICS_EXAMPLES = 256
"""Rankings whose responses mean and spread are taken of: a thousand responses, so that the mean is known to a thirtieth
of the spread."""


def run(spec: Spec, events: Events, interrupt: Interrupt) -> None:
    """Train a reward model from `spec.model` on the rankings of `spec.data.train`; plain
    ``AutoModelForSequenceClassification`` loads it. See `training.engine.training_run.train`."""
    learner = Learner(
        title="Reward model",
        objective=RewardObjective(spec.method),
        task="SEQ_CLS",
        make_network=with_reward_head,
        has_references=False,
        describe=describe,
    )
    train(spec, events, interrupt, learner)


def describe(run: TrainingRun) -> Mapping[str, str]:
    """Return `STATISTICS_FILE`: ``base``, the content of the model that was trained; ``mean`` and ``std`` of rewards
    over ``responses``, by which a policy's trainer normalises them (Huang et al. 2024, reward normalisation)."""
    assert run.spec.model is not None
    rewards = [value for values in run.values(run.examples[:STATISTICS_EXAMPLES]) for value in values]
    content = {
        "base": content_fingerprint(run.spec.model),
        "mean": statistics.fmean(rewards),
        "std": statistics.pstdev(rewards),
        "responses": len(rewards),
    }
    return {STATISTICS_FILE: json.dumps(content, indent=2) + "\n"}


def with_reward_head(network: PreTrainedModel) -> PreTrainedModel:
    """Return a sequence classifier with one label on the network's own layers, its head drawn from a normal
    distribution with standard deviation 1 / √(d + 1), d the hidden size, so that rewards start near 0 with a spread
    near 1 (Huang et al. 2024, "The N+ implementation details of RLHF with PPO").

    Raises:
        Refused: transformers has no classifier of this architecture.
    """
    config: Any = network.config
    config.num_labels = 1
    quantization = getattr(network, "hf_quantizer", None)
    try:
        with torch.device("meta"):
            classifier: Any = AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:
        raise Refused(f"`model`: a {config.model_type} cannot be a reward model: {error}") from error
    setattr(classifier, classifier.base_model_prefix, network.base_model)
    width = config.get_text_config().hidden_size
    head = torch.nn.Linear(width, 1, bias=False, device=network.device, dtype=torch.float32)
    torch.nn.init.normal_(head.weight, std=(width + 1) ** -0.5)
    if network.dtype != torch.float32:
        head = head.to(network.dtype)
    classifier.score = head
    if quantization is not None:
        classifier.hf_quantizer = quantization
        classifier.is_quantized = True
        classifier.is_loaded_in_4bit = True
    return classifier.eval()

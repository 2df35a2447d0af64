"""What a training run leaves: the adapter or the weights, with tokenizer, template and model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.engine.events import Events
from training.engine.examples import Reading
from training.engine.model_card import TrainingCard
from training.engine.models import closing_token, load_model
from training.engine.ranking_trainer import RankingTrainer
from training.engine.spec import Spec

ARTIFACTS = {"lora": "adapter", "qlora": "adapter", "full": "weights"}
MERGED = "merged"


def save_artifacts(
    spec: Spec,
    trainer: RankingTrainer,
    tokenizer: PreTrainedTokenizerBase,
    title: str,
    train: Reading,
    held_out: Reading,
    events: Events,
    make_network: Callable[[PreTrainedModel], PreTrainedModel],
    files: Mapping[str, str],
) -> None:
    """Write what was trained and announce it; plain ``transformers`` and ``peft`` load it.

    Args:
        make_network: makes what was trained of a causal language model.
        files: names and texts of what else lies in the folders.
    """
    state = trainer.state
    counts: dict[str, float] = {
        "training examples": len(train.examples),
        "training comparisons": sum(len(example.comparisons) for example in train.examples),
        "held-out examples": len(held_out.examples),
        "optimizer steps": state.global_step,
    }
    log = state.log_history
    if spec.method.keep_best and state.best_global_step:
        counts["step of the artifact, the best measured"] = state.best_global_step
        log = [row for row in log if row.get("step", 0) <= state.best_global_step]
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    weights = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
    if not trainer.is_world_process_zero():
        return
    kind = spec.method.parameters.kind
    note = ""
    if spec.kind == "reward":
        padding_before = tokenizer.pad_token_id
        _pad_apart(model, tokenizer)
        if kind != "full" and tokenizer.pad_token_id != padding_before:
            note = (
                "transformers reads a reward at the last token that is no padding, and the base pads with a token that "
                "closes replies. After loading, set `model.config.pad_token_id = tokenizer.pad_token_id`, with the "
                f"tokenizer that lies here: it pads with `{tokenizer.pad_token}`."
            )
    card = TrainingCard(spec, title=title, counts=counts, log=log, note=note)
    with events.artifact(ARTIFACTS[kind]) as folder:
        model.save_pretrained(folder, state_dict=weights)
        finish(folder, tokenizer, card, files)
    if spec.method.merged and isinstance(model, PeftModel):
        # Last, since the adapter is gone from memory then.
        whole = model.merge_and_unload() if kind == "lora" else merged_whole(spec, make_network)
        if spec.kind == "reward":
            _pad_apart(whole, tokenizer)
        with events.artifact(MERGED) as folder:
            whole.save_pretrained(folder)
            finish(folder, tokenizer, card, files)


def merged_whole(spec: Spec, make_network: Callable[[PreTrainedModel], PreTrainedModel]) -> PreTrainedModel:
    """Return the base, not in 4 bits, with the adapter merged into it: rounded to 4 bits again, little of it would be
    left."""
    assert spec.model is not None
    network, _ = load_model(spec.model, "training", torch.device("cpu"))
    adapted: Any = PeftModel.from_pretrained(make_network(network), spec.output / ARTIFACTS["qlora"])
    merged: PreTrainedModel = adapted.merge_and_unload()
    return merged


def _pad_apart(classifier: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Pad with a token that ends no reply: transformers' classifiers read the reward at the last token that is no
    padding, and would take a closing token that doubles as padding for such."""
    config = classifier.config.get_text_config()
    ends = {tokenizer.eos_token_id, closing_token(tokenizer)}
    if tokenizer.pad_token_id in ends:
        free = [
            (number, token.content)
            for number, token in sorted(tokenizer.added_tokens_decoder.items())
            if token.special and number not in ends and number < config.vocab_size
        ]
        named = [each for each in free if "pad" in each[1].lower()]
        if free:
            tokenizer.pad_token = (named or free)[0][1]
    config.pad_token_id = tokenizer.pad_token_id


def finish(
    folder: Path, tokenizer: PreTrainedTokenizerBase, card: TrainingCard, files: Mapping[str, str]
) -> None:
    """Put beside weights what they are used with: the tokenizer, the card, and further files by name and text."""
    tokenizer.save_pretrained(folder)
    card.write(folder / "README.md")
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")

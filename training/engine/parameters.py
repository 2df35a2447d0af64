"""Which parameters are trained: adapters on a frozen base, adapters on a 4-bit base, or every weight."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase
from trl.trainer import disable_dropout_in_model

from training.engine.files import models_cache, put_in_place
from training.engine.methods import ModelSpec, ParametersSpec
from training.engine.models import (
    load_model,
    load_tokenizer,
    load_weights,
    locate_base,
    model_fingerprint,
)
from training.engine.refusal import Refused

Task = Literal["CAUSAL_LM", "SEQ_CLS"]
QLORA_PACKAGE = "bitsandbytes"
BLOCK = 64
"""Weights that share a scale in 4-bit NormalFloat. A CPU's kernels take whole blocks only."""


def load_for_training(
    model: ModelSpec, parameters: ParametersSpec, device: torch.device
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model to train `parameters` of, its own dropout switched off, and its tokenizer.

    Full training is in float32 unless the model's dtype says otherwise: small steps vanish when they are added to
    bfloat16 weights. Adapters are float32 whatever the base is.

    Raises:
        Refused: as `load_model`, or 4-bit weights cannot be had here.
        Unavailable: as `load_model`.
    """
    if parameters.kind == "full" and model.dtype == "auto":
        model = dataclasses.replace(model, dtype="float32")
    if parameters.kind == "qlora":
        network, tokenizer = _load_4bit(model, device)
    else:
        network, tokenizer = load_model(model, "training", device)
    disable_dropout_in_model(network)
    return network, tokenizer


def with_adapters(
    network: PreTrainedModel, parameters: ParametersSpec, task: Task
) -> PreTrainedModel | PeftModel:
    """Return the network with what is trained of it: itself if that is every weight.

    Raises:
        Refused: `parameters.target_modules` names a layer that the model does not have, or its head.
    """
    if parameters.kind == "full":
        return network
    if parameters.kind == "qlora":
        # Gradients through frozen 4-bit layers; checkpointing is the Trainer's to switch on.
        network = prepare_model_for_kbit_training(network, use_gradient_checkpointing=False)
    return get_peft_model(network, adapter_settings(network, parameters, task))


def refuse_qlora_if_impossible() -> None:
    """Raise `Refused` where 4-bit weights cannot be had: before anything is loaded."""
    if importlib.util.find_spec(QLORA_PACKAGE) is None:
        raise Refused(
            "`method.parameters.kind` qlora needs the package bitsandbytes, which is not installed here (it exists for "
            "Linux, and for Windows with CUDA). Install it, or choose lora."
        )


def adapter_settings(
    network: PreTrainedModel, parameters: ParametersSpec, task: Task = "CAUSAL_LM"
) -> LoraConfig:
    """Return PEFT's settings for adapters on a network.

    Raises:
        Refused: `parameters.target_modules` names a layer that the model does not have, or its head.
    """
    wanted = parameters.target_modules
    head = network.get_output_embeddings()
    layers = {
        name.rsplit(".", 1)[-1]
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module is not head and name != "score"
    }
    # GPT-2 has its own kind of linear layer, which PEFT adapts as well.
    layers |= {
        name.rsplit(".", 1)[-1]
        for name, module in network.named_modules()
        if type(module).__name__ == "Conv1D"
    }
    if wanted != ("all-linear",):
        unknown = [name for name in wanted if name.rsplit(".", 1)[-1] not in layers]
        if unknown or not wanted:
            raise Refused(
                f"`method.parameters.target_modules`: {', '.join(unknown) or 'nothing'} is no linear "
                "layer of the model that can have an adapter; "
                f"name some of {', '.join(sorted(layers))}, or all-linear for all of them."
            )
    return LoraConfig(
        task_type=task,
        r=parameters.rank,
        lora_alpha=parameters.alpha,  # type: ignore[arg-type]  # PEFT divides by it, as by any number
        lora_dropout=parameters.dropout,
        target_modules="all-linear" if wanted == ("all-linear",) else list(wanted),
    )


def _load_4bit(model: ModelSpec, device: torch.device) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a base in 4-bit NormalFloat with double quantization (Dettmers et al. 2023, sections 3 and 4)."""
    refuse_qlora_if_impossible()
    tokenizer = load_tokenizer(model)
    folder = merged_folder(model) if model.adapters else locate_base(model.base)
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if on_gpu else torch.float32
    try:
        network: Any = load_weights(
            str(folder),
            model.base,
            dtype,
            quantization_config=BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=dtype,
            ),
            device_map={"": device},
        )
    except ImportError as error:
        raise Refused(
            f"`method.parameters.kind` qlora: the model cannot be had in 4 bits: {error} Choose lora."
        ) from error
    if not on_gpu:
        _refuse_broken_blocks(network)
    return network.eval(), tokenizer


def _refuse_broken_blocks(network: nn.Module) -> None:
    broken = [
        f"{name} ({module.in_features})"
        for name, module in network.named_modules()
        if type(module).__name__ == "Linear4bit" and module.in_features % BLOCK
    ]
    if broken:
        raise Refused(
            f"`method.parameters.kind` qlora: on a CPU, 4-bit weights come in blocks of {BLOCK}, and the inputs of "
            f"{len(broken)} layers are no multiple of that, such as those of {broken[0]}. Choose lora."
        )


def merged_folder(model: ModelSpec) -> Path:
    """Return a folder with the model and its adapters merged: quantization is of whole weights, as they are loaded."""
    key = hashlib.sha256(json.dumps(model_fingerprint(model)).encode()).hexdigest()
    folder = models_cache() / f"merged-{key}"
    if not folder.is_dir():
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        network, _ = load_model(model, "training", torch.device("cpu"))
        network.save_pretrained(temporary)
        try:
            put_in_place(temporary, folder)
        except OSError:  # another process was first
            shutil.rmtree(temporary, ignore_errors=True)
    return folder

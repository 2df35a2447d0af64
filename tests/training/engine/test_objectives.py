"""A step on whole rankings is the step that TRL makes on all their pairs: the same loss, the same gradients."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid, softmax
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

from training.engine.events import Events
from training.engine.interrupt import Interrupt
from training.engine.models import load_tokenizer
from training.engine.objectives import DpoObjective, RewardObjective, SftObjective
from training.engine.parameters import with_adapters
from training.engine.preflight import Preflight
from training.engine.records import Ranking, comparisons, sigmoid, to_pairs, write_rankings
from training.engine.reward import with_reward_head
from training.engine.spec import Spec
from training.engine.training_run import Learner, TrainingRun, read_data, training_arguments

TIERS = {
    2: [[1], [0]],
    4: [[2], [0, 3], [1]],
    9: [[4], [0, 1], [2, 7], [3], [5, 8]],  # 6 is unranked
}
WORDS = ["good", "bad", "kind", "train", "sea", "bread", "answer", "sorry", "hat", "water"]
LEARNERS = {
    "dpo": lambda method: Learner("", DpoObjective(method), "CAUSAL_LM", lambda network: network, True),
    "reward": lambda method: Learner("", RewardObjective(method), "SEQ_CLS", with_reward_head, False),
    "sft": lambda method: Learner("", SftObjective(method), "CAUSAL_LM", lambda network: network, False),
}
Gradients = dict[str, torch.Tensor]


def rankings(responses: int, *, weights: tuple[float, ...] = (1.0, 1.0, 1.0)) -> list[Ranking]:
    """A step of rankings of unlike lengths, with ties and scores that fall from tier to tier."""
    random_ = random.Random(responses)
    tiers = TIERS[responses]
    scores = [0.0] * responses
    for place, tier in enumerate(tiers):
        for index in tier:
            scores[index] = 1.5 - 0.8 * place - 0.1 * index
    return [
        Ranking(
            prompt=[{"role": "user", "content": " ".join(random_.choices(WORDS, k=2 + 5 * number))}],
            responses=[" ".join(random_.choices(WORDS, k=random_.randint(1, 9))) for _ in range(responses)],
            tiers=tiers,
            scores=scores,
            weight=weight,
        )
        for number, weight in enumerate(weights)
    ]


def make_run(kind: str, folder: Path, model: Path, data: list[Ranking], **method: Any) -> TrainingRun:
    """A run up to where its first step begins, with adapters that are no longer 0."""
    folder.mkdir(exist_ok=True)
    write_rankings(folder / "train.parquet", data)
    spec = Spec.from_record(
        {
            "kind": kind,
            "run": "r",
            "output": str(folder / "run"),
            "model": {"base": str(model)},
            "data": {"train": str(folder / "train.parquet")},
            "method": {"batch_size": len(data), **method},
        }
    )
    events, tokenizer = Events(spec.output), load_tokenizer(spec.model)
    train, held_out = read_data(spec, tokenizer, events)
    arguments = training_arguments(spec, examples=8, measure=False)
    learner = LEARNERS[kind](spec.method)
    with Preflight(spec, events, arguments, train.examples, held_out.examples, resumed=False) as preflight:
        run = TrainingRun(
            spec,
            events,
            Interrupt(None),
            learner,
            tokenizer,
            train.examples,
            held_out.examples,
            arguments,
            preflight,
        )
    fill_adapters(run.trainer.model)
    return run


def fill_adapters(model: Any) -> None:
    for name, parameter in sorted(model.named_parameters()):
        if ".default." in name and "lora_" in name:
            random_ = torch.Generator().manual_seed(sum(name.encode()))
            parameter.data = torch.randn(parameter.shape, generator=random_) * 0.1


def trained_gradients(model: Any) -> Gradients:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad and p.grad is not None}


def step_of(run: TrainingRun) -> tuple[float, Gradients, int]:
    """Loss and gradients of the first step, over all of its passes, and how many those are."""
    trainer = run.trainer
    trainer.model.train()
    trainer.model.zero_grad()
    loss, passes = 0.0, 0
    for batch in trainer.get_train_dataloader():
        share = trainer.compute_loss(trainer.model, batch)
        share.backward()
        loss, passes = loss + share.item(), passes + 1
    return loss, trained_gradients(trainer.model), passes


def assert_same_step(found: tuple[float, Gradients, Any], loss: float, gradients: Gradients) -> None:
    assert found[0] == pytest.approx(loss, abs=1e-5)
    assert found[1].keys() == gradients.keys()
    whole = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
    assert whole > 1e-3, "there is something to learn"
    gap = torch.cat([(found[1][name] - gradient).flatten() for name, gradient in gradients.items()]).norm()
    assert gap / whole <= 1e-4


def trl_step(trainer: Any) -> tuple[float, Gradients]:
    """The same of a trainer of TRL's, on all of its data as one batch."""
    fill_adapters(trainer.model)
    trainer.model.train()
    (batch,) = trainer.get_train_dataloader()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), trained_gradients(trainer.model)


def pairs_of(data: list[Ranking], *columns: str) -> Dataset:
    pairs = [pair for ranking in data for pair in to_pairs(ranking)]
    return Dataset.from_list(
        [{name: pair[name] for name in ("prompt", "chosen", "rejected", *columns)} for pair in pairs]
    )


def trl_settings(folder: Path, pairs: Dataset) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "trl"),
        "per_device_train_batch_size": len(pairs),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
    }


LOSSES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sigmoid": ({}, {"loss_type": "sigmoid"}),
    "robust": ({"label_smoothing": 0.1}, {"loss_type": "robust", "label_smoothing": 0.1}),
    "ipo": ({"loss": "ipo"}, {"loss_type": "ipo"}),
    "length-normalised": (
        {"length_normalised": True, "beta": 2.0},
        {"loss_type": "sigmoid_norm", "beta": 2.0},
    ),
}
"""Our settings, and TRL's for the same loss."""


@pytest.mark.parametrize(
    ("responses", "loss"),
    [(2, "sigmoid"), (4, "sigmoid"), (9, "sigmoid"), (4, "robust"), (4, "ipo"), (4, "length-normalised")],
)
def test_a_dpo_step_is_trls_on_all_pairs_in_every_layout(
    responses: int, loss: str, tiny_model: Path, tmp_path: Path
) -> None:
    data = rankings(responses)
    ours, theirs = LOSSES[loss]
    pairs = pairs_of(data)
    run = make_run("dpo", tmp_path / "tree", tiny_model, data, layout="tree", **ours)
    network = AutoModelForCausalLM.from_pretrained(tiny_model)
    peer = DPOTrainer(
        model=with_adapters(network, run.method.parameters, "CAUSAL_LM"),
        args=DPOConfig(**trl_settings(tmp_path, pairs), **{"beta": 0.1, **theirs}),
        train_dataset=pairs,
        processing_class=run.tokenizer,
    )
    expected = trl_step(peer)

    assert len(pairs) == 3 * sum(1 for _ in comparisons(data[0]))
    assert_same_step(step_of(run), *expected)
    for layout, tokens in (("separate", 4096), ("auto", 4096), ("auto", 64)):
        other = make_run(
            "dpo", tmp_path / "other", tiny_model, data, layout=layout, tokens_at_once=tokens, **ours
        )
        found = step_of(other)
        assert_same_step(found, *expected)
        assert (found[2] > 1) == (tokens == 64), "a small budget divides the step into passes"


@pytest.mark.parametrize(
    ("responses", "ours", "theirs"),
    [
        (2, {}, {}),
        (4, {}, {}),
        (9, {}, {}),
        (4, {"margin_scale": 1.0}, {}),
        (4, {"centring": 0.01}, {"center_rewards_coefficient": 0.01}),
    ],
)
def test_a_reward_step_is_trls_on_all_pairs_in_every_layout(
    responses: int, ours: dict[str, Any], theirs: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    data = rankings(responses)
    pairs = pairs_of(data, *(["margin"] if "margin_scale" in ours else []))
    run = make_run("reward", tmp_path / "tree", tiny_model, data, layout="tree", **ours)
    torch.manual_seed(0)
    network = with_reward_head(AutoModelForCausalLM.from_pretrained(tiny_model))
    network.score.load_state_dict(run.trainer.model.get_base_model().score.original_module.state_dict())
    peer = RewardTrainer(
        model=with_adapters(network, run.method.parameters, "SEQ_CLS"),
        args=RewardConfig(**trl_settings(tmp_path, pairs), **theirs),
        train_dataset=pairs,
        processing_class=run.tokenizer,
    )
    expected = trl_step(peer)
    assert any("score" in name for name in expected[1]), "the head is trained as well"

    assert_same_step(step_of(run), *expected)
    for layout in ("separate", "auto"):
        other = make_run("reward", tmp_path / "other", tiny_model, data, layout=layout, **ours)
        assert_same_step(step_of(other), *expected)


def log_probs(run: TrainingRun, ranking: Ranking) -> tuple[list[torch.Tensor], list[int]]:
    """Log-probabilities and lengths of a ranking's responses, by the model's plain forward pass on each."""
    start = len(
        run.tokenizer.apply_chat_template(ranking.prompt, add_generation_prompt=True, return_dict=False)
    )
    scores, counts = [], []
    for response in ranking.responses:
        messages = [*ranking.prompt, {"role": "assistant", "content": response}]
        ids = run.tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=False)
        table = run.trainer.model(input_ids=ids).logits[0, start - 1 : -1].log_softmax(-1)
        scores.append(table.gather(-1, ids[0, start:, None]).sum())
        counts.append(ids.shape[1] - start)
    return scores, counts


def values(run: TrainingRun, ranking: Ranking) -> list[torch.Tensor]:
    """What DPO orders by: β times the log-ratio to the model without its adapter."""
    scores, _ = log_probs(run, ranking)
    with run.trainer.model.disable_adapter(), torch.no_grad():
        before, _ = log_probs(run, ranking)
    return [0.1 * (now - then) for now, then in zip(scores, before, strict=True)]


def over_pairs(
    loss_of: Callable[[Ranking, torch.Tensor, float], torch.Tensor],
) -> Callable[..., torch.Tensor]:
    """The mean of a loss, given a ranking, a lead and a difference of scores, over all comparisons."""

    def compute(run: TrainingRun, data: list[Ranking]) -> torch.Tensor:
        losses = []
        for ranking in data:
            value = values(run, ranking)
            losses += [
                loss_of(ranking, value[better] - value[worse], ranking.scores[better] - ranking.scores[worse])
                for better, worse in comparisons(ranking)
            ]
        return torch.stack(losses).mean()

    return compute


def by_order(run: TrainingRun, data: list[Ranking], *, top_only: bool = False) -> torch.Tensor:
    losses = []
    for ranking in data:
        value, loss = values(run, ranking), torch.zeros(())
        for place, tier in enumerate(ranking.tiers[:1] if top_only else ranking.tiers):
            lower = [value[index] for worse in ranking.tiers[place + 1 :] for index in worse]
            for index in tier if lower else []:
                loss = loss - softmax(torch.stack([value[index], *lower]), 0)[0].log()
        losses.append(ranking.weight * loss)
    return torch.stack(losses).mean()


def with_imitation(run: TrainingRun, data: list[Ranking]) -> torch.Tensor:
    loss = over_pairs(lambda ranking, lead, _: -ranking.weight * logsigmoid(lead))(run, data)
    for ranking in data:
        scores, counts = log_probs(run, ranking)
        best = ranking.tiers[0][0]
        loss = loss - 0.2 * ranking.weight * scores[best] / counts[best] / len(data)
    return loss


DIRECT: dict[str, tuple[dict[str, Any], Callable[..., torch.Tensor]]] = {
    "weights": ({}, over_pairs(lambda ranking, lead, _: -ranking.weight * logsigmoid(lead))),
    "weights off": ({"weighted": False}, over_pairs(lambda ranking, lead, _: -logsigmoid(lead))),
    "soft labels": (
        {"soft_labels": True},
        over_pairs(
            lambda ranking, lead, gap: -ranking.weight
            * (sigmoid(gap) * logsigmoid(lead) + (1 - sigmoid(gap)) * logsigmoid(-lead))
        ),
    ),
    "margins": ({"margin_scale": 0.5}, over_pairs(lambda r, lead, gap: -r.weight * logsigmoid(lead - 0.5 * gap))),
    "Plackett-Luce": ({"objective": "plackett_luce"}, by_order),
    "top choice": ({"objective": "top_choice"}, lambda run, data: by_order(run, data, top_only=True)),
    "imitation of the best": ({"nll_weight": 0.2}, with_imitation),
}  # fmt: skip
"""Settings, and the loss of a step from its definition."""


@pytest.mark.parametrize("name", DIRECT)
def test_a_dpo_step_is_what_its_settings_say(name: str, tiny_model: Path, tmp_path: Path) -> None:
    data = rankings(4, weights=(1.0, 0.5, 2.0))
    method, direct = DIRECT[name]
    # A small budget, so that the shares of several passes must add up.
    run = make_run("dpo", tmp_path / "a", tiny_model, data, tokens_at_once=64, **method)
    found = step_of(run)
    assert found[2] > 1
    run.trainer.model.zero_grad()

    loss = direct(run, data)
    loss.backward()

    assert_same_step(found, loss.item(), trained_gradients(run.trainer.model))


def test_an_sft_step_imitates_the_best_by_its_tokens(tiny_model: Path, tmp_path: Path) -> None:
    data = rankings(4, weights=(1.0, 0.5, 2.0))
    run = make_run("sft", tmp_path / "a", tiny_model, data, tokens_at_once=32)
    found = step_of(run)
    run.trainer.model.zero_grad()
    scored = [log_probs(run, ranking) for ranking in data]
    best = data[0].tiers[0][0]
    tokens = sum(counts[best] for _, counts in scored)

    loss = -sum(r.weight * scores[best] for r, (scores, _) in zip(data, scored, strict=True)) / tokens
    loss.backward()

    assert_same_step(found, loss.item(), trained_gradients(run.trainer.model))


@pytest.mark.parametrize(("which", "pairs"), [("all", 5), ("adjacent", 4), ("best_worst", 1)])
def test_the_pairs_that_are_wanted_count(which: str, pairs: int, tiny_model: Path, tmp_path: Path) -> None:
    run = make_run("dpo", tmp_path / "a", tiny_model, rankings(4)[:1], pairs=which)

    (batch,) = run.trainer.get_train_dataloader()

    assert len(batch["batch"].better_P) == pairs
    assert batch["batch"].packed.responses == (2 if which == "best_worst" else 4), (
        "the others are not computed"
    )


def test_before_the_first_step_every_pair_is_a_coin_toss(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run("dpo", tmp_path / "a", tiny_model, rankings(4))
    for name, parameter in run.trainer.model.named_parameters():
        if "lora_B" in name:
            parameter.data.zero_()

    # Packed as in training against the reference as it was scored: no difference at all.
    assert step_of(run)[0] == pytest.approx(math.log(2), abs=1e-6)


def test_a_reward_head_starts_as_small_as_it_says(tiny_model: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(tiny_model)
    weights = []
    for seed in range(40):
        torch.manual_seed(seed)
        weights.append(with_reward_head(network).score.weight.detach())

    assert torch.cat(weights).std().item() == pytest.approx((32 + 1) ** -0.5, rel=0.1)
    assert weights[0].shape == (1, 32)


def test_figures_while_training_are_those_of_its_pairs(tiny_model: Path, tmp_path: Path) -> None:
    data = rankings(4)
    run = make_run("dpo", tmp_path / "a", tiny_model, data, tokens_at_once=64)
    step_of(run)
    logs: dict[str, float] = {"loss": 1.0}
    run.trainer.log(logs)
    leads = []
    for ranking in data:
        value = values(run, ranking)
        leads += [(value[better] - value[worse]).item() for better, worse in comparisons(ranking)]

    told = run.trainer.state.log_history[-1]

    assert told["accuracy"] == pytest.approx(sum(lead > 0 for lead in leads) / len(leads))
    assert told["margin"] == pytest.approx(sum(leads) / len(leads), abs=1e-5)

"""Roles on one backbone are what each of them would be in a model of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForSequenceClassification
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BloomConfig,
    BloomForSequenceClassification,
    FalconConfig,
    FalconForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

from tests.training.engine.ppo_runs import with_dropout
from training.engine.actor_critic import ActorCritic, RewardLoader, RewardRole, Role
from training.engine.judging import Judge
from training.engine.methods import ModelSpec, ParametersSpec
from training.engine.models import closing_tokens, encode_prompt, end_tokens
from training.engine.packing import Work
from training.engine.ppo_losses import just_mine
from training.engine.ppo_settings import PpoMethod
from training.engine.refusal import Refused
from training.engine.reward_models import RewardFolder
from training.engine.rollout import Episode, PassMaker, Task

CPU = torch.device("cpu")
OTHER_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TINY: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.2,
}
METHOD = PpoMethod(temperature=0.7, parameters=ParametersSpec(rank=4))


@pytest.fixture
def loaded(tiny_model: Path, tiny_reward: Path) -> tuple[ActorCritic, Any]:
    torch.manual_seed(0)
    folder = RewardFolder.read(str(tiny_reward), "data.rewards[0]", normalise=True)
    models, tokenizer = ActorCritic.load(ModelSpec(base=str(tiny_model)), METHOD, [folder], None, CPU)
    with torch.no_grad():
        for name, parameter in models.policy.parameters().items():
            if "lora_B" in name:  # away from the reference
                torch.nn.init.normal_(parameter, std=0.1)
    return models, tokenizer


@pytest.fixture
def tasks(loaded: tuple[ActorCritic, Any]) -> list[Task]:
    messages = [[{"role": "user", "content": text}] for text in ("How is the day?", "Who are you, train?")]
    return [
        Task(str(n), tuple(each), tuple(each), tuple(encode_prompt(loaded[1], each)))
        for n, each in enumerate(messages)
    ]


@pytest.fixture
def episodes(loaded: tuple[ActorCritic, Any]) -> list[Episode]:
    """Two that ended, one of them at once, and one that was cut."""
    models, tokenizer = loaded
    (end,) = end_tokens(models.policy.network, tokenizer)
    return [
        Episode(0, (40, 41, 42, end), True),
        Episode(0, (end,), True),
        Episode(1, (50, 51, 52, 53, 54), False),
    ]


def maker(tokens_at_once: int = 10_000) -> PassMaker:
    return PassMaker(Work(attention=1e-4), "auto", 2, tokens_at_once)


def passes(tasks: list[Task], episodes: list[Episode]) -> Any:
    prompts, responses = [tasks[e.task].tokens for e in episodes], [e.tokens for e in episodes]
    (only,) = maker().passes(prompts, responses, range(len(episodes)))
    return only


def test_log_probabilities_are_the_models_own_divided_by_the_temperature(
    loaded: tuple[ActorCritic, Any], tasks: list[Task], episodes: list[Episode], tiny_model: Path
) -> None:
    models, _ = loaded
    plain = AutoModelForCausalLM.from_pretrained(tiny_model)
    one = passes(tasks, episodes)

    with torch.no_grad(), models.reference.active():
        reference_N = models.reference.log_probs(one.packed)
    with torch.no_grad(), models.policy.active():
        policy_N = models.policy.log_probs(one.packed)

    expected = []
    for row in one.rows_S.tolist():
        prompt, response = tasks[episodes[row].task].tokens, episodes[row].tokens
        ids = torch.tensor([[*prompt, *response]])
        with torch.no_grad():
            table = (plain(ids).logits[0, len(prompt) - 1 : -1] / 0.7).log_softmax(-1)
        expected.append(table.gather(-1, ids[0, len(prompt) :, None]).squeeze(-1))
    torch.testing.assert_close(reference_N, torch.cat(expected), rtol=1e-4, atol=1e-4)
    assert (policy_N - reference_N).abs().max() > 0.01


@pytest.mark.parametrize("clip", [5.0, 0.1])
def test_scores_are_the_reward_models_own_at_the_end_of_the_whole_conversation_normalised_and_clipped(
    clip: float,
    loaded: tuple[ActorCritic, Any],
    tasks: list[Task],
    episodes: list[Episode],
    tiny_reward: Path,
) -> None:
    models, tokenizer = loaded
    judge = Judge(tokenizer, models.rewards, None, None, maker(60), CPU, clip, 0.0, just_mine)
    statistics = json.loads((tiny_reward / "reward.json").read_text())
    plain: Any = AutoPeftModelForSequenceClassification.from_pretrained(tiny_reward, num_labels=1).eval()

    with torch.no_grad():
        found_B = judge.scores(tasks, episodes)

    for episode, score in zip(episodes, found_B.tolist(), strict=True):
        ids = torch.tensor([[*tasks[episode.task].tokens, *episode.text_tokens, *closing_tokens(tokenizer)]])
        with torch.no_grad():
            hidden = plain.base_model.model.model(ids).last_hidden_state[0, -1]
            reward = float(plain.base_model.model.score(hidden))
        expected = (reward - statistics["mean"]) / statistics["std"]
        assert score == pytest.approx(max(-clip, min(clip, expected)), abs=1e-3)


def test_an_ensemble_is_normalised_member_by_member(
    loaded: tuple[ActorCritic, Any], tasks: list[Task], episodes: list[Episode]
) -> None:
    """Of a member that gives s and one that gives s − 1, the mean is s − 0.5 and the spread 0.5."""
    models, tokenizer = loaded
    (one,) = models.rewards
    both = [one, RewardRole(one.role, one.mean + one.std, one.std, None)]

    def scores(rewards: list[RewardRole], penalty: float) -> torch.Tensor:
        judge = Judge(tokenizer, rewards, None, None, maker(), CPU, 100.0, penalty, just_mine)
        with torch.no_grad():
            return judge.scores(tasks, episodes)

    torch.testing.assert_close(scores(both, 2.0), scores([one], 0.0) - 0.5 - 2 * 0.5)


def test_rewards_have_mean_0_and_spread_1_on_what_the_reward_model_was_trained_on(tiny_reward: Path) -> None:
    statistics = json.loads((tiny_reward / "reward.json").read_text())

    assert statistics["responses"] == 16 * 3
    assert statistics["std"] > 0
    assert len(statistics["base"]) == 2  # the weights' hash and the configuration's


def test_the_value_function_starts_as_the_normalised_reward(
    loaded: tuple[ActorCritic, Any], tasks: list[Task], episodes: list[Episode]
) -> None:
    models, _ = loaded
    one, reward = passes(tasks, episodes), models.rewards[0]

    with torch.no_grad(), models.value.active():
        values_S = models.value.values(one.packed, one.packed.ends_S)
    with torch.no_grad(), reward.role.active():
        rewards_S = reward.role.values(one.packed, one.packed.ends_S)

    torch.testing.assert_close(values_S, (rewards_S - reward.mean) / reward.std, rtol=1e-4, atol=1e-4)


def test_each_role_that_learns_has_a_gradient_of_its_own_and_the_base_none(
    loaded: tuple[ActorCritic, Any], tasks: list[Task], episodes: list[Episode]
) -> None:
    models, _ = loaded
    one = passes(tasks, episodes)

    with models.policy.active():
        models.policy.log_probs(one.packed).sum().backward()
    with models.value.active():
        models.value.values(one.packed, one.packed.sources_N).sum().backward()

    trained = {name: role.parameters() for name, role in models.trained.items()}
    for name, parameters in trained.items():
        assert all(p.grad is not None and bool(p.grad.ne(0).any()) for p in parameters.values()), name
    own = {id(p) for parameters in trained.values() for p in parameters.values()}
    others = [p for p in models.backbone.parameters() if id(p) not in own]
    assert others and all(p.grad is None for p in others)


def test_recomputed_activations_give_the_same_gradient(
    loaded: tuple[ActorCritic, Any], tasks: list[Task], episodes: list[Episode]
) -> None:
    models, _ = loaded
    one = passes(tasks, episodes)
    computed: list[int] = []
    models.policy.network.model.layers[0].mlp.register_forward_pre_hook(lambda *_: computed.append(1))

    def gradient(recomputed: bool) -> torch.Tensor:
        computed.clear()
        with models.checkpointing(recomputed), models.policy.active():
            models.policy.log_probs(one.packed).sum().backward()
        assert len(computed) == 1 + recomputed
        found = torch.cat([p.grad.flatten() for p in models.policy.parameters().values()])
        models.backbone.zero_grad()
        return found

    torch.testing.assert_close(gradient(True), gradient(False), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_reward_adapter_that_was_trained_with_dropout_drops_nothing_here(
    checkpointing: bool,
    tiny_model: Path,
    tiny_reward: Path,
    tmp_path: Path,
    tasks: list[Task],
    episodes: list[Episode],
) -> None:
    """Neither as a reward nor as the value function that starts from it."""
    copy = with_dropout(tiny_reward, tmp_path / "reward")
    folder = RewardFolder.read(str(copy), "data.rewards[0]", normalise=True)
    models, _ = ActorCritic.load(ModelSpec(base=str(tiny_model)), METHOD, [folder], None, CPU)
    one = passes(tasks, episodes)

    for role in (models.value, models.rewards[0].role):
        with models.checkpointing(checkpointing), role.active():
            drawn = [role.values(one.packed, one.packed.ends_S) for _ in range(2)]
        torch.testing.assert_close(drawn[0], drawn[1], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("network", "rate"),
    [
        (OPTForCausalLM(OPTConfig(**TINY, ffn_dim=32, dropout=0.5, word_embed_proj_dim=16)), "dropout"),
        (FalconForCausalLM(FalconConfig(**TINY, hidden_dropout=0.5)), "hidden_dropout"),
        (Starcoder2ForCausalLM(Starcoder2Config(**TINY, residual_dropout=0.5)), "residual_dropout"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_layers_that_are_recomputed_drop_nothing(network: Any, rate: str) -> None:
    """Whether a layer, what lies in it, or the configuration says how much is dropped in training mode."""
    network = network.eval()
    role = Role(network, head=torch.nn.Linear(16, 1))
    models = ActorCritic(Any, role, role, role, [], None)  # type: ignore[arg-type]
    ids = torch.arange(10)[None] + 3
    expected = network(ids).logits

    with models.checkpointing(True):
        found = network(ids).logits

    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert getattr(network.config, rate) == 0.5, "as it is saved"


@pytest.mark.parametrize("template", [None, OTHER_TEMPLATE])
def test_a_whole_reward_model_reads_each_response_alone_and_with_its_own_tokenizer(
    template: str | None, tasks: list[Task], episodes: list[Episode], tiny_model: Path, tmp_path: Path
) -> None:
    """How rows are laid out was tried on the policy; ALiBi, for one, does not take several texts in a row."""
    policys, own = AutoTokenizer.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    own.chat_template = template or own.chat_template
    torch.manual_seed(0)
    config = BloomConfig(
        vocab_size=len(own), hidden_size=16, n_layer=2, n_head=4, num_labels=1, initializer_range=0.5
    )
    BloomForSequenceClassification(config).save_pretrained(tmp_path)
    own.save_pretrained(tmp_path)
    folder = RewardFolder.read(str(tmp_path), "data.rewards[0]", normalise=False)
    reward = RewardLoader(None, policys, CPU).load(folder, "reward-0")
    assert (reward.tokenizer is None) == (template is None), (
        "the policy's tokens are read where they are the same"
    )
    judge = Judge(policys, [reward], None, None, maker(), CPU, 1e9, 0.0, just_mine)
    plain = BloomForSequenceClassification.from_pretrained(tmp_path).eval()

    with torch.no_grad():
        found_B = judge.scores(tasks, episodes)
        for episode, score in zip(episodes, found_B.tolist(), strict=True):
            prompt = encode_prompt(own, tasks[episode.task].shown)
            said = (
                own.encode(judge.text(episode), add_special_tokens=False) if template else episode.text_tokens
            )
            ids = torch.tensor([[*prompt, *said, *closing_tokens(own)]])
            reward_of = plain.score(plain.transformer(ids).last_hidden_state[0, -1])
            assert score == pytest.approx(float(reward_of), rel=1e-4, abs=1e-5)


def test_a_reward_model_that_is_no_decoder_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    config.num_labels = 1
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    folder = RewardFolder.read(str(tmp_path), "data.rewards[0]", normalise=False)

    with pytest.raises(Refused, match="must be a decoder that gives one number a response"):
        folder.load_whole(CPU)


def test_passes_within_a_token_budget_give_what_one_pass_gives(
    loaded: tuple[ActorCritic, Any], tasks: list[Task], episodes: list[Episode]
) -> None:
    models, _ = loaded
    prompts, responses = [tasks[e.task].tokens for e in episodes], [e.tokens for e in episodes]
    mask_BT = torch.arange(5) < torch.tensor([[4], [1], [5]])
    found = []
    for budget in (10_000, 30):
        values_BT = torch.zeros(3, 5)
        made = maker(budget).passes(prompts, responses, range(3))
        assert (len(made) == 1) == (budget == 10_000)
        with torch.no_grad(), models.policy.active():
            for each in made:
                each.put(values_BT, mask_BT, models.policy.log_probs(each.packed))
                torch.testing.assert_close(
                    each.pick(values_BT, mask_BT), models.policy.log_probs(each.packed)
                )
        found.append(values_BT)

    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)
    assert bool((found[0] != 0).equal(mask_BT))

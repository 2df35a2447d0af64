"""What a *ppo* run shows on its way, and what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerBase

from training.engine.actor_critic import POLICY
from training.engine.artifacts import ARTIFACTS, MERGED, finish, merged_whole
from training.engine.events import Events
from training.engine.model_card import TrainingCard
from training.engine.ppo_checkpoints import Progress
from training.engine.ppo_losses import kl_estimates
from training.engine.ppo_settings import PpoMethod
from training.engine.refusal import Refused
from training.engine.rollout import Experience, Task
from training.engine.spec import Spec

if TYPE_CHECKING:
    from training.engine.ppo_setup import Setup


def show_samples(setup: Setup, tasks: Sequence[Task], experience: Experience, step: int) -> None:
    """Tell some of a rollout's responses with their scores, evenly from the best to the worst."""
    kl_BT = kl_estimates(experience.log_probs_BT, experience.reference_BT, setup.spec.method.kl_estimator)
    kl_B = kl_BT.masked_fill(~experience.mask_BT, 0).sum(-1)
    mine = [
        (float(score), float(kl), list(tasks[each.task].messages), setup.judge.text(each), len(each.tokens))
        for each, score, kl in zip(experience.episodes, experience.scores_B, kl_B, strict=True)
    ]
    ranked = sorted(setup.processes.gather(mine), key=lambda each: -each[0])
    for number in evenly(len(ranked), setup.spec.method.shown):
        score, kl, messages, text, length = ranked[number]
        setup.events.sample(
            messages, text, step=step, scores={"score": score, "kl": kl, "length": float(length)}
        )


def evenly(count: int, wanted: int) -> list[int]:
    """Return so many numbers below `count`, evenly from the first to the last."""
    if wanted >= count or wanted < 2:
        return list(range(min(count, wanted)))
    return [round(place * (count - 1) / (wanted - 1)) for place in range(wanted)]


def save_policy(setup: Setup, progress: Progress) -> None:
    """Write the policy as a model version, and announce it; plain ``transformers`` and ``peft`` load it."""
    if not setup.processes.first:
        return
    spec, method = setup.spec, setup.spec.method
    counts: dict[str, float] = {
        "prompts": len(setup.tasks),
        "responses learned from": progress.rollout * method.batch_size,
        "optimizer steps": progress.rollout * method.epochs * method.minibatches + progress.step,
        "KL coefficient, last": progress.coefficient,
    }
    title = "Proximal policy optimization"
    card = TrainingCard(spec, title=title, counts=counts, log=[progress.last])
    with setup.models.policy.active():
        leave_policy(spec, setup.events, setup.tokenizer, card, policy_of(setup))


def policy_of(setup: Setup) -> Any:
    """Return what the policy is saved from: the network itself, or PEFT's hold on it."""
    policy = setup.models.policy
    return policy.network if policy.wrapped is None else policy.wrapped


def leave_policy(
    spec: Spec, events: Events, tokenizer: PreTrainedTokenizerBase, card: TrainingCard, model: Any
) -> None:
    """Write a policy's adapter or weights, and the whole model where that is wanted.

    Args:
        spec: the run.
        events: told of the artifacts.
        tokenizer: the policy's.
        card: lies beside the weights.
        model: the network, or PEFT's hold on it with the policy as its adapter `POLICY`.
    """
    method: PpoMethod = spec.method
    kind = method.parameters.kind
    with events.artifact(ARTIFACTS[kind]) as folder:
        model.save_pretrained(folder, **({} if kind == "full" else {"selected_adapters": [POLICY]}))
        finish(folder, tokenizer, card, {})
    if not method.merged or kind == "full":
        return
    assert spec.model is not None
    if kind == "lora" and spec.model.dtype != "bfloat16":
        # Last, since the adapters are gone from memory then.
        whole = model.merge_and_unload(adapter_names=[POLICY])
    else:
        whole = merged_whole(spec, lambda network: network)
    with events.artifact(MERGED) as folder:
        whole.save_pretrained(folder)
        finish(folder, tokenizer, card, {})


def refuse_diverged(spec: Spec, failure: Exception, good: Progress | None) -> Refused:
    """Return the refusal of a run that diverged: starting again would end there again."""
    kept = (
        f"What is left is the policy of the last good checkpoint, after {good.rollout} rollouts."
        if good is not None
        else "There was no checkpoint yet, so nothing is left."
    )
    return Refused(
        f"Training diverged: {failure}. {kept} Lower `method.learning_rate` (it is {spec.method.learning_rate:g}) or "
        "raise `method.kl_coefficient`."
    )

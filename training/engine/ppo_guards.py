"""What watches over a *ppo* run: that its numbers are numbers, that its passes agree, that the policy stays within its
budget, and that it does not exploit its reward model.

N+ is Huang et al. 2024, "The N+ implementation details of RLHF with PPO".
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from training.engine.events import Events
from training.engine.over_optimisation import Watched, falling
from training.engine.ppo_checkpoints import Progress
from training.engine.ppo_losses import Total
from training.engine.ppo_settings import PpoMethod
from training.engine.rollout import Experience

RATIO_TOLERANCE = 1e-4
"""By how much the ratio of the first minibatch may differ from 1: there the policy is still the one that drew."""
MEASURED = ("log_probs_BT", "reference_BT", "values_BT", "final_values_B", "scores_B")
"""What models say of a rollout."""


class Diverged(Exception):
    """A number is not finite any more; the message says which."""


def check_finite(experience: Experience, total: Total) -> None:
    """Raise `Diverged`, in all processes, if a model says what is no number."""
    for name in MEASURED:
        values = getattr(experience, name)
        if float(total((~values.isfinite()).sum().double())):
            raise Diverged(f"{name.rsplit('_', 1)[0]} of a rollout are no finite numbers any more")


def check_gradients(norms: Mapping[str, float]) -> None:
    """Raise `Diverged` if the norm of a role's gradient, over all processes, is no number."""
    for name, norm in norms.items():
        if not math.isfinite(norm):
            raise Diverged(f"the {name}'s gradient is no finite number any more")


def check_ratio(furthest: float) -> None:
    """Raise unless the policy is still the one that drew: else log-probabilities of rollout and training differ by a
    mistake, which learning would hide (N+, ratio of the first minibatch).

    Args:
        furthest: the largest distance of a token's ratio from 1; what is no number is `check_gradients`' to tell.
    """
    if math.isfinite(furthest) and furthest > RATIO_TOLERANCE:
        raise RuntimeError(
            f"The first minibatch's ratio differs from 1 by {furthest:.2g} (at most {RATIO_TOLERANCE:g}): the passes "
            "of rollout and training do not agree on this model."
        )


def tell_if_none_ended(experience: Experience, total: Total, events: Events) -> None:
    """Say that there is nothing to learn from where every score gives way to a value."""
    if not float(total(experience.ended_B.sum().double())):
        events.log(
            "`method.truncated` bootstrap takes the scores of responses that ended alone, and no response of the "
            "rollout ended: it teaches nothing. Raise `method.max_tokens`, or set `method.truncated` to score."
        )


def keep_to_budget(progress: Progress, method: PpoMethod, kl: float, events: Events) -> None:
    """Do as the settings say where the policy has gone further than it may.

    Args:
        progress: is told to end, or to go on at half the rates.
        method: the budget.
        kl: of the rollout, nats a response.
        events: told why.
    """
    budget = method.kl_budget
    if budget is None or kl <= budget:
        return
    beyond = f"the KL is {kl:.3g} nats a response, beyond the budget of {budget:g}"
    if method.on_kl_budget == "stop":
        progress.over = beyond
        events.log(f"Stopped after {progress.rollout} rollouts: {beyond}.")
    else:
        progress.rate_factor /= 2
        events.log(
            f"Rates are halved, to {progress.rate_factor:g} of what they would be, after {progress.rollout} rollouts: "
            f"{beyond}."
        )


def watch(
    progress: Progress,
    method: PpoMethod,
    values: Mapping[str, float],
    independent: Mapping[str, float],
    events: Events,
) -> dict[str, float]:
    """Look at what independent scorers say of a rollout; where they fall while the reward rises, the policy has found
    what the reward model does not know (Gao et al. 2022, "Scaling laws for reward model overoptimization").

    Args:
        progress: remembers it, and may be told to end.
        method: over how many rollouts, and what follows.
        values: figures of the rollout, ``score`` among them, and ``kl`` where it is measured.
        independent: mean scores by scorer; empty: nobody watches.
        events: told of an alarm.

    Returns:
        Further figures: each scorer's, √KL that Gao et al. draw them against, and whether the alarm rings.
    """
    if not independent:
        return {}
    progress.watched.append(Watched(values["score"], dict(independent)))
    alarmed = falling(progress.watched, method.watch_window)
    kl = values.get("kl")
    if alarmed:
        events.log(
            f"Alarm: over the last {2 * method.watch_window} rollouts the reward rose while {' and '.join(alarmed)} "
            f"fell{'' if kl is None else f', at a KL of {kl:.3g} nats a response'}: the policy may be exploiting the "
            "reward model. Compare earlier checkpoints, raise `method.kl_coefficient`, or train the reward model on "
            "new responses."
        )
        if method.on_alarm == "stop":
            progress.over = "an independent scorer fell while the reward rose"
    return {
        **{f"watch/{name}": value for name, value in independent.items()},
        **({} if kl is None else {"watch/sqrt_kl": math.sqrt(max(0.0, kl))}),
        "watch/alarm": float(bool(alarmed)),
    }

"""A *dpo* run: direct preference optimization of a model version on whole rankings.

Rafailov et al. 2023, "Direct Preference Optimization: Your Language Model is Secretly a Reward Model".
"""

from __future__ import annotations

from training.engine.events import Events
from training.engine.interrupt import Interrupt
from training.engine.objectives import DpoObjective
from training.engine.spec import Spec
from training.engine.training_run import Learner, train


def run(spec: Spec, events: Events, interrupt: Interrupt) -> None:
    """Train `spec.model` on the rankings of `spec.data.train`; see `training.engine.training_run.train`."""
    learner = Learner(
        title="Direct preference optimization",
        objective=DpoObjective(spec.method),
        task="CAUSAL_LM",
        make_network=lambda network: network,
        has_references=True,
    )
    train(spec, events, interrupt, learner)

"""An *sft* run: instruction tuning on the best responses of rankings, or on conversations to imitate.

Only the response's tokens count (Ouyang et al. 2022, section 3.5).
"""

from __future__ import annotations

from training.engine.events import Events
from training.engine.interrupt import Interrupt
from training.engine.objectives import SftObjective
from training.engine.spec import Spec
from training.engine.training_run import Learner, train


def run(spec: Spec, events: Events, interrupt: Interrupt) -> None:
    """Train `spec.model` on `spec.data.train`; see `training.engine.training_run.train`."""
    learner = Learner(
        title="Instruction tuning",
        objective=SftObjective(spec.method),
        task="CAUSAL_LM",
        make_network=lambda network: network,
        has_references=False,
    )
    train(spec, events, interrupt, learner)

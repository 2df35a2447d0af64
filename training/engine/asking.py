"""``python -m training.engine --preflight SPEC.json``: what a run needs, without carrying it out."""

from __future__ import annotations

import json

from training.engine.estimate import Estimator
from training.engine.events import Events
from training.engine.memory import free_memory
from training.engine.models import choose_device, load_tokenizer
from training.engine.parameters import refuse_qlora_if_impossible
from training.engine.ppo_preflight import estimator_of
from training.engine.ppo_setup import read_tasks, reward_folders
from training.engine.preflight import Estimating, as_record, refuse_too_big, table
from training.engine.refusal import Refused
from training.engine.spec import TRAINS, Spec
from training.engine.training_run import read_data, refuse_impossible_sharding


def tell_needs(spec: Spec) -> None:
    """Print the estimate of a training run as a table, and as JSON in the last line; nothing is written or loaded but
    data, tokenizer and configuration.

    Raises:
        Refused: the run would be, too; the sentence says what would fit.
    """
    if spec.kind not in TRAINS:
        raise Refused(f"Only runs of kind {', '.join(TRAINS)} have a preflight, not {spec.kind}.")
    assert spec.model is not None, "a training run has a model"
    if spec.kind != "ppo":
        refuse_impossible_sharding(spec)
    if spec.method.parameters.kind == "qlora":
        refuse_qlora_if_impossible()
    tokenizer, silent, device = load_tokenizer(spec.model), Events(spec.output, silent=True), choose_device()
    estimator: Estimating
    if spec.kind == "ppo":
        tasks = read_tasks(spec, tokenizer, silent)
        estimator = estimator_of(spec, tasks, *reward_folders(spec), device, processes=spec.processes)
    else:
        train, held_out = read_data(spec, tokenizer, silent)
        estimator = Estimator(spec, train.examples, held_out.examples, device, processes=spec.processes)
    free = free_memory(device)
    if device.type == "cpu":
        # Its processes are taken to share this machine.
        free //= spec.processes
    estimate = estimator.estimate(estimator.setup, free)
    print(table(estimate))
    print(json.dumps(as_record(estimate)), flush=True)
    refuse_too_big(estimate, estimator)

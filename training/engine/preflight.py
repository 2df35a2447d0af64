"""Before a run takes a device for long: what it will need against what there is, and one pass to try it.

What a run is estimated to need and what it then needed are left beside each other in ``preflight.json``, so that the
estimate can be held to account.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from accelerate.utils import gather_object
from transformers import TrainingArguments

from training.engine.batches import Examples
from training.engine.dry_run import dry_run, ran_out_of_memory
from training.engine.estimate import Estimate, Estimator
from training.engine.events import Events
from training.engine.examples import Example
from training.engine.memory import PeakMemory, free_memory, give_freed_memory_back
from training.engine.needs import Setup, smaller_setups
from training.engine.objectives import Objective
from training.engine.packing import Layout
from training.engine.parameters import QLORA_PACKAGE
from training.engine.refusal import Refused
from training.engine.spec import Spec

ARTIFACT = "preflight.json"
FEWEST_PASSES = 10
"""A shorter run has no dry run: it is one itself."""
SHARE_FOR_COMFORT = 0.8
"""Of the free memory: a run that may grow beyond it gives freed memory back at once, which takes time."""
SHARE_AFTER_FAILURE = 0.75
"""When a pass failed for want of memory, another setup is proposed if its estimate is below this share of the failed
one's: that one was too low by an unknown amount."""


class Estimating(Protocol):
    """Estimates a run in different setups."""

    setup: Setup
    """The one that the spec asks for."""

    @property
    def longest(self) -> int:
        """Tokens of what no pass can be smaller than."""

    def estimate(self, setup: Setup, free: int) -> Estimate:
        """Return what the run needs in a setup, where so many bytes are free."""


class Preflight:
    """The checks of one training run; entered while it runs, to measure what it takes.

    Args:
        spec: the run.
        events: told what is found.
        arguments: the Trainer's.
        train: examples to learn from.
        held_out: what is measured on; may be empty.
        resumed: whether the run goes on from a checkpoint; it was tried out when it began.
        free: bytes that are free; by default they are looked up.

    Raises:
        Refused: the run does not fit; the sentence says what would.
    """

    def __init__(
        self,
        spec: Spec,
        events: Events,
        arguments: TrainingArguments,
        train: Sequence[Example],
        held_out: Sequence[Example],
        *,
        resumed: bool,
        free: int | None = None,
    ) -> None:
        self._events = events
        self._arguments = arguments
        self._resumed = resumed
        self._binding: bool = spec.method.preflight
        self._sharded = spec.method.sharding != "none"
        self._memory = PeakMemory(arguments.device)
        self._estimator_in = partial(
            Estimator,
            spec,
            train,
            held_out,
            arguments.device,
            processes=arguments.world_size,
            rank=arguments.process_index,
        )
        self._tried: dict[str, float] | None = None
        self._started = time.perf_counter()
        self._go_by(
            self._estimator_in(), min(self._of_all(free_memory(arguments.device))) if free is None else free
        )

    def __enter__(self) -> Self:
        self._memory.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._memory.__exit__(kind, error, trace)

    def estimate_again(self, layout: Layout) -> None:
        """Go by another layout than the spec asks for, since the model takes no other.

        Raises:
            Refused: the run does not fit in it; the sentence says what would.
        """
        self._go_by(self._estimator_in(layout=layout), self.estimate.free)

    def _go_by(self, estimator: Estimator, free: int) -> None:
        self._estimator = estimator
        self.estimate = estimator.estimate(estimator.setup, free)
        if self._arguments.device.type == "cpu" and self.estimate.most_growth > SHARE_FOR_COMFORT * free:
            give_freed_memory_back()
        self._events.log(sentence(self.estimate))
        if self._binding:
            refuse_too_big(self.estimate, estimator)

    def try_out(self, model: Any, examples: Examples, objective: Objective) -> None:
        """Carry out the dearest pass once, if the run is long enough to be worth it, and go by what it took.

        Raises:
            Refused: there was not enough memory for it, or there will not be when the optimizer has its state.
        """
        reason = self._reason_for_no_dry_run()
        if reason:
            self._events.log(f"No dry run: {reason}.")
        else:
            self._try_out(model, examples, objective)
        self._started = time.perf_counter()

    def _reason_for_no_dry_run(self) -> str:
        if not self._binding:
            return "`method.preflight` is off"
        if self._resumed:
            return "the run goes on from a checkpoint"
        if self._sharded:
            return "the model is divided among processes only when training begins"
        if self.estimate.passes < FEWEST_PASSES:
            return f"the whole run is {self.estimate.passes} passes"
        return ""

    def _try_out(self, model: Any, examples: Examples, objective: Objective) -> None:
        batch = examples.__getitems__(self.estimate.dearest)
        self._memory.take()
        seconds, failure = 0.0, ""
        try:
            seconds = dry_run(model, batch, objective, self._arguments)
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            failure = str(error).splitlines()[0]
        if self._arguments.device.type == "cuda":
            torch.cuda.empty_cache()
        peak = self._memory.take()
        failures = [each for each in self._of_all(failure) if each]
        if failures:
            within = round(SHARE_AFTER_FAILURE * min(self.estimate.free, self.estimate.needed))
            raise Refused(
                f"A dry run of the largest forward pass ran out of memory ({failures[0]}). "
                + what_would_fit(self._estimator, self._estimator.setup, within)
            )
        self._tried = {
            "bytes": peak,
            "seconds": seconds,
            "run_seconds": self.estimate.total_seconds * seconds / self.estimate.dearest_seconds,
        }
        self._events.log(
            f"A dry run of the largest forward pass took {seconds:.2g} s and {in_words(peak)}; by that the run takes "
            f"about {_duration(self._tried['run_seconds'])}."
        )
        needed = max(self._of_all(peak)) + self.estimate.terms["optimizer state"]
        if needed > self.estimate.free:
            # Others are proposed by estimates that are put right by this one's error.
            within = round(self.estimate.free * self.estimate.needed / needed)
            raise Refused(
                f"A dry run of the largest forward pass took {in_words(peak)}; with the optimizer's state the run "
                f"needs {in_words(needed)} of memory, and {in_words(self.estimate.free)} are free. "
                + what_would_fit(self._estimator, self._estimator.setup, within)
            )

    def record(self, steps: int) -> None:
        """Leave what was estimated and what came of it, after so many steps."""
        measured: dict[str, float | None] = {"bytes": max(self._of_all(self._memory.highest()))}
        whole = steps == self.estimate.steps and not self._resumed
        measured["seconds"] = time.perf_counter() - self._started if whole else None
        if self._arguments.process_index:
            return
        content = {
            "estimated": as_record(self.estimate),
            "dry_run": self._tried,
            "measured": measured,
            "relative_error": {
                "bytes": _error(self.estimate.needed, measured["bytes"]),
                "seconds": _error(self.estimate.total_seconds, measured["seconds"]),
                "dry_run_seconds": _error((self._tried or {}).get("run_seconds"), measured["seconds"]),
            },
        }
        with self._events.artifact(ARTIFACT) as file:
            file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def _of_all(self, mine: Any) -> list[Any]:
        """Return what each process says: all must come to the same decision, or some would wait for the others."""
        everyone: list[Any] = gather_object([mine]) if self._arguments.world_size > 1 else [mine]
        return everyone


def refuse_too_big(estimate: Estimate, estimator: Estimating) -> None:
    """Raise `Refused` if an estimate exceeds what is free, with what would fit."""
    if not estimate.fits:
        raise Refused(
            f"The run needs about {in_words(estimate.needed)} of memory and {in_words(estimate.free)} are free "
            f"({_largest_terms(estimate.terms)}). "
            + what_would_fit(estimator, estimate.setup, estimate.free)
            + " `method.preflight` false starts it all the same."
        )


def what_would_fit(estimator: Estimating, setup: Setup, within: int) -> str:
    """Return a sentence that names the first setup whose estimate is within so many bytes, or says that there is none
    and what the smallest would need."""
    qlora = importlib.util.find_spec(QLORA_PACKAGE) is not None
    longest = estimator.longest
    needs: dict[Setup, int] = {}
    for candidate in smaller_setups(setup, longest, qlora=qlora):
        needs[candidate] = estimator.estimate(candidate, within).needed
        if needs[candidate] <= within:
            return f"It would fit with {changes(setup, candidate)}: that needs about {in_words(needs[candidate])}."
    smallest = min(needs, key=lambda each: needs[each], default=None)
    if smallest is None:
        return "Nothing would make it smaller; take a smaller model, or more memory."
    return (
        f"Nothing would make it fit: with {changes(setup, smallest)} it would still need about "
        f"{in_words(needs[smallest])}. Take a smaller model, more memory, or shorter data (`method.max_length`; the "
        f"largest example is {longest:,} tokens)."
    )


def changes(before: Setup, after: Setup) -> str:
    """Return the settings in which two setups differ, as the second one has them."""
    told = []
    if after.tokens_at_once != before.tokens_at_once:
        told.append(f"`method.tokens_at_once` {after.tokens_at_once}")
    if after.checkpointing != before.checkpointing:
        told.append("`method.activation_checkpointing` true")
    if after.kind != before.kind:
        told.append(f"`method.parameters.kind` {after.kind}")
    return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def sentence(estimate: Estimate) -> str:
    """Return an estimate in words."""
    size = estimate.largest
    return (
        f"Estimate: {in_words(estimate.needed)} of memory ({in_words(estimate.free)} are free) and "
        f"{_duration(estimate.total_seconds)} for {estimate.steps} steps of {estimate.passes} forward passes, the "
        f"largest {size.rows} × {size.width} tokens."
    )


def table(estimate: Estimate) -> str:
    """Return an estimate as lines for people."""
    lines = [(name, in_words(value)) for name, value in estimate.terms.items()]
    lines += [("memory needed", in_words(estimate.needed)), ("memory free", in_words(estimate.free))]
    lines += [(f"{name}, time", _duration(value)) for name, value in estimate.seconds.items()]
    lines += [("steps", f"{estimate.steps:,}"), ("forward passes", f"{estimate.passes:,}")]
    size = estimate.largest
    lines.append(("largest pass", f"{size.rows} × {size.width} tokens, {size.scored:,} scored"))
    wide = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{wide}}  {value:>12}" for name, value in lines)


def as_record(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as JSON takes it."""
    size = estimate.largest
    return {
        "bytes": estimate.needed,
        "free_bytes": estimate.free,
        "seconds": estimate.total_seconds,
        "bytes_by_content": dict(estimate.terms),
        "seconds_by_phase": dict(estimate.seconds),
        "steps": estimate.steps,
        "passes": estimate.passes,
        "largest_pass": {"rows": size.rows, "width": size.width, "scored": size.scored},
        "fits": estimate.fits,
    }


def in_words(size: float) -> str:
    """Return bytes in MiB, or GiB from one on."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    for length, unit in ((86_400, "days"), (3600, "hours"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.2g} s"


def _largest_terms(terms: Mapping[str, int]) -> str:
    largest = sorted(terms.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} {in_words(value)}" for name, value in largest)


def _error(estimated: float | None, measured: float | None) -> float | None:
    return None if not measured or estimated is None else estimated / measured - 1

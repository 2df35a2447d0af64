"""The spec of a run: what ``SPEC.json`` may hold, what each setting means, and where its default comes from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from training.engine.methods import (
    DpoMethod,
    EndpointSpec,
    EvaluateData,
    EvaluateMethod,
    ModelSpec,
    RewardMethod,
    SampleData,
    SampleMethod,
    ScoreData,
    ScoreMethod,
    SftMethod,
    TrainingData,
)
from training.engine.ppo_settings import PpoData, PpoMethod
from training.engine.refusal import Refused
from training.engine.settings import convert, refuse_unknown

Kind = Literal["sample", "sft", "reward", "dpo", "ppo", "evaluate", "score"]
DATA = {
    "sample": SampleData,
    "sft": TrainingData,
    "reward": TrainingData,
    "dpo": TrainingData,
    "ppo": PpoData,
    "evaluate": EvaluateData,
    "score": ScoreData,
}
METHODS = {
    "sample": SampleMethod,
    "sft": SftMethod,
    "reward": RewardMethod,
    "dpo": DpoMethod,
    "ppo": PpoMethod,
    "evaluate": EvaluateMethod,
    "score": ScoreMethod,
}
TRAINS = ("sft", "reward", "dpo", "ppo")
"""The kinds that leave a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One run, as `python -m training.engine` takes it."""

    kind: Kind
    run: str
    """Names the run in logs."""
    seed: int
    processes: int
    """How many processes torchrun starts, one a device; the engine refuses to run in another number."""
    output: Path
    """The run's folder, absolute: events, partial output, checkpoints and artifacts lie in it."""
    lease: Path | None
    """The file that fences the run, see `training.engine.interrupt`."""
    model: ModelSpec | None
    """None only where a sample run asks an endpoint."""
    endpoint: EndpointSpec | None
    data: Any
    """The dataclass of `DATA` for this kind."""
    method: Any
    """The dataclass of `METHODS` for this kind."""

    @classmethod
    def read(cls, path: str | Path) -> Spec:
        """Read and check a spec file.

        Raises:
            Refused: the file or a field is wrong; the sentence names it.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Refused(f"The spec {path} cannot be read: {error}.") from error
        return cls.from_record(record)

    @classmethod
    def from_record(cls, record: Any) -> Spec:
        """Check a spec that was read from JSON, and fill in the defaults.

        Raises:
            Refused: a field is unknown, missing, of the wrong type or out of range; the sentence names it.
        """
        if not isinstance(record, Mapping):
            raise Refused(f"A spec must be an object, not {record!r:.80}.")
        refuse_unknown(record, [f.name for f in dataclasses.fields(cls)], "")
        kind = convert(Kind, record.get("kind"), "kind")
        model = convert(ModelSpec | None, record.get("model"), "model")
        endpoint = convert(EndpointSpec | None, record.get("endpoint"), "endpoint")
        if kind == "sample" and (model is None) == (endpoint is None):
            raise Refused("A sample run has one source: give either `model` or `endpoint`.")
        if kind != "sample" and (model is None or endpoint is not None):
            raise Refused(f"A run of kind {kind} needs a `model` and no `endpoint`.")
        seed = convert(int, record.get("seed", 0), "seed")
        if not 0 <= seed < 2**32:
            raise Refused(f"`seed` must be from 0 to {2**32 - 1}, not {seed}.")
        processes = convert(int, record.get("processes", 1), "processes")
        if processes < 1 or (processes > 1 and kind not in TRAINS):
            raise Refused(
                f"`processes` must be 1 for a run of kind {kind}, and at least 1 for {', '.join(TRAINS)}, "
                f"not {processes}."
            )
        return cls(
            kind=kind,
            run=convert(str, record.get("run"), "run"),
            seed=seed,
            processes=processes,
            output=_absolute(record.get("output"), "output"),
            lease=None if record.get("lease") is None else _absolute(record["lease"], "lease"),
            model=model,
            endpoint=endpoint,
            data=convert(DATA[kind], record.get("data"), "data"),
            method=convert(METHODS[kind], record.get("method", {}), "method"),
        )

    def to_record(self) -> dict[str, Any]:
        """Return the spec as JSON takes it, every default written out; `from_record` reads it back."""
        record = dataclasses.asdict(self)
        record["output"] = str(self.output)
        record["lease"] = None if self.lease is None else str(self.lease)
        return record


def _absolute(value: Any, name: str) -> Path:
    path = Path(convert(str, value, name))
    if not path.is_absolute():
        raise Refused(f"`{name}` must be an absolute path, not {value!r:.80}.")
    return path

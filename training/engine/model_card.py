"""The card of what a training run produced: where it comes from, how it was made, and what was measured."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.engine.events import sha256_of
from training.engine.methods import ModelSpec
from training.engine.models import HUB_NAME, locate_base
from training.engine.packaged_models import PACKAGE_PREFIX
from training.engine.spec import Spec

_FIGURES = {
    "loss": "training loss",
    "eval_loss": "held-out loss",
    "eval_accuracy": "held-out comparisons told right",
    "eval_gap": "training accuracy above held-out accuracy",
    "eval_calibration_error": "expected calibration error on held-out comparisons",
    "eval_kl": "KL from the model before training, nats a response",
    "eval_perplexity": "perplexity of general text",
    "eval_perplexity_before": "perplexity of general text before training",
    "score": "score of responses, last rollout",
    "kl": "KL from the model before training, nats a response, last rollout",
    "entropy": "entropy, nats a token, last rollout",
    "length": "length of responses in tokens, last rollout",
    "ended": "share of responses that ended, last rollout",
    "watch/reward_model": "independent reward model's score, last rollout",
    "watch/oracle": "oracle's score, last rollout",
}


@dataclass(frozen=True)
class TrainingCard:
    """A model card in the Hub's format.

    Args:
        spec: the run.
        title: the method in words.
        counts: figures to state besides those of the log.
        log: a Trainer's `log_history` up to the step of the artifact; of each figure the last is stated.
        note: what else to know when loading it.
    """

    spec: Spec
    title: str
    counts: Mapping[str, float]
    log: Sequence[Mapping[str, float]]
    note: str = ""

    def write(self, path: Path) -> None:
        """Write the card; the same run gives the same bytes."""
        path.write_text(f"---\n{self._front_matter()}---\n\n{self._text()}", encoding="utf-8")

    @property
    def _model(self) -> ModelSpec:
        assert self.spec.model is not None, "a training run has a model"
        return self.spec.model

    def _front_matter(self) -> str:
        base, kind = self._model.base, self.spec.method.parameters.kind
        entries: dict[str, Any] = {"library_name": "transformers" if kind == "full" else "peft"}
        if "/" in base and HUB_NAME.fullmatch(base):
            entries["base_model"] = base
        entries["pipeline_tag"] = "text-classification" if self.spec.kind == "reward" else "text-generation"
        entries["tags"] = ["rankloop", self.spec.kind, *([] if kind == "full" else [kind])]
        return "".join(
            f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in entries.items()
        )

    def _text(self) -> str:
        spec, model = self.spec, self._model
        lines = [
            f"# {self.title}: {spec.run}",
            "",
            "## Lineage",
            "",
            f"- Base model: `{model.base}`{_base_hash(model.base)}",
        ]
        if model.base.startswith(PACKAGE_PREFIX):
            lines.append(
                "- The base is a quantized file, dequantized before training; its quality is that file's."
            )
        for adapter in model.adapters:
            sha256 = sha256_of(Path(adapter))
            lines.append(f"- Merged into it before training: `{Path(adapter).name}`, SHA-256 `{sha256}`")
        for field in dataclasses.fields(spec.data):
            paths = getattr(spec.data, field.name)
            for path in [paths] if isinstance(paths, str) else paths or ():
                sha256 = sha256_of(Path(path))
                lines.append(f"- Data ({field.name}): `{Path(path).name}`, SHA-256 `{sha256}`")
        if spec.method.parameters.kind != "full":
            how = "Load the base model, merge what is named above into it in that order, then apply this."
            lines += ["", how]
        if self.note:
            lines += ["", self.note]
        lines += ["", "## Figures", "", "| figure | value |", "| --- | --- |"]
        lines += [f"| {name} | {value:g} |" for name, value in {**self.counts, **self._measured()}.items()]
        settings = json.dumps(spec.to_record()["method"], indent=2, ensure_ascii=False)
        lines += ["", "## Settings", "", f"Seed {spec.seed}.", "", "```json", settings, "```", ""]
        return "\n".join(lines)

    def _measured(self) -> dict[str, float]:
        last: dict[str, float] = {}
        for row in self.log:
            last |= {name: row[key] for key, name in _FIGURES.items() if key in row}
        return last


def _base_hash(base: str) -> str:
    """Return the SHA-256 of the base's weights where they lie in a folder."""
    folder = Path(locate_base(base))
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return "".join(f", `{file.name}` SHA-256 `{sha256_of(file)}`" for file in weights)

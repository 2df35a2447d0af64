"""A run's curves: which of its figures are drawn in one picture, and what people call them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

Values = Mapping[str, Mapping[int, float | None]]
"""A run's figures: by name, by step."""

# What is drawn in one picture: title, and its curves' names, as the engine reports them and for people. A name that
# ends in `*` stands for all that begin so, each under the rest of its own.
CHARTS = (
    ("Score by the reward model", {"score": "score", "reward": "less what is taken off"}),
    ("Loss", {"loss": "training", "eval_loss": "held out"}),
    ("Preferences told right, share", {"accuracy": "training", "eval_accuracy": "held out"}),
    (
        "Held-out preferences told right, by how clear they are",
        {
            "eval_accuracy/close": "close",
            "eval_accuracy/clear": "clear",
            "eval_accuracy/sure": "sure",
        },
    ),
    ("Held-out preferences told right, by aspect", {"eval_accuracy/aspect:*": ""}),
    ("Lead of the preferred response", {"margin": "training", "eval_margin": "held out"}),
    ("Training ahead of held out, share told right", {"eval_gap": "gap"}),
    ("Calibration error", {"eval_calibration_error": "held out"}),
    (
        "KL from the model before, nats",
        {
            "eval_kl": "held out",
            "eval_forward_kl": "held out, by answers of the model before",
            "kl": "responses drawn",
        },
    ),
    (
        "Perplexity of general text",
        {"eval_perplexity": "now", "eval_perplexity_before": "before training"},
    ),
    ("Entropy, nats a token", {"entropy": "responses drawn"}),
    (
        "Length of answers, tokens",
        {
            "eval_length": "held out",
            "length": "responses drawn",
            "completions/mean_length": "responses drawn",
        },
    ),
    ("Answers that end by themselves, share", {"eval_ended": "held out", "ended": "responses drawn"}),
    ("Answers that were cut, share", {"completions/clipped_ratio": "responses drawn"}),
    ("Spread of the score", {"score_spread": "of a rollout", "reward_std": "of a prompt's responses"}),
    (
        "Clipped, share of tokens",
        {
            "clip_fraction": "policy",
            "value_clip_fraction": "value function",
            "clip_ratio/region_mean": "policy",
        },
    ),
    ("Variance that the value function explains, share", {"explained_variance": "explained"}),
    ("Losses of policy and value function", {"policy_loss": "policy", "value_loss": "value function"}),
    ("The policy's change in a rollout, nats a token", {"policy_change": "change"}),
    ("Ratio to the rollout's policy", {"ratio": "mean"}),
    ("Price of KL", {"kl_coefficient": "price"}),
    ("Learning rate", {"learning_rate": "learning rate"}),
    ("Gradient norm", {"grad_norm": "gradient norm", "value_grad_norm": "value function"}),
    ("Padding, share of what is computed", {"padding": "padding"}),
    ("Seconds a rollout", {"seconds/*": ""}),
)
# Against the distance from the model before, score and independent scorers tell of over-optimisation (Gao et al. 2022).
# An oracle's numbers are of a scale of their own.
DISTANCE = "kl"
WATCH_TITLE = "Over-optimisation: scores against √KL"
WATCH = {"score": "reward model", "watch/reward_model": "another reward model", "watch/oracle": "oracle"}
OF_OWN_SCALE = {"watch/oracle"}
ALARM = "watch/alarm"
TABLED = {
    name: label for _, curves in CHARTS for name, label in curves.items()
} | {"watch/*": ""}  # fmt: skip


def charts_of(values: Values) -> list[dict[str, Any]]:
    """Return what the page's charts are drawn of: ``{"title", "steps", "curves": [{"label", "values"}]}``.

    The one that is scattered also has ``scattered`` true, ``along``, what its ``steps`` are, in ascending order, and
    ``apart`` true with a curve that has an axis of its own. The curve labelled alarm repeats the score where the run
    gave the alarm.
    """
    charts: list[dict[str, Any]] = []
    for title, curves in CHARTS:
        there = there_of(curves, values)
        if there:
            steps = sorted({step for name in there for step in values[name]})
            drawn = [
                {"label": label, "values": [values[name].get(step) for step in steps]}
                for name, label in there.items()
            ]
            charts.append({"title": title, "steps": steps, "curves": drawn})
    watched = _watch(values)
    return [*charts[:1], watched, *charts[1:]] if watched else charts


def _watch(values: Values) -> dict[str, Any] | None:
    if "score" not in values or DISTANCE not in values:
        return None
    far = {step: kl for step, kl in values[DISTANCE].items() if kl is not None and step in values["score"]}
    # A run's first estimates of its distance are around 0, and an estimate may be below.
    distance = {step: math.sqrt(max(0.0, kl)) for step, kl in far.items()}
    steps = sorted(distance, key=lambda step: (distance[step], step))
    curves: list[dict[str, Any]] = [
        {"label": label, "values": [values[name].get(step) for step in steps]}
        | ({"apart": True} if name in OF_OWN_SCALE else {})
        for name, label in WATCH.items()
        if name in values
    ]
    alarms = values.get(ALARM, {})
    if any(alarms.values()):
        told = [values["score"].get(step) if alarms.get(step) else None for step in steps]
        curves.append({"label": "alarm", "values": told})
    return {
        "title": WATCH_TITLE,
        "along": "√KL",
        "scattered": True,
        "steps": [distance[step] for step in steps],
        "curves": curves,
    }


def there_of(curves: Mapping[str, str], told: Iterable[str]) -> dict[str, str]:
    """Return which of the curves the run told of, in their order, with what people call them."""
    names = sorted(set(told))
    there: dict[str, str] = {}
    for curve, label in curves.items():
        if curve.endswith("*"):
            there |= {name: name.removeprefix(curve[:-1]) for name in names if name.startswith(curve[:-1])}
        elif curve in names:
            there[curve] = label
    return there

"""An *evaluate* run: a new model against an old one, on held-out prompts and rankings."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from training.engine.best_of import best_of_n
from training.engine.conversation import Message, render
from training.engine.events import Events
from training.engine.interrupt import Interrupt
from training.engine.intervals import win_rate_by_prompt, win_rate_interval
from training.engine.methods import EvaluateMethod, ModelSpec
from training.engine.models import closing_token, encode_prompt, load_model
from training.engine.oracles import load_oracle
from training.engine.prompts import Prompt, read_prompts
from training.engine.records import read_rankings, to_pairs
from training.engine.refusal import Refused
from training.engine.responses import Response, in_order, write_records
from training.engine.sampling import Sampler
from training.engine.scoring import sequence_log_probs
from training.engine.spec import Spec


@dataclass(frozen=True, slots=True)
class Reply:
    """A response to be scored by log-probability: the messages before it, its text, and whether the model ended it."""

    messages: list[Message]
    text: str
    ended: bool


def run(spec: Spec, events: Events, interrupt: Interrupt) -> None:
    """Measure `spec.model` against `spec.method.old`; the artifacts are ``responses.jsonl`` and ``scorecard.json``.

    Prompts that are too long for one of the two are left out.

    Raises:
        Refused: data, models or oracle cannot be used.
        Stopped: sampled batches are kept, and the next start goes on after them.
    """
    assert spec.model is not None
    method: EvaluateMethod = spec.method
    prompts = read_prompts(spec.data.prompts)
    rankings = list(read_rankings(spec.data.rankings)) if spec.data.rankings else []
    render_pairs = partial(to_pairs, system_prompt=method.system_prompt, give_context=method.give_context)
    pairs = [pair for ranking in rankings for pair in render_pairs(ranking)]
    oracle = load_oracle(method.oracle) if method.oracle else None

    models = {"new": spec.model, "old": method.old}
    responses: dict[str, list[Response]] = {}
    partials = []
    for name, model in models.items():
        sampler = Sampler(model, method, spec.seed, events, interrupt, phase=f"sampling {name}")
        partials.append(sampler.partial_output(spec, prompts))
        drawn = sampler.sample(prompts, partials[-1])
        responses[name] = in_order(drawn, [prompt.id for prompt in prompts])
    asked = len(prompts)
    prompts, responses = _answered_by_all(prompts, responses)

    best = None
    if method.rewards:
        best, partial_best = best_of_n(spec, prompts, events, interrupt)
        partials.append(partial_best)

    judged = None
    if oracle is not None:
        messages = {prompt.id: prompt.messages for prompt in prompts}
        judged = {
            name: [oracle(messages[r.id], r.text) for r in each]
            for name, each in (responses | ({"best_of": best} if best else {})).items()
        }

    drawn_replies = _replies_of(prompts, responses["new"], method)
    chosen, rejected = (
        [Reply(p["prompt"], p[side][0]["content"], True) for p in pairs] for side in ("chosen", "rejected")
    )
    gaps = _log_prob_gaps(models, [*drawn_replies, *chosen, *rejected], events, interrupt)
    drawn_gaps, chosen_gaps, rejected_gaps = np.split(gaps, np.cumsum([len(drawn_replies), len(chosen)]))

    scorecard = {
        "prompts": len(prompts),
        "left_out": asked - len(prompts),
        "responses": method.responses,
        **{name: _summary(each, judged[name] if judged else None) for name, each in responses.items()},
        **_win_rate(responses, judged, spec.seed),
        **({"best_of": _best_of(best, responses, judged, method, spec.seed)} if best else {}),
        "judge": f"oracle:{method.oracle}" if method.oracle else None,
        "held_out_pair_accuracy": pair_accuracy(chosen_gaps, rejected_gaps),
        "held_out_pairs": len(pairs),
        "kl": float(drawn_gaps.mean()),
        # It is a mean over few responses, and may come out below 0.
        "kl_error": float(drawn_gaps.std(ddof=1) / math.sqrt(len(drawn_gaps)))
        if len(drawn_gaps) > 1
        else None,
    }
    with events.artifact("responses.jsonl") as path:
        write_records(path, _records(responses | ({"best_of": best} if best else {}), judged))
    with events.artifact("scorecard.json") as path:
        path.write_text(json.dumps(scorecard, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    for output in partials:
        output.remove()


def _answered_by_all(
    prompts: Sequence[Prompt], responses: dict[str, list[Response]]
) -> tuple[list[Prompt], dict[str, list[Response]]]:
    """Return the prompts that every model answered, and the responses to these: only they can be compared.

    Raises:
        Refused: there is none.
    """
    ids = set.intersection(*({response.id for response in each} for each in responses.values()))
    if not ids:
        raise Refused(
            "Each prompt is too long for one of the two models. Shorten them, or set `method.max_tokens` lower."
        )
    return (
        [prompt for prompt in prompts if prompt.id in ids],
        {name: [response for response in each if response.id in ids] for name, each in responses.items()},
    )


def pair_accuracy(chosen_gaps_N: np.ndarray, rejected_gaps_N: np.ndarray) -> float | None:
    """Return the share of pairs whose chosen response has the higher implicit reward; equal ones count half.

    The implicit reward is β·(log π_new − log π_old) (Rafailov et al. 2023, section 4); β does not change the order.

    Args:
        chosen_gaps_N: log π_new − log π_old of the chosen responses. Shape: ``(pairs,)``.
        rejected_gaps_N: of the rejected ones.

    Returns:
        A share, or None where there are no pairs.
    """
    if not len(chosen_gaps_N):
        return None
    return float((np.sign(chosen_gaps_N - rejected_gaps_N).mean() + 1) / 2)


def _log_prob_gaps(
    models: dict[str, ModelSpec], replies: Sequence[Reply], events: Events, interrupt: Interrupt
) -> np.ndarray:
    """Return log π_new − log π_old of each reply, in nats. Shape: ``(replies,)``.

    Its mean over responses drawn from the new model at temperature 1 and top-p 1 estimates KL(new ‖ old) a
    response; other settings draw from another distribution than the one that is measured, and bias it.
    """
    log_probs = {}
    for name, model in models.items():
        network, tokenizer = load_model(model, "scoring")
        sequences = [_encode(tokenizer, reply) for reply in replies]
        # A response of K is in up to K − 1 pairs; it is scored once.
        distinct = list(dict.fromkeys(sequences))
        sums = sequence_log_probs(
            network,
            distinct,
            pad=tokenizer.pad_token_id,
            interrupt=interrupt,
            on_progress=partial(events.progress, phase=f"scoring {name}"),
        )
        of = dict(zip(distinct, sums, strict=True))
        log_probs[name] = np.array([of[sequence] for sequence in sequences])
    return log_probs["new"] - log_probs["old"]


def _encode(tokenizer: PreTrainedTokenizerBase, reply: Reply) -> tuple[tuple[int, ...], tuple[int, ...]]:
    ids = tokenizer.encode(reply.text, add_special_tokens=False)
    closing = closing_token(tokenizer)
    if reply.ended and closing is not None:
        ids.append(closing)
    return tuple(encode_prompt(tokenizer, reply.messages)), tuple(ids)


def _replies_of(
    prompts: Sequence[Prompt], responses: Sequence[Response], method: EvaluateMethod
) -> list[Reply]:
    shown = {
        prompt.id: render(
            prompt.messages,
            context=prompt.context,
            system_prompt=method.system_prompt,
            few_shot=method.few_shot,
            give_context=method.give_context,
        )
        for prompt in prompts
    }
    return [Reply(shown[r.id], r.text, r.finish == "stop") for r in responses]


def _summary(responses: Sequence[Response], scores: Sequence[float] | None) -> dict[str, Any]:
    return {
        "mean_length_tokens": float(np.mean([response.tokens for response in responses])),
        "ended_share": float(np.mean([response.finish == "stop" for response in responses])),
        "oracle_mean": None if scores is None else float(np.mean(scores)),
    }


def _best_of(
    best: Sequence[Response],
    responses: dict[str, list[Response]],
    judged: dict[str, list[float]] | None,
    method: EvaluateMethod,
    seed: int,
) -> dict[str, Any]:
    """Return the baseline's figures: how often it wins against the old model, and how often the new one against it.

    ``kl_bound`` is the most that it is from the old model, log n − (n − 1) / n nats a response (Stiennon et al. 2020,
    appendix G.3; a bound: Beirami et al. 2024).
    """
    n = method.best_of
    scores = judged or {}
    against_old = _win_rate(
        {"new": list(best), "old": responses["old"]}, _as_new(scores, "best_of", "old"), seed
    )
    of_new = _win_rate({"new": responses["new"], "old": list(best)}, _as_new(scores, "new", "best_of"), seed)
    return {
        "n": n,
        **_summary(best, scores.get("best_of")),
        **against_old,
        **{f"new_{name}": value for name, value in of_new.items()},
        "kl_bound": math.log(n) - (n - 1) / n,
    }


def _as_new(scores: dict[str, list[float]], new: str, old: str) -> dict[str, list[float]] | None:
    return {"new": scores[new], "old": scores[old]} if scores else None


def _win_rate(
    responses: dict[str, list[Response]], judged: dict[str, list[float]] | None, seed: int
) -> dict[str, float | int | None]:
    if judged is None:
        return dict.fromkeys(("win_rate", "win_rate_low", "win_rate_high", "pairs"))
    by_prompt = {name: _by_prompt(each, judged[name]) for name, each in responses.items()}
    rates = win_rate_by_prompt(by_prompt["new"], by_prompt["old"])
    low, high = win_rate_interval(rates, seed=seed)
    pairs = sum(len(new) * len(old) for new, old in zip(by_prompt["new"], by_prompt["old"], strict=True))
    return {"win_rate": float(rates.mean()), "win_rate_low": low, "win_rate_high": high, "pairs": pairs}


def _by_prompt(responses: Sequence[Response], scores: Iterable[float]) -> list[list[float]]:
    grouped: dict[str, list[float]] = defaultdict(list)
    for response, score in zip(responses, scores, strict=True):
        grouped[response.id].append(score)
    return list(grouped.values())


def _records(
    responses: dict[str, list[Response]], judged: dict[str, list[float]] | None
) -> list[dict[str, Any]]:
    records = []
    for name, each in responses.items():
        scores = judged[name] if judged else [None] * len(each)
        for response, score in zip(each, scores, strict=True):
            record = {**response.as_record(), "model": name}
            records.append(record if score is None else {**record, "oracle": score})
    return records

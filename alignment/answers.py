"""What both models of a round's evaluation answered to held-out prompts, to be read before the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alignment.judgements import judge, texts_of
from alignment.models import Round, RoundRun
from alignment.scorecards import read_draws
from annotation.models import Prompt
from training.engine.intervals import win_rate_by_prompt
from training.models import Run

JUDGED = (Round.State.DECIDING, Round.State.PROMOTED, Round.State.REJECTED)
"""Where nobody compares the two models any more, so that nobody who may has to be kept from knowing which is which."""


@dataclass(frozen=True, slots=True)
class HeldOutAnswers:
    """A held-out prompt and what the old model and the new one said to it."""

    prompt: Prompt
    old: list[str]
    new: list[str]
    win_rate: float | None
    """Of the new one's, as people or the oracle judged this prompt; none where nobody did."""

    @property
    def alike(self) -> bool:
        """Whether both said the same, so that there was nothing to compare."""
        return {text.strip() for text in self.old} == {text.strip() for text in self.new}


class Answers:
    """All that an evaluation drew, read once.

    Args:
        round: whose evaluation; before it is judged there are no answers.

    Raises:
        training.refusals.Refusal: the answers' file is no longer there.
    """

    def __init__(self, round: Round) -> None:
        self._round = round
        run = _evaluation(round)
        self._draws = list(read_draws(run)) if run else []

    @property
    def prompts(self) -> list[int]:
        """What was answered, by primary key, in the evaluation's order."""
        return list(dict.fromkeys(draw["id"] for draw in self._draws))

    def to(self, prompts: Sequence[int]) -> list[HeldOutAnswers]:
        """Return both models' answers to some of the prompts, in the order asked for."""
        said: dict[str, dict[int, list[str]]] = {"old": {}, "new": {}}
        scores: dict[str, dict[int, list[float]]] = {"old": {}, "new": {}}
        wanted = set(prompts)
        for draw in self._draws:
            if draw["id"] in wanted and draw["model"] in said:
                said[draw["model"]].setdefault(draw["id"], []).append(draw["text"])
                if "oracle" in draw:
                    scores[draw["model"]].setdefault(draw["id"], []).append(draw["oracle"])
        rates = self._rates(scores["new"], scores["old"])
        found = Prompt.objects.in_bulk(prompts)
        return [
            HeldOutAnswers(found[pk], said["old"].get(pk, []), said["new"].get(pk, []), rates.get(pk))
            for pk in prompts
            if pk in found
        ]

    def _rates(self, new: dict[int, list[float]], old: dict[int, list[float]]) -> Mapping[int, float]:
        if self._round.judge == Round.Judge.PEOPLE:
            batch = self._round.evaluation_batch
            return (
                judge(batch, texts_of(self._draws), "new", "old").by_prompt if batch and self._draws else {}
            )
        scored = sorted(new.keys() & old.keys())
        if not scored:
            return {}
        rates = win_rate_by_prompt([new[pk] for pk in scored], [old[pk] for pk in scored])
        return dict(zip(scored, map(float, rates), strict=True))


def _evaluation(round: Round) -> Run | None:
    if round.state not in JUDGED:
        return None
    evaluations = round.round_runs.filter(step=Round.State.EVALUATING, run__state=Run.State.SUCCEEDED)
    link: RoundRun | None = evaluations.select_related("run").order_by("-attempt").first()
    return link.run if link else None

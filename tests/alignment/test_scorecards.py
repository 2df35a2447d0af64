"""People's own win rates: counted by prompt, with intervals that do not pretend."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from alignment.models import ModelVersion, Round, Scorecard
from alignment.rounds import start_round
from alignment.scorecards import compare_with_base, source_win_rates
from alignment.simulated_annotators import hire
from annotation.assigning import next_assignment
from annotation.batching import compose_batch
from annotation.models import Batch, Project, Response, Source
from annotation.showing import blind_view
from annotation.submitting import submit
from tests.alignment.conftest import advanced, bring_to, finish, scorecard, waiting


@pytest.fixture
def compare(project: Project) -> Callable[..., Batch]:
    """Has people rank one response of each named source to each of some prompts, just as an oracle scores them."""

    def compare(*names: str, prompts: int, oracle: Callable[[str], float], annotators: int = 2) -> Batch:
        sources = [Source.objects.create(project=project, name=name, kind="import") for name in names]
        chosen = list(project.prompts.all()[:prompts])
        drawn = uuid.uuid4()
        Response.objects.bulk_create(
            Response(prompt=prompt, source=source, drawn_by=drawn, text=f"{source} {n}")
            for n, prompt in enumerate(chosen)
            for source in sources
        )
        batch = compose_batch(
            project=project,
            name="b",
            prompts=chosen,
            sources=sources,
            responses_per_task=len(names),
            overlap=annotators,
        ).batch
        for annotator in hire(project, annotators, seed=0):
            while (place := next_assignment(annotator=annotator.user, project=project)) is not None:
                scores = {one["number"]: oracle(one["text"]) for one in blind_view(place)["responses"]}
                tiers = [
                    [number for number, score in scores.items() if score == level]
                    for level in sorted(set(scores.values()), reverse=True)
                ]
                submit(
                    annotator=annotator.user,
                    assignment_id=place.pk,
                    lease=place.lease,
                    key=uuid.uuid4(),
                    tiers=tiers,
                )
        return batch

    return compare


@pytest.mark.django_db
def test_the_newer_source_is_measured_against_the_older(compare: Callable[..., Batch]) -> None:
    # The new one is better on 15 of 20 prompts.
    def better(text: str) -> float:
        source, prompt = text.split()
        return float((source == "new") == (int(prompt) < 15))

    (rate,) = source_win_rates(compare("old", "new", prompts=20, oracle=better))
    assert (rate.source.name, rate.against.name) == ("new", "old")
    assert rate.win_rate == 0.75
    assert (rate.prompts, rate.comparisons) == (20, 40)
    assert 0.5 < rate.win_rate_low < rate.win_rate < rate.win_rate_high < 1


@pytest.mark.django_db
def test_every_two_sources_are_compared(compare: Callable[..., Batch]) -> None:
    rates = source_win_rates(compare("a", "b", "c", prompts=6, oracle=lambda text: float(ord(text[0]))))
    assert [(rate.source.name, rate.against.name) for rate in rates] == [("c", "b"), ("c", "a"), ("b", "a")]
    assert all(rate.win_rate == 1 for rate in rates)


@pytest.mark.django_db
def test_a_batch_that_nobody_ranked_has_no_win_rate(compare: Callable[..., Batch]) -> None:
    assert source_win_rates(compare("a", "b", prompts=3, oracle=lambda text: 0.0, annotators=1)) != []
    assert (
        source_win_rates(Batch.objects.create(project=Project.objects.get(), name="empty", overlap=1)) == []
    )


@pytest.mark.django_db
def test_from_the_second_round_on_a_candidate_is_compared_with_the_base_too(
    project: Project, source: Source, base: ModelVersion
) -> None:
    """The first round's evaluation drew the base's responses to the same held-out prompts."""

    def measured(number: int, new: float, old: float) -> Scorecard:
        round = start_round(
            project=project, tasks=12, overlap=1, judge="oracle", oracle="some:oracle", decision="interval"
        )
        bring_to(round, Round.State.EVALUATING)
        (run,) = waiting(round)
        held_out = project.prompts.filter(split="held_out")
        draws = [
            {"id": str(prompt.pk), "index": index, "text": "x", "tokens": 1, "finish": "stop"}
            | {"model": model, "oracle": score + index}
            for prompt in held_out
            for model, score in (("new", new), ("old", old))
            for index in range(2)
        ]
        card = scorecard(win_rate=0.9, win_rate_low=0.8, win_rate_high=1.0, judge="oracle:some:oracle")
        finish(run, {"responses.jsonl": draws, "scorecard.json": card})
        assert advanced(round).state == Round.State.PROMOTED and round.number == number
        return Scorecard.objects.get(round=round)

    first = compare_with_base(measured(1, new=1.0, old=0.0))
    assert first is not None and (first.oracle_before, first.oracle_after) == (0.5, 1.5)
    assert first.win_rate == 0.875  # of 0 and 1 against 1 and 2: three wins and a tie
    second_card = measured(2, new=3.0, old=1.0)
    assert second_card.against != base
    second = compare_with_base(second_card)
    assert second is not None and (second.oracle_before, second.oracle_after) == (0.5, 3.5)
    assert second.win_rate == 1.0 and 0.5 < second.win_rate_low <= second.win_rate_high

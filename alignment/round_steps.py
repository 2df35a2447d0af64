"""What a round does in each of its states. Every step runs in a transaction that holds the lock of the round's row."""

from __future__ import annotations

from collections.abc import Callable

from alignment import round_prompts
from alignment.datasets import build_dataset, split_file
from alignment.model_versions import register_artifact
from alignment.models import ModelVersion, Round, Scorecard
from alignment.recipes import RECIPES
from alignment.round_batches import compose_annotation, compose_evaluation, free_name
from alignment.round_reviews import review_awaited
from alignment.round_runs import all_succeeded, ask, latest, reward_runs, source_to_follow
from alignment.round_scoring import all_ended, ask_scoring, drawn_by, order_by_disagreement, scoring_of
from alignment.round_states import move
from alignment.scorecards import read_draws, read_scorecard, record_scorecard, split_by_agreement
from alignment.sources import draws_for_itself, source_for
from annotation.batching import KNOWN_ANSWERS, BatchReport, close_batch, is_complete
from annotation.models import Batch
from annotation.refusals import Refusal
from annotation.responding import store_draws
from training.engine.records import read_rankings

State = Round.State


def sample(round: Round) -> None:
    """Have every source draw its share of responses, and reward models score them where their disagreement orders the
    tasks; then compose the batch, all sources mixed, blind."""
    drawing = [source for source in round.sources.order_by("pk") if draws_for_itself(source)]
    links = [
        latest(round, State.SAMPLING, source) or ask(round, State.SAMPLING, source) for source in drawing
    ]
    if not all_succeeded(links):
        return
    scoring = scoring_of(round, links)
    if not scoring:
        for link in links:
            assert link.source is not None
            store_draws(source=link.source, drawn_by=link.run_id, draws=read_draws(link.run))
        scoring = ask_scoring(round, links)
    if not all_ended(scoring):
        return
    asked = set(round_prompts.chosen_prompts(round).values_list("pk", flat=True))
    too_long = []
    for link in links:
        unanswered = len(asked - {draw["id"] for draw in read_draws(link.run)})
        too_long.append(_too_long(unanswered, len(asked), f"for {link.source}"))
    report = compose_annotation(round, drawn_by=drawn_by(round, links))
    round.batch = report.batch
    ordered = order_by_disagreement(round, scoring)
    move(round, State.ANNOTATING, reason=" ".join(filter(None, [_left_out(report), *too_long, ordered])))


def annotate(round: Round) -> None:
    """Wait until every place of the batch is ranked, or a manager closed it, and until the review that the settings ask
    for is done. Meanwhile the batch stays open for amendments."""
    assert round.batch is not None
    if not is_complete(round.batch) or review_awaited(round, live=False):
        return
    # Verdicts and amendments share this lock: none slips in between looking and closing.
    Batch.objects.select_for_update().get(pk=round.batch.pk)
    if not review_awaited(round):
        close_batch(round.batch)
        move(round, State.BUILDING)


def build(round: Round) -> None:
    """Freeze the rankings into a dataset."""
    assert round.batch is not None
    settings = round.settings["dataset"]
    batches = [round.batch]
    if settings["batches"] == "all":
        closed = round.project.batches.filter(state=Batch.State.CLOSED)
        batches = list(closed.exclude(kind__in=KNOWN_ANSWERS).order_by("pk"))
    dataset = build_dataset(
        project=round.project,
        batches=batches,
        settings={name: value for name, value in settings.items() if name not in ("batches", "filters")},
        filters=settings.get("filters"),
        created_by=round.created_by,
    )
    recipe = RECIPES[round.recipe]
    if not any(map(recipe.teaches, read_rankings(split_file(dataset, "train")))):
        raise Refusal(
            "conflict",
            f"There is nothing to train on: the {dataset.train_rankings} training rankings of {dataset} {recipe.lack}. "
            "Cancel this round, and let the next one have more tasks or more rankings a task.",
        )
    round.dataset = dataset
    move(round, State.REWARDING if "reward" in recipe.methods else State.TRAINING)


def reward(round: Round) -> None:
    """Have reward models made of the dataset, for the policy to learn from; those that an earlier round made of it are
    taken over."""
    links = reward_runs(round)
    if not all_succeeded(links):
        return
    taken_over = sum(link.taken_over for link in links)
    reason = ""
    if taken_over:
        those = (
            "The reward model is" if len(links) == 1 else f"{taken_over} of {len(links)} reward models are"
        )
        reason = f"{those} an earlier round's: dataset, model and settings are the same."
    move(round, State.TRAINING, reason=reason)


def train(round: Round) -> None:
    """Have the recipe's run made of the dataset; its artifact becomes the candidate."""
    link = latest(round, State.TRAINING) or ask(round, State.TRAINING)
    if not all_succeeded([link]):
        return
    round.candidate = register_artifact(
        run=link.run,
        parent=round.start_from,
        dataset=round.dataset,
        name=free_name(
            f"{round.recipe}-round-{round.number}",
            round.project.model_versions.values_list("name", flat=True),
        ),
    )
    move(round, State.EVALUATING)


def evaluate(round: Round) -> None:
    """Sample the candidate and the model it was made of on held-out prompts; an oracle scores them, or
    people are asked, where there is a difference to ask about."""
    if not round_prompts.held_out_prompts(round).exists():
        move(round, State.DECIDING, reason="The project has no held-out prompts, so nothing was measured.")
        return
    link = latest(round, State.EVALUATING) or ask(round, State.EVALUATING)
    if not all_succeeded([link]):
        return
    figures = read_scorecard(link.run)
    left_out = figures.get("left_out", 0)
    too_long = _too_long(left_out, figures["prompts"] + left_out, "for one of the two models", "held-out ")
    if round.judge == Round.Judge.ORACLE:
        record_scorecard(round=round, run=link.run)
        move(round, State.DECIDING, reason=too_long)
    else:
        different, alike = split_by_agreement(read_draws(link.run))
        if different:
            round.evaluation_batch = compose_evaluation(round, link.run, different)
            said = _answered_alike(len(alike), len(alike) + len(different))
            move(round, State.JUDGING, reason=" ".join(filter(None, [said, too_long])))
        else:
            record_scorecard(round=round, run=link.run)
            move(
                round,
                State.DECIDING,
                reason=" ".join(
                    filter(
                        None,
                        [
                            "Both models answered every held-out prompt alike, so there was nothing to compare.",
                            too_long,
                        ],
                    )
                ),
            )


def judge(round: Round) -> None:
    """Wait until people have compared the candidate with the model it was made of."""
    assert round.evaluation_batch is not None
    link = latest(round, State.EVALUATING)
    assert link is not None
    if _finish(round.evaluation_batch):
        card = record_scorecard(round=round, run=link.run)
        nobody = "Nobody compared the two models, so there is no win rate."
        move(round, State.DECIDING, reason=nobody if card.win_rate is None else "")


def weigh(round: Round) -> None:
    """Decide by the win rate's interval, if a manager does not."""
    if round.decision != Round.Decision.INTERVAL:
        return
    card = Scorecard.objects.filter(round=round).first()
    if card is None or card.win_rate_low is None:
        decide(round, State.REJECTED, "Rejected: nothing was measured on held-out prompts.")
        return
    measured = f"the win rate is {card.win_rate:.1%} ({card.win_rate_low:.1%} to {card.win_rate_high:.1%})"
    if card.win_rate_low > 0.5:
        decide(round, State.PROMOTED, f"Promoted: {measured}, clear of one half.")
    else:
        decide(round, State.REJECTED, f"Rejected: {measured}, not clear of one half.")


STEPS: dict[str, Callable[[Round], None]] = {
    State.SAMPLING: sample,
    State.ANNOTATING: annotate,
    State.BUILDING: build,
    State.REWARDING: reward,
    State.TRAINING: train,
    State.EVALUATING: evaluate,
    State.JUDGING: judge,
    State.DECIDING: weigh,
}


def decide(round: Round, to: str, reason: str) -> None:
    """Promote or reject the candidate; a promoted one gets a source that decodes as its predecessor's did.

    Raises:
        Refusal: the round awaits no decision.
    """
    if round.state != State.DECIDING:
        raise Refusal("conflict", f"Round {round.number} is {round.state}; it awaits no decision.")
    move(round, to, reason=reason)
    assert round.candidate is not None
    if to == State.PROMOTED:
        round.candidate.state = ModelVersion.State.PROMOTED
        source_for(round.candidate, settings=source_to_follow(round).settings)
    else:
        round.candidate.state = ModelVersion.State.REJECTED
    round.candidate.save(update_fields=["state"])


def _left_out(report: BatchReport) -> str:
    """Return what people are told of the prompts that got no task; nothing where all got one."""
    asked = report.tasks + sum(report.left_out.values())
    return " ".join(
        f"{count} of {asked} prompts {'is' if count == 1 else 'are'} left out: {why}."
        for why, count in report.left_out.items()
    )


def _too_long(unanswered: int, asked: int, whom: str, which: str = "") -> str:
    """Return what people are told of the prompts that a run left out; nothing where it answered all."""
    if not unanswered:
        return ""
    those = "is" if unanswered == 1 else "are"
    return f"{unanswered} of {asked} {which}prompts {those} too long {whom}."


def _answered_alike(alike: int, prompts: int) -> str:
    if not alike:
        return ""
    return (
        f"Both models answered {alike} of {prompts} held-out prompts alike; these count as ties, and nobody is asked "
        "about them."
    )


def _finish(batch: Batch) -> bool:
    """Whether the batch takes no more answers; a complete one is closed, so that what is built on it stays true."""
    if batch.state != Batch.State.CLOSED and is_complete(batch):
        close_batch(batch)
        return True
    return batch.state == Batch.State.CLOSED

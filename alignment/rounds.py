"""Rounds: starting one, bringing it further, and what people decide about it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Max, QuerySet
from django.utils import timezone
from psycopg.errors import LockNotAvailable

from alignment import round_runs, round_steps
from alignment.archiving import require_in_use
from alignment.dataset_filters import check_filters
from alignment.hints import advance_soon
from alignment.model_versions import current_version
from alignment.models import ModelVersion, Round
from alignment.recipes import check_recipe
from alignment.round_checks import check_judge, check_numbers, check_sources
from alignment.round_reviews import review_awaited
from alignment.round_states import move
from alignment.sources import default_sources
from annotation.batching import close_batch
from annotation.models import Batch, Membership, Project, Prompt, Source, User
from annotation.projects import require_role
from annotation.refusals import Refusal
from annotation.retiring import prompts_in_use
from annotation.submitting import current_rankings
from config.logs import bind
from training.engine.refusal import Refused
from training.launching import ACCELERATOR, cancel_run
from training.models import Run
from training.refusals import Refusal as TrainingRefusal

logger = logging.getLogger(__name__)

# A step may take minutes, storing many responses or building a dataset; a person's request must not wait so long.
LOCK_WAIT = "3s"
LIVE_RUNS = (Run.State.QUEUED, Run.State.RUNNING)


@transaction.atomic
def start_round(
    *,
    project: Project,
    recipe: str = "dpo",
    settings: dict[str, Any] | None = None,
    sources: Iterable[Source] | None = None,
    start_from: ModelVersion | None = None,
    responses_per_task: int = 4,
    overlap: int = 3,
    tasks: int | None = None,
    seed: int = 0,
    judge: str = Round.Judge.PEOPLE,
    oracle: str = "",
    decision: str = Round.Decision.MANAGER,
    queue: str = ACCELERATOR,
    created_by: User | None = None,
) -> Round:
    """Start a project's next round. Workers take it from there; a project has one round at a time.

    Args:
        recipe: a key of `alignment.recipes.RECIPES`.
        settings: the recipe's, as far as they differ from its defaults.
        sources: what responses come from; by default the current model version's source and its predecessor's.
        start_from: the model version to train; by default the one promoted last, or the newest base.
        tasks: how many prompts are ranked, training and held-out together; all, if none.
        judge: who measures the candidate: people, blind, or the ``oracle``.
        oracle: ``module:function``, called as ``function(messages, response) -> float``. It is code that
            this server runs, so only an administrator may name one.
        queue: of the workers that carry out its runs on models.
        created_by: a manager; none where an operator's command starts it.

    Raises:
        Refusal: a setting is wrong, the project has no prompts, or its last round has not ended.
    """
    if created_by is not None:
        require_role(user=created_by, project=project, role=Membership.Role.MANAGER)
    project = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    if project.archived_at is not None:
        raise Refusal("conflict", f"{project.name} is archived; bring it back before starting a round.")
    running = unfinished(failed=True).filter(project=project).first()
    if running is not None:
        raise Refusal(
            "conflict",
            f"Round {running.number} is {running.state}. Finish or cancel it first: a project has one round at a time.",
        )
    version = start_from or current_version(project)
    if version is None or version.project_id != project.pk:
        raise Refusal(
            "invalid",
            "A round starts from a model version of the project; register a base model first.",
            field="start_from",
        )
    require_in_use(version, field="start_from")
    chosen = list(sources) if sources is not None else default_sources(project)
    check_sources(project, chosen)
    check_numbers(responses_per_task=responses_per_task, overlap=overlap, tasks=tasks, seed=seed)
    check_judge(judge, oracle, decision, created_by)
    if not prompts_in_use(project).filter(split=Prompt.Split.TRAIN).exists():
        raise Refusal("conflict", f"{project.name} has no prompts to train on. Import some first.")
    checked = check_recipe(recipe, settings)
    check_filters(project, checked["dataset"]["filters"], where="settings.dataset.filters")
    last = project.rounds.aggregate(last=Max("number"))["last"] or 0
    round = Round.objects.create(
        project=project,
        number=last + 1,
        recipe=recipe,
        settings=checked,
        start_from=version,
        responses_per_task=responses_per_task,
        overlap=overlap,
        tasks=tasks,
        seed=seed,
        judge=judge,
        oracle=oracle,
        decision=decision,
        queue=queue,
        created_by=created_by,
    )
    round.sources.set(chosen)
    advance_soon(round.pk)
    return round


def unfinished(*, failed: bool = False) -> QuerySet[Round]:
    """Return the rounds that have not ended, oldest first; those that wait for a retry only if ``failed``."""
    rounds = Round.objects.exclude(state__in=Round.ENDED).order_by("pk")
    return rounds if failed else rounds.exclude(state=Round.State.FAILED)


def advance_round(round_id: int) -> Round | None:
    """Bring a round as far as it can go now: safe at any time, from anywhere, any number of times.

    Each step is one transaction under the lock of the round's row, with all that it writes; so a process
    that dies within leaves the round where it was, and the next call does the step again. What cannot go on,
    fails, with a sentence.

    Returns:
        The round, or None where another process is advancing it at this moment (or it is not there).
    """
    while True:
        with transaction.atomic():
            round = (
                Round.objects.select_for_update(skip_locked=True, of=("self",)).filter(pk=round_id).first()
            )
            if round is None or round.state not in round_steps.STEPS:
                return round
            with bind(round=round.pk, project=round.project_id):
                moved = _take_step(round)
        if not moved:
            return round


def _take_step(round: Round) -> bool:
    """Do what the round's state asks for; whether it changed its state. The caller holds the row's lock."""
    before = round.state
    try:
        with transaction.atomic():
            round_steps.STEPS[round.state](round)
    except (Refusal, TrainingRefusal) as refusal:
        return _fail(round, refusal.sentence)
    except Refused as refused:
        return _fail(round, str(refused))
    except (OperationalError, InterfaceError):
        raise  # the database's own trouble passes; the next call tries again
    except Exception as error:
        logger.exception("The round failed in %s", before)
        return _fail(
            round, f"An unexpected failure: {type(error).__name__}: {error}. Retry; if it stays, see the log."
        )
    if round.state != before:
        logger.info("%s -> %s", before, round.state)
    return round.state != before


def _fail(round: Round, sentence: str) -> bool:
    # What the step had set on the object was rolled back in the database.
    round.refresh_from_db()
    move(round, Round.State.FAILED, reason=sentence)
    logger.warning(
        "round=%s project=%s failed in %s: %s", round.pk, round.project_id, round.failed_in, sentence
    )
    return True


@transaction.atomic
def close_annotation(*, round: Round, by: User) -> Round:
    """Go on with the rankings that are there; no more are taken for this step's batch. A round that is to wait for the
    review of its rankings waits for that of these: see `waive_review`.

    Judging may be closed before anybody compared anything: the decision then has no win rate to rest on, and
    says so. A dataset cannot be made of nothing.

    Raises:
        Refusal: the round waits for nobody's rankings, nothing is ranked yet that a dataset could be built of, or
            the person is no manager.
    """
    round = _locked(round, by)
    batch = {Round.State.ANNOTATING: round.batch, Round.State.JUDGING: round.evaluation_batch}.get(
        Round.State(round.state)
    )
    if batch is None:
        raise Refusal("conflict", f"Round {round.number} is {round.state}; no rankings are awaited.")
    close_batch(batch)
    # Asked once no more can come; refusing opens the batch again, as the transaction is undone.
    if round.state == Round.State.ANNOTATING and not current_rankings(batch).exists():
        raise Refusal(
            "conflict",
            f"Nothing of {batch} is ranked yet, so there is nothing to go on with. Wait for a first ranking, or cancel "
            "the round.",
        )
    advance_soon(round.pk)
    return round


@transaction.atomic
def waive_review(*, round: Round, by: User) -> Round:
    """Go on without the review that the round waits for; who did, when, and how much was left is kept with it.

    The batch is closed with the next step, so rankings that were returned stay as they are.

    Raises:
        Refusal: the round waits for no review, or the person is no manager.
    """
    round = _locked(round, by)
    awaited = review_awaited(round)
    if awaited is None:
        raise Refusal(
            "conflict", f"Round {round.number} waits for no review, so there is none to go on without."
        )
    round.review_waived_by, round.review_waived_at = by, timezone.now()
    round.review_left = awaited.left
    round.save(update_fields=["review_waived_by", "review_waived_at", "review_left"])
    advance_soon(round.pk)
    return round


@transaction.atomic
def cancel_round(*, round: Round, by: User, reason: str = "") -> Round:
    """End a round without a decision: its runs are cancelled, its open batches closed. What was made stays.

    Raises:
        Refusal: the round has ended, or the person is no manager.
    """
    round = _locked(round, by)
    sentence = f"Cancelled by {by}." + (f" {reason}" if reason else "")
    move(round, Round.State.CANCELLED, reason=sentence)
    for link in round.round_runs.filter(run__state__in=LIVE_RUNS).order_by("run_id"):
        cancel_run(run_id=link.run_id, reason=f"Round {round.number} was cancelled by {by}.")
    for batch in (round.batch, round.evaluation_batch):
        if batch is not None and batch.state != Batch.State.CLOSED:
            close_batch(batch)
    return round


@transaction.atomic
def retry_round(*, round: Round, by: User) -> Round:
    """Go on where the round failed; runs that failed are asked for anew, those that succeeded are kept.

    Raises:
        Refusal: the round has not failed, or the person is no manager.
    """
    round = _locked(round, by)
    if round.state != Round.State.FAILED:
        raise Refusal("conflict", f"Round {round.number} is {round.state}; only a failed round is retried.")
    move(round, round.failed_in, reason=f"Retried by {by}.")
    round_runs.ask_again(round)
    advance_soon(round.pk)
    return round


@transaction.atomic
def promote(*, round: Round, by: User, reason: str = "") -> Round:
    """Take the candidate: the next round starts from it.

    Raises:
        Refusal: the round awaits no decision, or the person is no manager.
    """
    round = _locked(round, by)
    round_steps.decide(round, Round.State.PROMOTED, reason or f"Promoted by {by}.")
    return round


@transaction.atomic
def reject(*, round: Round, by: User, reason: str = "") -> Round:
    """Drop the candidate: the next round starts from where this one did.

    Raises:
        Refusal: the round awaits no decision, or the person is no manager.
    """
    round = _locked(round, by)
    round_steps.decide(round, Round.State.REJECTED, reason or f"Rejected by {by}.")
    return round


def _locked(round: Round, by: User) -> Round:
    """Lock the round's row, after checking that the person manages its project.

    Raises:
        Refusal: the person is no manager, or a step holds the lock for longer than `LOCK_WAIT`.
    """
    require_role(user=by, project=round.project, role=Membership.Role.MANAGER)
    rows = Round.objects.select_for_update(of=("self",)).select_related("project")
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_WAIT])
            locked = rows.get(pk=round.pk)
            cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        raise Refusal(
            "conflict",
            f"Round {round.number} is being moved on at this moment; try again in a few seconds.",
        ) from error
    return locked

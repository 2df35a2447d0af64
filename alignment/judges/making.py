"""Making judges, and putting them away."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from alignment.endpoints import checked_address, checked_variable, granted_key
from alignment.judges.asking import default_instructions
from alignment.judges.models import Judge
from alignment.settings_refusals import refusal_of
from annotation.models import Project, User
from annotation.refusals import Refusal
from training.engine.refusal import Refused
from training.engine.settings import check_settings, setting
from training.models import Run

LONGEST_INSTRUCTIONS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """How an endpoint's answers are drawn."""

    temperature: float = setting(0.0, at_least=0, at_most=10)
    """0: the likeliest answer, so that a judgement can be repeated."""
    top_p: float = setting(1.0, above=0, at_most=1)
    max_tokens: int = setting(1024, at_least=1, at_most=131_072)
    """Longest answer in tokens. 1024: some reasoning, and the ranking in its last line."""
    seed: int = setting(0, at_least=0, at_most=2**32 - 1)


def check_judge_settings(settings: dict[str, Any] | None) -> dict[str, Any]:
    """Return an endpoint judge's settings complete with their defaults.

    Raises:
        Refusal: a setting is unknown, of the wrong type or out of range; the sentence names it.
    """
    try:
        return dataclasses.asdict(check_settings(JudgeSettings, settings or {}, "settings"))
    except Refused as refused:
        raise refusal_of(refused, method="settings") from refused


@transaction.atomic
def create_endpoint_judge(
    *,
    project: Project,
    name: str,
    url: str,
    model: str,
    key_variable: str = "",
    instructions: str = "",
    orders: str = Judge.Orders.BOTH,
    settings: dict[str, Any] | None = None,
    created_by: User,
) -> Judge:
    """Make a judge that asks an OpenAI-compatible endpoint.

    Args:
        url, model, key_variable: as of `alignment.sources.create_endpoint_source`; so is who may name which.
        instructions: what it is told before each task; empty: the project's guidelines and aspects as they are now.
        orders: of `Judge.Orders`, how often and in which orders each task is shown to it.

    Raises:
        Refusal: the name is empty or taken, address, model, variable, orders or a setting is wrong, instructions are
            too long, or ``created_by`` may not use the address or the key.
    """
    address = checked_address(url)
    if not model.strip() or len(model.strip()) > 200:
        raise Refusal(
            "invalid", "Give the endpoint's name of the model, of at most 200 characters.", field="model"
        )
    if orders not in Judge.Orders.values:
        known = ", ".join(Judge.Orders.values)
        raise Refusal("invalid", f"`orders` must be one of {known}, not {orders!r:.40}.", field="orders")
    if len(instructions) > LONGEST_INSTRUCTIONS:
        raise Refusal(
            "invalid",
            f"The instructions have {len(instructions):,} characters; at most {LONGEST_INSTRUCTIONS:,} fit.",
            field="instructions",
        )
    variable = granted_key(url=address, key_variable=checked_variable(key_variable), user=created_by)
    return _create(
        project,
        name,
        created_by,
        kind=Judge.Kind.ENDPOINT,
        endpoint_url=address,
        endpoint_model=model.strip(),
        endpoint_key_variable=variable,
        instructions=instructions.strip() or default_instructions(project),
        orders=orders,
        settings=check_judge_settings(settings),
    )


@transaction.atomic
def create_reward_judge(*, project: Project, name: str, reward_run: Run, created_by: User) -> Judge:
    """Make a judge of a reward model of the project: it scores each response by itself, so no order can sway it.

    Raises:
        Refusal: the name is empty or taken, or the run is no reward run of the project that succeeded.
    """
    if reward_run.project_id != project.pk or reward_run not in reward_runs(project):
        raise Refusal(
            "invalid",
            f"{reward_run} is no reward run of this project that succeeded: a round by the recipe ppo makes them.",
            field="reward_run",
        )
    return _create(project, name, created_by, kind=Judge.Kind.REWARD, reward_run=reward_run)


def reward_runs(project: Project) -> Any:
    """The runs of the project that left a reward model, the newest first."""
    return Run.objects.filter(
        project_id=project.pk, kind=Run.Kind.REWARD, state=Run.State.SUCCEEDED
    ).order_by("-created_at")


@transaction.atomic
def archive_judge(judge: Judge) -> Judge:
    """Ask it nothing from now on; what it answered stays.

    Raises:
        Refusal: it is at work.
    """
    locked = Judge.objects.select_for_update(no_key=True).get(pk=judge.pk)
    if locked.judgings.filter(ended_at__isnull=True).exists():
        raise Refusal("conflict", f"{judge} is at work. Cancel its run, or wait until it has ended.")
    locked.archived_at = locked.archived_at or timezone.now()
    locked.save(update_fields=["archived_at"])
    return locked


@transaction.atomic
def bring_judge_back(judge: Judge) -> Judge:
    """Take an archived judge into use again."""
    locked = Judge.objects.select_for_update(no_key=True).get(pk=judge.pk)
    locked.archived_at = None
    locked.save(update_fields=["archived_at"])
    return locked


def _create(project: Project, name: str, created_by: User, **fields: Any) -> Judge:
    name = name.strip()
    if not name or len(name) > 200:
        raise Refusal("invalid", "A judge needs a name of 1 to 200 characters.", field="name")
    if project.judges.filter(name=name).exists():
        raise Refusal("conflict", f"The project has a judge named {name!r} already.", field="name")
    return Judge.objects.create(project=project, name=name, created_by=created_by, **fields)

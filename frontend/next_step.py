"""The one thing to do next in a project, for somebody of a role. Derived from what is there, never stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.urls import reverse

from alignment.models import ModelVersion, Round
from alignment.round_reviews import review_awaited
from annotation.batching import batch_progress, open_work
from annotation.models import Batch, Membership, Project
from annotation.qualifying import Qualification, qualifications_of, stranded_sentence
from annotation.standing import paused_sentence
from frontend.access import may

Role = Membership.Role
State = Round.State


@dataclass(frozen=True, slots=True)
class Step:
    """What to do and why; ``url`` and ``action`` for its one button, empty where there is only to wait. With
    ``total``, how far the thing is that is waited for."""

    title: str
    text: str
    url: str = ""
    action: str = ""
    done: int = 0
    total: int = 0


def next_step(*, project: Project, role: Role, member: Membership | None = None) -> Step:
    """What ``role`` does next in ``project``; of ``member``, if that is given."""
    if may(role, Role.MANAGER):
        return _of_a_manager(project)
    if member is not None and member.paused_at is not None:
        return Step("You are paused", paused_sentence(member))
    qualification = qualifications_of(project, [member])[member.user_id] if member is not None else None
    if member is not None and qualification == Qualification.STRANDED:
        return Step("You cannot qualify yet", stranded_sentence(member))
    if qualification == Qualification.ASKED:
        return Step(
            "Qualify first",
            "You begin with a few tasks whose answer is known, and see after each how you did. Read the guidelines "
            "before.",
            reverse("rank", args=[project.slug]),
            "Start",
        )
    if open_work(project).exists():
        # How far the batches are is not for those who are measured: a task that moves nothing would be a gold one.
        return _rank(project) if may(role, Role.REVIEWER) else _ranking_step(project)
    return Step(
        "Nothing to rank yet", "No batch of tasks is open. A manager opens the next one; come back then."
    )


def _of_a_manager(project: Project) -> Step:
    def page(name: str, *args: object) -> str:
        return reverse(name, args=[project.slug, *args])

    if not project.prompts.exists():
        return Step(
            "Upload prompts",
            "Prompts are what your model will be asked. Everything else starts from them: a few dozen are enough to "
            "try it, a few hundred to train on.",
            page("upload_prompts"),
            "Upload prompts",
        )
    latest = project.rounds.first()
    going = latest if latest is not None and latest.state not in Round.ENDED else None
    if going is None and open_work(project).exists():
        return _rank(project)
    if not ModelVersion.objects.filter(project=project).exists():
        return Step(
            "Add the model to improve",
            "Name a base model: from the Hub, a folder, or the small one that Rankloop brings along.",
            page("new_model"),
            "Add a base model",
        )
    if not project.sources.exists():
        return Step(
            "Add a source of responses",
            "A source draws responses to your prompts: a model with its sampling settings, or an endpoint.",
            page("new_source"),
            "Add a source",
        )
    if going is None:
        return Step(
            "Start a round" if latest is None else "Start the next round",
            "A round samples responses, has people rank them, trains on what they said and measures the new model "
            "against the old one.",
            page("new_round"),
            "Start a round",
        )
    return _of_a_round(project, going, page("round", going.number))


def _of_a_round(project: Project, going: Round, url: str) -> Step:
    name = f"Round {going.number}"
    if going.state in (State.ANNOTATING, State.JUDGING):
        batch = going.evaluation_batch if going.state == State.JUDGING else going.batch
        if review_awaited(going, live=False):
            return Step(
                f"Review what {name.lower()} ranked",
                "All its tasks are ranked. It waits for their review before it learns from them.",
                url,
                "See what it waits for",
            )
        if batch is not None:
            return _rank(project, batch)
    if going.state == State.DECIDING:
        return Step(
            f"Decide on {name.lower()}",
            "The new model is trained and measured. Read its scorecard, then promote or reject it.",
            url,
            "Read the scorecard",
        )
    if going.state == State.FAILED:
        return Step(f"{name} failed", going.reason or "Its page says why.", url, "See what happened")
    working = {
        State.SAMPLING: "Responses are being drawn. Ranking opens when they are there.",
        State.BUILDING: "The rankings are being made into a dataset.",
        State.REWARDING: "A reward model is learning what people prefer.",
        State.TRAINING: "The model is being trained on what people preferred.",
        State.EVALUATING: "The new model is being measured against the old one.",
    }
    return Step(f"{name} is {going.state}", working.get(State(going.state), going.reason), url, "Watch it")


def _rank(project: Project, batch: Batch | None = None) -> Step:
    batches = [batch] if batch is not None else list(open_work(project))
    progress = [batch_progress(one) for one in batches]
    return replace(
        _ranking_step(project),
        done=sum(one.submitted for one in progress),
        total=sum(one.places - one.skipped for one in progress),
    )


def _ranking_step(project: Project) -> Step:
    return Step(
        "Rank responses",
        "Read the responses to a prompt and put them in order, best first. Nobody sees where they came from.",
        reverse("rank", args=[project.slug]),
        "Start ranking",
    )

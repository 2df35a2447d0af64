"""A batch that twelve people have ranked for some weeks, with all that makes a quality page worth a look."""

from __future__ import annotations

import random
import uuid
from datetime import timedelta

import numpy as np
from django.utils import timezone

from annotation.batching import compose_batch
from annotation.importing import import_prompts
from annotation.models import (
    Aspect,
    AspectRating,
    Assignment,
    Batch,
    Flag,
    Project,
    Ranking,
    Response,
    Skip,
    Source,
    User,
)
from annotation.projects import add_member, create_user, set_aspects

NAMES = (
    "ada",
    "björn",
    "chidi",
    "dolores",
    "emre",
    "farida",
    "grete",
    "hiro",
    "ines",
    "jonas",
    "kofi",
    "lena",
)
QUESTIONS = (
    "How long do I boil an egg so that the yolk stays soft?",
    "Why does my bread not rise?",
    "Can I freeze cooked rice?",
    "What is the difference between baking soda and baking powder?",
)


def fill(
    project: Project, *, tasks: int = 200, overlap: int = 3, ranked: float = 0.7, seed: int = 4
) -> Batch:
    """Make the batch: most annotators careful, *jonas* in a hurry, *kofi* by the order of the page, *lena* tired of
    late; one aspect that goes with the ranking and one that does not; flags, skips, known answers and rationales."""
    dice = random.Random(seed)
    people = [create_user(username=name) for name in NAMES]
    for person in people:
        add_member(project=project, user=person, role="annotator")
    set_aspects(
        project=project,
        aspects=[
            {"name": "accuracy", "question": "Is it right?", "steps": 5},
            {"name": "style", "question": "Does it read well?", "steps": 5},
        ],
    )
    batch = _compose(project, tasks, overlap, dice)
    aspects = list(project.aspects.order_by("position"))
    begun = timezone.now() - timedelta(days=16)
    # Busy days and slow ones: when, of all, so many have been ranked.
    busy = np.cumsum([dice.choice([0.1, 0.6, 1.0, 1.6]) for _ in range(16)])
    answered = list(batch.tasks.order_by("pk"))[: round(tasks * ranked)]
    for n, task in enumerate(answered):
        best = dice.sample(range(4), 4)
        if n % 20 == 0:
            task.gold_tiers = [[number] for number in best]
            task.save()
        days = np.interp(n / len(answered), [0, *(busy / busy[-1])], np.linspace(0, 15.6, 17))
        at = begun + timedelta(days=float(days))
        worth = {number: -rank * 1.2 for rank, number in enumerate(best)}
        for place, person in zip(
            task.assignments.order_by("place"), dice.sample(people, overlap), strict=True
        ):
            _answer(place, person, worth, aspects, late=n > len(answered) / 2, at=at, dice=dice)
        if n % 12 == 0:
            Skip.objects.create(task=task, annotator=dice.choice(people), reason="I know nothing of this.")
    return batch


def _compose(project: Project, tasks: int, overlap: int, dice: random.Random) -> Batch:
    sources = [
        Source.objects.create(project=project, name=name, kind=Source.Kind.IMPORT)
        for name in ("House cook", "Cookbook model")
    ]
    rows = [{"prompt": f"{QUESTIONS[n % 4]} (kitchen {n + 1})", "key": "quality"} for n in range(tasks)]
    import_prompts(project=project, rows=enumerate(rows, start=1))
    prompts = project.prompts.filter(key="quality")
    Response.objects.bulk_create(
        Response(
            prompt=prompt,
            source=sources[number % 2],
            drawn_by=uuid.uuid4(),
            index=number // 2,
            text=f"Answer {number}. "
            + "It depends on the kitchen. " * dice.randint(10, 40)
            + "\n\n- salt" * (number % 2),
        )
        for prompt in prompts
        for number in range(4)
    )
    return compose_batch(
        project=project,
        name="March kitchens",
        prompts=prompts,
        sources=sources,
        responses_per_task=4,
        overlap=overlap,
        seed=1,
    ).batch


def _answer(
    place: Assignment,
    person: User,
    worth: dict[int, float],
    aspects: list[Aspect],
    *,
    late: bool,
    at: object,
    dice: random.Random,
) -> None:
    shown = dice.sample(range(4), 4)
    noise = {"jonas": 4.0, "lena": 4.0 if late else 0.8}.get(person.username, 1.0)
    felt = {number: own + dice.gauss(0, noise) for number, own in worth.items()}
    order = shown if person.username == "kofi" else sorted(felt, key=lambda number: -felt[number])
    tiers = [[number] for number in order]
    if dice.random() < 0.15 and person.username != "kofi":
        tiers = [[*tiers[0], *tiers[1]], *tiers[2:]]
    place.state, place.annotator, place.shown_order = Assignment.State.SUBMITTED, person, shown
    place.save()
    ranking = Ranking.objects.create(
        assignment=place,
        task_id=place.task_id,
        annotator=person,
        tiers=tiers,
        shown_order=shown,
        seconds=dice.uniform(3, 9) if person.username == "jonas" else dice.uniform(40, 160),
        rationale="The first says what to do when it goes wrong." if dice.random() < 0.2 else "",
        submitted_at=at,
    )
    AspectRating.objects.bulk_create(
        AspectRating(
            ranking=ranking,
            aspect=aspect,
            position=number,
            rating=max(1, min(5, round(4.5 + felt[number])))
            if aspect.name == "accuracy"
            else dice.randint(2, 4),
        )
        for aspect in aspects
        for number in range(4)
    )
    if dice.random() < 0.08:
        Flag.objects.create(
            ranking=ranking, position=order[-1], kind=dice.choice(["unsafe", "truncated", "hallucinated"])
        )

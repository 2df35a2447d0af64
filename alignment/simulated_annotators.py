"""Simulated annotators: people's habits over an oracle's opinion, to rehearse a round with.

They work as people do: they take the next task, see what a person would see, and submit tiers. Each has a noise of
their own, a liking for what stands first, a width below which they see no difference, and slips.
"""

from __future__ import annotations

import random
import statistics
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from annotation.assigning import next_assignment
from annotation.models import Batch, Membership, Project, User
from annotation.projects import add_member, create_user
from annotation.showing import blind_view
from annotation.submitting import submit
from training.engine.oracles import Oracle

# Habits are drawn from these ranges, in units of the spread of the oracle's scores within a task: from careful
# annotators to hasty ones. Two of them agree about as often as people do on replies of language models (73 % among the
# researchers of Stiennon et al. 2020, 63 % between those of Bai et al. 2022 and crowd workers).
NOISE = (0.3, 0.9)
PRIMACY = (0.0, 0.2)
TIE_WIDTH = (0.02, 0.15)
SLIPS = (0.0, 0.04)


@dataclass(frozen=True, slots=True)
class Habits:
    """How one annotator departs from the oracle; noise, primacy and tie width in units of scores' spread."""

    noise: float
    """Standard deviation of what is added to each score."""
    primacy: float
    """Added to the response shown first, falling to nothing for the one shown last."""
    tie_width: float
    """Responses closer than this to the tier's best are tied."""
    slips: float
    """Share of tasks ranked without looking."""

    @classmethod
    def draw(cls, dice: random.Random) -> Habits:
        return cls(*(dice.uniform(*span) for span in (NOISE, PRIMACY, TIE_WIDTH, SLIPS)))


class SimulatedAnnotator:
    """One annotator.

    Args:
        user: whose account they use.
        seed: decides their habits and every answer.
    """

    def __init__(self, user: User, seed: str) -> None:
        self.user = user
        self._dice = random.Random(seed)  # noqa: S311 - no secret
        self.habits = Habits.draw(self._dice)

    def rank(self, scores: Sequence[float], spread: float) -> list[list[int]]:
        """Return tiers of the places shown, best first.

        Args:
            scores: the oracle's, in the order shown.
            spread: of scores within a task; what the habits are measured in.
        """
        if self._dice.random() < self.habits.slips:
            order = list(range(len(scores)))
            self._dice.shuffle(order)
            return [[place] for place in order]
        last = len(scores) - 1
        felt = [
            score / spread
            + self._dice.gauss(0, self.habits.noise)
            + self.habits.primacy * (last - place) / last
            for place, score in enumerate(scores)
        ]
        tiers: list[list[int]] = []
        for place in sorted(range(len(felt)), key=lambda place: -felt[place]):
            if tiers and felt[tiers[-1][0]] - felt[place] < self.habits.tie_width:
                tiers[-1].append(place)
            else:
                tiers.append([place])
        return tiers


def hire(project: Project, number: int, seed: int) -> list[SimulatedAnnotator]:
    """Return ``number`` annotators of the project; their accounts are made once and cannot log in."""
    hired = []
    for each in range(1, number + 1):
        user = machine_account(f"simulated{each}")
        add_member(project=project, user=user, role=Membership.Role.ANNOTATOR)
        hired.append(SimulatedAnnotator(user, f"{seed}/{each}"))
    return hired


def machine_account(name: str) -> User:
    """Return the account of this name that nobody logs in with, made if there is none.

    Where the name is a person's (a password, an e-mail address, a log-in or an administrator's rights tell), another is
    taken: ``name-2``, and so on.
    """
    username, number = name, 1
    while True:
        user = User.objects.filter(username=username).first()
        if user is None:
            return create_user(username=username)
        if not (user.has_usable_password() or user.email or user.last_login or user.is_superuser):
            return user
        number += 1
        username = f"{name}-{number}"


def work_off(batch: Batch, annotators: Sequence[SimulatedAnnotator], oracle: Oracle) -> Iterator[int]:
    """Have the annotators take turns until none finds another task; yields after each how many were submitted.

    Raises:
        training.engine.refusal.Refused: the oracle failed.
    """
    spread = _spread(batch, oracle)
    at_work, done = list(annotators), 0
    while at_work:
        for annotator in list(at_work):
            place = next_assignment(annotator=annotator.user, project=batch.project)
            if place is None:
                at_work.remove(annotator)
                continue
            shown = blind_view(place)
            texts = [response["text"] for response in shown["responses"]]
            tiers = annotator.rank([oracle(shown["prompt"], text) for text in texts], spread)
            numbers = [response["number"] for response in shown["responses"]]
            submit(
                annotator=annotator.user,
                assignment_id=place.pk,
                lease=shown["lease"],
                key=uuid.uuid4(),
                tiers=[[numbers[at] for at in tier] for tier in tiers],
            )
            done += 1
            yield done


def _spread(batch: Batch, oracle: Oracle) -> float:
    """Return the pooled standard deviation of the oracle's scores within a task; 1 if they never differ."""
    variances = [
        statistics.pvariance(
            [oracle(task.prompt.messages, response.text) for response in task.responses.all()]
        )
        for task in batch.tasks.select_related("prompt").prefetch_related("responses")
    ]
    return (statistics.fmean(variances) ** 0.5 if variances else 0.0) or 1.0

"""The states of a round, and the only ways from one to another."""

from __future__ import annotations

from django.utils import timezone

from alignment import events
from alignment.models import Round
from annotation.refusals import Refusal

State = Round.State

# Whatever has not ended can fail, and whatever has not ended can be cancelled.
_ALWAYS = {State.FAILED, State.CANCELLED}

TRANSITIONS: dict[str, frozenset[str]] = {
    State.SAMPLING: frozenset({State.ANNOTATING} | _ALWAYS),
    State.ANNOTATING: frozenset({State.BUILDING} | _ALWAYS),
    # By the recipe ppo, a reward model is trained first.
    State.BUILDING: frozenset({State.REWARDING, State.TRAINING} | _ALWAYS),
    State.REWARDING: frozenset({State.TRAINING} | _ALWAYS),
    State.TRAINING: frozenset({State.EVALUATING} | _ALWAYS),
    # Without held-out prompts there is nothing for people to judge, and an oracle has judged within the run.
    State.EVALUATING: frozenset({State.JUDGING, State.DECIDING} | _ALWAYS),
    State.JUDGING: frozenset({State.DECIDING} | _ALWAYS),
    State.DECIDING: frozenset({State.PROMOTED, State.REJECTED} | _ALWAYS),
    # A retry goes on in the state that failed.
    State.FAILED: frozenset(
        {
            State.SAMPLING,
            State.ANNOTATING,
            State.BUILDING,
            State.REWARDING,
            State.TRAINING,
            State.EVALUATING,
            State.JUDGING,
            State.DECIDING,
            State.CANCELLED,
        }
    ),
    State.PROMOTED: frozenset(),
    State.REJECTED: frozenset(),
    State.CANCELLED: frozenset(),
}


def move(round: Round, to: str, *, reason: str = "") -> None:
    """Bring a round into another state and save it. The caller holds the lock of its row.

    Args:
        reason: a sentence for people, why it is there.

    Raises:
        Refusal: there is no way from the state it is in.
    """
    if to not in TRANSITIONS[round.state]:
        raise Refusal("conflict", f"Round {round.number} is {round.state}; it cannot become {to}.")
    now = timezone.now()
    round.failed_in = round.state if to == State.FAILED else ""
    round.state = to
    round.reason = reason
    round.state_since = now
    round.ended_at = now if to in Round.ENDED else None
    round.save()
    if to in (State.PROMOTED, State.REJECTED):
        events.round_decided(round)

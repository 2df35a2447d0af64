"""What annotators may say besides the ranking, as pages name it."""

from __future__ import annotations

from typing import NamedTuple

from django import template

from annotation.answering import LONGEST_DEMONSTRATION, LONGEST_FLAG_NOTE, STRENGTHS
from annotation.models import Flag
from annotation.remarks import flag_name

register = template.Library()

SAYS = {
    Flag.Kind.UNSAFE: "It could do harm.",
    Flag.Kind.HALLUCINATED: "It claims what is made up.",
    Flag.Kind.WRONG_LANGUAGE: "It is not in the language that was asked for.",
    Flag.Kind.TRUNCATED: "It stops before its end.",
    Flag.Kind.OTHER: "Something else is wrong; say what.",
}


class FlagChoice(NamedTuple):
    kind: str
    label: str
    key: str
    """The key that sets it, its first letter: they all differ."""
    says: str


@register.simple_tag
def flag_choices() -> list[FlagChoice]:
    return [FlagChoice(kind.value, flag_name(kind), kind.value[0].upper(), SAYS[kind]) for kind in Flag.Kind]


@register.simple_tag
def longest_note() -> int:
    return LONGEST_FLAG_NOTE


@register.simple_tag
def longest_demonstration() -> int:
    return LONGEST_DEMONSTRATION


@register.simple_tag
def strength_steps() -> list[tuple[int, str]]:
    """The steps with their adverbs: 1 is negligibly."""
    return [(step, strength_name(step)) for step in STRENGTHS]


@register.filter
def strength_name(step: int) -> str:
    """A step's adverb: 1 is negligibly."""
    return STRENGTHS[step].removesuffix(" better")


register.filter(flag_name)

"""Oracles for tests: anything that two random texts differ in."""

from collections.abc import Sequence


def vowels(prompt: Sequence[dict[str, str]], text: str) -> float:
    return sum(letter in "aeiou" for letter in text.lower())


def failing(prompt: Sequence[dict[str, str]], text: str) -> float:
    raise ValueError("no opinion")

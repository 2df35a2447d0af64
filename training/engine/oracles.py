"""Oracles: independent scorers of responses, named ``module:function``."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from training.engine.conversation import Message
from training.engine.refusal import Refused

Oracle = Callable[[Sequence[Message], str], float]


def parse_oracle(name: str) -> tuple[str, str]:
    """Return the module and the function that ``module:function`` names, without importing anything.

    Raises:
        Refused: the name is malformed.
    """
    module, _, function = name.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), function]):
        raise Refused(
            f"The oracle {name!r} must be named `module:function`, such as `training.engine.oracles:vader`."
        )
    return module, function


def load_oracle(name: str) -> Oracle:
    """Import the oracle ``module:function``, called as ``function(prompt_messages, response_text) -> float``.

    The oracle that comes back checks each score: one that is not a finite number is refused, and so is an
    oracle that fails.

    Raises:
        Refused: the name is malformed, the module cannot be imported, or has no such function.
    """
    module_name, function_name = parse_oracle(name)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise Refused(
            f"The oracle {name!r} cannot be imported: {type(error).__name__}: {error}. "
            "Install its package, or put its folder on PYTHONPATH."
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise Refused(
            f"The oracle {name!r} is not there: module {module_name} has no function {function_name!r}."
        )

    def oracle(prompt: Sequence[Message], text: str) -> float:
        try:
            score = float(function(prompt, text))
        except Exception as error:
            raise Refused(
                f"The oracle {name!r} failed on {text!r:.80}: {type(error).__name__}: {error}."
            ) from error
        if not math.isfinite(score):
            raise Refused(
                f"The oracle {name!r} gave {score} for {text!r:.80}; scores must be finite numbers."
            )
        return score

    return oracle


def vader(prompt: Sequence[Message], text: str) -> float:
    """Return VADER's compound sentiment of a response, in [-1, 1].

    Source: Hutto and Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social
        Media Text".
    """
    return _vader_analyzer().polarity_scores(text)["compound"]


@cache
def _vader_analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()

"""The engine's word on a setting, as this room says it."""

from __future__ import annotations

import re

from annotation.refusals import Refusal
from training.engine.refusal import Refused


def refusal_of(refused: Refused, *, method: str) -> Refusal:
    """Return the refusal of settings that `training.engine.settings.check_settings` checked as ``settings``.

    Its field is the setting that the sentence names first, such as ``settings.training.epochs``.

    Args:
        method: where the settings hold the engine's method, which knows itself by that name alone and says so of what
            does not go together.
    """
    sentence = str(refused).replace("`method.", f"`{method}.")
    named = re.search(r"`(settings[^`]*)`", sentence)
    return Refusal("invalid", sentence, field=named[1] if named else "settings")
